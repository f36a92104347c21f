//! `cargo xtask tpm`: the TPM engine as a server, without firmware or machine.
//!
//! The server is the program `quoin-tpm` (tpm-core/server): users who boot the firmware need not wait for the engine to
//! compile for the host, too.

use anyhow::{Context, Result, ensure};
use host::progress::Progress;
use host::{child, workspace};
use std::env::args_os;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tpm_codes::profile;
use tpm_ports::{Options, Ports};

/// Options of `cargo xtask tpm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the TPM can do: full, classic (without HKDF, SHA-3, ML-KEM and ML-DSA, for clients without a word for
    /// them), pc-client, azure, no-legacy.
    #[arg(long, value_name = "NAME", default_value = PROFILE, value_parser = PROFILES)]
    pub profile: String,
    #[command(flatten)]
    options: Options,
}

/// Options of `cargo xtask provision`.
#[derive(Debug, clap::Args)]
pub struct Provision {
    /// What the TPM can do, as for `cargo xtask tpm`.
    #[arg(long, value_name = "NAME", default_value = PROFILE, value_parser = PROFILES)]
    profile: String,
    /// What `quoin-tpm provision` is told: `-- --help` prints it.
    #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// The profile that is built if nothing else is said.
pub const PROFILE: &str = profile::FULL.name;
/// The profiles that there are.
pub const PROFILES: [&str; profile::PROFILES.len()] = {
    let [a, b, c, d, e] = profile::PROFILES;
    [a.name, b.name, c.name, d.name, e.name]
};

/// Builds the server with a profile of the engine and gives its file.
pub fn build(profile: &str) -> Result<PathBuf> {
    let progress = Progress::start("engine");
    let mut command = child::command(workspace::cargo());
    command.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release"]);
    command.args(["--package", "quoin-tpm", "--bin", "quoin-tpm"]).env("QUOIN_PROFILE", profile);
    let built = command.status().context("cannot start cargo")?;
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
pub fn run(args: &Args) -> Result<()> {
    let Args { options, profile } = args;
    // Before the long part: ports that are taken should be said at once.
    if options.state_root.is_none() {
        drop(Ports::reserve(options.port, options.unix.as_deref())?);
    }
    Err(Command::new(build(profile)?).args(args_os().skip(2)).exec()).context("cannot start the server")
}

/// Builds the server and becomes `quoin-tpm provision`.
pub fn provision(args: &Provision) -> Result<()> {
    let mut command = Command::new(build(&args.profile)?);
    Err(command.arg("provision").args(&args.options).exec()).context("cannot start the program")
}
