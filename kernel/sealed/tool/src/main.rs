//! The program: `quoin-state --help` is its manual, docs/persistence.md tells when to use what.

use clap::Parser;
use quoin_state::{CLOSED_PIPE, Cli, Done, run};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Done { text, status } = run(&Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Done { text: String::new(), status: quoin_state::status_of(&error) }
    });
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(status),
        // A reader that has gone, as in `… | head -1`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Err(error) => {
            eprintln!("error: standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
