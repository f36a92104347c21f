//! `cargo xtask simulate` runs this program.

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use simulate::state::{garbage, schedule};
use simulate::{migration, runs};
use std::time::Instant;

/// Plays what disks, networks and hosts do to kept state, from a seed.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Boots, commits, losses of power, reordered writes, rollbacks, clones, mixed and damaged sectors.
    State(Options),
    /// A disk that answers anything.
    Garbage(Options),
    /// Two machines, of which a TPM moves from the one to the other, and a host that loses, repeats, changes.
    Migration(Options),
    /// Every bit of every message of a migration, every cut, and rounds of garbage.
    MigrationOctets(Options),
    /// How long a TPM is silent that moves; the middle one of so many.
    MigrationTime(Options),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// How many schedules.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    schedules: u64,
    /// The seed of the first; the next have the next ones.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let begun = Instant::now();
    let figure = match Cli::parse().what {
        What::State(options) => {
            ensure!(options.schedules > 0, "no schedules");
            let run = |seed, counts: &mut _| schedule::run(seed, schedule::Plant::default(), counts);
            let counts: schedule::Counts = runs::many(options.seed, options.schedules, run)?;
            format!(
                "{} schedules: {} boots, {} commits, {} losses of power ({} went forward), {} attacks, {} refusals ({} \
                 as old)",
                counts.schedules,
                counts.boots,
                counts.commits,
                counts.cuts,
                counts.forward,
                counts.attacks,
                counts.refused,
                counts.old
            )
        }
        What::Garbage(options) => {
            ensure!(options.schedules > 0, "no schedules");
            let counts: garbage::Counts = runs::many(options.seed, options.schedules, garbage::run)?;
            format!(
                "{} answers: {} boots, {} records opened, {} disks empty, the rest refused",
                counts.answers, counts.boots, counts.opened, counts.empty
            )
        }
        What::Migration(options) => {
            ensure!(options.schedules > 0, "no schedules");
            let counts: migration::Counts = runs::many(options.seed, options.schedules, migration::run)?;
            format!(
                "{} schedules: the TPM had stayed in {}, was dead with its receipt still to come in {}, had moved in {}",
                counts.stayed + counts.waiting + counts.moved,
                counts.stayed,
                counts.waiting,
                counts.moved
            )
        }
        What::MigrationOctets(options) => migration::octets(options.seed, options.schedules)?,
        What::MigrationTime(options) => {
            ensure!(options.schedules > 0, "no moves");
            println!("{}", migration::time(options.schedules)?);
            return Ok(());
        }
    };
    println!("{figure}, nothing found, in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
