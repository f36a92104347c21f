//! The same bytes from two folders, and the committed launch digest.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::image::{self, Image, Payload};
use host::progress::Progress;
use host::{build, debian, workspace};
use quoin_verify::digest;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the image a second time, from a copy of the sources in another folder, and compares; then compares with what
/// is committed.
pub fn run(here: &Image) -> Result<Totals> {
    debian::ensure(&[("git", "git")])?;
    let copy = copy_sources()?;
    let elsewhere = build_in(&copy);
    let mut totals =
        case("two builds in two folders give the same image", elsewhere.and_then(|there| same(here, &there)));
    fs::remove_dir_all(&copy).context("cannot remove the copy of the sources")?;
    totals += case("the launch digest is the committed one, and the image is at most 1.5 MiB", image::check(here));
    Ok(totals)
}

fn same(here: &Image, there: &[u8]) -> Result<()> {
    let differ = here.bytes.iter().zip(there).filter(|(a, b)| a != b).count();
    ensure!(
        here.bytes == there,
        "{differ} bytes differ, {} and {} bytes long; measurements {} and {}",
        here.bytes.len(),
        there.len(),
        digest::hex(&here.launch.digest),
        digest::measure(there).map_or_else(|_| String::from("none"), |launch| digest::hex(&launch.digest)),
    );
    Ok(())
}

/// Copies what git tracks, or would track, into a folder whose name has another length than ours.
fn copy_sources() -> Result<PathBuf> {
    let root = workspace::root()?;
    let listed = Command::new("git")
        .current_dir(&root)
        // A CI's checkout may belong to somebody else.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    let listed = listed.context("cannot start git")?;
    ensure!(listed.status.success(), "git cannot list the sources: {}", String::from_utf8_lossy(&listed.stderr));
    let copy = workspace::target_dir()?.join("a-second-folder-of-another-length");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        copy_file(&root.join(file), &copy.join(file))?;
    }
    Ok(copy)
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if !from.is_file() {
        return Ok(());
    }
    fs::create_dir_all(to.parent().context("a file without a folder")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The bytes of the image that is built in the checkout at `root`, without the machine beside it.
fn build_in(root: &Path) -> Result<Vec<u8>> {
    let progress = Progress::start("again");
    let programs = build::build_in(root, &root.join("target"), build::IMAGE)?;
    let image = image::pack(&programs.firmware(), Payload::Elf(&programs.guest()))?;
    progress.done("built in another folder");
    Ok(image.bytes)
}
