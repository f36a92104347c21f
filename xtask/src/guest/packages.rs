//! Packages of one of Debian's suites, fetched once by apt's own client and unpacked below `target/guest`.

use super::debian::unpack;
use crate::suites::fetch::Archive;
use crate::{debian, workspace};
use anyhow::{Context, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// The folder `target/guest/NAME/files` with the packages that `names` chooses; `what` they are is said to the user.
pub(super) fn fetch(
    name: &str,
    what: &str,
    suite: &str,
    names: impl Fn(&Archive) -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("guest").join(name);
    fetch_to(&folder, what, suite, names).with_context(|| {
        format!(
            "{what} cannot be had. Needed are apt-get, dpkg-deb, the keys of Debian's archive, and a mirror with the suite {suite} where this system's \
             own packages come from; what was fetched lies in {}",
            folder.display()
        )
    })
}

fn fetch_to(
    folder: &Path,
    what: &str,
    suite: &str,
    names: impl Fn(&Archive) -> Result<Vec<String>>,
) -> Result<PathBuf> {
    let files = folder.join("files");
    let complete = folder.join("complete");
    if !complete.exists() {
        debian::ensure(&[("apt-get", "apt"), ("dpkg-deb", "dpkg")])?;
        eprintln!("fetching {what} ({suite}), once");
        let packages = folder.join("packages");
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir_all(&packages)?;
        let archive = Archive::packages(&folder.join("apt"), suite)?;
        let download = || archive.download(&names(&archive)?, suite, &packages);
        // Lists that were fetched another day may name versions that are gone.
        if download().is_err() {
            archive.update()?;
            download()?;
        }
        unpack(&packages, &files, &folder.join("unpack.log"))?;
        fs::write(&complete, "")?;
    }
    Ok(files)
}
