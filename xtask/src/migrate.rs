//! `cargo xtask migrate`: a TPM moves from one running machine to another.

use anyhow::Result;
use booted::migration::{Way, cut, show};
use host::figures::{self, Figure};
use host::{child, debian, qemu};

/// Options of `cargo xtask migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An update: to a new firmware on the same chip. Without it the chip is another one, too.
    #[arg(long)]
    update: bool,
    /// Cut moves after every message, with every loss of power, and within messages: one TPM or none answers, and it
    /// lives in the end.
    #[arg(long, conflicts_with = "update")]
    cuts: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let _ending = child::end_on_signals()?;
    debian::ensure(&[qemu::PROGRAM])?;
    if args.cuts {
        let done = cut()?;
        println!("{done}");
        figures::keep(Figure::MigrationCuts, &done);
        return Ok(());
    }
    show(if args.update { Way::Update } else { Way::Chip })
}
