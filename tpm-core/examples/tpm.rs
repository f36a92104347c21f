//! A TPM on standard input and output, as the `cmd` TCTI of tpm2-tss speaks to one. All of it is in a file, so that it
//! goes on when it is started again: `tpm2_startup -c -T "cmd:tpm state"`, then `tpm2_getrandom 8 -T "cmd:tpm state"`.

use core::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::{path::Path, time::Instant};
use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_RESPONSE_SIZE};
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};

struct Random(File);
impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        self.0.read_exact(out).map_err(|_| EntropyFailure)
    }
}

struct Uptime(Instant);
impl Clock for Uptime {
    fn now_ms(&mut self) -> u64 {
        self.0.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }
}

/// Writes the state down. It has every secret of the TPM: a real platform encrypts it.
fn save(tpm: &Tpm, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut state = vec![0; MAX_STATE_SIZE];
    let length = tpm.export(StateForm::Whole, &mut state)?;
    fs::write(path.with_extension("new"), &state[..length])?;
    Ok(fs::rename(path.with_extension("new"), path)?)
}

/// Answers commands until there are no more.
pub(crate) fn serve(mut input: impl Read, mut output: impl Write, path: &Path) -> Result<(), Box<dyn Error>> {
    let (mut entropy, mut clock) = (Random(File::open("/dev/urandom")?), Uptime(Instant::now()));
    let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
    let mut tpm = Box::new(Tpm::blank());
    match fs::read(path) {
        Ok(state) => tpm.import(&state, hooks)?,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) => tpm.manufacture(hooks)?,
    }
    let (mut command, mut response) = (vec![0; MAX_COMMAND_SIZE], vec![0; MAX_RESPONSE_SIZE]);
    while input.read_exact(&mut command[..10]).is_ok() {
        let size = command[2..6].iter().fold(0, |size, octet| size << 8 | usize::from(*octet));
        input.read_exact(command.get_mut(10..size).ok_or("a command of no possible size")?)?;
        let length = tpm.execute(hooks, Locality::ZERO, &command[..size], &mut response);
        match tpm.fault() {
            Some(fault) => eprintln!("the TPM has failed; it goes on from what was saved: {fault}"),
            None => save(&tpm, path)?,
        }
        output.write_all(&response[..length]).and_then(|()| output.flush())?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("the name of the file with its state is missing")?;
    serve(io::stdin(), io::stdout(), path.as_ref())
}
