//! The program: `quoin-tpm --help` is its manual.

use std::process::ExitCode;

fn main() -> ExitCode {
    match quoin_tpm::run(quoin_tpm::arguments()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
