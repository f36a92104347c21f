//! `cargo xtask tpm`: the TPM engine as a server, without firmware or machine.
//!
//! The engine is in a program of its own (`src/bin/quoin-tpm`), behind the feature `engine`: whoever boots the firmware
//! need not wait for the engine to compile for the host, too.

use crate::server::{Dialect, Ports};
use anyhow::{Context, Result, ensure};
use host::progress::Progress;
use host::{child, workspace};
use std::env::args_os;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Options of `cargo xtask tpm`, and of the program that it starts.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The local TCP port that takes commands; the port after it is the platform's. 0 takes two that are free.
    #[arg(long, value_name = "N", default_value_t = 2321)]
    pub port: u16,
    /// A Unix socket that takes commands, too; swtpm's control channel is at PATH.ctrl, for tpm2-tss and for QEMU's
    /// `-tpmdev emulator`.
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Whose protocol the TCP ports speak. If not given, the first message of each connection tells; what both have at
    /// the platform port is the simulator's if its client has just come to the command port, else that of those who
    /// gave the last command there, at first swtpm's.
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<Dialect>,
    /// Whether TPM2_Startup(CLEAR) is sent before clients come: `off` for who sends it, as firmware does in a VM.
    /// [default: clear, or off with --unix]
    #[arg(long, value_name = "HOW")]
    pub startup: Option<Startup>,
    /// Keep the TPM in this folder, secrets included: what a command has changed is on the disk before its response. A
    /// new TPM is made in a folder that is not there or empty; one that has lost its state, or whose state is damaged,
    /// is refused.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Do not send TPM2_Shutdown for a system that did not, when the platform ends in order: the server's end, and
    /// INIT, STOP and SHUTDOWN of swtpm's control channel. Each use of a protected authorization before such an end
    /// then costs a try.
    #[arg(long)]
    pub no_shutdown: bool,
    /// Take all random numbers from this seed, and let the clock go by steps: a run can be repeated. Keeps no secret.
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// What the TPM can do: full, classic (without HKDF, SHA-3, ML-KEM and ML-DSA, for clients without a word for
    /// them), pc-client, azure, no-legacy.
    #[arg(long, value_name = "NAME", default_value = PROFILE, value_parser = PROFILES)]
    pub profile: String,
    /// Write what is said as text to FILE, and to FILE.pcap for Wireshark. Whatever goes to the TPM and comes from it
    /// is in them, passwords, keys that are imported and data that are unsealed, in the clear where a client sends them
    /// so: only you may read them (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// What is sent before clients come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Startup {
    /// `TPM2_Startup(CLEAR)`.
    Clear,
    /// Nothing.
    Off,
}

impl Options {
    /// What was asked for, or what suits who comes: QEMU needs a Unix socket, and a guest's firmware starts its TPM.
    pub fn startup(&self) -> Startup {
        self.startup.unwrap_or(if self.unix.is_some() { Startup::Off } else { Startup::Clear })
    }
}

/// The profile that is built if nothing else is said.
pub const PROFILE: &str = "full";
/// The profiles that there are.
pub const PROFILES: [&str; 5] = ["full", "classic", "pc-client", "azure", "no-legacy"];

/// Builds the server with a profile of the engine and gives its file.
pub fn build(profile: &str) -> Result<PathBuf> {
    let progress = Progress::start("engine");
    let mut command = child::command(workspace::cargo());
    command.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release", "--package", "xtask"]);
    command.env("QUOIN_PROFILE", profile);
    let built = command.args(["--features", "engine", "--bin", "quoin-tpm"]).status().context("cannot start cargo")?;
    ensure!(built.success(), "the engine does not compile");
    progress.done(&format!("built, profile {profile}"));
    // The next profile takes cargo's place for it, and a server that runs must keep its file.
    let (built, kept) = (
        workspace::target_dir()?.join("release/quoin-tpm"),
        workspace::target_dir()?.join(format!("quoin-tpm-{profile}")),
    );
    let new = kept.with_extension("new");
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &kept))
        .with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(kept)
}

/// Builds the server and becomes it. The options are its own: they are handed on as they were given.
pub fn run(options: &Options) -> Result<()> {
    // Before the long part: ports that are taken should be said at once.
    drop(Ports::reserve(options.port, options.unix.as_deref())?);
    Err(Command::new(build(&options.profile)?).args(args_os().skip(2)).exec()).context("cannot start the server")
}
