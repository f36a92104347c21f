//! `cargo xtask measure`: the launch digest of an IGVM file.

use anyhow::{Context, Result};
use fs_err as fs;
use quoin_verify::digest::{self, Host, hex};
use std::path::PathBuf;

/// Options of `cargo xtask measure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The IGVM file.
    file: PathBuf,
    /// Measures pages without contents as zero pages (type 3), as hosts other than KVM launch them, not as normal pages
    /// full of zeros.
    #[arg(long)]
    native_zero: bool,
    /// Prints a JSON object with the digest, the policy and the number of measured pages.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let host = Host { native_zero: args.native_zero };
    let launch = digest::measure_on(&bytes, host).with_context(|| format!("cannot measure {}", args.file.display()))?;
    if launch.insert_behind_pages {
        eprintln!(
            "note: a parameter area is inserted behind page data: QEMU launches it before the last run of pages, and its digest is another"
        );
    }
    let digest = hex(&launch.digest);
    if args.json {
        println!("{{\"launch_digest\":\"{digest}\",\"policy\":\"{:#x}\",\"pages\":{}}}", launch.policy, launch.pages);
    } else {
        println!("{digest}");
    }
    Ok(())
}
