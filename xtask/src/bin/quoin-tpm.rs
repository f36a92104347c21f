//! The TPM engine behind two local TCP ports: `cargo xtask tpm` builds and starts it.
//!
//! Its state lives as long as the process. Commands may come at any locality; a client's reset is a `_TPM_Init`.

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use sha2::{Digest, Sha256};
use std::process::ExitCode;
use std::time::Instant;
use tpm_core::profile::PROFILE;
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, Tpm};
use xtask::server::{Backend, Ports, Record, Settings, Stop, Trace, serve_with};
use xtask::tpm::Options;

/// The TPM engine as a server.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match run(&Args::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if let Some(folder) = &options.state {
        bail!("the engine does not export its state yet, so it cannot be kept in {}", folder.display());
    }
    if options.profile != PROFILE.name {
        bail!(
            "this engine was built with the profile {}, not {}: cargo xtask tpm builds it anew",
            PROFILE.name,
            options.profile
        );
    }
    let mut ports = Ports::listen(options.port)?;
    if let Some(path) = &options.unix {
        ports.listen_unix(path)?;
    }
    let trace = options.trace.as_deref().map(Trace::create).transpose()?;
    let trace = trace.map(|trace| Box::new(trace) as Box<dyn Record>);
    let stop = Stop::on_signal()?;
    let engine = Engine::new(options.seed.as_deref()).context("there is no entropy")?;
    println!(
        "The engine's TPM is served until Ctrl-C. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    serve_with(ports, Box::new(engine), Settings { trace, dialect: options.protocol }, &stop)
}

/// The operating system's random numbers, or those of a seed: the same ones each time, which are no secret.
enum Source {
    System,
    Seed { seed: [u8; 32], count: u64 },
}

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) -> core::result::Result<(), EntropyFailure> {
        match self {
            Self::System => getrandom::fill(out).map_err(|_| EntropyFailure),
            Self::Seed { seed, count } => {
                for chunk in out.chunks_mut(32) {
                    let block = Sha256::new().chain_update(*seed).chain_update(count.to_be_bytes()).finalize();
                    chunk.copy_from_slice(&block[..chunk.len()]);
                    *count += 1;
                }
                Ok(())
            }
        }
    }
}

/// Time since the server started; with a seed a millisecond for each look at it, so that a run can be repeated.
enum Time {
    System(Instant),
    Steps(u64),
}

impl Clock for Time {
    fn now_ms(&mut self) -> u64 {
        match self {
            Self::System(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Steps(now) => {
                *now += 1;
                *now
            }
        }
    }
}

struct Engine {
    tpm: Box<Tpm>,
    entropy: Source,
    clock: Time,
    /// There was a measured launch.
    established: bool,
}

impl Engine {
    fn new(seed: Option<&str>) -> Result<Self> {
        let (mut entropy, mut clock) = match seed {
            Some(seed) => (Source::Seed { seed: Sha256::digest(seed).into(), count: 0 }, Time::Steps(0)),
            None => (Source::System, Time::System(Instant::now())),
        };
        let tpm = Tpm::manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock })
            .map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(Self { tpm: Box::new(tpm), entropy, clock, established: false })
    }
}

impl Backend for Engine {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        let locality = Locality::new(locality).context("there are no localities from 5 to 31")?;
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

    fn hash_start(&mut self) -> bool {
        self.tpm.hash_start();
        true
    }

    fn hash_data(&mut self, data: &[u8]) -> bool {
        self.tpm.hash_data(data);
        true
    }

    fn hash_end(&mut self) -> bool {
        let ended = self.tpm.hash_end();
        self.established |= ended;
        ended
    }

    fn set_physical_presence(&mut self, asserted: bool) -> bool {
        self.tpm.set_physical_presence(asserted);
        true
    }

    fn fail(&mut self) -> bool {
        self.tpm.enter_failure_mode();
        true
    }

    fn act_signaled(&mut self, act: u32) -> bool {
        /// `TPM_RH_ACT_0`.
        const FIRST: u32 = 0x4000_0110;
        act.checked_sub(FIRST).and_then(|n| u8::try_from(n).ok()).is_some_and(|n| self.tpm.act_signaled(n))
    }

    fn established(&mut self) -> bool {
        self.established
    }

    fn reset_established(&mut self) -> bool {
        self.established = false;
        true
    }
}
