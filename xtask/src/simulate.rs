//! `cargo xtask simulate`: what disks, networks and hosts do to kept state, by a seed.
//!
//! The simulators are programs of tests/simulate and of kernel/anchor/simulation, compiled with optimisation when the
//! verb is called. Short forms are among their tests.

use anyhow::{Context, Result, ensure};
use host::figures::{Figure, keep_last_line};
use host::workspace;
use std::process::{Command, ExitCode};

/// Options of `cargo xtask simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is simulated.
    what: What,
    /// How many schedules. One of `garbage` is about 260 answers.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    schedules: u64,
    /// The seed of the first; the next have the next ones. What is found names its seed, and is played again by it with
    /// `--schedules 1`.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// A simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// A state disk: boots, commits, losses of power, reordered writes, rollbacks, clones, mixed and damaged sectors.
    State,
    /// A state disk that answers anything.
    Garbage,
    /// Two machines, of which a TPM moves from the one to the other, and a host that loses, repeats, changes.
    Migration,
    /// Every bit of every message of a migration, every cut, and as many rounds of garbage.
    MigrationOctets,
    /// How long a TPM is silent that moves; the middle one of as many.
    MigrationTime,
    /// Anchors, and a host that puts old states back, runs copies, cuts and replays; then faults that must be found.
    Anchors,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Garbage => "garbage",
            Self::Migration => "migration",
            Self::MigrationOctets => "migration-octets",
            Self::MigrationTime => "migration-time",
            Self::Anchors => "anchors",
        }
    }

    /// The package whose program it is.
    const fn package(self) -> &'static str {
        if matches!(self, Self::Anchors) { "anchor-simulation" } else { "simulate" }
    }

    /// Its figure, and for how many schedules.
    const fn figure(self) -> Option<(Figure, u64)> {
        Some(match self {
            Self::Anchors => return None,
            Self::State => (Figure::StateSchedules, 1_000_000),
            Self::Garbage => (Figure::Garbage, 40_000),
            Self::Migration => (Figure::MigrationSchedules, 1_000_000),
            Self::MigrationOctets => (Figure::MigrationOctets, 100_000),
            Self::MigrationTime => (Figure::MigrationTime, 21),
        })
    }
}

/// Builds the simulators and runs one.
pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(args.schedules > 0, "no schedules");
    let mut build = Command::new(workspace::cargo());
    let package = args.what.package();
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release", "--package", package]);
    ensure!(build.status().context("cannot start cargo")?.success(), "{package} does not compile");
    let mut simulate = Command::new(workspace::target_dir()?.join("release").join(package));
    if args.what != What::Anchors {
        simulate.arg(args.what.name());
    }
    simulate.args(["--schedules", &args.schedules.to_string(), "--seed", &args.seed.to_string()]);
    let status = match args.what.figure() {
        Some((figure, enough)) if args.schedules >= enough => keep_last_line(figure, &mut simulate)?,
        _ => simulate.status().context("cannot start the simulator")?,
    };
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
