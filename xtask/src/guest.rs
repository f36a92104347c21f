//! `cargo xtask guest`: boots an operating system at VMPL2 in the software SEV-SNP machine, and shows its serial
//! console.

use anyhow::Result;
use host::devices::FileDisk;
use host::guest::{Boot, StateDisk, interactive};
use host::{boot, child, debian, qemu};
use quoin_verify::{digest, screen};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `cargo xtask guest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, made by `cargo xtask image --linux` or `--ovmf`.
    image: PathBuf,
    /// MiB of RAM of the machine, of which the guest has 128 less.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(512..))]
    memory: u32,
    /// A disk for the guest (virtio-blk); what the guest writes to it is gone in the end.
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// Ends the guest when it takes longer than so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// The firmware's disk, on which the TPM's state outlives the VM; prepared, if there is no such file. For an image
    /// made with `--state`.
    #[arg(long, value_name = "FILE")]
    state_disk: Option<PathBuf>,
    /// Prints every line of the firmware and the machine, not only the timeline.
    #[arg(short, long)]
    verbose: bool,
    /// Further options of QEMU, such as a disk.
    #[arg(last = true)]
    qemu: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let _ending = child::end_on_signals()?;
    debian::ensure(&[qemu::PROGRAM])?;
    let built = boot::build_machine_for(&args.image)?;
    screen::say("image        ", &format!("{} ({} bytes)", built.path.display(), built.image.bytes.len()));
    screen::say("measurement  ", &digest::hex(&built.image.launch.digest));
    if let Some(path) = args.state_disk.as_deref()
        && FileDisk::prepare_new(path)?
    {
        screen::say("state        ", &format!("{} is prepared for a new one", path.display()));
    }
    let Args { memory, disk, timeout, verbose, qemu, state_disk, .. } = args;
    let (disk, qemu, state_disk) =
        (disk.clone(), qemu.clone(), state_disk.clone().map(|path| StateDisk { path, is_hidden: true }));
    interactive(&built, &Boot { memory: *memory, disk, timeout: *timeout, verbose: *verbose, qemu, state_disk })
}
