//! `cargo xtask test`: everything, and one line at the end.

use crate::run::{self, Built};
use crate::suite::{self, Totals};
use crate::{debian, proofs, qemu};
use anyhow::Result;
use std::process::ExitCode;

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what needs no QEMU: under two minutes once compiled.
    #[arg(long)]
    fast: bool,
    /// Only the suites whose names contain this, such as `hostile`.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    suite: String,
}

/// A suite in QEMU: its name and its cases.
type InQemu = (&'static str, fn(&Built) -> Result<Totals>);

/// A proof: its name, and what looks for it.
type Proof = (&'static str, fn() -> Result<Totals>);

/// What is proved about the engine as it is compiled: each as a suite of one case.
const PROOFS: &[Proof] = &[
    ("engine: every documented response code is seen in its tests", || proofs::as_suite(proofs::codes)),
    ("engine: no panic survives linking", || proofs::as_suite(proofs::panics)),
];

/// In the order in which they run.
const IN_QEMU: &[InQemu] = &[
    ("image: what it is made of", suite::firmware::run),
    ("evidence: verified, and refused when a bit is flipped", suite::evidence::run),
    ("hostile guest at VMPL2", suite::hostile::run),
    ("lies of the host to the firmware", suite::lies::run),
    ("tpm2-tools with the firmware's TPM", suite::tools::run),
    ("machine: rules and launches", |_| suite::cargo::qemu()),
    ("image: reproducible and as committed", |built| suite::reproducible::run(&built.image)),
];

/// Runs the verb; the exit status says whether all cases passed.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut totals = Totals::default();
    let host = "host: unit tests, properties, examples";
    if host.contains(&args.suite) {
        totals += suite::run(host, suite::cargo::host);
    }
    for (name, cases) in PROOFS.iter().filter(|(name, _)| !args.fast && name.contains(&args.suite)) {
        totals += suite::run(name, cases);
    }
    let in_qemu: Vec<&InQemu> = IN_QEMU.iter().filter(|(name, _)| !args.fast && name.contains(&args.suite)).collect();
    if !in_qemu.is_empty() {
        debian::ensure(&[qemu::PROGRAM])?;
        let built = run::build_everything()?;
        for (name, cases) in in_qemu {
            totals += suite::run(name, || cases(&built));
        }
    }
    println!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
