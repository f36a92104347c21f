//! Builds what runs without an operating system: the firmware, its payload, the machine.
//!
//! The target triple is the host's (facts of the build: docs/boot.md), so the flags are given here, with a target
//! directory of their own, and never workspace-wide.

use crate::progress::Progress;
use crate::{child, workspace, wrapper};
use anyhow::{Context, Result, bail, ensure};
use core::hash::{Hash, Hasher};
use core::time::Duration;
use fs_err as fs;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// The triple of everything that runs without an operating system.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Compiler flags of the bare-metal builds. No paths here: they are part of every symbol's name.
pub const RUSTFLAGS: &[&str] = &[
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

/// A set of packages that are built in one cargo call.
///
/// All go to one target directory, and share what they depend on. The machine wants no feature of a shared crate that
/// the firmware does not want, so building it beside the firmware does not change the image: the suite "image:
/// reproducible and as committed" builds the image once without it.
#[derive(Debug, Clone, Copy)]
pub struct Bundle {
    label: &'static str,
    packages: &'static [&'static str],
}

/// What the image is packed from.
pub const IMAGE: Bundle = Bundle { label: "image", packages: &["arch", "guest"] };
/// The image's programs, and the software SEV-SNP machine.
pub const IMAGE_AND_MACHINE: Bundle = Bundle { label: "firmware", packages: &["arch", "guest", "machine"] };
/// All of [`IMAGE_AND_MACHINE`], and the deliberately wrong firmwares that test the machine's rules.
pub const RULES: Bundle = Bundle { label: "rules", packages: &["arch", "guest", "machine", "rules"] };

/// The example of another image at VMPL0, with the payload and the machine.
pub const PARAVISOR: Bundle = Bundle { label: "paravisor", packages: &["paravisor", "guest", "machine"] };

/// The ELF files of a bundle. Those of packages that were not in it may be missing or old.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// The measured image's firmware.
    pub fn firmware(&self) -> PathBuf {
        self.0.join("quoin")
    }

    /// The example of another image at VMPL0.
    pub fn paravisor(&self) -> PathBuf {
        self.0.join("paravisor")
    }

    /// The payload at VMPL2.
    pub fn guest(&self) -> PathBuf {
        self.0.join("guest")
    }

    /// The software SEV-SNP machine.
    pub fn machine(&self) -> PathBuf {
        self.0.join("machine")
    }

    /// The deliberately wrong firmwares.
    pub fn rules(&self) -> PathBuf {
        self.0.join("rules")
    }
}

/// Builds `bundle` in this checkout. `CARGO_PROFILE_FIRMWARE_*` variables are obeyed, as by any cargo call.
pub fn build(bundle: Bundle) -> Result<Programs> {
    build_in(&workspace::root()?, &workspace::target_dir()?, bundle)
}

/// As [`build`], in the checkout `root` and into a folder of `target_dir`.
pub fn build_in(root: &Path, target_dir: &Path, bundle: Bundle) -> Result<Programs> {
    let target_dir = target_dir.join("bare-metal");
    forget_if_scripts_changed(root, &target_dir)?;
    let mut command = cargo("build", root, &target_dir);
    for package in bundle.packages {
        command.args(["--package", package]);
    }
    command
        .arg("--bins")
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"))
        .env("RUSTC_WRAPPER", own_executable()?)
        .env(wrapper::MARKER, root)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "120");
    watch(command, bundle.label)?;
    Ok(Programs(target_dir.join(TARGET).join("firmware")))
}

/// Builds a program of `tests/proofs` and gives its file.
pub fn proof(name: &str) -> Result<PathBuf> {
    program("proofs", name)
}

/// Builds the monitor of `tests/embedders` and gives its file.
pub fn monitor() -> Result<PathBuf> {
    program("embedders", "monitor")
}

/// Builds the operator's program and gives its file.
pub fn operator() -> Result<PathBuf> {
    Ok(as_xtask(&["quoin-authority"])?.join("quoin-authority"))
}

/// Builds `quoin-anchor` and `quoin-relay`, and gives the folder where they are.
pub fn anchors() -> Result<PathBuf> {
    as_xtask(&["quoin-anchor", "quoin-relay"])
}

/// Builds programs as `xtask` is built: what they share is there.
fn as_xtask(packages: &[&str]) -> Result<PathBuf> {
    let mut build = Command::new(workspace::cargo());
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--profile", "xtask", "--bins"]);
    packages.iter().for_each(|package| _ = build.args(["--package", package]));
    ensure!(build.status().context("cannot start cargo")?.success(), "{packages:?} do not compile");
    Ok(workspace::target_dir()?.join("xtask"))
}

fn program(package: &str, name: &str) -> Result<PathBuf> {
    let mut build = Command::new(workspace::cargo());
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--package", package, "--bin", name]);
    ensure!(build.status().context("cannot start cargo")?.success(), "{package} does not compile");
    Ok(workspace::target_dir()?.join("debug").join(name))
}

/// Builds a program of `tests/peer`, optimised, and gives its file.
pub fn peer(name: &str) -> Result<PathBuf> {
    let mut build = Command::new(workspace::cargo());
    build.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release", "--package", "peer"]);
    ensure!(
        build.args(["--bin", name]).status().context("cannot start cargo")?.success(),
        "tests/peer does not compile"
    );
    Ok(workspace::target_dir()?.join("release").join(name))
}

fn cargo(verb: &str, root: &Path, target_dir: &Path) -> Command {
    let mut command = child::command(workspace::cargo());
    command.current_dir(root).arg(verb);
    command.args(["--locked", "--profile", "firmware", "--target", TARGET, "--target-dir"]).arg(target_dir);
    command
}

/// Cargo does not know the linker scripts that the wrapper adds: when one has changed, it must forget what it linked
/// with it.
fn forget_if_scripts_changed(root: &Path, target_dir: &Path) -> Result<()> {
    let scripts = ["linker.ld", "tests/machine/linker.ld", "tests/guest/linker.ld", "tests/rules/linker.ld"];
    let mut hasher = DefaultHasher::new();
    for script in scripts {
        fs::read(root.join(script)).ok().hash(&mut hasher);
    }
    let now = format!("{:016x}\n", hasher.finish());
    let stamp = target_dir.join("linker-scripts");
    if fs::read_to_string(&stamp).is_ok_and(|before| before == now) {
        return Ok(());
    }
    if target_dir.join(TARGET).is_dir() {
        let mut clean = cargo("clean", root, target_dir);
        for package in RULES.packages {
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

/// xtask itself, which is also the wrapper; the suites, which have another executable, find it beside theirs: `cargo
/// xtask` puts it into the folder of its profile, and other cargo calls into that of `dev`.
pub fn own_executable() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    if own.file_stem() == Some(OsStr::new("xtask")) {
        return Ok(own);
    }
    let candidates =
        ["xtask/xtask", "xtask"].into_iter().flat_map(|name| own.ancestors().map(move |folder| folder.join(name)));
    candidates
        .into_iter()
        .find(|file| file.is_file())
        .context("xtask is not built: run this suite by `cargo xtask test`, or build it with `cargo build -p xtask`")
}

/// Runs a cargo command, shows how far it is, and on failure what it said.
fn watch(mut command: Command, label: &str) -> Result<()> {
    let mut progress = Progress::start(label);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stderr = child.stderr.take().context("cargo has no standard error")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || pieces(stderr, |piece| sender.send(piece).is_ok()));

    let (mut said, mut compiled, mut state) = (Vec::new(), 0, String::from("waiting for cargo"));
    loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(piece) => match how_far(&piece) {
                Some(far) => {
                    state = far;
                    progress.update(&state);
                }
                None => {
                    compiled += u32::from(piece.trim_start().starts_with("Compiling "));
                    said.push(piece);
                }
            },
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

/// Gives what cargo says, a line or a state of its progress bar (which ends with a carriage return) at a time, until
/// nobody wants it any more.
fn pieces(said: impl Read, mut wanted: impl FnMut(String) -> bool) {
    let mut said = BufReader::new(said).bytes().map_while(Result::ok).peekable();
    while said.peek().is_some() {
        let piece: Vec<u8> = said.by_ref().take_while(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        if !wanted(String::from_utf8_lossy(&piece).into_owned()) {
            return;
        }
    }
}

/// What cargo's progress bar says, as in `Building [==>   ] 8/57: syn, typenum`.
fn how_far(piece: &str) -> Option<String> {
    let (_, state) = piece.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (count, crates) = state.split_once(':').unwrap_or((state, ""));
    let (done, total) = count.trim().split_once('/')?;
    Some(format!("{done} of {total} steps, compiling {}", crates.trim()))
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

#[cfg(test)]
mod tests {
    use super::{how_far, pieces};

    #[test]
    fn lines_and_states_of_the_progress_bar_are_told_apart() {
        let said = "   Compiling syn v2.0.1\n    Building [=>     ] 8/57: syn, typenum   \r   Compiling quote v1.0.47";
        let mut heard = Vec::new();
        pieces(said.as_bytes(), |piece| {
            heard.push(piece);
            true
        });
        assert_eq!(heard.len(), 3);
        let states: Vec<_> = heard.iter().map(|piece| how_far(piece)).collect();
        assert_eq!(states, [None, Some(String::from("8 of 57 steps, compiling syn, typenum")), None]);
    }
}
