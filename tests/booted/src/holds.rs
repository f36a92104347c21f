//! The longest hold of each TPM command, in instructions of the firmware, as the machine counts them
//! ([`crate::calls`]).
//!
//! The commands are made by tests/peer, a process that speaks through pipes: it has a scene for each command, knows
//! what one of every kind needs, and makes up what it asks for.

use crate::calls::{self, COUNTING, TPM};
use anyhow::{Context, Result, bail, ensure};
use host::boot;
use host::build;
use host::figures::{self, Figure};
use host::pages::{self, Block};
use host::relay::Relay;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Octets of a command that a page of the vTPM protocol carries, behind its head (docs/boot.md).
const LONGEST: usize = 4087;
/// TPM_RC_COMMAND_SIZE.
const TOO_LONG: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x42];

/// A command that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    code: u32,
    was_executed: bool,
}

impl Sent {
    fn new(command: &[u8], response: &[u8]) -> Self {
        let word = |of: &[u8]| of.get(6..10).and_then(|word| word.try_into().ok()).map_or(u32::MAX, u32::from_be_bytes);
        Self { code: word(command), was_executed: word(response) == 0 }
    }
}

/// Sends so many commands, prints a table of the longest of each, and keeps it.
pub fn print(seed: u64, commands: u32) -> Result<()> {
    let program = build::peer("holds")?;
    let built = boot::build_everything()?;
    let mut qemu = boot::start_with(&built, "calls=1", boot::MEMORY_MIB, &COUNTING.map(String::from))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    calls::since(&mut qemu);
    let mut peer = Command::new(program)
        .args([seed.to_string(), commands.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start tests/peer")?;
    let (mut to, mut from) = (peer.stdin.take().context("no pipe")?, peer.stdout.take().context("no pipe")?);
    let (mut sent, mut command) = (Vec::new(), Vec::new());
    while next(&mut from, &mut command)? {
        let response = if command.len() > LONGEST {
            TOO_LONG.to_vec()
        } else {
            let response = relay.tpm(&command).with_context(|| qemu.last_lines())?;
            sent.push(Sent::new(&command, &response));
            response
        };
        to.write_all(&u32::try_from(response.len())?.to_be_bytes())?;
        to.write_all(&response)?;
    }
    let mut names = String::new();
    from.read_to_string(&mut names)?;
    ensure!(peer.wait()?.success(), "tests/peer has failed");
    let holds: Vec<u64> =
        calls::since(&mut qemu).iter().filter(|call| call.rax == TPM).map(|call| call.instructions).collect();
    let (table, figure) = table(&sent, &holds, &names)?;
    println!("{table}\n{figure}");
    pages::keep(Block::Holds, &table)?;
    figures::keep(Figure::Holds, &figure);
    Ok(())
}

/// The next command; `false`: there is none.
fn next(from: &mut impl Read, command: &mut Vec<u8>) -> Result<bool> {
    let mut size = [0; 4];
    from.read_exact(&mut size).context("tests/peer has ended early")?;
    command.resize(u32::from_be_bytes(size) as usize, 0);
    from.read_exact(command)?;
    Ok(!command.is_empty())
}

/// What has been seen of a command.
#[derive(Debug, Default)]
struct Held {
    sent: u32,
    executed: u32,
    most: u64,
    sum: u64,
}

/// What was seen of each command that was sent.
fn by_code(sent: &[Sent], holds: &[u64]) -> BTreeMap<u32, Held> {
    let mut all: BTreeMap<u32, Held> = BTreeMap::new();
    for (Sent { code, was_executed }, instructions) in sent.iter().zip(holds) {
        let held = all.entry(*code).or_default();
        held.sent += 1;
        held.executed += u32::from(*was_executed);
        held.most = held.most.max(*instructions);
        if *was_executed {
            held.sum += instructions;
        }
    }
    all
}

/// The table, sorted by the most, and the figure. Every command of the firmware's must have been executed, but for
/// those behind whose names stands why they never are; these come last.
fn table(sent: &[Sent], holds: &[u64], names: &str) -> Result<(String, String)> {
    ensure!(sent.len() == holds.len(), "{} commands, and the machine has counted {}", sent.len(), holds.len());
    let all = by_code(sent, holds);
    let (mut rows, mut never, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for line in names.lines() {
        let mut parts = line.splitn(3, ' ');
        let (code, name, why) = (parts.next().context("no code")?, parts.next().context("no name")?, parts.next());
        match (all.get(&code.parse()?), why) {
            (Some(held), None) if held.executed > 0 => rows.push((name, held)),
            (Some(held), Some(why)) if held.executed == 0 => never.push((name, held, why)),
            (Some(_), Some(why)) => bail!("{name} was executed, though {why}"),
            _ => without.push(name),
        }
    }
    ensure!(without.is_empty(), "not executed in this run: {}", without.join(", "));
    rows.sort_by_key(|(name, held)| (core::cmp::Reverse(held.most), *name));
    let (name, greatest) = rows.first().context("nothing was executed")?;
    let figure = format!(
        "{} million: {name}; {} of {} commands executed, {} sent in all",
        greatest.most / 1_000_000,
        rows.len(),
        rows.len() + never.len(),
        sent.len(),
    );
    let row = |(name, held): &(&str, &Held)| {
        let mean = held.sum / u64::from(held.executed);
        [(*name).to_owned(), held.most.to_string(), mean.to_string(), format!("{} of {}", held.executed, held.sent)]
    };
    let never = never.iter().map(|(name, held, why)| {
        [(*name).to_owned(), held.most.to_string(), "none".to_owned(), format!("never: {why}")]
    });
    let head = ["command", "most instructions", "mean of those executed", "executed"];
    Ok((pages::table(head, rows.iter().map(row).chain(never)), figure))
}

#[cfg(test)]
mod tests {
    use super::{Sent, next, table};

    const NAMES: &str = "1 Quick\n2 Slow\n3 Never there is no way\n";

    fn sent(code: u32, was_executed: bool) -> Sent {
        Sent { code, was_executed }
    }

    #[test]
    fn the_longest_comes_first_and_what_is_never_executed_last() {
        let all = [sent(1, true), sent(2, true), sent(2, false), sent(3, false), sent(9, false)];
        let (table, figure) = table(&all, &[10, 2_000_000, 3_000_000, 5, 6], NAMES).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| Slow | 3000000 | 2000000 | 1 of 2 |",
                "| Quick | 10 | 10 | 1 of 1 |",
                "| Never | 5 | none | never: there is no way |",
            ]
        );
        assert_eq!(figure, "3 million: Slow; 2 of 3 commands executed, 5 sent in all");
    }

    #[test]
    fn a_run_that_leaves_a_command_out_fails_with_its_name() {
        let outcome = |all: &[Sent]| table(all, &vec![1; all.len()], NAMES).map_err(|e| e.to_string());
        let (quick, slow, never) = (sent(1, true), sent(2, true), sent(3, false));
        assert!(outcome(&[quick, slow, never]).is_ok());
        assert_eq!(outcome(&[quick, never]), Err("not executed in this run: Slow".to_owned()));
        assert_eq!(outcome(&[quick, sent(2, false), never]), Err("not executed in this run: Slow".to_owned()));
        assert_eq!(outcome(&[quick, slow]), Err("not executed in this run: Never".to_owned()), "nor even refused");
        assert_eq!(
            outcome(&[quick, slow, sent(3, true)]),
            Err("Never was executed, though there is no way".to_owned())
        );
    }

    #[test]
    fn a_call_that_the_machine_has_not_counted_is_an_error() {
        assert!(table(&[sent(1, true), sent(2, true), sent(3, false)], &[1, 2], NAMES).is_err());
        assert!(table(&[], &[1], NAMES).is_err());
    }

    #[test]
    fn commands_are_read_up_to_the_end() {
        let (mut command, mut pipe) = (Vec::new(), &b"\0\0\0\x02ab\0\0\0\0rest"[..]);
        assert!(next(&mut pipe, &mut command).unwrap());
        assert_eq!(command, b"ab");
        assert!(!next(&mut pipe, &mut command).unwrap());
        assert!(next(&mut &b"\0\0"[..], &mut command).is_err());
    }
}
