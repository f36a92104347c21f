//! Children that end with us, whatever ends us, and folders that are removed then.

use crate::terminal;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What ends a program that may clear up.
pub const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// util-linux', which every Debian has: the signal that the kernel sends when the parent is gone has to be asked for
/// between fork and exec, where nothing safe can be done from here.
const SETPRIV: &str = "/usr/bin/setpriv";

/// A program that is killed when the thread that starts it is gone, or all of us. That thread has to stay as long as
/// the child.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    if !Path::new(SETPRIV).exists() {
        return Command::new(program);
    }
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Folders to be removed.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on the folder goes when a signal ends us.
pub(crate) fn keep_clean(folder: &Path) {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_path_buf());
}

/// The folder has gone.
pub(crate) fn forget(folder: &Path) {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| one != folder);
}

/// Removes a folder when we are gone without having done so, as after SIGKILL: a shell that hears when we close our end
/// of a pipe.
#[derive(Debug)]
pub(crate) struct Heir(Option<Child>);

impl Heir {
    /// Of this folder; without a shell there is no such path.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        // A signal that ends all of a terminal's processes leaves the folder to us.
        shell.args(["-c", "trap '' INT HUP TERM; read -r nothing; rm -rf \"$0\""]).arg(folder);
        Self(shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok())
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if let Some(mut shell) = self.0.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

/// What [`end_on_signals`] does, until it is told that others see to the signals.
#[derive(Debug)]
pub struct Ending(Handle);

impl Ending {
    /// Signals no longer end us.
    pub fn hand_over(self) {
        self.0.close();
    }
}

/// On a signal the folders are removed, and we end; the children do, too.
pub fn end_on_signals() -> Result<Ending> {
    let mut signals = Signals::new(SIGNALS).context("cannot listen for signals")?;
    let handle = signals.handle();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            terminal::restore();
            // A process that still uses the folder makes nothing new in it that matters.
            for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = fs::remove_dir_all(folder);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(Ending(handle))
}

#[cfg(test)]
mod tests {
    use super::command;
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::thread;

    /// Section 3, row 9: QEMU went on.
    #[test]
    fn a_child_ends_with_who_has_started_it() {
        let started = thread::spawn(|| {
            let child = command("sleep").arg("600").spawn().unwrap();
            // It has asked for the signal when it is what it shall be.
            let name = format!("/proc/{}/comm", child.id());
            while fs::read_to_string(&name).unwrap() != "sleep\n" {
                thread::yield_now();
            }
            child
        });
        let mut child = started.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
