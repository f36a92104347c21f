//! Builds what runs without an operating system: the firmware, its payload, the machine.
//!
//! The target triple is the host's (facts of the build: docs/boot.md), so the flags are given here, with target directories of their own,
//! and never workspace-wide. The firmware is built by itself: were the machine built in the same cargo call, the features that the machine wants of a
//! shared dependency would end up in the measured image.

use crate::progress::Progress;
use crate::{workspace, wrapper};
use anyhow::{Context, Result, bail};
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// The triple of everything that runs without an operating system.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Compiler flags of the bare-metal builds. No paths here: they are part of every symbol's name.
pub(crate) const RUSTFLAGS: &[&str] = &[
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Crelocation-model=static",
    "-Ccode-model=small",
    "-Cno-redzone=y",
    "-Cforce-unwind-tables=no",
    "-Cforce-frame-pointers=no",
    "-Cpanic=abort",
    "-Clink-arg=--gc-sections",
    "-Clink-arg=--build-id=none",
    "-Clink-arg=-znorelro",
    "-Clink-arg=-znoexecstack",
    "-Clink-arg=-zmax-page-size=4096",
];

/// A set of packages that are built in one cargo call, into a target directory of their own.
#[derive(Debug, Clone, Copy)]
pub struct Bundle {
    label: &'static str,
    folder: &'static str,
    packages: &'static [&'static str],
    binary: Option<&'static str>,
}

/// The measured image's firmware; its ELF file is `quoin`.
pub const FIRMWARE: Bundle =
    Bundle { label: "firmware", folder: "firmware", packages: &["kernel"], binary: Some("quoin") };
/// The payload at VMPL2; its ELF file is `guest`.
pub const GUEST: Bundle = Bundle { label: "guest", folder: "guest", packages: &["guest"], binary: Some("guest") };
/// The software SEV-SNP machine; its ELF file is `machine`.
pub const MACHINE: Bundle =
    Bundle { label: "machine", folder: "machine", packages: &["machine"], binary: Some("machine") };
/// The deliberately wrong firmwares that test the machine's rules.
pub const RULES: Bundle = Bundle { label: "rules", folder: "machine", packages: &["rules"], binary: None };

/// Builds `bundle` in this checkout and gives the folder with its ELF files. `CARGO_PROFILE_FIRMWARE_*` variables are obeyed, as by any cargo call.
pub fn build(bundle: Bundle) -> Result<PathBuf> {
    build_in(&workspace::root()?, &workspace::target_dir()?, bundle)
}

/// Builds `bundle`, of which only one binary is wanted, and gives its ELF file.
pub fn build_binary(bundle: Bundle) -> Result<PathBuf> {
    build_binary_in(&workspace::root()?, &workspace::target_dir()?, bundle)
}

/// As [`build_binary`], in the checkout `root` and into a folder of `target_dir`.
pub fn build_binary_in(root: &Path, target_dir: &Path, bundle: Bundle) -> Result<PathBuf> {
    let name = bundle.binary.context("this bundle has no single binary")?;
    Ok(build_in(root, target_dir, bundle)?.join(name))
}

fn build_in(root: &Path, target_dir: &Path, bundle: Bundle) -> Result<PathBuf> {
    let target_dir = target_dir.join(bundle.folder);
    forget_if_scripts_changed(root, bundle, &target_dir)?;
    let mut command = cargo("build", root, &target_dir);
    for package in bundle.packages {
        command.args(["--package", package]);
    }
    if let Some(binary) = bundle.binary {
        command.args(["--bin", binary]);
    }
    command
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"))
        .env("RUSTC_WRAPPER", own_executable()?)
        .env(wrapper::MARKER, root)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "never");
    watch(command, bundle.label)?;
    Ok(target_dir.join(TARGET).join("firmware"))
}

/// Builds several bundles at once, each in its own target directory.
pub fn build_all<const N: usize>(bundles: [Bundle; N]) -> Result<[PathBuf; N]> {
    let built = thread::scope(|scope| {
        bundles.map(|bundle| scope.spawn(move || build_binary(bundle))).map(|thread| thread.join())
    });
    let mut paths = Vec::with_capacity(N);
    for result in built {
        paths.push(result.map_err(|_| anyhow::anyhow!("a build thread panicked"))??);
    }
    Ok(paths.try_into().unwrap_or_else(|_| unreachable!("one path a bundle")))
}

fn cargo(verb: &str, root: &Path, target_dir: &Path) -> Command {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(root).arg(verb);
    command.args(["--locked", "--profile", "firmware", "--target", TARGET, "--target-dir"]).arg(target_dir);
    command
}

/// Cargo does not know the linker scripts that the wrapper adds: when one has changed, it must forget what it linked with it.
fn forget_if_scripts_changed(root: &Path, bundle: Bundle, target_dir: &Path) -> Result<()> {
    let scripts = ["linker.ld", "tests/machine/linker.ld", "tests/guest/linker.ld", "tests/rules/linker.ld"];
    let mut hasher = DefaultHasher::new();
    for script in scripts {
        fs::read(root.join(script)).ok().hash(&mut hasher);
    }
    let now = format!("{:016x}\n", hasher.finish());
    let stamp = target_dir.join(format!("{}.linker-scripts", bundle.label));
    if fs::read_to_string(&stamp).is_ok_and(|before| before == now) {
        return Ok(());
    }
    if target_dir.join(TARGET).is_dir() {
        let mut clean = cargo("clean", root, target_dir);
        for package in bundle.packages {
            clean.args(["--package", package]);
        }
        run_quietly(clean)?;
    }
    fs::create_dir_all(target_dir)?;
    fs::write(stamp, now).context("cannot write to the target directory")
}

fn run_quietly(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", name_of(&command)))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{} failed:\n{}", name_of(&command), String::from_utf8_lossy(&output.stderr))
}

/// xtask itself, which is also the wrapper; the suites, which have another executable, find it beside theirs.
pub(crate) fn own_executable() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    if own.file_stem() == Some(OsStr::new("xtask")) {
        return Ok(own);
    }
    own.ancestors()
        .map(|folder| folder.join("xtask"))
        .find(|file| file.is_file())
        .context("xtask is not built: run this suite by `cargo xtask test`, or build it with `cargo build -p xtask`")
}

/// Runs a cargo command, shows what it is compiling, and on failure what it said.
fn watch(mut command: Command, label: &str) -> Result<()> {
    let mut progress = Progress::start(label);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stderr = child.stderr.take().context("cargo has no standard error")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));

    let (mut said, mut compiled, mut state) = (Vec::new(), 0, String::from("waiting for cargo"));
    loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => {
                if let Some(package) = line.trim_start().strip_prefix("Compiling ") {
                    compiled += 1;
                    state = format!("compiling {}, {compiled} so far", package.split(" (").next().unwrap_or(package));
                }
                said.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => progress.update(&state),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if !child.wait()?.success() {
        bail!("building the {label} failed:\n{}", without_warnings(&said.join("\n")));
    }
    progress.done(&if compiled == 0 {
        String::from("up to date")
    } else {
        format!("built, {compiled} crates compiled")
    });
    Ok(())
}

/// What rustc said, without its warnings: `cargo xtask ci` is the place for those.
fn without_warnings(said: &str) -> String {
    let paragraphs = said.split("\n\n").filter(|paragraph| !paragraph.starts_with("warning"));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn name_of(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
