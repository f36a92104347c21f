//! OVMF and systemd's stub, as Debian has them: fetched by apt's own client below `target/guest`.

use super::packages;
use anyhow::Result;
use fs_err as fs;
use std::path::PathBuf;

/// The first release whose OVMF has a section for an SVSM's calling area.
const SUITE: &str = "forky";
const PACKAGES: [&str; 3] = ["ovmf-generic", "ovmf-amdsev", "systemd-boot-efi"];

/// Unpacked packages.
#[derive(Debug)]
pub struct Ovmf(PathBuf);

impl Ovmf {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        packages::fetch("ovmf", "Debian's OVMF", SUITE, |_| Ok(PACKAGES.map(String::from).into())).map(Self)
    }

    /// The code, with a variable store beside it on other machines.
    pub fn code(&self) -> Result<Vec<u8>> {
        self.read("usr/share/OVMF/OVMF_CODE_4M.fd")
    }

    /// Variable store and code in one file.
    pub fn combined(&self) -> Result<Vec<u8>> {
        self.read("usr/share/ovmf/OVMF.fd")
    }

    /// The build for SEV, which keeps no variables.
    pub fn amdsev(&self) -> Result<Vec<u8>> {
        self.read("usr/share/ovmf/OVMF.amdsev.fd")
    }

    /// The stub of unified kernel images.
    pub fn stub(&self) -> Result<Vec<u8>> {
        self.read("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.0.join(path))?)
    }
}
