//! Certifies the keys of Quoin's firmware for an operator.

use clap::Parser;
use quoin_authority::{Args, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
