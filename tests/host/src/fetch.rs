//! Packages, and commands that must succeed.

use crate::debian;
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

/// Runs a command to its end; what it said goes to `log`, and beside the error.
pub fn must(command: &mut Command, log: &Path) -> Result<()> {
    let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = said.lines().rev().take(3).collect();
    bail!(
        "{name} ended with {status} (see {}): {}",
        log.display(),
        tail.into_iter().rev().collect::<Vec<_>>().join(" | ")
    )
}

/// Runs a command for at most `limit`; nothing if it took longer. Its process group is ended with it.
pub fn within(command: &mut Command, limit: Duration) -> Result<Option<Output>> {
    use std::os::unix::process::CommandExt;
    let name = command.get_program().to_string_lossy().into_owned();
    let said = tempfile()?;
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            let group = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    Ok(status.map(|status| Output { status, stdout: read_from_start(said), stderr: Vec::new() }))
}

/// A file without a name.
fn tempfile() -> Result<fs::File> {
    let folder = crate::qemu::Folder::new()?;
    let path = folder.path().join("said");
    let file = fs::OpenOptions::new().read(true).append(true).create_new(true).open(path)?;
    Ok(file)
}

fn read_from_start(mut file: fs::File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    bytes
}

/// Makes sure that Debian packages are installed which have no program of their own.
pub fn ensure_packages(packages: &[&'static str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() { Ok(()) } else { debian::install_packages(&missing) }
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]).output();
    status.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// Another Debian's packages, by apt-get with a root of its own, from where the system's own come.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
}

impl Archive {
    /// The archive's sources of `suite`, listed in `folder`; brought up to date if it was not there.
    pub fn sources(folder: &Path, suite: &str) -> Result<Self> {
        Self::open(folder, "deb-src", suite)
    }

    /// The archive's packages of `suites`, listed in `folder`; brought up to date if it was not there.
    pub fn packages(folder: &Path, suites: &str) -> Result<Self> {
        Self::open(folder, "deb", suites)
    }

    fn open(folder: &Path, types: &str, suites: &str) -> Result<Self> {
        let archive = Self { root: folder.to_path_buf() };
        if folder.join("complete").exists() {
            return Ok(archive);
        }
        let made = [
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "etc/apt/apt.conf.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ];
        for made in made {
            fs::create_dir_all(folder.join(made))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("etc/apt/sources.list.d/suites.sources"), source(types, suites)?)?;
        archive.update()?;
        fs::write(folder.join("complete"), "")?;
        Ok(archive)
    }

    /// Brings the lists up to date.
    pub fn update(&self) -> Result<()> {
        let mut update = self.apt_get(&self.root);
        // By default a mirror that is not there is a warning.
        must(update.args(["-o", "APT::Update::Error-Mode=any", "update"]), &self.root.join("update.log"))
    }

    /// The names of the packages that an installation of `packages` would bring to an empty system; those of `suite`
    /// where it has them.
    pub fn closure(&self, packages: &[&str], suite: &str) -> Result<Vec<String>> {
        let mut command = self.apt_get(&self.root);
        command.args(["--simulate", "--no-install-recommends", "-t", suite, "install"]).args(packages);
        let output = command.stdin(Stdio::null()).output().context("cannot start apt-get")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "apt-get finds no way to install {}: {}",
            packages.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let names = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads `packages` to `folder`; those of `suite` where it has them.
    pub fn download(&self, packages: &[String], suite: &str, folder: &Path) -> Result<()> {
        let mut command = self.apt_get(folder);
        must(command.args(["-t", suite, "download"]).args(packages), &self.root.join("download.log"))
    }

    fn apt_get(&self, folder: &Path) -> Command {
        let mut command = Command::new("apt-get");
        let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
        command.current_dir(folder).arg("-o").arg(setting("Dir", &self.root));
        command.arg("-o").arg(setting("Dir::State::status", &self.root.join("status")));
        // The system's proxies and checks stay as they are.
        command.arg("-o").arg("Dir::Etc::main=/etc/apt/apt.conf").arg("-o").arg("Dir::Etc::parts=/etc/apt/apt.conf.d");
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3"]);
        command
    }

    /// A source package, unpacked to `folder/name`.
    pub fn source_package(&self, package: &str, folder: &Path, name: &str) -> Result<PathBuf> {
        let unpacked = folder.join(name);
        if !unpacked.exists() {
            must(self.apt_get(folder).args(["source", "--download-only", package]), &folder.join("source.log"))?;
            let described = find(folder, "dsc")?;
            let mut unpack = Command::new("dpkg-source");
            unpack.current_dir(folder).args(["--no-check", "-x"]).args([described.as_os_str(), OsStr::new(name)]);
            must(&mut unpack, &folder.join("unpack.log"))?;
        }
        Ok(unpacked)
    }
}

/// A file with this extension.
pub fn find(folder: &Path, extension: &str) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension() == Some(OsStr::new(extension)))
        .with_context(|| format!("there is no .{extension} in {}", folder.display()))
}

/// Where the system's own packages come from: the first archive that apt's sources name.
pub fn archive() -> Result<String> {
    let deb822 = fs::read_to_string("/etc/apt/sources.list.d/debian.sources");
    let uri = match &deb822 {
        Ok(text) => {
            text.lines().find_map(|line| line.strip_prefix("URIs:")).and_then(|uris| uris.split_whitespace().next())
        }
        Err(_) => None,
    };
    let list = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let listed = || {
        list.lines().find_map(|line| line.strip_prefix("deb ")?.split_whitespace().find(|word| word.contains("://")))
    };
    Ok(uri.or_else(listed).context("apt's sources name no archive")?.to_owned())
}

/// The system's first source, but of `suites`.
fn source(types: &str, suites: &str) -> Result<String> {
    let (uri, keys) = (archive()?, debian::KEYS);
    ensure!(Path::new(keys).exists(), "the archive's keys are not here: install debian-archive-keyring");
    Ok(format!("Types: {types}\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keys}\n"))
}
