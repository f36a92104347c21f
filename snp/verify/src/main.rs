//! Judges evidence of a Quoin guest, and of others.

use clap::{Parser, Subcommand};
use quoin_verify::{pipe, program};
use std::process::ExitCode;

/// Judges evidence offline: certificates, report, measurement, EK, AK, quote, PCRs, step by step, and by the rules of a
/// policy file.
#[derive(Debug, Parser)]
#[command(name = "quoin-verify", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(flatten)]
    args: Option<program::Args>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Judge a certificate that the firmware has issued, by the report that it carries: an EK's, an AK's, or its own.
    Cert(Box<program::Args>),
    /// Print launch digest, events and PCR values of an image, before any boot.
    Predict(program::PredictArgs),
    /// Print the events of a boot's log or of IMA's list by name, and the PCR values that they lead to.
    Log(program::LogArgs),
    /// Print the JSON schema of policy files.
    Schema,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    pipe::until_it_is_closed(|| {
        let status = match (&cli.verb, &cli.args) {
            (Some(Verb::Cert(args)), _) => program::certificate(args),
            (Some(Verb::Predict(args)), _) => program::predict(args),
            (Some(Verb::Log(args)), _) => program::log(args),
            (Some(Verb::Schema), _) => Ok(program::schema()),
            (None, Some(args)) => program::run(args),
            // clap has asked for it.
            (None, None) => Ok(ExitCode::from(2)),
        };
        status.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        })
    })
}
