//! `cargo xtask needs`: the stack and the memory that the engine needs of whoever embeds it, as its programs measure
//! them (tests/needs).

use crate::tpm;
use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use host::figures::{self, Figure};
use host::{child, workspace};
use std::process::{ExitCode, Stdio};

/// A build, the folder that cargo puts it in, and the KiB of stack that no call exceeds there.
type Build = (&'static str, &'static str, u32);

/// What docs/embedding.md and quoin.h promise.
const BUILDS: [Build; 2] = [("release", "release", 256), ("unoptimized", "without optimisation", 1024)];

/// Runs the verb.
pub fn run() -> Result<ExitCode> {
    let totals = suite()?;
    println!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each measurement as a case.
pub fn suite() -> Result<Totals> {
    let (mut totals, mut deepest) = (Totals::default(), Vec::new());
    for (profile, words, limit) in BUILDS {
        let measured = program(profile, "stack", &[&limit.to_string()]);
        totals += case(
            &format!("no call goes deeper than {limit} KiB, {words}"),
            measured.map(|last| deepest.push(format!("{words} {last}"))),
        );
    }
    let thousand = program("release", "thousand", &[]).map(|last| figures::keep(Figure::Thousand, &last));
    totals += case("a thousand TPMs in one process", thousand);
    if totals.failed == 0 {
        figures::keep(Figure::Calls, &deepest.join("; "));
    }
    Ok(totals)
}

/// The last line of one of the programs, all of which is shown. It is built as the library for C is, so that the engine
/// compiles once.
fn program(profile: &str, name: &str, arguments: &[&str]) -> Result<String> {
    let mut command = child::command(workspace::cargo());
    command.current_dir(workspace::root()?).args(["run", "--quiet", "--locked", "--profile", profile]);
    command.args(["--package", "needs", "--bin", name, "--"]).args(arguments).env("QUOIN_PROFILE", tpm::PROFILE);
    let output = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    print!("{said}");
    ensure!(output.status.success(), "{name} ended with {}", output.status);
    Ok(said.lines().last().context("it has said nothing")?.to_owned())
}
