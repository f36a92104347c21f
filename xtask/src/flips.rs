//! `cargo xtask flips`: evidence that a user has, with each single bit of its parts flipped.

use anyhow::Result;
use quoin_verify::flips::{Flips, every};
use quoin_verify::program::{Args, brought};
use quoin_verify::verdict::Verdict;
use std::process::ExitCode;

/// Runs the verb; the exit status says whether all was refused. Evidence that is refused as it is has its own status.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (evidence, expectations) = brought(args)?;
    let verdict = Verdict::of(&evidence, &expectations);
    let (head, text) = verdict.conclusion();
    println!("{head}{text}");
    if let Some(failed) = verdict.failed() {
        println!("{}: {:?}", failed.step, failed.state);
        return Ok(ExitCode::from(verdict.status()));
    }
    let mut accepted = false;
    for Flips { file, bits, outcome } in every(&evidence, &expectations) {
        match outcome {
            Ok(()) => println!("{file}: each of {bits} flipped bits is refused"),
            Err(why) => {
                println!("FAILED  {file}: {why}");
                accepted = true;
            }
        }
    }
    Ok(if accepted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
