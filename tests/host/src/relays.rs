//! `quoin-relay` at the console of a firmware.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::qemu::Folder;
use crate::{child, devices};

/// A program that runs until it goes.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts it, and waits for the line that has `ready` in it; all lines up to that.
    pub(crate) fn start(mut command: Command, ready: &str) -> Result<(Self, Vec<String>)> {
        let mut running = Self(command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?);
        let mut lines = Vec::new();
        for line in BufReader::new(running.0.stdout.take().context("no output")?).lines() {
            lines.push(line?);
            if lines.last().is_some_and(|line| line.contains(ready)) {
                return Ok((running, lines));
            }
        }
        anyhow::bail!("{command:?} has ended: {lines:?}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay that runs.
#[derive(Debug)]
pub struct Relay {
    program: PathBuf,
    arguments: Vec<String>,
    running: Option<Running>,
    folder: Folder,
}

impl Relay {
    /// Starts the one of these programs, with further arguments.
    pub fn start(programs: &Path, arguments: Vec<String>) -> Result<Self> {
        Self::at(Folder::new()?, programs, arguments)
    }

    /// Starts one to which carriers may come, at [`Relay::port`].
    pub fn for_carriers(programs: &Path) -> Result<Self> {
        let folder = Folder::new()?;
        let port = port(&folder).display().to_string();
        Self::at(folder, programs, ["--migration-listen".into(), port].into())
    }

    fn at(folder: Folder, programs: &Path, arguments: Vec<String>) -> Result<Self> {
        let mut relay = Self { program: programs.join("quoin-relay"), arguments, running: None, folder };
        relay.restart()?;
        Ok(relay)
    }

    /// Kills it (SIGKILL), and starts another in its place.
    pub fn restart(&mut self) -> Result<()> {
        self.running = None;
        let mut command = child::command(&self.program);
        command.arg("--socket").arg(self.socket()).args(&self.arguments);
        self.running = Some(Running::start(command, "waits for a firmware")?.0);
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("programs")
    }

    /// Where a carrier may come.
    #[must_use]
    pub fn port(&self) -> PathBuf {
        port(&self.folder)
    }

    /// QEMU's options for the console behind which it is.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        devices::console_at(&self.socket())
    }

    /// The same where QEMU connects again to a relay that was started again.
    #[must_use]
    pub fn lasting_options(&self) -> Vec<String> {
        devices::lasting_console_at(&self.socket())
    }
}

fn port(folder: &Folder) -> PathBuf {
    folder.path().join("carriers")
}
