//! `cargo xtask measure`: the launch digest of an IGVM file.

use crate::digest::{self, hex};
use anyhow::{Context, Result};
use fs_err as fs;
use std::path::PathBuf;

/// Options of `cargo xtask measure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The IGVM file.
    file: PathBuf,
    /// Prints a JSON object with the digest, the policy and the number of measured pages.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let launch = digest::measure(&bytes).with_context(|| format!("cannot measure {}", args.file.display()))?;
    let digest = hex(&launch.digest);
    if args.json {
        println!("{{\"launch_digest\":\"{digest}\",\"policy\":\"{:#x}\",\"pages\":{}}}", launch.policy, launch.pages);
    } else {
        println!("{digest}");
    }
    Ok(())
}
