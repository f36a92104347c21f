//! For `cargo xtask holds`: commands to a TPM at the other end of standard output and input, each with its length
//! before it, and so the answers: a scene for each command, then what is made up of every kind, then TPM2_Shutdown. A
//! length of 0 is the end; then come the command codes with their names, a line each, behind which stands why a command
//! is never executed.

use anyhow::{Context, Result};
use peer::Peer;
use peer::differential::{COMMANDS, Worker};
use peer::scenes::{self, NEVER};
use std::io::{Read, Write, stdin, stdout};

/// TPM2_Startup(CLEAR), and that it was executed.
const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const DONE: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0];

/// The TPM at the other end.
#[derive(Default)]
struct AtTheOtherEnd {
    has_started: bool,
}

fn ask(request: &[u8]) -> Result<Vec<u8>> {
    let mut out = stdout().lock();
    out.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    out.write_all(request)?;
    out.flush()?;
    let (mut size, mut input) = ([0; 4], stdin().lock());
    input.read_exact(&mut size)?;
    let mut response = vec![0; u32::from_be_bytes(size) as usize];
    input.read_exact(&mut response)?;
    Ok(response)
}

impl Peer for AtTheOtherEnd {
    fn manufacture(&mut self) {}

    fn execute(&mut self, request: &[u8], _locality: u8, response: &mut Vec<u8>) {
        response.clear();
        // Whoever makes a TPM anew starts it, and this one cannot be made anew.
        if request == STARTUP && core::mem::replace(&mut self.has_started, true) {
            response.extend(DONE);
        } else {
            response.extend(ask(request).expect("the other end answers"));
        }
    }

    fn power_cycle(&mut self) {}

    fn set_physical_presence(&mut self, _asserted: bool) {}

    fn hash(&mut self, _parts: &[&[u8]]) {}
}

fn main() -> Result<()> {
    sigpipe::reset();
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let seed = arguments.next().context("which seed?")??;
    let commands = arguments.next().context("how many commands?")??;
    let mut tpm = AtTheOtherEnd::default();
    scenes::play(&mut tpm);
    Worker::drive(Box::new(tpm), seed, commands)?;
    scenes::play_last(&mut AtTheOtherEnd::default());
    let mut out = stdout().lock();
    out.write_all(&[0; 4])?;
    for (code, name) in COMMANDS {
        match NEVER.iter().find(|never| never.code == *code) {
            Some(never) => writeln!(out, "{code} {name} {}", never.why)?,
            None => writeln!(out, "{code} {name}")?,
        }
    }
    Ok(())
}
