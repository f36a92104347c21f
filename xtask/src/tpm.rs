//! `cargo xtask tpm`: the TPM engine as a server, without firmware or machine.
//!
//! The engine is in a program of its own (`src/bin/quoin-tpm.rs`), behind the feature `engine`: whoever boots the firmware need not wait for the
//! engine to compile for the host, too.

use crate::{progress::Progress, workspace};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Options of `cargo xtask tpm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The local TCP port that takes commands; the port after it is taken, too.
    #[arg(long, value_name = "N", default_value_t = 2321)]
    port: u16,
}

/// Builds the server and runs it until Ctrl-C.
pub fn run(args: &Args) -> Result<()> {
    let server = ["--package", "xtask", "--features", "engine", "--bin", "quoin-tpm"];
    let progress = Progress::start("engine");
    let root = workspace::root()?;
    let cargo = |verb: &str| {
        let mut command = Command::new(workspace::cargo());
        command.current_dir(&root).arg(verb).args(["--quiet", "--locked"]).args(server);
        command
    };
    let built = cargo("build").status().context("cannot start cargo")?;
    if !built.success() {
        bail!("the engine does not compile");
    }
    progress.done("built");
    let status = cargo("run").args(["--", "--port", &args.port.to_string()]).status()?;
    if status.success() { Ok(()) } else { bail!("the server ended with {status}") }
}
