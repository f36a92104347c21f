//! Tools of others that make what a guest boots from, as Debian has them: systemd's for unified kernel images and
//! encrypted disks, cryptsetup, GRUB. They run from the folder that they were unpacked to.

use super::packages::{Packages, Wanted};
use crate::fetch::Archive;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release whose programs fit one another.
const SUITE: &str = "trixie";
const WANTED: Wanted =
    Wanted { folder: "tools", what: "Debian's systemd tools, cryptsetup and GRUB", suites: SUITE, download };
const PROGRAMS: [&str; 10] = [
    "cryptsetup-bin",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "libtss2-tcti-device0t64",
    "systemd",
    "systemd-boot-efi",
    "systemd-boot-tools",
    "systemd-cryptsetup",
    "systemd-ukify",
];
/// What stands alone: GRUB in one file, signed by Debian.
const GRUB: &str = "grub-efi-amd64-signed";

/// Unpacked packages.
#[derive(Debug, Clone)]
pub struct Tools(Packages);

impl Tools {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        Packages::fetch(&WANTED).map(Self)
    }

    /// All that was unpacked.
    pub const fn packages(&self) -> &Packages {
        &self.0
    }

    /// The stub of unified kernel images.
    pub fn stub(&self) -> PathBuf {
        self.0.file("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }

    /// GRUB with the modules that Debian signs with it; it reads `\EFI\debian\grub.cfg` of the disk that it comes from.
    pub fn grub(&self) -> Result<Vec<u8>> {
        self.0.read("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
    }

    /// systemd's ukify.
    pub fn ukify(&self) -> Command {
        let mut command = self.0.command("usr/bin/python3.13");
        let packages = self.0.file("usr/lib/python3/dist-packages");
        command.env("PYTHONHOME", self.0.file("usr")).env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(self.0.file("usr/bin/ukify"));
        command
    }

    /// systemd-measure.
    pub fn measure(&self) -> Command {
        self.0.command("usr/lib/systemd/systemd-measure")
    }

    /// cryptsetup.
    pub fn cryptsetup(&self) -> Command {
        self.0.command("usr/sbin/cryptsetup")
    }

    /// systemd-cryptenroll.
    pub fn cryptenroll(&self) -> Command {
        self.0.command("usr/bin/systemd-cryptenroll")
    }
}

/// Downloads the packages whose files are used; what else an installation would bring is left where it is.
fn download(archive: &Archive, packages: &Path) -> Result<()> {
    let used = |name: &&String| {
        PROGRAMS.contains(&name.as_str()) || ["lib", "python3", "zlib"].iter().any(|start| name.starts_with(start))
    };
    let mut names: Vec<String> = archive.closure(&PROGRAMS, SUITE)?.iter().filter(used).cloned().collect();
    names.push(GRUB.to_owned());
    archive.download(&names, SUITE, packages)
}
