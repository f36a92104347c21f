//! The TPM engine behind two local TCP ports: `cargo xtask tpm` builds and starts it.
//!
//! Its state lives as long as the process. Commands may come at any locality; a client's reset is a `_TPM_Init`.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, Tpm};
use xtask::server::{Backend, Ports, Stop, serve};

/// The TPM engine as a TCP server.
#[derive(Debug, Parser)]
struct Args {
    /// The local TCP port that takes commands; the port after it is taken, too.
    #[arg(long, default_value_t = 2321)]
    port: u16,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let ports = Ports::listen(args.port)?;
    let stop = Stop::on_signal()?;
    let engine = Engine::new().context("there is no entropy")?;
    println!(
        "The engine's TPM is served until Ctrl-C. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    serve(ports, Box::new(engine), &stop)
}

/// The operating system's random numbers.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> core::result::Result<(), EntropyFailure> {
        getrandom::fill(out).map_err(|_| EntropyFailure)
    }
}

/// Time since the server started.
struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

struct Engine {
    tpm: Box<Tpm>,
    entropy: SystemEntropy,
    clock: SystemClock,
}

impl Engine {
    fn new() -> Result<Self> {
        let (mut entropy, mut clock) = (SystemEntropy, SystemClock(Instant::now()));
        let tpm = Tpm::manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock })
            .map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(Self { tpm: Box::new(tpm), entropy, clock })
    }
}

impl Backend for Engine {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        let locality = Locality::new(locality).unwrap_or(Locality::ZERO);
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let length = self.tpm.execute(&mut hooks, locality, command, &mut response);
        response.truncate(length);
        Ok(response)
    }

    fn reset(&mut self) -> bool {
        self.tpm.init(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
        true
    }
}
