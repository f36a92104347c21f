//! `cargo xtask tpm`: the TPM engine as a server, without firmware or machine.
//!
//! The engine is in a program of its own (`src/bin/quoin-tpm`), behind the feature `engine`: whoever boots the firmware need not wait for the
//! engine to compile for the host, too.

use crate::server::Dialect;
use crate::{progress::Progress, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::env::args_os;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Options of `cargo xtask tpm`, and of the program that it starts.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The local TCP port that takes commands; the port after it is the platform's. 0 takes two that are free.
    #[arg(long, value_name = "N", default_value_t = 2321)]
    pub port: u16,
    /// A Unix socket that takes commands, too; swtpm's control channel is at PATH.ctrl, for tpm2-tss and for QEMU's `-tpmdev emulator`.
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Whose protocol the platform port speaks; found out if not given, as far as it can be.
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<Dialect>,
    /// Keep the TPM in this folder, secrets included: what a command has changed is on the disk before its response. A new TPM is made in a folder that is not
    /// there or empty; one that has lost its state, or whose state is damaged, is refused.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Do not send TPM2_Shutdown for a system that did not, when the platform ends in order: the server's end, and INIT, STOP and SHUTDOWN of swtpm's control
    /// channel. Each use of a protected authorization before such an end then costs a try.
    #[arg(long)]
    pub no_shutdown: bool,
    /// Take all random numbers from this seed, and let the clock go by steps: a run can be repeated. Keeps no secret.
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// What the TPM can do: full, classic (without HKDF, SHA-3, ML-KEM and ML-DSA, for clients without a word for them), pc-client, azure, no-legacy.
    #[arg(long, value_name = "NAME", default_value = PROFILE)]
    pub profile: String,
    /// Write what is said as text to FILE, and to FILE.pcap for Wireshark.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// The profile that is built if nothing else is said.
pub const PROFILE: &str = "full";

/// Builds the server with a profile of the engine and gives its file.
pub fn build(profile: &str) -> Result<PathBuf> {
    let progress = Progress::start("engine");
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--package", "xtask"]);
    command.env("QUOIN_PROFILE", profile);
    let built = command.args(["--features", "engine", "--bin", "quoin-tpm"]).status().context("cannot start cargo")?;
    ensure!(built.success(), "the engine does not compile");
    progress.done(&format!("built, profile {profile}"));
    // The next profile takes cargo's place for it, and a server that runs must keep its file.
    let (built, kept) = (
        workspace::target_dir()?.join("debug/quoin-tpm"),
        workspace::target_dir()?.join(format!("quoin-tpm-{profile}")),
    );
    let new = kept.with_extension("new");
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &kept))
        .with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(kept)
}

/// Builds the server and runs it until Ctrl-C. The options are its own: they are handed on as they were given.
pub fn run(options: &Options) -> Result<()> {
    let status =
        Command::new(build(&options.profile)?).args(args_os().skip(2)).status().context("cannot start the server")?;
    if status.success() { Ok(()) } else { bail!("the server ended with {status}") }
}
