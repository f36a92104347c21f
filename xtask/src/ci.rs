//! `cargo xtask ci`: what a change must pass.

use crate::{deny, test};
use anyhow::{Context, Result, bail};
use booted::cargo::LIBRARIES;
use booted::{Totals, case};
use host::{build, workspace};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// A check: what it is called, cargo's arguments, and cargo's environment.
type Check = (&'static str, Vec<&'static str>, &'static [(&'static str, &'static str)]);

/// Programs of the host, and what judges or tries the engine below tests.
const PROGRAMS: &[&str] = &[
    "embedders",
    "quoin-anchor",
    "quoin-authority",
    "quoin-relay",
    "quoin-state",
    "quoin-tpm",
    "quoin-verify",
    "simulate",
    "xtask",
];
const TOOLS: [&str; 6] = ["anchor-simulation", "fuzz", "model", "peer", "primitives", "proofs"];
const BARE_METAL: [&str; 6] = ["arch", "machine", "guest", "paravisor", "rules", "panics"];
const WARNINGS_ARE_ERRORS: [&str; 3] = ["--", "-D", "warnings"];

/// Checks of the sources; each is one cargo call.
fn checks() -> Vec<Check> {
    let clippy = |packages: &[&'static str], options: &[&'static str]| {
        let packages = packages.iter().flat_map(|package| ["-p", package]);
        ["clippy", "--locked"]
            .into_iter()
            .chain(options.iter().copied())
            .chain(packages)
            .chain(WARNINGS_ARE_ERRORS)
            .collect()
    };
    let mut host = [LIBRARIES, PROGRAMS, &TOOLS].concat();
    host.sort_unstable();
    host.dedup();
    let documented = LIBRARIES.iter().flat_map(|package| ["-p", package]);
    vec![
        ("rustfmt", vec!["fmt", "--all", "--check"], &[]),
        // Without the firmware's program: it has a panic handler of its own, and is the last of clippy's checks.
        // All that is the host's at once: what cargo checks of others' crates depends on who is named beside them, and
        // is good for the documentation, too.
        ("clippy, host", clippy(&host, &["--all-targets", "--features", "quoin-tests/qemu"]), &[]),
        (
            "clippy, bare metal",
            clippy(&BARE_METAL, &["--profile", "firmware", "--target", build::TARGET, "--bins"]),
            &[],
        ),
        (
            "rustdoc",
            ["doc", "--locked", "--no-deps"].into_iter().chain(documented).collect(),
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
        // Alone: it has a panic handler, and crates beside others' features would bring `std`.
        (
            "rustdoc, start-up",
            ["doc", "--locked", "--no-deps", "-p", "arch"].into(),
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    ]
}

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
    let checks = booted::run("sources: format, lints, documentation, crates by others", || Ok(sources(args)));
    test::run_after(checks, &args.tests)
}

fn sources(args: &Args) -> Totals {
    let mut totals = Totals::default();
    for (name, arguments, environment) in checks() {
        totals += timed(name, || check(&arguments, environment));
    }
    totals += timed("licences, sources and bans", deny::crates);
    if let Some(database) = &args.advisories {
        totals += timed("advisories", || deny::advisories(database));
    }
    totals
}

/// A case that is the check, with its seconds behind its name.
fn timed(name: &str, check: impl FnOnce() -> Result<()>) -> Totals {
    let started = Instant::now();
    let outcome = check();
    case(&format!("{name} ({:.1} s)", started.elapsed().as_secs_f64()), outcome)
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
