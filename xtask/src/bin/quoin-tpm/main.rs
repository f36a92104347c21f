//! The TPM engine behind two local TCP ports: `cargo xtask tpm` builds and starts it.
//!
//! Its state lives as long as the process, or with `--state` in a folder. Commands may come at any locality; a client's reset is a `_TPM_Init`.
//!
//! | module | is |
//! |---|---|
//! | `engine` | the TPM, as the server sees it |
//! | `folder` | where its state is kept |
//! | `hooks` | entropy and time |

mod engine;
mod folder;
mod hooks;

use anyhow::{Context, Result, bail};
use clap::Parser;
use engine::Engine;
use std::process::ExitCode;
use tpm_core::profile::PROFILE;
use xtask::server::{Ports, Record, Settings, Stop, Trace, serve_with};
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
    let engine = Engine::new(options.seed.as_deref(), options.state.as_deref()).context("there is no TPM")?;
    let engine = if options.no_shutdown { engine.without_shutdown() } else { engine };
    println!(
        "The engine's TPM is served until Ctrl-C. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    serve_with(ports, Box::new(engine), Settings { trace, dialect: options.protocol }, &stop)
}
