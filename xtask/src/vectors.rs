//! `cargo xtask vectors`, `cargo xtask keys`, `cargo xtask timing`: the engine's cryptography, judged by what NIST and
//! others have published, by statistics of the keys it makes, and by a clock.
//!
//! The judges are programs of `tests/primitives`; here the vectors are fetched, by the clients of package registries,
//! and kept below `target/vectors`.

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::fetch::{Archive, ensure_packages, find, must};
use host::figures::{Figure, keep_last_line};
use host::{debian, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The Python package with NIST's response files. Its files are named by the judge's table, so that another version
/// needs another look.
const CRYPTOGRAPHY: &str = "cryptography_vectors==50.0.2";
/// Debian's release whose sources of OpenSSL and Mbed TLS have CAVP's DRBG vectors.
const DEBIAN: &str = "bookworm";

/// The number of keys of which docs/figures.md speaks.
const COUNT: u64 = 10_000;

/// Options of `cargo xtask keys`.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// So many keys.
    #[arg(long, value_name = "N", default_value_t = COUNT)]
    count: u64,
}

/// Options of `cargo xtask timing`.
#[derive(Debug, clap::Args)]
pub struct Timing {
    /// How long each pair of classes is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    time: f64,
}

/// Makes RSA keys and prints statistics of them.
pub fn keys(options: &Keys) -> Result<ExitCode> {
    let figure = (options.count == COUNT).then_some(Figure::Keys);
    judge(Command::new(program("keys")?).arg(options.count.to_string()), figure)
}

/// Looks for secrets in the time that operations take.
pub fn timing(options: &Timing) -> Result<ExitCode> {
    debian::ensure(&[("valgrind", "valgrind")])?;
    judge(Command::new(program("timing")?).arg(options.time.to_string()), Some(Figure::Timing))
}

/// Fetches the vectors and runs them.
pub fn vectors() -> Result<ExitCode> {
    let folder = workspace::target_dir()?.join("vectors");
    fs::create_dir_all(&folder)?;
    let cryptography = cryptography(&folder).context("the vectors of pyca/cryptography")?;
    let openssl = source(&folder, "openssl")?.join("test/recipes/30-test_evp_data");
    let mbedtls = source(&folder, "mbedtls")?.join("tests/suites");
    judge(Command::new(program("vectors")?).args([cryptography, openssl, mbedtls]), Some(Figure::Vectors))
}

/// The package's folder, by pip; a wheel is a zip file.
fn cryptography(folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("cryptography");
    if !unpacked.join("complete").exists() {
        ensure_packages(&["python3", "python3-pip"])?;
        let mut pip = Command::new("python3");
        pip.current_dir(folder).args(["-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]);
        must(pip.args(["--only-binary", ":all:", CRYPTOGRAPHY]), &folder.join("pip.log"))?;
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(find(folder, "whl")?).arg(&unpacked);
        must(&mut unzip, &folder.join("unzip.log"))?;
        fs::write(unpacked.join("complete"), "")?;
    }
    Ok(unpacked.join("cryptography_vectors"))
}

/// A source package's folder, by apt-get.
fn source(folder: &Path, package: &str) -> Result<PathBuf> {
    ensure_packages(&["dpkg-dev"])?;
    let archive = Archive::sources(&folder.join("apt"), DEBIAN)?;
    let folder = folder.join(package);
    fs::create_dir_all(&folder)?;
    archive.source_package(package, &folder, "src")
}

/// Builds a program of `tests/primitives` and gives its file.
fn program(name: &str) -> Result<PathBuf> {
    let mut build = Command::new(workspace::cargo());
    build.current_dir(workspace::root()?).args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "primitives",
    ]);
    ensure!(build.args(["--bin", name]).status().context("cannot start cargo")?.success(), "{name} does not compile");
    Ok(workspace::target_dir()?.join("release").join(name))
}

/// Runs a judge. Its last line is the figure.
fn judge(command: &mut Command, figure: Option<Figure>) -> Result<ExitCode> {
    let status = match figure {
        Some(figure) => keep_last_line(figure, command)?,
        None => command.status()?,
    };
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
