//! A Linux built from Debian's source, with IMA and tpm_svsm in it (tests/guest/linux/config), which no kernel of
//! Debian's has. It takes long, once: what is kept is the kernel below `target/guest/source`, for as long as
//! configuration and source are the same.

use super::module::SOURCES;
use super::packages::{Packages, Wanted};
use crate::fetch::{Archive, ensure_packages, must};
use crate::{debian, workspace};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

const SUITE: &str = "trixie-backports";
const WANTED: Wanted =
    Wanted { folder: "source", what: "Debian's source of Linux", suites: "trixie trixie-backports", download };
/// The package of the newest version depends on the one with the source, whose name has the version.
const NEWEST: &str = "linux-source";

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its release, as `uname -r` says it.
    pub release: String,
    /// The bzImage.
    pub image: Vec<u8>,
}

/// The kernel, built if it is not there.
pub fn build() -> Result<Kernel> {
    let packages = Packages::fetch(&WANTED)?;
    let archive = source(&packages)?;
    let configuration = fs::read_to_string(workspace::root()?.join(SOURCES).join("config"))?;
    let folder = workspace::target_dir()?.join("guest").join(WANTED.folder).join("kernel");
    let (stamp, image, release) = (folder.join("stamp"), folder.join("bzImage"), folder.join("release"));
    let wanted = format!("{}\n{configuration}", archive.display());
    if fs::read_to_string(&stamp).ok() != Some(wanted.clone()) {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        make(&archive, &folder, &configuration).context("Linux cannot be built from Debian's source")?;
        fs::copy(folder.join("build/arch/x86/boot/bzImage"), &image)?;
        fs::copy(folder.join("build/include/config/kernel.release"), &release)?;
        // 2 GiB that nobody needs any more.
        fs::remove_dir_all(folder.join("source"))?;
        fs::remove_dir_all(folder.join("build"))?;
        fs::write(&stamp, wanted)?;
    }
    Ok(Kernel { release: fs::read_to_string(&release)?.trim().to_owned(), image: fs::read(&image)? })
}

fn download(archive: &Archive, packages: &Path) -> Result<()> {
    let names = archive.closure(&[NEWEST], SUITE)?;
    let source = names.into_iter().find(|name| name.strip_prefix(NEWEST).is_some_and(|rest| rest.starts_with("-")));
    archive.download(&[source.context("no package has Linux's source")?], SUITE, packages)
}

/// The archive with the source.
fn source(packages: &Packages) -> Result<PathBuf> {
    let folder = packages.file("usr/src");
    let mut files = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.to_string_lossy().ends_with(".tar.xz"))
        .with_context(|| format!("there is no source in {}", folder.display()))
}

fn make(archive: &Path, folder: &Path, configuration: &str) -> Result<()> {
    let tools =
        [("gcc", "gcc"), ("make", "make"), ("ld", "binutils"), ("flex", "flex"), ("bison", "bison"), ("bc", "bc")];
    debian::ensure(&tools)?;
    debian::ensure(&[("xz", "xz-utils"), ("tar", "tar"), ("perl", "perl-base")])?;
    ensure_packages(&["libelf-dev"])?;
    eprintln!("building Linux from {}, once: some 7 minutes of a CPU", archive.display());
    let (source, build) = (folder.join("source"), folder.join("build"));
    fs::create_dir_all(&source)?;
    fs::create_dir_all(&build)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xJf").arg(archive).arg("-C").arg(&source).arg("--strip-components=1");
    must(&mut unpack, &folder.join("unpack.log"))?;
    fs::write(folder.join("wanted"), configuration)?;
    let make = || {
        let mut make = Command::new("nice");
        make.args(["-n", "10", "make", "-s", "-C"]).arg(&source).arg(format!("O={}", build.display()));
        make.env("KBUILD_BUILD_TIMESTAMP", "2020-01-01")
            .env("KBUILD_BUILD_USER", "quoin")
            .env("KBUILD_BUILD_HOST", "quoin");
        make
    };
    let all = format!("KCONFIG_ALLCONFIG={}", folder.join("wanted").display());
    must(make().arg(all).arg("allnoconfig"), &folder.join("config.log"))?;
    let made = fs::read_to_string(build.join(".config"))?;
    for line in configuration.lines().filter(|line| line.starts_with("CONFIG_")) {
        ensure!(made.lines().any(|made| made == line), "this source has no {line} with the other options");
    }
    let jobs = available_parallelism().map_or(1, usize::from);
    must(make().arg(format!("-j{jobs}")).arg("bzImage"), &folder.join("build.log"))
}
