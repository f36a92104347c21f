//! `cargo xtask migrate`: a TPM moves from one running machine to another.

use anyhow::Result;
use booted::migration::{Way, show};
use host::{child, debian, qemu};

/// Options of `cargo xtask migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An update: to a new firmware on the same chip. Without it the chip is another one, too.
    #[arg(long)]
    update: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let _ending = child::end_on_signals()?;
    debian::ensure(&[qemu::PROGRAM])?;
    show(if args.update { Way::Update } else { Way::Chip })
}
