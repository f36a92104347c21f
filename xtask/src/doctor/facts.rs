//! What is on this computer: looked at, and left as it is. No package manager is asked, nothing is built.

use super::host::Host;
use super::mirror::{self, Reach};
use crate::debian::{self, Installer, Wanted};
use crate::{deny, qemu, workspace};
use anyhow::Result;
use procfs::Current;
use std::path::Path;
use std::process::{Command, Stdio};

/// Suites of Debian that guests are made of, and the folder below `target/guest` that packages of it are kept in.
pub const SUITES: [(&str, &str); 3] = [("trixie", "debian"), ("trixie-backports", "debian"), ("forky", "ovmf")];
/// The ports that `run` serves the TPM at.
pub const PORTS: [u16; 2] = [2321, 2322];

/// QEMU, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Qemu {
    /// Its version.
    pub version: String,
    /// It has TCG, with which the software machine runs.
    pub tcg: bool,
    /// It knows the CPU model that the software machine needs.
    pub model: bool,
    /// It can use KVM.
    pub kvm: bool,
    /// It loads IGVM files.
    pub igvm: bool,
    /// It launches SEV-SNP guests.
    pub snp: bool,
}

/// Rust, as the checkout wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rust {
    /// What rustc says of itself in the checkout; nothing if it is not there.
    pub version: Option<String>,
    /// The version that rust-toolchain.toml names.
    pub wanted: String,
    /// Parts of the toolchain that are not there.
    pub missing: Vec<&'static str>,
    /// cargo-deny is there.
    pub deny: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// QEMU, if it is there.
    pub qemu: Option<Qemu>,
    /// MiB of memory that a new program may use.
    pub memory: Option<u64>,
    /// Cores.
    pub cores: usize,
    /// MiB that are free where cargo's target directory is.
    pub disk: Option<u64>,
    /// Which of [`PORTS`] are taken.
    pub taken: Vec<u16>,
    /// Programs that were looked for and not found.
    pub absent: Vec<Wanted>,
    /// How packages come.
    pub installer: Installer,
    /// Rust.
    pub rust: Rust,
    /// The suites that can be reached, by [`SUITES`].
    pub suites: Vec<(&'static str, Reach)>,
    /// What of [`SUITES`]' folders is complete.
    pub fetched: Vec<&'static str>,
    /// The keys of Debian's archive are there.
    pub keys: bool,
    /// What it would be as a host of real guests.
    pub host: Host,
}

impl Facts {
    /// Looks for everything, and for these programs.
    pub fn look(programs: &[Wanted]) -> Result<Self> {
        let target = workspace::target_dir()?;
        let is_there = |folder: &&str| target.join("guest").join(folder).join("complete").exists();
        let fetched: Vec<&str> = SUITES.iter().map(|(_, folder)| *folder).filter(is_there).collect();
        Ok(Self {
            qemu: Qemu::ask(),
            memory: procfs::Meminfo::current().ok().and_then(|memory| memory.mem_available).map(|bytes| bytes >> 20),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            disk: free(&target),
            taken: PORTS
                .into_iter()
                .filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_err())
                .collect(),
            absent: programs.iter().copied().filter(|(program, _)| debian::find(program).is_none()).collect(),
            installer: debian::installer(),
            rust: Rust::ask()?,
            suites: mirror::reach(&SUITES.map(|(suite, _)| suite)),
            fetched,
            keys: Path::new(debian::KEYS).exists(),
            host: Host::look(),
        })
    }
}

impl Qemu {
    fn ask() -> Option<Self> {
        let program = debian::find(qemu::PROGRAM.0)?;
        let said = |arguments: &[&str]| said(Command::new(&program).args(arguments)).unwrap_or_default();
        let version = said(&["--version"]);
        let version = version.lines().next()?.trim_start_matches("QEMU emulator version ").to_owned();
        let has = |topic: &str, name: &str| words_have(&said(&[topic, "help"]), name);
        Some(Self {
            version,
            tcg: has("-accel", "tcg"),
            model: has("-cpu", qemu::CPU_MODEL),
            kvm: has("-accel", "kvm"),
            igvm: has("-object", "igvm-cfg"),
            snp: has("-object", "sev-snp-guest"),
        })
    }
}

impl Rust {
    fn ask() -> Result<Self> {
        let root = workspace::root()?;
        let wanted = std::fs::read_to_string(root.join("rust-toolchain.toml")).unwrap_or_default();
        let wanted =
            wanted.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap_or_default().trim_matches('"');
        let cargo = workspace::cargo();
        let mut missing = Vec::new();
        for (part, arguments) in [("clippy", ["clippy", "--version"]), ("rustfmt", ["fmt", "--version"])] {
            if said(Command::new(&cargo).current_dir(&root).args(arguments)).is_none() {
                missing.push(part);
            }
        }
        let sysroot = said(Command::new("rustc").current_dir(&root).args(["--print", "sysroot"]));
        let lld = "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
        if !sysroot.is_some_and(|sysroot| Path::new(sysroot.trim()).join(lld).exists()) {
            missing.push("rust-lld");
        }
        let version = said(Command::new("rustc").current_dir(&root).arg("--version"));
        Ok(Self {
            version: version.map(|text| text.trim().to_owned()),
            wanted: wanted.to_owned(),
            missing,
            deny: deny::PROGRAM.is_there()?,
        })
    }
}

/// What a command prints, if it ends well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words_have(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|found| found == word)
}

/// MiB that are free where this path is, or will be.
fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let statistics = rustix::fs::statvfs(there).ok()?;
    Some((statistics.f_bavail * statistics.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::{free, words_have};
    use std::path::Path;

    #[test]
    fn names_are_whole_words() {
        let said = "x86 EPYC-Milan-v2         AMD EPYC-Milan Processor\nx86 EPYC-Rome";
        assert!(words_have(said, "EPYC-Milan") && words_have(said, "EPYC-Rome") && !words_have(said, "EPYC"));
    }

    #[test]
    fn a_folder_that_will_be_is_where_its_parent_is() {
        assert!(free(Path::new("/tmp/no/such/folder")).unwrap() > 0);
    }
}
