//! cargo-deny: licences, sources and bans of the crates by others (`.cargo/deny.toml`), and RustSec's advisories where
//! somebody has a copy of them.

use anyhow::{Context, Result, bail};
use fs_err as fs;
use host::progress::Progress;
use host::workspace;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The version whose configuration ours is.
const VERSION: &str = "0.20.2";

/// The program in the folder that it is installed to.
const PROGRAM: &str = "bin/cargo-deny";

/// Where cargo-deny looks for a copy of the database that its configuration names.
const DATABASE: &str = "advisory-db-3157b0e258782691";

/// Licences, sources, bans. Needs no network but the registry's, which the build needs too.
pub fn crates() -> Result<()> {
    judge(Command::new(program()?).args(["check", "licenses", "sources", "bans"]))
}

/// Advisories, by a copy of RustSec's database (the repository rustsec/advisory-db).
pub fn advisories(database: &Path) -> Result<()> {
    let folder = workspace::target_dir()?.join("advisories");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    fs::os::unix::fs::symlink(fs::canonicalize(database)?, folder.join(DATABASE))?;
    let configuration = fs::read_to_string(workspace::root()?.join(".cargo/deny.toml"))?;
    let section = "[advisories]\n";
    let path = format!("{section}db-path = {:?}\n", folder.display().to_string());
    let own = folder.join("deny.toml");
    fs::write(&own, configuration.replace(section, &path))?;
    judge(Command::new(program()?).args(["--offline", "--config"]).arg(own).args(["check", "advisories"]))
}

fn judge(command: &mut Command) -> Result<()> {
    let Output { status, stdout, stderr } =
        command.current_dir(workspace::root()?).output().context("cannot start cargo-deny")?;
    if status.success() {
        return Ok(());
    }
    bail!("cargo-deny ended with {status}\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

/// Whether cargo-deny need not be built first.
pub fn is_there() -> Result<bool> {
    Ok(folder()?.join(PROGRAM).is_file())
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("tools").join(format!("cargo-deny-{VERSION}")))
}

/// cargo-deny of [`VERSION`], built once and kept in the target directory.
fn program() -> Result<PathBuf> {
    let folder = folder()?;
    let program = folder.join(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    let progress = Progress::start("cargo-deny");
    let mut install = Command::new(workspace::cargo());
    install.args(["install", "--quiet", "--locked", "cargo-deny", "--version", VERSION, "--root"]).arg(&folder);
    let output = install.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo-deny {VERSION} cannot be installed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    progress.done("built");
    Ok(program)
}
