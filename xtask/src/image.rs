//! `cargo xtask image`: builds the measured image, and says what it is made of.

pub mod elf;
pub mod pack;
pub mod sizes;
#[cfg(test)]
pub(crate) mod testing;

use crate::digest::{self, Launch, hex};
use crate::{build, screen, workspace};
use anyhow::{Context, Result, ensure};
use elf::Elf;
use fs_err as fs;
use std::path::{Path, PathBuf};

/// The committed launch digest of the image that a clean checkout builds.
pub const RELEASE_MEASUREMENT: &str = "xtask/release-measurement.txt";

/// The release image's limit in bytes (README, "Figures").
const SIZE_LIMIT: usize = 1024 * 1024 + 512 * 1024;

/// Options of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Packs this ELF file as the payload at VMPL2 instead of tests/guest.
    #[arg(long, value_name = "ELF", conflicts_with = "no_guest")]
    guest: Option<PathBuf>,
    /// Packs no payload: the firmware starts nothing at VMPL2.
    #[arg(long)]
    no_guest: bool,
    /// Packs this ELF file as the firmware instead of building it.
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// Where the image goes [default: quoin.igvm in cargo's target directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fails when the launch digest is not the committed one, or the image is larger than 1.5 MiB.
    #[arg(long)]
    check: bool,
    /// Commits the launch digest to the file that --check reads: a change of the image is then a visible difference.
    #[arg(long, conflicts_with = "check")]
    accept: bool,
}

/// An image, packed and measured.
#[derive(Debug)]
pub struct Image {
    /// The IGVM file's bytes.
    pub bytes: Vec<u8>,
    /// What its launch measures.
    pub launch: Launch,
}

/// Which program the image starts at VMPL2.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// None.
    Nothing,
    /// The one of this ELF file.
    Elf(&'a Path),
}

/// Packs and measures the ELF file `firmware` with `payload`.
pub fn pack(firmware: &Path, payload: Payload<'_>) -> Result<Image> {
    let guest = match payload {
        Payload::Nothing => None,
        Payload::Elf(path) => Some(Elf::read(path)?),
    };
    let bytes = pack::pack(&Elf::read(firmware)?, guest.as_ref())?;
    let launch = digest::measure(&bytes).context("the image that was just packed cannot be measured")?;
    Ok(Image { bytes, launch })
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let (firmware, guest) = programs(args)?;
    let image = pack(&firmware, guest.as_deref().map_or(Payload::Nothing, Payload::Elf))?;
    let output = match &args.output {
        Some(path) => path.clone(),
        None => workspace::target_dir()?.join("quoin.igvm"),
    };
    fs::write(&output, &image.bytes).with_context(|| format!("cannot write {}", output.display()))?;
    print_sizes(&Elf::read(&firmware)?);
    screen::say("image        ", &output.display().to_string());
    println!("size         {} bytes, {} pages measured", image.bytes.len(), image.launch.pages);
    println!("policy       {:#x}", image.launch.policy);
    screen::say("measurement  ", &hex(&image.launch.digest));
    if args.accept {
        return accept(&image);
    }
    if args.check { check(&image) } else { Ok(()) }
}

fn programs(args: &Args) -> Result<(PathBuf, Option<PathBuf>)> {
    let firmware = match &args.firmware {
        Some(path) => path.clone(),
        None => build::build(build::IMAGE)?.firmware(),
    };
    let guest = match &args.guest {
        Some(path) => Some(path.clone()),
        None if args.no_guest => None,
        None => Some(build::build(build::IMAGE)?.guest()),
    };
    Ok((firmware, guest))
}

fn print_sizes(firmware: &Elf) {
    println!("bytes of the firmware by crate, zero-initialised memory included:");
    for (name, size) in sizes::by_crate(firmware) {
        println!("{size:>12}  {name}");
    }
}

/// Compares with what is committed, and with the limit of size.
pub fn check(image: &Image) -> Result<()> {
    ensure!(image.bytes.len() <= SIZE_LIMIT, "the image has {} bytes, more than {SIZE_LIMIT}", image.bytes.len());
    let path = workspace::root()?.join(RELEASE_MEASUREMENT);
    let committed = fs::read_to_string(&path).unwrap_or_else(|_| String::from("none"));
    let (committed, computed) = (committed.trim(), hex(&image.launch.digest));
    ensure!(
        committed == computed,
        "the launch digest is {computed}, the committed one is {committed}.\nIf the change of the image is meant, run `cargo xtask image --accept` and commit {RELEASE_MEASUREMENT}."
    );
    println!("the launch digest is the committed one");
    Ok(())
}

fn accept(image: &Image) -> Result<()> {
    let path = workspace::root()?.join(RELEASE_MEASUREMENT);
    fs::write(&path, format!("{}\n", hex(&image.launch.digest)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {RELEASE_MEASUREMENT}");
    Ok(())
}
