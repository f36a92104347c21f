//! `cargo xtask simulate`: what disks, networks and hosts do to kept state, by a seed.
//!
//! The simulators are programs of tests/simulate, of kernel/anchor/simulation and of kernel/virtio (an example),
//! compiled with optimisation when the verb is called. Short forms are among their tests.

use anyhow::{Context, Result, ensure};
use host::figures::{Figure, keep_last_line};
use host::workspace;
use std::process::{Command, ExitCode};

/// Options of `cargo xtask simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is simulated.
    what: What,
    /// How many schedules. One of `garbage` is about 260 answers, one of `virtio` is one answer.
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
    /// Virtio devices that answer anything: registers, lengths, used rings, configuration space.
    Virtio,
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
            Self::Virtio => "virtio",
            Self::Anchors => "anchors",
        }
    }

    /// What cargo builds for it, and the program's place in the folder of programs.
    const fn program(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Anchors => (&["--package", "anchor-simulation"], "anchor-simulation"),
            Self::Virtio => (&["--package", "virtio", "--features", "fake", "--example", "lies"], "examples/lies"),
            _ => (&["--package", "simulate"], "simulate"),
        }
    }

    /// The program's arguments.
    fn arguments(self, schedules: u64, seed: u64) -> Vec<String> {
        let (schedules, seed) = (schedules.to_string(), seed.to_string());
        let options = ["--schedules", &schedules, "--seed", &seed];
        match self {
            Self::Virtio => vec![schedules, seed],
            Self::Anchors => options.map(String::from).to_vec(),
            _ => [&[self.name()][..], &options].concat().into_iter().map(String::from).collect(),
        }
    }

    /// Its figure, and for how many schedules.
    const fn figure(self) -> (Figure, u64) {
        match self {
            Self::Anchors => (Figure::AnchorSchedules, 1_000_000),
            Self::Virtio => (Figure::VirtioLies, 10_000_000),
            Self::State => (Figure::StateSchedules, 1_000_000),
            Self::Garbage => (Figure::Garbage, 40_000),
            Self::Migration => (Figure::MigrationSchedules, 1_000_000),
            Self::MigrationOctets => (Figure::MigrationOctets, 100_000),
            Self::MigrationTime => (Figure::MigrationTime, 21),
        }
    }
}

/// Builds the simulators and runs one.
pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(args.schedules > 0, "no schedules");
    let mut build = Command::new(workspace::cargo());
    let (built, program) = args.what.program();
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release"]).args(built);
    ensure!(build.status().context("cannot start cargo")?.success(), "{program} does not compile");
    let mut simulate = Command::new(workspace::target_dir()?.join("release").join(program));
    simulate.args(args.what.arguments(args.schedules, args.seed));
    let (figure, enough) = args.what.figure();
    let status = if args.schedules >= enough {
        keep_last_line(figure, &mut simulate)?
    } else {
        simulate.status().context("cannot start the simulator")?
    };
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
