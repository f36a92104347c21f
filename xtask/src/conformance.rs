//! `cargo xtask conformance`: suites by others (tests/conformance), against our server or Debian's.

use crate::tpm;
use ::conformance::servers::Servers;
use ::conformance::{PROFILE, Request, names};
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use std::process::ExitCode;

/// Options of `cargo xtask conformance`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run this suite alone; may be given more than once.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    suite: Vec<String>,
    /// The TPM that is judged.
    #[arg(long, value_name = "NAME", default_value = "quoin")]
    server: Kind,
    /// What our TPM can do: full, classic, pc-client, azure, no-legacy.
    #[arg(long, value_name = "NAME", default_value = PROFILE, value_parser = tpm::PROFILES)]
    profile: String,
    /// Run the tests alone whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Fetch and build, and run nothing.
    #[arg(long)]
    build: bool,
}

/// Whose TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Ours.
    Quoin,
    /// Debian's: what others' TPM gets from the same harness.
    Swtpm,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let servers = match args.server {
        Kind::Quoin => Servers::quoin(tpm::build(&args.profile)?, &args.profile),
        Kind::Swtpm => Servers::swtpm()?,
    };
    let Args { suite, filter, build, .. } = args;
    let request = Request { suites: suite.clone(), servers, filter: filter.clone(), build: *build };
    Ok(if ::conformance::run(&request)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
