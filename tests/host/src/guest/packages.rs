//! Packages of Debian's other suites, fetched by apt's own client and unpacked below `target/guest`; nothing of them is
//! installed.
//!
//! They are named by suite and not by version, since versions leave a mirror. What was fetched is kept; who wants newer
//! packages deletes the folder.

use crate::fetch::{Archive, must};
use crate::{debian, workspace};
use anyhow::{Context, Result};
use fs_err as fs;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to fetch.
#[derive(Debug)]
pub struct Wanted {
    /// The folder below `target/guest`.
    pub folder: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// The suites that must be there.
    pub suites: &'static str,
    /// Downloads the packages to a folder.
    pub download: fn(&Archive, &Path) -> Result<()>,
}

/// Where libraries lie in a Debian of this architecture.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// The dynamic linker, among them.
pub const LOADER: &str = "ld-linux-x86-64.so.2";

/// Unpacked packages.
#[derive(Debug, Clone)]
pub struct Packages {
    files: PathBuf,
}

impl Packages {
    /// The packages, fetched if they are not there.
    pub fn fetch(wanted: &Wanted) -> Result<Self> {
        let folder = workspace::target_dir()?.join("guest").join(wanted.folder);
        fetch_to(&folder, wanted).with_context(|| {
            format!(
                "{} cannot be had. Needed are apt-get, dpkg-deb, the keys of Debian's archive, and a mirror with {} where this system's own packages come \
                 from; what was fetched lies in {}",
                wanted.what,
                wanted.suites,
                folder.display()
            )
        })
    }

    /// The version of a package that was unpacked, without its epoch and Debian's revision.
    pub fn version(&self, package: &str) -> Result<String> {
        let folder = self.files.with_file_name("packages");
        let start = format!("{package}_");
        let version = fs::read_dir(&folder)?.find_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version = name.strip_prefix(&start)?.split('_').next()?.rsplit("%3a").next()?.to_owned();
            Some(version.rsplit_once('-').map_or(version.clone(), |(upstream, _)| upstream.to_owned()))
        });
        version.with_context(|| format!("{package} is not in {}", folder.display()))
    }

    /// A file, by its path in an installed system.
    pub fn file(&self, path: &str) -> PathBuf {
        self.files.join(path)
    }

    /// A file's contents.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.file(path))?)
    }

    /// The folder with all libraries.
    pub fn libraries(&self) -> PathBuf {
        self.file(LIBRARIES)
    }

    /// A program of these packages on this system, with the libraries that it was linked to: this system's may be
    /// older.
    pub fn command(&self, program: &str) -> Command {
        let libraries = self.libraries();
        let mut command = Command::new(libraries.join(LOADER));
        let private = libraries.join("systemd");
        command.arg("--library-path").arg(format!("{}:{}", libraries.display(), private.display()));
        command.arg(self.file(program));
        command
    }
}

fn fetch_to(folder: &Path, wanted: &Wanted) -> Result<Packages> {
    let files = folder.join("files");
    let complete = folder.join("complete");
    if !complete.exists() {
        debian::ensure(&[("apt-get", "apt"), ("dpkg-deb", "dpkg")])?;
        eprintln!("fetching {} ({}), once", wanted.what, wanted.suites);
        let packages = folder.join("packages");
        let archive = Archive::packages(&folder.join("apt"), wanted.suites)?;
        let download = || {
            let _ = fs::remove_dir_all(&packages);
            fs::create_dir_all(&packages)?;
            (wanted.download)(&archive, &packages)
        };
        // Lists that were fetched another day may name versions that are gone.
        if download().is_err() {
            archive.update()?;
            download()?;
        }
        unpack(&packages, &files, &folder.join("unpack.log"))?;
        fs::write(&complete, "")?;
    }
    Ok(Packages { files })
}

/// Unpacks all packages of a folder to `files`.
fn unpack(packages: &Path, files: &Path, log: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(files);
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            must(Command::new("dpkg-deb").arg("-x").arg(&path).arg(files), log)?;
        }
    }
    Ok(())
}
