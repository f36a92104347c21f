//! Programs that cargo installs from the registry, each once, into the target directory.

use anyhow::{Context, Result, bail};
use host::progress::Progress;
use host::workspace;
use std::path::PathBuf;
use std::process::Command;

/// A package that installs the program of its name, and the version that our configuration for it is made for.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Package and program.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
}

impl Tool {
    /// Whether it need not be built first.
    pub fn is_there(self) -> Result<bool> {
        Ok(self.file()?.is_file())
    }

    fn folder(self) -> Result<PathBuf> {
        Ok(workspace::target_dir()?.join("tools").join(format!("{}-{}", self.name, self.version)))
    }

    fn file(self) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin").join(self.name))
    }

    /// Its file, built if it is not there.
    pub fn program(self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let program = self.file()?;
        if program.is_file() {
            return Ok(program);
        }
        let progress = Progress::start(name);
        let mut install = Command::new(workspace::cargo());
        // Not optimised: it is compiled for longer than it ever runs.
        install.args(["install", "--quiet", "--debug", "--locked", name, "--version", version, "--root"]);
        install.arg(self.folder()?).env("CARGO_PROFILE_DEV_DEBUG", "0");
        let output = install.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("{name} {version} cannot be installed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        progress.done("built");
        Ok(program)
    }
}
