//! The image: packed, measured, and compared with what is committed.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use quoin_image::elf::Elf;
use quoin_image::guest::Guest;
use quoin_image::pack;
use quoin_verify::digest::{self, Launch, hex};
use std::path::Path;

/// The committed launch digest of the image that a clean checkout builds.
pub const RELEASE_MEASUREMENT: &str = "xtask/release-measurement.txt";

/// The release image's limit in bytes (docs/figures.md).
const SIZE_LIMIT: usize = 1024 * 1024 + 512 * 1024;

/// An image, packed and measured.
#[derive(Debug)]
pub struct Image {
    /// The IGVM file's bytes.
    pub bytes: Vec<u8>,
    /// What its launch measures.
    pub launch: Launch,
}

impl Image {
    /// Measures an image's file.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        let launch = digest::measure(&bytes)?;
        Ok(Self { bytes, launch })
    }
}

/// Which program the image starts at VMPL2.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// None.
    Nothing,
    /// The one of this ELF file.
    Elf(&'a Path),
    /// One that is laid out already.
    Guest(&'a Guest),
}

/// Packs and measures the ELF file `firmware` with `payload`.
pub fn pack(firmware: &Path, payload: Payload<'_>) -> Result<Image> {
    let firmware = Elf::read(firmware)?;
    let bytes = match payload {
        Payload::Nothing => pack::pack(&firmware, None)?,
        Payload::Elf(path) => pack::pack(&firmware, Some(&Guest::from_elf(&Elf::read(path)?)?))?,
        Payload::Guest(guest) => pack::pack(&firmware, Some(guest))?,
    };
    Image::new(bytes).context("the image that was just packed cannot be measured")
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

/// Commits the launch digest.
pub fn accept(image: &Image) -> Result<()> {
    let path = workspace::root()?.join(RELEASE_MEASUREMENT);
    fs::write(&path, format!("{}\n", hex(&image.launch.digest)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {RELEASE_MEASUREMENT}");
    Ok(())
}
