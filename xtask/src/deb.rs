//! `cargo xtask deb`: the server as a Debian package.
//!
//! What is in it is said in tpm-core/server/Cargo.toml, from which cargo-deb makes it; the program and what comes with
//! it are built here.

use crate::tools::Tool;
use crate::tpm;
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use host::debian::{self, Wanted};
use host::{child, workspace};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that the package's description is written for.
pub const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0" };

/// What finds out which libraries the program depends on.
pub const SHLIBDEPS: Wanted = ("dpkg-shlibdeps", "dpkg-dev");

/// Texts that are compressed: manual pages, and the licences of crates.
const COMPRESSED: [&str; 6] = [
    "quoin-tpm.8",
    "quoin-tpm-ioctl.8",
    "quoin-tpm-provision.8",
    "quoin-tpm-setup.8",
    "quoin-tpm-socket.8",
    "licences",
];

/// Runs the verb.
pub fn run() -> Result<()> {
    println!("{}", make()?.display());
    Ok(())
}

/// Makes the package, and gives its file.
pub fn make() -> Result<PathBuf> {
    debian::ensure(&[SHLIBDEPS])?;
    let target = workspace::target_dir()?;
    tpm::build(tpm::PROFILE)?;
    let documents = target.join("release/documents");
    let mut write = cargo(&["run", "--quiet", "--locked", "--release", "--package", "quoin-tpm"])?;
    write.args(["--example", "documents", "--"]).arg(&documents).env("QUOIN_PROFILE", tpm::PROFILE);
    ensure!(write.status().context("cannot start cargo")?.success(), "the documents cannot be written");
    // cargo-deb, too, packs a manual page, unless it takes it for something that cargo has built, as here.
    for name in COMPRESSED {
        compress(&documents.join(name))?;
    }

    let folder = target.join("deb");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut package = Command::new(CARGO_DEB.program()?);
    package.current_dir(workspace::root()?).args(["--quiet", "--locked", "--no-build", "--package", "quoin-tpm"]);
    let output = package.arg("--output").arg(&folder).output().context("cannot start cargo-deb")?;
    ensure!(output.status.success(), "cargo-deb has failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let file = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(file.lines().last().context("cargo-deb names no package")?))
}

/// A file in FILE.gz, as Debian wants texts: no name and no time in it.
fn compress(file: &Path) -> Result<()> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&fs::read(file)?)?;
    Ok(fs::write(file.with_added_extension("gz"), packed.finish()?)?)
}

fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = child::command(workspace::cargo());
    command.current_dir(workspace::root()?).args(arguments);
    Ok(command)
}
