//! Judges an evidence folder of a Quoin guest.

use clap::Parser;
use quoin_verify::{pipe, program};
use std::process::ExitCode;

/// Judges an evidence folder offline: certificates, report, measurement, EK, AK, quote, PCRs, step by step.
#[derive(Debug, Parser)]
#[command(name = "quoin-verify", version)]
struct Cli {
    #[command(flatten)]
    args: program::Args,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    pipe::until_it_is_closed(|| {
        program::run(&args).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        })
    })
}
