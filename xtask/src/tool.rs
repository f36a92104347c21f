//! Programs that the crates' registry has: built once, and kept in the target directory.

use crate::progress::Progress;
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// A program by the name of its package, in the one version that is known to do.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Of the package and of its program.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
}

impl Tool {
    fn folder(&self) -> Result<PathBuf> {
        Ok(workspace::target_dir()?.join("tools").join(format!("{}-{}", self.name, self.version)))
    }

    fn file(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin").join(self.name))
    }

    /// Whether it need not be built first.
    pub fn is_there(&self) -> Result<bool> {
        Ok(self.file()?.is_file())
    }

    /// The program's file; what is not there is built.
    pub fn program(&self) -> Result<PathBuf> {
        let Self { name, version } = self;
        if !self.is_there()? {
            let progress = Progress::start(name);
            let mut install = Command::new(workspace::cargo());
            install.args(["install", "--quiet", "--locked", name, "--version", version, "--root"]).arg(self.folder()?);
            let output = install.output().context("cannot start cargo")?;
            if !output.status.success() {
                bail!("{name} {version} cannot be installed:\n{}", String::from_utf8_lossy(&output.stderr));
            }
            progress.done("built");
        }
        self.file()
    }
}
