//! The verbs `boots`, `boot-times`, `two-vcpus`, `beside-keys`, `holds`, `exceptions` and `lies`: series of boots
//! (tests/booted), with options.

use anyhow::Result;
use booted::two::{self, Amount};
use booted::{Totals, boot_times, boots, exceptions, holds, running};
use core::time::Duration;
use host::figures::{self, Figure};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `cargo xtask boots`.
#[derive(Debug, clap::Args)]
pub struct Boots {
    /// How many boots.
    #[arg(long, value_name = "N", default_value_t = HUNDRED, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Processors of the guest.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    smp: u16,
}

/// Options of `cargo xtask two-vcpus`.
#[derive(Debug, clap::Args)]
pub struct TwoVcpus {
    /// Rounds of each attempt.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    rounds: u32,
    /// TPM commands from each vCPU, with PVALIDATE beside them.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    commands: u32,
    /// No portion begins after so many minutes; what was run until then is said.
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// The two processors are threads of QEMU's, instead of taking turns in one.
    #[arg(long)]
    at_once: bool,
}

/// Options of `cargo xtask holds`.
#[derive(Debug, clap::Args)]
pub struct Holds {
    /// Commands.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    commands: u32,
    /// What they are made from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs the verb `holds`.
pub fn holds(args: &Holds) -> Result<()> {
    holds::print(args.seed, args.commands)
}

/// Options of `cargo xtask boot-times`.
#[derive(Debug, clap::Args)]
pub struct BootTimes {
    /// Only the ways whose names contain TEXT.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

/// Options of `cargo xtask exceptions`.
#[derive(Debug, clap::Args)]
pub struct Exceptions {
    /// At every Nth exit of VMPL0, at three points: 30 gives more than a thousand, and takes a quarter of an hour.
    #[arg(long, value_name = "N", default_value_t = exceptions::FULL)]
    every: u32,
}

/// Options of `cargo xtask lies`.
#[derive(Debug, clap::Args)]
pub struct Lies {
    /// One exception and one page at every Nth instruction of a call; 0 is all of them at each, which takes hours.
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: u64,
}

/// What the figure is of.
const HUNDRED: u32 = 100;

/// Runs the verb `boots`.
pub fn boots(args: &Boots) -> Result<ExitCode> {
    let started = Instant::now();
    let totals = boots::series(args.count, args.smp)?;
    let figure = match args.smp {
        1 => Some(Figure::Boots),
        2 => Some(Figure::BootsOnTwo),
        4 => Some(Figure::BootsOnFour),
        _ => None,
    };
    if let Some(figure) = figure.filter(|_| totals.failed == 0 && args.count >= HUNDRED) {
        figures::keep(figure, &format!("{totals}, none tried twice, in {:.0} s", started.elapsed().as_secs_f64()));
    }
    Ok(status(totals))
}

/// Runs the verb `boot-times`.
pub fn boot_times(args: &BootTimes) -> Result<()> {
    boot_times::print(&args.filter)
}

/// Runs the verb `two-vcpus`.
pub fn two_vcpus(args: &TwoVcpus) -> Result<ExitCode> {
    let longest = args.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes));
    let amount = Amount { rounds: args.rounds, commands: args.commands, longest };
    let done = two::so_much(amount, args.at_once)?;
    println!("{done}");
    Ok(status(done.totals))
}

/// Runs the verb `exceptions`.
pub fn exceptions(args: &Exceptions) -> Result<ExitCode> {
    let totals = exceptions::at_every(args.every)?;
    println!("{totals}");
    Ok(status(totals))
}

/// Runs the verb `lies`.
pub fn lies(args: &Lies) -> Result<ExitCode> {
    let totals = running::in_full(args.every)?;
    println!("{totals}");
    Ok(status(totals))
}

fn status(totals: Totals) -> ExitCode {
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
