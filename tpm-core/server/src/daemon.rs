//! The program in the background, and its process id in a file, as swtpm's users know both.
//!
//! Nothing here forks, which only `unsafe` could: the program starts itself again, and goes when that one serves. So an
//! exit status of 0 means that clients can connect and that the file of `--pid` is there.

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::process::{chdir, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use std::env::{args_os, current_exe};
use std::fs::{self, File};
use std::io::{Read, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio, id};

/// Starts the daemon, with the options of this process, and waits until it serves. Its exit status if it has failed,
/// when it has said why.
pub(crate) fn start() -> Result<ExitCode> {
    let mut daemon = Command::new(current_exe().context("the program does not know its own file")?);
    daemon.args(args_os().skip(1)).arg("--detached").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = daemon.spawn().context("cannot start the daemon")?;
    let mut said = String::new();
    if let Some(mut out) = daemon.stdout.take() {
        // What it says is that it serves; then it lets go of the pipe.
        out.read_to_string(&mut said)?;
    }
    if said.is_empty() {
        let status = daemon.wait()?.code().and_then(|code| u8::try_from(code).ok());
        return Ok(status.map_or(ExitCode::FAILURE, ExitCode::from));
    }
    // The daemon serves, whether or not somebody reads this.
    let _ = stdout().write_all(said.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// In the daemon, before all else: no terminal's signals reach it.
pub(crate) fn leave_the_terminal() -> Result<()> {
    setsid().context("cannot leave the terminal")?;
    Ok(())
}

/// In the daemon, before it says that it serves: it leaves its folder. What this gives takes the place of the outputs.
pub(crate) fn leave_the_folder() -> Result<File> {
    let nothing = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    chdir("/").context("cannot leave the folder")?;
    Ok(nothing)
}

/// In the daemon, when it serves: it no longer holds what its starter reads and writes.
pub(crate) fn let_go(nothing: &File) -> Result<()> {
    dup2_stdout(nothing)?;
    dup2_stderr(nothing)?;
    Ok(())
}

/// A file with this process' id, which goes when the server ends, unless it names another process by then.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// One that is there is written anew, as swtpm does. A link is not followed.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let flags = i32::try_from(OFlags::NOFOLLOW.bits())?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o644).custom_flags(flags);
        let written = options.open(path).and_then(|mut file| file.write_all(format!("{}\n", id()).as_bytes()));
        written.with_context(|| format!("cannot write the process id to {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PidFile;
    use std::{env, fs, process};

    #[test]
    fn a_file_that_names_another_process_by_then_stays() {
        let path = env::temp_dir().join(format!("quoin-tpm-pid-{}", process::id()));
        drop(PidFile::create(&path).unwrap());
        assert!(!path.exists());
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(path).unwrap();
    }
}
