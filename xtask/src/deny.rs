//! cargo-deny: licences, sources and bans of the crates by others (`.cargo/deny.toml`), and RustSec's advisories where
//! somebody has a copy of them.

use crate::tool::Tool;
use crate::workspace;
use anyhow::{Context, Result, bail};
use fs_err as fs;
use std::path::Path;
use std::process::{Command, Output};

/// In the version whose configuration ours is.
pub const PROGRAM: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Where cargo-deny looks for a copy of the database that its configuration names.
const DATABASE: &str = "advisory-db-3157b0e258782691";

/// Licences, sources, bans. Needs no network but the registry's, which the build needs too.
pub fn crates() -> Result<()> {
    judge(Command::new(PROGRAM.program()?).args(["check", "licenses", "sources", "bans"]))
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
    judge(Command::new(PROGRAM.program()?).args(["--offline", "--config"]).arg(own).args(["check", "advisories"]))
}

fn judge(command: &mut Command) -> Result<()> {
    let Output { status, stdout, stderr } =
        command.current_dir(workspace::root()?).output().context("cannot start cargo-deny")?;
    if status.success() {
        return Ok(());
    }
    bail!("cargo-deny ended with {status}\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}
