//! `cargo xtask clients`: programs by others before our TPM and its evidence, one by one (tests/clients).

use crate::{served, test, tpm};
use ::clients::list::{Client, When, names};
use ::clients::{Kit, run as run_clients};
use anyhow::Result;
use booted::Totals;
use host::boot::{self, Built};
use host::{debian, qemu};
use std::process::ExitCode;

/// Options of `cargo xtask clients`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run those alone whose name contains this, such as `FAPI` or `go-sev-guest, firmware`.
    #[arg(long, value_name = "TEXT")]
    client: Option<String>,
    /// Prints the names of all.
    #[arg(long, conflicts_with = "client")]
    list: bool,
}

/// Runs the verb; the exit status says whether all pass.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        names().iter().for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    debian::ensure(&[qemu::PROGRAM])?;
    let built = boot::build_everything()?;
    let wanted = |client: &Client| match &args.client {
        Some(part) => client.full_name().contains(part),
        None => client.when != When::Named,
    };
    let totals = run_clients(&kit(&built), wanted, false)?;
    println!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The clients that need no more than the other suites have, and what the page says of them.
pub fn short(built: &Built) -> Result<Totals> {
    run_clients(&kit(built), |client| client.when == When::Always, true)
}

const fn kit(built: &Built) -> Kit<'_> {
    Kit {
        built,
        serve: served::traced,
        server: tpm::build,
        snpguest: test::snpguest,
        snpguest_version: test::SNPGUEST.version,
        suite: test::by_name,
    }
}
