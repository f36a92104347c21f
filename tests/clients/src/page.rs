//! docs/clients.md: which clients pass, and which commands each sends. A run keeps both tables for `cargo xtask
//! figures`; what it has not run stays as it was found last.

use crate::list::CLIENTS;
use crate::trace::in_words;
use crate::{Client, Done, Ran};
use anyhow::{Context, Result, ensure};
use host::pages::{self, Block};

/// A row of the first table: client, version, against what, what it did, whether it passed.
type Passed = [String; 5];
/// A row of the second: client with what it was tried against, its version, step, number of commands, commands.
type Sent = [String; 5];

const PASSED: [&str; 5] = ["client", "version", "against", "what it did", "passed"];
const SENT: [&str; 5] = ["client", "version", "step", "n", "commands"];

/// What is printed at the end: a line for each client.
pub fn printed(ran: &[Ran]) -> String {
    let line = |one: &Ran| {
        let (done, passed) = (one.done.len(), one.done.iter().filter(|done| done.outcome.is_ok()).count());
        let verdict = if one.passed() { "passes" } else { "FAILS" };
        let name = one.client.full_name();
        format!("{name:<58} {:<14} {verdict:<7} {passed} of {done} steps, {:.1} s", one.version, one.seconds)
    };
    ran.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn passed(one: &Ran) -> Passed {
    let verdict = match one.done.iter().find_map(|done| Some((done, done.outcome.as_ref().err()?))) {
        None => String::from("yes"),
        Some((done, _)) => format!("no: {}", done.step),
    };
    let steps: Vec<&str> = one.done.iter().map(|done| done.step.as_str()).collect();
    [one.client.name.into(), one.version.clone(), one.client.against().into(), steps.join("; "), verdict]
}

fn sent(one: &Ran) -> Vec<Sent> {
    let row = |done: &Done| {
        let commands = done.commands.as_ref().filter(|commands| !commands.is_empty())?;
        let number = commands.len().to_string();
        Some([one.client.full_name(), one.version.clone(), done.step.clone(), number, in_words(commands)])
    };
    one.done.iter().filter_map(row).collect()
}

/// Keeps both tables: the rows of those who ran, and what was found last of the others, in the order of the list.
pub fn keep(ran: &[Ran]) -> Result<()> {
    let of = |client: &Client| ran.iter().find(|one| core::ptr::eq(one.client, client));
    let old_passed = rows::<5>(&pages::latest(Block::Clients)?)?;
    let old_sent = rows::<5>(&pages::latest(Block::Commands)?)?;
    let (mut all_passed, mut all_sent) = (Vec::new(), Vec::new());
    for client in CLIENTS {
        if let Some(one) = of(client) {
            all_passed.push(passed(one));
            all_sent.extend(sent(one));
        } else {
            let is_its = |row: &&Passed| row[0] == client.name && row[2] == client.against();
            all_passed.extend(old_passed.iter().filter(is_its).cloned());
            all_sent.extend(old_sent.iter().filter(|row| row[0] == client.full_name()).cloned());
        }
    }
    pages::keep(Block::Clients, &pages::table(PASSED, all_passed))?;
    pages::keep(Block::Commands, &pages::table(SENT, all_sent))
}

/// Whether the page says of these clients what they have sent. Of another version of a client it says nothing, which is
/// told; where it is silent about all of them, it is wrong.
pub fn judge(ran: &[Ran]) -> Result<()> {
    let page = rows::<5>(&pages::written(Block::Commands)?)?;
    let (mut compared, mut other) = (0, Vec::new());
    for one in ran {
        let its: Vec<&Sent> = page.iter().filter(|row| row[0] == one.client.full_name()).collect();
        let now: Vec<Sent> = sent(one).iter().map(cells).collect();
        match its.first() {
            Some(row) if row[1] != one.version => {
                println!("not compared: the page is of {} {}, this is {}", row[0], row[1], one.version);
                other.push(one.client.full_name());
            }
            _ => {
                differ(&its, &now).with_context(|| {
                    format!("{}: run `cargo xtask clients` and `cargo xtask figures`", one.client.full_name())
                })?;
                compared += now.len();
            }
        }
    }
    ensure!(compared > 0 || !other.is_empty(), "the page has no row of these clients");
    Ok(())
}

/// As a table would have the row.
fn cells(row: &Sent) -> Sent {
    row.clone().map(|cell| cell.replace('\n', " ").replace('|', "/"))
}

fn differ(page: &[&Sent], now: &[Sent]) -> Result<()> {
    for (old, new) in page.iter().zip(now) {
        ensure!(*old == new, "the page says `{}`, it was `{}`", old.join(" | "), new.join(" | "));
    }
    ensure!(page.len() == now.len(), "the page has {} rows, there were {}", page.len(), now.len());
    Ok(())
}

/// The rows of a table.
fn rows<const N: usize>(text: &str) -> Result<Vec<[String; N]>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(1);
    lines
        .map(|line| {
            let cells: Vec<String> = line.split(" | ").map(|cell| cell.trim().to_owned()).collect();
            cells.try_into().map_err(|cells: Vec<String>| anyhow::anyhow!("a row of {} cells: {line}", cells.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Sent, differ, rows, sent};
    use crate::list::{CLIENTS, names};
    use crate::{Done, Ran};
    use host::pages::{Block, written};

    fn ran(commands: &[&str]) -> Ran {
        let commands = Some(commands.iter().map(|command| String::from(*command)).collect());
        let done = vec![
            Done { step: "a | b".into(), outcome: Ok(()), commands },
            Done { step: "no TPM".into(), outcome: Ok(()), commands: Some(Vec::new()) },
        ];
        Ran { client: &CLIENTS[0], version: "1".into(), done, seconds: 0.0 }
    }

    #[test]
    fn a_step_that_sends_nothing_has_no_row() {
        let rows = sent(&ran(&["GetRandom", "GetRandom"]));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][2..], ["a | b", "2", "GetRandom ×2"].map(String::from));
    }

    #[test]
    fn another_command_and_a_row_more_or_less_are_found() {
        let row = |commands: &str| -> Sent { ["c", "1", "s", "1", commands].map(String::from) };
        let (old, same, other) = (row("GetRandom"), row("GetRandom"), row("GetTime"));
        differ(&[&old], core::slice::from_ref(&same)).unwrap();
        assert!(differ(&[&old], &[other]).is_err());
        assert!(differ(&[&old], &[]).is_err() && differ(&[], &[same]).is_err());
    }

    #[test]
    fn the_page_speaks_of_clients_of_the_list_alone() {
        let known = names();
        let passed = rows::<5>(&written(Block::Clients).unwrap()).unwrap();
        for row in &passed {
            assert!(known.contains(&format!("{}, {}", row[0], row[2])), "{row:?}");
        }
        for row in rows::<5>(&written(Block::Commands).unwrap()).unwrap() {
            assert!(known.contains(&row[0]), "{row:?}");
        }
    }
}
