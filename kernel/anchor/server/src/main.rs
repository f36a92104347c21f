//! The program: `quoin-anchor --help` is its manual.

use std::process::ExitCode;

fn main() -> ExitCode {
    match quoin_anchor::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
