//! The longest hold of each TPM command, in instructions of the firmware, as the machine counts them
//! ([`crate::calls`]).
//!
//! The commands are made by tests/peer, a process that speaks through pipes: it knows what a command of every kind
//! needs, and makes up what it asks for.

use crate::calls::{self, COUNTING, TPM};
use crate::stack;
use anyhow::{Context, Result, ensure};
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
/// TPM2_SelfTest.
const SELF_TEST: u32 = 0x143;
/// RSA keys beside what tests/peer makes, which are few.
const RSA_KEYS: u8 = 10;
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
    let mut sent = long_ones(&mut relay)?;
    let mut command = Vec::new();
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

/// What takes long and comes seldom from tests/peer: a full self-test; keys whose primes are searched for, each from
/// another seed, which takes as long as luck has it. What was sent for it.
fn long_ones(relay: &mut dyn Relay) -> Result<Vec<Sent>> {
    let done = |code| Sent { code, was_executed: true };
    stack::start(relay)?;
    stack::command(relay, SELF_TEST, false, &[1])?;
    let mut sent = vec![done(stack::STARTUP), done(SELF_TEST)];
    for number in 0..RSA_KEYS {
        // No symmetric algorithm, no scheme, 2048 bits, the usual exponent, a unique of one octet.
        let parameters = [0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 1, number];
        stack::key(relay, [0, 1], stack::SIGN, &parameters)?;
        sent.extend([done(stack::CREATE_PRIMARY), done(stack::FLUSH_CONTEXT)]);
    }
    Ok(sent)
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

/// The table, sorted by the most, and the figure. Every command of the firmware's must have been executed, or is named.
fn table(sent: &[Sent], holds: &[u64], names: &str) -> Result<(String, String)> {
    ensure!(sent.len() == holds.len(), "{} commands, and the machine has counted {}", sent.len(), holds.len());
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
    let (mut rows, mut without) = (Vec::new(), Vec::new());
    for line in names.lines() {
        let (code, name) = line.split_once(' ').context("a command without a name")?;
        match all.get(&code.parse()?).filter(|held| held.executed > 0) {
            Some(held) => rows.push((name, held)),
            None => without.push(name),
        }
    }
    rows.sort_by_key(|(name, held)| (core::cmp::Reverse(held.most), *name));
    let (name, greatest) = rows.first().context("nothing was executed")?;
    let figure = format!(
        "{} million: {name}; {} of {} commands executed, {} sent in all",
        greatest.most / 1_000_000,
        rows.len(),
        rows.len() + without.len(),
        sent.len(),
    );
    let row = |(name, held): &(&str, &Held)| {
        let mean = held.sum / u64::from(held.executed);
        [(*name).to_owned(), held.most.to_string(), mean.to_string(), format!("{} of {}", held.executed, held.sent)]
    };
    let mut table =
        pages::table(["command", "most instructions", "mean of those executed", "executed"], rows.iter().map(row));
    if !without.is_empty() {
        table.push_str(&format!("\nNot executed in this run: {}.\n", without.join(", ")));
    }
    Ok((table, figure))
}

#[cfg(test)]
mod tests {
    use super::{Sent, next, table};

    const NAMES: &str = "1 Quick\n2 Slow\n3 Never\n";

    fn sent(code: u32, was_executed: bool) -> Sent {
        Sent { code, was_executed }
    }

    #[test]
    fn the_longest_comes_first_and_what_was_never_executed_is_named() {
        let all = [sent(1, true), sent(2, true), sent(2, false), sent(3, false), sent(9, false)];
        let (table, figure) = table(&all, &[10, 2_000_000, 3_000_000, 5, 6], NAMES).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| Slow | 3000000 | 2000000 | 1 of 2 |",
                "| Quick | 10 | 10 | 1 of 1 |",
                "",
                "Not executed in this run: Never."
            ]
        );
        assert_eq!(figure, "3 million: Slow; 2 of 3 commands executed, 5 sent in all");
    }

    #[test]
    fn a_call_that_the_machine_has_not_counted_is_an_error() {
        assert!(table(&[sent(1, true)], &[], NAMES).is_err());
        assert!(table(&[sent(3, false)], &[1], NAMES).is_err());
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
