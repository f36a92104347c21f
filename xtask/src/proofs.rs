//! `cargo xtask panics`, `cargo xtask coverage`, `cargo xtask codes`, `cargo xtask beside`: what is proved about the
//! engine by looking at it as it is compiled. `cargo xtask explore`: what is proved about the firmware by running it in
//! every order.
//!
//! The tools are programs of `tests/proofs`, which has the libraries for it; here the engine is compiled as they need
//! it.

use anyhow::{Context, Result, ensure};
use booted::Totals;
use fs_err as fs;
use host::build::{self, RUSTFLAGS, TARGET};
use host::figures::{Figure, keep_last_line};
use host::pages::{self, Block};
use host::{debian, workspace, wrapper};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The linker keeps every reference as a relocation, and leaves what only a platform has undefined: nobody runs these
/// programs.
const LINK: [&str; 2] = ["-Clink-arg=--emit-relocs", "-Clink-arg=--unresolved-symbols=ignore-all"];

/// Links the engine as the firmware is linked, and looks for panics in it; and in a program that has one.
pub fn panics() -> Result<ExitCode> {
    let (root, target) = (workspace::root()?, workspace::target_dir()?.join("panics"));
    let mut link = cargo("build")?;
    link.args(["--profile", "firmware", "--package", "panics", "--target", TARGET, "--target-dir"]).arg(&target);
    link.env("CARGO_PROFILE_FIRMWARE_DEBUG", "line-tables-only");
    link.env("CARGO_ENCODED_RUSTFLAGS", [RUSTFLAGS, &LINK].concat().join("\x1f"));
    ensure!(link.status()?.success(), "the engine does not link");
    let mut judge = Command::new(build::proof("panics")?);
    let found = keep_last_line(Figure::Panics, judge.arg(&root).arg(target.join(TARGET).join("firmware")))?;
    Ok(if found.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Options of `cargo xtask explore`.
#[derive(Debug, clap::Args)]
pub struct Explore {
    /// Only the scenes, and the faults of the scenes, whose names contain this. Nothing is kept then.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    scene: String,
}

/// Explores the firmware's decision code on several processors, and finds what is planted in copies of it. The tables
/// are kept for docs/model.md.
pub fn explore(options: &Explore) -> Result<ExitCode> {
    let mut command = cargo("run")?;
    command.args(["--release", "--package", "model", "--"]);
    match options.scene.as_str() {
        "" => command.arg(pages::kept(Block::Model)?),
        part => command.args(["-", part]),
    };
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A proof as a suite of one case.
pub fn as_suite(proof: fn() -> Result<ExitCode>) -> Result<Totals> {
    Ok(Totals::one(proof()? == ExitCode::SUCCESS))
}

/// Options of `cargo xtask coverage`.
#[derive(Debug, clap::Args)]
pub struct Coverage {
    /// Print every line that no test runs.
    #[arg(long)]
    missing: bool,
}

/// Runs the engine's tests with counters compiled in, and prints how many of its lines they run.
pub fn coverage(options: &Coverage) -> Result<ExitCode> {
    let profiles = fresh_folder("coverage")?;
    let mut build = test_build()?;
    build.env("RUSTC_WORKSPACE_WRAPPER", build::own_executable()?).env(wrapper::COVERAGE, "1");
    let programs = test_programs(build)?;
    // A file for each process.
    run_tests(&programs, "LLVM_PROFILE_FILE", &profiles.join("%p.profraw"))?;
    let mut judge = Command::new(build::proof("coverage")?);
    judge.arg(workspace::root()?).arg(profiles).arg(options.missing.to_string()).args(programs);
    Ok(if keep_last_line(Figure::Coverage, &mut judge)?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the engine's tests, and prints the response codes that are documented at commands and that no test got.
pub fn codes() -> Result<ExitCode> {
    let seen = fresh_folder("codes")?.join("seen");
    run_tests(&test_programs(test_build()?)?, "QUOIN_CODES", &seen)?;
    let mut judge = Command::new(build::proof("codes")?);
    let judged = keep_last_line(Figure::Codes, judge.arg(workspace::root()?).arg(seen))?;
    Ok(if judged.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends what the tests of threats send to Debian's swtpm, too, and prints where it answers with another code. How
/// often it does is kept for docs/threats.md.
pub fn beside() -> Result<ExitCode> {
    debian::ensure(&[("swtpm", "swtpm")])?;
    let sent = fresh_folder("beside")?;
    run_tests(&test_programs(test_build()?)?, "QUOIN_RECORD", &sent)?;
    let mut ask = Command::new(build::proof("beside")?);
    ask.arg(sent).arg(pages::kept(Block::Beside)?);
    ensure!(ask.status()?.success(), "swtpm could not be asked");
    Ok(ExitCode::SUCCESS)
}

/// Builds the engine's tests. Wycheproof's cases, which run long and for primitives only, are left out.
fn test_build() -> Result<Command> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args(["test", "--locked", "--no-run"]);
    for package in ["tpm-core", "tpm-codes", "tpm-crypto", "tpm-wire"] {
        command.args(["--package", package]);
    }
    command.args(["--lib", "--test", "spec", "--test", "published", "--test", "zeroing"]);
    Ok(command)
}

/// The files that a build of tests names.
fn test_programs(mut build: Command) -> Result<Vec<PathBuf>> {
    let output = build.stderr(Stdio::piped()).spawn().context("cannot start cargo")?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the engine's tests do not compile:\n{said}");
    let executables = said.lines().filter(|line| line.trim_start().starts_with("Executable "));
    let root = workspace::root()?;
    let programs: Vec<_> =
        executables.filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')')).map(|file| root.join(file)).collect();
    ensure!(!programs.is_empty(), "cargo named no test program:\n{said}");
    Ok(programs)
}

fn run_tests(programs: &[PathBuf], variable: &str, file: &Path) -> Result<()> {
    for program in programs {
        let mut test = Command::new(program);
        test.current_dir(workspace::root()?.join("tpm-core")).arg("--quiet").env(variable, file).stdout(Stdio::null());
        // Counters need room, too.
        test.env("RUST_MIN_STACK", "16777216");
        ensure!(test.status()?.success(), "tests fail: {}", program.display());
    }
    Ok(())
}

/// An empty folder in the target directory.
fn fresh_folder(name: &str) -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("proofs").join(name);
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn cargo(verb: &str) -> Result<Command> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args([verb, "--quiet", "--locked"]);
    Ok(command)
}
