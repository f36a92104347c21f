//! `cargo xtask demo` as a user calls it: it passes, and it fails where nothing is changed that could be refused.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Output, Stdio};

/// A word that is the one of the first boot.
const UNCHANGED: &str = "mitigations=auto";

/// Two runs.
pub fn run() -> Result<Totals> {
    let mut totals = case("it ends by itself, verified and refused", passes());
    totals += case("with an unchanged word it fails, and says that nothing was refused", fails());
    Ok(totals)
}

fn passes() -> Result<()> {
    let said = demo(&[], 0)?;
    for text in [
        "ok event log",
        "REFUSED unseal it",
        "REFUSED measurement",
        "REFUSED event log PCR 8, event 2 (`kernel_cmdline: console=ttyS1 mitigations=auto",
        "demo passed: ",
    ] {
        ensure!(said.contains(text), "it does not say `{text}`:\n{said}");
    }
    Ok(())
}

fn fails() -> Result<()> {
    let said = demo(&["--change-to", UNCHANGED], 1)?;
    for text in ["the secret was unsealed with the other word", "was not refused at `measurement`", "demo failed"] {
        ensure!(said.contains(text), "it does not say `{text}`:\n{said}");
    }
    Ok(())
}

/// What the demo says, wherever its lines break.
fn demo(arguments: &[&str], status: i32) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    let Output { status: ended, stdout, stderr } =
        command.arg("demo").args(arguments).stdin(Stdio::null()).output().context("cannot start the demo")?;
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(ended.code() == Some(status), "{ended}, expected {status}:\n{said}");
    Ok(said)
}
