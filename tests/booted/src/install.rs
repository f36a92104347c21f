//! A product as a user installs it: by `cargo install`, with nothing there but cargo's configuration and a linker.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::qemu::Folder;
use host::workspace;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The products: where each lies, and the program that it installs.
const PRODUCTS: [(&str, &str); 1] = [("snp/verify", "quoin-verify")];

/// Installs each and asks it for its version.
pub fn run() -> Result<Totals> {
    let mut totals = Totals::default();
    for (package, program) in PRODUCTS {
        totals += case(&format!("cargo install --path {package}"), installs(package, program));
    }
    Ok(totals)
}

/// Installs the package at `package` to a folder, from a home of cargo's that knows no crate yet, and runs `program`.
fn installs(package: &str, program: &str) -> Result<()> {
    let folder = Folder::new()?;
    let [home, target, root] = ["home", "target", "root"].map(|name| folder.path().join(name));
    fs::create_dir(&home)?;
    // Where crates come from is this computer's business.
    if let Some(file) = configuration() {
        fs::copy(&file, home.join("config.toml"))?;
    }
    let mut install = Command::new(workspace::cargo());
    install.current_dir(workspace::root()?).args(["install", "--quiet", "--locked", "--path", package, "--root"]);
    install.arg(&root).env("CARGO_HOME", &home).env("CARGO_TARGET_DIR", &target);
    let output = install.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let says = Command::new(root.join("bin").join(program)).arg("--version").output()?;
    let says = String::from_utf8(says.stdout)?;
    ensure!(says.starts_with(&format!("{program} ")), "{program} --version says {says:?}");
    Ok(())
}

/// Cargo's configuration in its present home, if there is one; credentials stay.
fn configuration() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))?;
    ["config.toml", "config"].iter().map(|name| home.join(name)).find(|file| Path::is_file(file))
}
