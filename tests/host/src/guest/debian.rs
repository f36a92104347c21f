//! Debian's newest cloud kernel, and what a small system of ours takes from Debian.

use super::packages::{Packages, Wanted};
use crate::debian;
use crate::fetch::Archive;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release whose libraries fit the tools, and kernels that know SVSMs (6.16 and later).
const WANTED: Wanted = Wanted {
    folder: "debian",
    what: "Debian's newest cloud kernel and tpm2-tools",
    suites: "trixie trixie-backports",
    download,
};
const RELEASE: &str = "trixie";
const NEWER: &str = "trixie-backports";
const OLDER: &str = "bookworm";
/// What brings the kernel's packages, and what brings the programs'.
const KERNEL: [&str; 2] = ["linux-image-cloud-amd64", "linux-headers-cloud-amd64"];
const PROGRAMS: [&str; 3] = ["tpm2-tools", "busybox-static", "libelf1t64"];

/// Unpacked packages.
#[derive(Debug)]
pub struct Debian {
    packages: Packages,
    release: String,
}

impl Debian {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        let packages = Packages::fetch(&WANTED)?;
        let release = release(&packages)?;
        Ok(Self { packages, release })
    }

    /// All that was unpacked.
    pub const fn packages(&self) -> &Packages {
        &self.packages
    }

    /// The kernel's release, as `uname -r` says it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The kernel, a bzImage.
    pub fn kernel(&self) -> PathBuf {
        self.modules().join("vmlinuz")
    }

    /// A program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.packages.file("usr/bin").join(name)
    }

    /// A shared library, by the name that programs have for it.
    pub fn library(&self, name: &str) -> PathBuf {
        self.libraries().join(name)
    }

    /// The folder with all libraries.
    pub fn libraries(&self) -> PathBuf {
        self.packages.libraries()
    }

    /// What the kernel's modules are built with: the folder with its configuration, the one with its headers, the one
    /// with the programs.
    pub fn build_folders(&self) -> Result<[PathBuf; 3]> {
        let version = self.release.strip_suffix("-cloud-amd64").context("the kernel is not of the cloud flavour")?;
        let source = self.packages.file("usr/src");
        Ok([
            source.join(format!("linux-headers-{}", self.release)),
            source.join(format!("linux-headers-{version}-common")),
            self.packages.file(&format!("usr/lib/linux-kbuild-{version}")),
        ])
    }

    fn modules(&self) -> PathBuf {
        self.packages.file("usr/lib/modules").join(&self.release)
    }

    /// A module of the kernel, uncompressed.
    pub fn module(&self, name: &str) -> Result<Vec<u8>> {
        let path =
            find(&self.modules().join("kernel"), name)?.with_context(|| format!("this kernel has no module {name}"))?;
        debian::ensure(&[("xz", "xz-utils")])?;
        let output = Command::new("xz").arg("--decompress").arg("--stdout").arg(&path).output()?;
        ensure!(output.status.success(), "{} is no XZ file", path.display());
        Ok(output.stdout)
    }
}

/// Downloads the packages whose files are used; what else an installation would bring is left where it is.
fn download(archive: &Archive, packages: &Path) -> Result<()> {
    let kernel = archive.closure(&KERNEL, NEWER)?;
    let of_version = |name: &&String| {
        let kinds = ["linux-binary-", "linux-image-", "linux-modules-", "linux-headers-", "linux-kbuild-"];
        kinds
            .iter()
            .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
    };
    archive.download(&kernel.iter().filter(of_version).cloned().collect::<Vec<_>>(), NEWER, packages)?;
    let programs = archive.closure(&PROGRAMS, RELEASE)?;
    let used =
        |name: &&String| PROGRAMS.contains(&name.as_str()) || name.starts_with("lib") || name.starts_with("zlib");
    archive.download(&programs.iter().filter(used).cloned().collect::<Vec<_>>(), RELEASE, packages)
}

/// The cloud kernel of a release that is older than SVSMs are.
const OLDEST: Wanted = Wanted {
    folder: "older",
    what: "Debian's kernel of an older release",
    suites: OLDER,
    download: |archive, folder| {
        let all = archive.closure(&KERNEL[..1], OLDER)?;
        let images: Vec<_> =
            all.into_iter().filter(|name| name.starts_with("linux-image-") && name != KERNEL[0]).collect();
        archive.download(&images, OLDER, folder)
    },
};

/// The cloud kernel of a release that is older than SVSMs are: it knows SEV-SNP, and expects to run at VMPL0.
pub fn older_kernel() -> Result<Vec<u8>> {
    let boot = Packages::fetch(&OLDEST)?.file("boot");
    let is_kernel =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let mut entries = fs::read_dir(&boot)?.filter_map(|entry| Some(entry.ok()?.path()));
    let path = entries.find(is_kernel).with_context(|| format!("there is no kernel in {}", boot.display()))?;
    Ok(fs::read(path)?)
}

/// The one kernel that was fetched.
fn release(packages: &Packages) -> Result<String> {
    let modules = packages.file("usr/lib/modules");
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
