//! The TPM engine behind two local TCP ports.
//!
//! Its state lives as long as the process, or with `--state` in a folder. Commands may come at any locality; a client's
//! reset is a `_TPM_Init`.
//!
//! | module | is |
//! |---|---|
//! | `engine` | the TPM, as the server sees it |
//! | `folder` | where its state is kept |
//! | `hooks` | entropy and time |
//! | `trace` | what was said, as text and for Wireshark |

mod engine;
mod folder;
mod hooks;
mod trace;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use engine::Engine;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::process::ExitCode;
use tpm_core::profile::PROFILE;
use tpm_ports::{Backend, Options, Ports, Record, Settings, Startup, Stop, serve_with};
use trace::Trace;

/// What ends the server in order.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The TPM engine as a server.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
    /// The profile that the engine must have been built with.
    #[arg(long, value_name = "NAME", default_value = PROFILE.name, hide = true)]
    profile: String,
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
    let Args { options, profile } = args;
    if *profile != PROFILE.name {
        bail!(
            "this engine was built with the profile {}, not {}: cargo xtask tpm builds it anew",
            PROFILE.name,
            profile
        );
    }
    let ports = Ports::reserve(options.port, options.unix.as_deref())?;
    let trace = options.trace.as_deref().map(Trace::create).transpose()?;
    let trace = trace.map(|trace| Box::new(trace) as Box<dyn Record>);
    let stop = Stop::on(&SIGNALS)?;
    let engine = Engine::new(options.seed.as_deref(), options.state.as_deref()).context("there is no TPM")?;
    let mut engine = if options.no_shutdown { engine.without_shutdown() } else { engine };
    let started = match options.startup() {
        Startup::Clear => start(&mut engine)?,
        Startup::Off => "its clients send TPM2_Startup (--startup clear: it is sent before they come)",
    };
    let ports = ports.listen()?;
    println!(
        "The engine's TPM is served until Ctrl-C; {started}. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    serve_with(ports, Box::new(engine), Settings { trace, dialect: options.protocol, watch: None }, &stop)
}

/// TPM2_Startup(CLEAR), and what is said of it.
fn start(engine: &mut Engine) -> Result<&'static str> {
    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    let response = engine.execute(0, &STARTUP)?;
    ensure!(response.get(6..10) == Some(&[0; 4]), "TPM2_Startup is refused: {response:02x?}");
    Ok("TPM2_Startup(CLEAR) was sent (--startup off: its clients send it, as they do after a reset)")
}
