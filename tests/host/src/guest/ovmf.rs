//! OVMF, as Debian has it.

use super::packages::{Packages, Wanted};
use anyhow::Result;

/// The first release whose OVMF has a section for an SVSM's calling area.
const SUITE: &str = "forky";
const WANTED: Wanted = Wanted {
    folder: "ovmf",
    what: "Debian's OVMF",
    suites: SUITE,
    download: |archive, folder| archive.download(&["ovmf-generic", "ovmf-amdsev"].map(String::from), SUITE, folder),
};

/// Unpacked packages.
#[derive(Debug)]
pub struct Ovmf(Packages);

impl Ovmf {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        Packages::fetch(&WANTED).map(Self)
    }

    /// The code, with a variable store beside it on other machines.
    pub fn code(&self) -> Result<Vec<u8>> {
        self.0.read("usr/share/OVMF/OVMF_CODE_4M.fd")
    }

    /// Variable store and code in one file.
    pub fn combined(&self) -> Result<Vec<u8>> {
        self.0.read("usr/share/ovmf/OVMF.fd")
    }

    /// The build for SEV, which keeps no variables.
    pub fn amdsev(&self) -> Result<Vec<u8>> {
        self.0.read("usr/share/ovmf/OVMF.amdsev.fd")
    }
}
