//! `cargo xtask anchors`: what anchors cost a TPM.

use anyhow::{Context, Result, ensure};
use host::workspace;
use std::process::{Command, ExitCode};

/// Builds the program, and prints what a boot and a commit take with three of them.
pub fn cost() -> Result<ExitCode> {
    let mut build = Command::new(workspace::cargo());
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release", "--package"]);
    build.args(["quoin-anchor", "--bins", "--example", "cost"]);
    ensure!(build.status().context("cannot start cargo")?.success(), "quoin-anchor does not compile");
    let built = workspace::target_dir()?.join("release");
    let status = Command::new(built.join("examples/cost")).arg(built.join("quoin-anchor")).status();
    Ok(if status.context("the measurement does not start")?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
