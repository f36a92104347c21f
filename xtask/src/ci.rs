//! `cargo xtask ci`: what a change must pass.

use crate::suite::{self, Totals, case};
use crate::{build, deny, test, workspace};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// A check: what it is called, cargo's arguments, and cargo's environment.
type Check = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Checks of the sources; each is one cargo call.
const CHECKS: &[Check] = &[
    ("rustfmt", &["fmt", "--all", "--check"], &[]),
    // Without the firmware's program: it has a panic handler of its own, and is the next check's.
    (
        "clippy, host: libraries, programs",
        &["clippy", "--locked", "-p", "xtask", "-p", "quoin-tpm", "--bins", "--", "-D", "warnings"],
        &[],
    ),
    (
        "clippy, host: libraries, tests",
        &[
            "clippy",
            "--locked",
            "--lib",
            "--tests",
            "--examples",
            "-p",
            "cpufeatures@0.3.1",
            "-p",
            "tpm-core",
            "-p",
            "tpm-crypto",
            "-p",
            "tpm-wire",
            "-p",
            "tpm-ports",
            "-p",
            "quoin-tpm",
            "-p",
            "snp",
            "-p",
            "kernel",
            "-p",
            "xtask",
            "-p",
            "quoin-tests",
            "--features",
            "quoin-tests/qemu",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    ),
    (
        "clippy, host: tools and targets below tests",
        &[
            "clippy",
            "--locked",
            "--all-targets",
            "-p",
            "fuzz",
            "-p",
            "peer",
            "-p",
            "primitives",
            "-p",
            "proofs",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    ),
    (
        "clippy, bare metal",
        &[
            "clippy",
            "--locked",
            "--profile",
            "firmware",
            "--target",
            build::TARGET,
            "-p",
            "kernel",
            "-p",
            "machine",
            "-p",
            "guest",
            "-p",
            "rules",
            "-p",
            "panics",
            "--bins",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    ),
    (
        "rustdoc",
        &[
            "doc",
            "--locked",
            "--no-deps",
            "-p",
            "cpufeatures@0.3.1",
            "-p",
            "tpm-core",
            "-p",
            "tpm-crypto",
            "-p",
            "tpm-wire",
            "-p",
            "tpm-ports",
            "-p",
            "quoin-tpm",
            "-p",
            "snp",
            "-p",
            "kernel",
            "-p",
            "xtask",
            "-p",
            "quoin-tests",
        ],
        &[("RUSTDOCFLAGS", "-D warnings")],
    ),
    (
        "the stack of a thread, without optimization",
        &["test", "--locked", "--quiet", "--profile", "unoptimized", "-p", "tpm-core", "--test", "stack"],
        &[],
    ),
];

/// Options of `cargo xtask ci`. The name of the group is its own: that of the tests' options, which are among them, is
/// that of their type.
#[derive(Debug, clap::Args)]
#[group(id = "ci")]
pub struct Args {
    #[command(flatten)]
    tests: test::Args,
    /// A copy of RustSec's advisories (the repository rustsec/advisory-db): no crate of ours may be named in it.
    #[arg(long, value_name = "DIR")]
    advisories: Option<PathBuf>,
}

/// Runs the verb; the last line is the total of checks and tests.
pub fn run(args: &Args) -> Result<ExitCode> {
    let checks = suite::run("sources: format, lints, documentation, crates by others", || Ok(sources(args)));
    test::run_after(checks, &args.tests)
}

fn sources(args: &Args) -> Totals {
    let mut totals = Totals::default();
    for (name, arguments, environment) in CHECKS {
        totals += case(name, check(arguments, environment));
    }
    totals += case("licences, sources and bans", deny::crates());
    if let Some(database) = &args.advisories {
        totals += case("advisories", deny::advisories(database));
    }
    totals
}

fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args(arguments).envs(environment.iter().copied());
    let status = command.status().context("cannot start cargo")?;
    if status.success() {
        return Ok(());
    }
    bail!("cargo {} ended with {status}", arguments.join(" "))
}
