//! Debian's newest cloud kernel, and what a small system of ours takes from Debian: fetched by apt's own client below `target/guest`.
//!
//! Packages are named by suite and not by version, since versions leave a mirror. What was fetched is kept; who wants newer packages deletes the folder.

use super::packages;
use crate::suites::fetch::{Archive, must};
use crate::{debian, workspace};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the programs come from: a release whose libraries fit the tools, and kernels that know SVSMs (6.16 and later).
const SUITES: &str = "trixie trixie-backports";
const RELEASE: &str = "trixie";
const NEWER: &str = "trixie-backports";
const OLDER: &str = "bookworm";
/// What brings the kernel's packages, and what brings the programs'.
const KERNEL: [&str; 2] = ["linux-image-cloud-amd64", "linux-headers-cloud-amd64"];
const PROGRAMS: [&str; 3] = ["tpm2-tools", "busybox-static", "libelf1t64"];
/// Where libraries lie in a Debian of this architecture.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Unpacked packages.
#[derive(Debug)]
pub struct Debian {
    files: PathBuf,
    release: String,
}

impl Debian {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        let folder = workspace::target_dir()?.join("guest/debian");
        fetch_to(&folder).with_context(|| {
            format!(
                "Debian's packages for the guest cannot be had. Needed are apt-get, dpkg-deb, the keys of Debian's archive, and a mirror with the suites \
                 {SUITES} where this system's own packages come from; what was fetched lies in {}",
                folder.display()
            )
        })
    }

    /// The kernel's release, as `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The kernel, a bzImage.
    pub fn kernel(&self) -> PathBuf {
        self.files.join("usr/lib/modules").join(&self.release).join("vmlinuz")
    }

    /// A program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.files.join("usr/bin").join(name)
    }

    /// A shared library, by the name that programs have for it.
    pub fn library(&self, name: &str) -> PathBuf {
        self.libraries().join(name)
    }

    /// The folder with all libraries.
    pub fn libraries(&self) -> PathBuf {
        self.files.join(LIBRARIES)
    }

    /// What the kernel's modules are built with: the folder with its configuration, the one with its headers, the one with the programs.
    pub fn build_folders(&self) -> Result<[PathBuf; 3]> {
        let version = self.release.strip_suffix("-cloud-amd64").context("the kernel is not of the cloud flavour")?;
        let source = self.files.join("usr/src");
        Ok([
            source.join(format!("linux-headers-{}", self.release)),
            source.join(format!("linux-headers-{version}-common")),
            self.files.join(format!("usr/lib/linux-kbuild-{version}")),
        ])
    }

    /// A module of the kernel, uncompressed.
    pub fn module(&self, name: &str) -> Result<Vec<u8>> {
        let path = find(&self.files.join("usr/lib/modules").join(&self.release).join("kernel"), name)?
            .with_context(|| format!("this kernel has no module {name}"))?;
        debian::ensure(&[("xz", "xz-utils")])?;
        let output = Command::new("xz").arg("--decompress").arg("--stdout").arg(&path).output()?;
        ensure!(output.status.success(), "{} is no XZ file", path.display());
        Ok(output.stdout)
    }
}

fn fetch_to(folder: &Path) -> Result<Debian> {
    let files = folder.join("files");
    let complete = folder.join("complete");
    if !complete.exists() {
        debian::ensure(&[("apt-get", "apt"), ("dpkg-deb", "dpkg")])?;
        eprintln!("fetching Debian's newest cloud kernel and tpm2-tools ({SUITES}), once");
        fs::create_dir_all(folder)?;
        let archive = Archive::packages(&folder.join("apt"), SUITES)?;
        // Lists that were fetched another day may name versions that are gone.
        if download(&archive, folder).is_err() {
            archive.update()?;
            download(&archive, folder)?;
        }
        unpack(&folder.join("packages"), &files, &folder.join("unpack.log"))?;
        fs::write(&complete, "")?;
    }
    let release = release(&files)?;
    Ok(Debian { files, release })
}

/// Downloads the packages whose files are used; what else an installation would bring is left where it is.
fn download(archive: &Archive, folder: &Path) -> Result<()> {
    let packages = folder.join("packages");
    let _ = fs::remove_dir_all(&packages);
    fs::create_dir_all(&packages)?;
    let kernel = archive.closure(&KERNEL, NEWER)?;
    let of_version = |name: &&String| {
        let kinds = ["linux-binary-", "linux-image-", "linux-modules-", "linux-headers-", "linux-kbuild-"];
        kinds
            .iter()
            .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
    };
    archive.download(&kernel.iter().filter(of_version).cloned().collect::<Vec<_>>(), NEWER, &packages)?;
    let programs = archive.closure(&PROGRAMS, RELEASE)?;
    let used =
        |name: &&String| PROGRAMS.contains(&name.as_str()) || name.starts_with("lib") || name.starts_with("zlib");
    archive.download(&programs.iter().filter(used).cloned().collect::<Vec<_>>(), RELEASE, &packages)
}

/// The cloud kernel of a release that is older than SVSMs are: it knows SEV-SNP, and expects to run at VMPL0.
pub fn older_kernel() -> Result<Vec<u8>> {
    let files = packages::fetch("older", "Debian's kernel of an older release", OLDER, |archive| {
        let all = archive.closure(&KERNEL[..1], OLDER)?;
        Ok(all.into_iter().filter(|name| name.starts_with("linux-image-") && name != KERNEL[0]).collect())
    })?;
    let boot = files.join("boot");
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let mut entries = fs::read_dir(&boot)?.filter_map(|entry| Some(entry.ok()?.path()));
    let path = entries.find(is_kernel).with_context(|| format!("there is no kernel in {}", boot.display()))?;
    Ok(fs::read(path)?)
}

/// Unpacks all packages of a folder to `files`.
pub(super) fn unpack(packages: &Path, files: &Path, log: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(files);
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            must(Command::new("dpkg-deb").arg("-x").arg(&path).arg(files), log)?;
        }
    }
    Ok(())
}

/// The one kernel that was fetched.
fn release(files: &Path) -> Result<String> {
    let modules = files.join("usr/lib/modules");
    let mut entries = fs::read_dir(&modules)?;
    let entry = entries.next().with_context(|| format!("there is no kernel in {}", modules.display()))??;
    entry.file_name().into_string().ok().context("the kernel's name is no text")
}

/// The file `NAME.ko.xz` below `folder`.
fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.file_name() == Some(OsStr::new(&format!("{name}.ko.xz"))) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
