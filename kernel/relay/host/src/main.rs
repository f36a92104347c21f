//! `quoin-relay`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match quoin_relay::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
