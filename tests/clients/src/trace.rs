//! What a client has sent, as names of commands in their order: heard where the firmware's TPM is served, or read from
//! what `quoin-tpm --trace` has written.

use anyhow::Result;
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tpm_codes::cc;
use tpm_ports::Record;

/// No part that repeats is sought that is longer than this, in commands.
const LONGEST_PART: usize = 12;

/// Hears what passes a server's ports.
#[derive(Debug, Clone, Default)]
pub struct Ears(Arc<Mutex<Vec<String>>>);

impl Record for Ears {
    fn record(&mut self, _locality: u8, command: &[u8], _response: &[u8]) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name(command));
        Ok(())
    }
}

/// A command's name, by its code.
fn name(command: &[u8]) -> String {
    let code = command.get(6..10).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
    match code {
        Some(code) => cc::name(code).map_or_else(|| format!("command {code:#010x}"), String::from),
        None => String::from("no command"),
    }
}

/// Where it is known what was said to a TPM since it was started.
#[derive(Debug)]
pub enum Heard {
    /// By those who hear it.
    Ears(Ears),
    /// From a trace.
    Trace(PathBuf),
}

impl Heard {
    /// All commands so far.
    pub fn commands(&self) -> Result<Vec<String>> {
        match self {
            Self::Ears(ears) => Ok(ears.0.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Self::Trace(path) => of_trace(path),
        }
    }
}

/// The commands of a trace.
pub fn of_trace(path: &Path) -> Result<Vec<String>> {
    Ok(fs::read_to_string(path)?.lines().filter_map(head).map(String::from).collect())
}

/// The command's name, of the first line of a command: its number, its name, its locality.
fn head(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(' ')?;
    number.parse::<u64>().ok()?;
    Some(rest.split_once(" at locality ")?.0)
}

/// Commands in their order; what repeats is there once, with how many times it does.
#[must_use]
pub fn in_words(commands: &[String]) -> String {
    let mut words = Vec::new();
    let mut rest = commands;
    while !rest.is_empty() {
        let (length, times) = part(rest);
        let (head, tail) = rest.split_at(length * times);
        words.push(match times {
            1 => head[0].clone(),
            _ if length == 1 => format!("{} ×{times}", head[0]),
            _ => format!("({}) ×{times}", in_words(&head[..length])),
        });
        rest = tail;
    }
    words.join(", ")
}

/// How long the part is that the commands begin with, and how often it comes: what covers most of them, or else the
/// first command.
fn part(commands: &[String]) -> (usize, usize) {
    let mut best = (1, 1);
    for length in 1..=LONGEST_PART.min(commands.len() / 2) {
        let first = &commands[..length];
        let times = commands.chunks_exact(length).take_while(|chunk| *chunk == first).count();
        if times > 1 && length * times > best.0 * best.1 {
            best = (length, times);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{Ears, Heard, head, in_words};
    use tpm_ports::Record;

    fn words(text: &str) -> String {
        in_words(&text.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_repeats_is_told_once() {
        assert_eq!(words("a"), "a");
        assert_eq!(words("a b b b c"), "a, b ×3, c");
        assert_eq!(words("a b c b c b c d"), "a, (b, c) ×3, d");
        assert_eq!(words("a a b a a b"), "(a ×2, b) ×2");
        assert_eq!(in_words(&[]), "");
    }

    #[test]
    fn a_trace_is_read_by_the_first_line_of_each_command() {
        assert_eq!(head("12 GetRandom at locality 0, 12 bytes"), Some("GetRandom"));
        assert_eq!(head("1 command 0x20000000 at locality 0, 12 bytes"), Some("command 0x20000000"));
        for other in ["  > 0008", "  TPM_RC_SUCCESS, 10 bytes", "GetRandom at locality 0", ""] {
            assert_eq!(head(other), None, "{other}");
        }
    }

    #[test]
    fn ears_hear_names_in_their_order() {
        let mut ears = Ears::default();
        let heard = Heard::Ears(ears.clone());
        for command in [&b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08"[..], b"\x80\x01\0\0\0\x0A\x20\0\0\0", b"\x80"] {
            ears.record(0, command, &[]).unwrap();
        }
        assert_eq!(heard.commands().unwrap(), ["GetRandom", "command 0x20000000", "no command"]);
    }
}
