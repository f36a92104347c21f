//! OVMF and systemd's stub, as Debian has them: fetched by apt's own client below `target/guest`.

use super::debian::unpack;
use crate::suites::fetch::Archive;
use crate::{debian, workspace};
use anyhow::{Context, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// The first release whose OVMF has a section for an SVSM's calling area.
const SUITE: &str = "forky";
const PACKAGES: [&str; 3] = ["ovmf-generic", "ovmf-amdsev", "systemd-boot-efi"];

/// Unpacked packages.
#[derive(Debug)]
pub struct Ovmf(PathBuf);

impl Ovmf {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        let folder = workspace::target_dir()?.join("guest/ovmf");
        fetch_to(&folder).with_context(|| {
            format!(
                "Debian's OVMF cannot be had. Needed are apt-get, dpkg-deb, the keys of Debian's archive, and a mirror with the suite {SUITE} where this \
                 system's own packages come from; what was fetched lies in {}",
                folder.display()
            )
        })
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

fn fetch_to(folder: &Path) -> Result<Ovmf> {
    let files = folder.join("files");
    let complete = folder.join("complete");
    if !complete.exists() {
        debian::ensure(&[("apt-get", "apt"), ("dpkg-deb", "dpkg")])?;
        eprintln!("fetching Debian's OVMF ({SUITE}), once");
        let packages = folder.join("packages");
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir_all(&packages)?;
        let archive = Archive::packages(&folder.join("apt"), SUITE)?;
        let names = PACKAGES.map(String::from);
        // Lists that were fetched another day may name versions that are gone.
        if archive.download(&names, SUITE, &packages).is_err() {
            archive.update()?;
            archive.download(&names, SUITE, &packages)?;
        }
        unpack(&packages, &files, &folder.join("unpack.log"))?;
        fs::write(&complete, "")?;
    }
    Ok(Ovmf(files))
}
