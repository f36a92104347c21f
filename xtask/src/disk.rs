//! `cargo xtask disk`: what the disk with the TPM's state is proven by, in full (tests/booted, `state`). The suites
//! `state: …` have the short forms.

use anyhow::Result;
use booted::state;
use host::figures::{self, Figure};
use host::{child, debian, qemu};

/// Options of `cargo xtask disk`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Kill QEMU at any moment of boots and of commands, in a row on one disk: epoch and NV are those that were
    /// answered last, or both those that were under way.
    Kills {
        /// How often.
        #[arg(long, value_name = "N", default_value_t = KILLS, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// What the moments are made from.
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
    },
    /// Run a history of commands in the machine, and cut its writes after every sector: each cut is opened on the host,
    /// some are booted.
    Cuts {
        /// How many commands.
        #[arg(long, value_name = "N", default_value_t = COMMANDS, value_parser = clap::value_parser!(u32).range(1..))]
        commands: u32,
        /// How many cuts are booted.
        #[arg(long, value_name = "N", default_value_t = BOOTS)]
        boots: usize,
        /// What the history is made from.
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
    },
    /// Print how long TPM2_NV_Write and TPM2_PCR_Extend take with the disk, and without.
    Waits {
        /// How many of each.
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
}

/// What the figures are of.
const KILLS: u32 = 200;
const COMMANDS: u32 = 300;
const BOOTS: usize = 40;

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let _ending = child::end_on_signals()?;
    debian::ensure(&[qemu::PROGRAM])?;
    let (figure, enough, said) = match args.what {
        What::Kills { count, seed } => (Figure::DiskKills, count >= KILLS, state::kills_of(count, seed)?),
        What::Cuts { commands, boots, seed } => {
            let enough = commands >= COMMANDS && boots >= BOOTS;
            (Figure::DiskCuts, enough, state::cuts_of(commands, boots, seed)?)
        }
        What::Waits { count } => (Figure::DiskWaits, true, state::waits_of(count)?),
    };
    println!("{said}");
    if enough {
        figures::keep(figure, &said);
    }
    Ok(())
}
