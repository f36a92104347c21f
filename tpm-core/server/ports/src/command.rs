//! Commands: the simulator's messages, or plain TPM commands.
//!
//! At the TCP port either comes, and the first word of a connection tells which for all of it: the simulator's messages
//! have small numbers, and no tag of a TPM command is zero. Everywhere else it is plain commands and nothing else. What
//! a guest writes into its buffer comes by the data channel, so nothing there is a message, and nothing ends it: what
//! is no command is the TPM's to refuse.

mod line;
mod plain;
mod simulator;

use crate::dialect::Dialect;
use crate::machine::Machine;
use crate::turns::Client;
use crate::wire::{Pending, first_word};
use anyhow::Result;
use line::gather;
use std::io::{BufRead, BufReader, Read, Write};

/// More than a command has: one read for each.
const BUFFER: usize = 16 << 10;

/// What is spoken on a connection that gives commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// What its first word belongs to.
    Either,
    /// The simulator's messages.
    Simulator,
    /// Commands one after another.
    Plain,
    /// The same, where each comes as QEMU sends it: whole, and the next one after its response. So the end of one that
    /// lies about its size is where nothing more comes.
    Data,
}

impl Framing {
    /// At the TCP port, where `settled` is what `--protocol` says.
    pub(super) const fn at_port(settled: Option<Dialect>) -> Self {
        match settled {
            None => Self::Either,
            Some(Dialect::Simulator) => Self::Simulator,
            Some(Dialect::Swtpm) => Self::Plain,
        }
    }
}

/// Serves one client to its end.
pub(super) fn serve(
    stream: impl Read + Write + Pending,
    framing: Framing,
    client: Client,
    machine: &Machine,
) -> Result<()> {
    let mut line = BufReader::with_capacity(BUFFER, stream);
    let Some(mut first) = start(&mut line, framing)? else {
        // So tcti-swtpm looks whether someone is here, before all else: a new client, and a locality is a client's.
        machine.set_locality(0);
        return Ok(());
    };
    let simulated = match framing {
        Framing::Either => first.starts_with(&[0, 0]),
        other => other == Framing::Simulator,
    };
    machine.heard(client, if simulated { Dialect::Simulator } else { Dialect::Swtpm });
    loop {
        let answer = if simulated {
            simulator::answer(&mut line, &first, client, machine)?
        } else {
            Some(plain::answer(&mut line, first, framing == Framing::Data, client, machine)?)
        };
        let Some(answer) = answer else { return Ok(()) };
        line.get_mut().write_all(&answer)?;
        let Some(next) = start(&mut line, framing)? else { return Ok(()) };
        first = next;
    }
}

/// The first word of a message, or what there is of it where a message may be shorter; nothing at the end of the
/// stream.
fn start(line: &mut BufReader<impl Read + Pending>, framing: Framing) -> Result<Option<Vec<u8>>> {
    if framing != Framing::Data {
        return Ok(first_word(line)?.map(|word| word.to_be_bytes().to_vec()));
    }
    if line.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut first = Vec::new();
    gather(line, 4, 4, &mut first)?;
    Ok(Some(first))
}

#[cfg(test)]
pub(super) mod tests;
