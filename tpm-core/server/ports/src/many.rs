//! Many TPMs in one process: a folder for the state of each, and two Unix sockets of its name.
//!
//! Whoever makes a folder below the root orders a TPM, or brings one. The server finds it within half a second, and
//! listens at `SOCKETS/NAME` and `SOCKETS/NAME.ctrl` as for one TPM. The TPM is loaded when its first client comes. It
//! goes when the folder does; when it is switched off and nobody is connected; and while nobody is connected for long
//! it rests: of its memory its state alone stays.
//!
//! Nothing that happens to one TPM ends another or the server: what is refused is said in the log, once.

use crate::backend::{Backend, Resting};
use crate::connected;
use crate::guests::{Guests, raise_limit};
use crate::machine::Machine;
use crate::ports::{UnixPorts, listen_unix};
use crate::settings::Stop;
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How often the server looks whether it shall end.
const STOP_INTERVAL: Duration = Duration::from_millis(100);
/// How often it looks which folders there are, and which TPMs nobody uses.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The longest name of a TPM.
const LONGEST_NAME: usize = 64;
/// The longest path of a Unix socket (sun_path, with its end).
const LONGEST_PATH: usize = 107;
/// Clients of one TPM.
const GUESTS: usize = 32;
/// Descriptors that a TPM may need: two listeners, its folder, a VM's two connections.
const DESCRIPTORS: u64 = 5;

/// Makes what stands behind a TPM's sockets, of the folder of its state.
pub type Load<'a> = dyn Fn(&Path) -> Result<Box<dyn Backend>> + 'a;

/// Where TPMs are, and what they may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// TPMs at a time; further folders are not served.
    pub most: usize,
    /// How long nobody is connected to a TPM before it rests.
    pub idle: Duration,
}

/// All of them.
pub struct Many<'a> {
    root: PathBuf,
    sockets: PathBuf,
    limits: Limits,
    load: &'a Load<'a>,
    served: BTreeMap<String, Served>,
    /// Names that were refused, which is said once.
    refused: BTreeSet<OsString>,
    /// The root, locked.
    _root: OwnedFd,
}

/// A TPM that clients can reach.
struct Served {
    /// Which folder it is: device and inode. Another of its name is another TPM.
    folder: (u64, u64),
    ports: UnixPorts,
    life: Life,
    guests: Guests,
    /// When somebody was connected last.
    used: Instant,
}

enum Life {
    /// Its folder has all of it.
    Off,
    Resting(Box<dyn Resting>),
    On(Arc<Machine>),
}

impl<'a> Many<'a> {
    /// Those whose folders are in `root`, at sockets in `sockets`. Both folders are made if they are not there, though
    /// not those that they are in. Clients can connect when this returns.
    ///
    /// # Errors
    /// Another server has the root, or a folder cannot be made or read.
    pub fn new(root: &Path, sockets: &Path, limits: Limits, load: &'a Load<'a>) -> Result<Self> {
        for folder in [root, sockets] {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
                }
                _ => {}
            }
        }
        let [root, sockets] = [root, sockets].map(Path::to_path_buf);
        let same = fs::canonicalize(&root)? == fs::canonicalize(&sockets)?;
        ensure!(!same, "sockets want a folder of their own: {} has the TPMs", root.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let locked = open(&root, flags, Mode::empty()).with_context(|| format!("cannot read {}", root.display()))?;
        match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => bail!("another server has the TPMs in {}", root.display()),
            outcome => outcome.with_context(|| format!("cannot lock {}", root.display()))?,
        }
        raise_limit(u64::try_from(limits.most)?.saturating_mul(DESCRIPTORS));
        let (served, refused) = (BTreeMap::new(), BTreeSet::new());
        let mut many = Self { root, sockets, limits, load, served, refused, _root: locked };
        many.look()?;
        Ok(many)
    }

    /// How many TPMs clients can reach.
    #[must_use]
    pub fn count(&self) -> usize {
        self.served.len()
    }

    /// Serves them until `stop` is set. Then each ends in order.
    ///
    /// # Errors
    /// The root cannot be read any more, or connections cannot be waited for.
    pub fn serve(mut self, stop: &Stop) -> Result<()> {
        let outcome = self.serve_on(stop);
        for (name, served) in &mut self.served {
            served.end(name);
        }
        outcome
    }

    fn serve_on(&mut self, stop: &Stop) -> Result<()> {
        let mut looked = Instant::now();
        while !stop.is_set() {
            for name in self.wait(STOP_INTERVAL)? {
                self.welcome(&name, stop);
            }
            if looked.elapsed() >= LOOK_INTERVAL {
                self.look()?;
                self.rest();
                looked = Instant::now();
            }
        }
        Ok(())
    }

    /// Those to whom a client has connected within the interval.
    fn wait(&self, interval: Duration) -> Result<Vec<String>> {
        let interval = Timespec::try_from(interval)?;
        let doors = self.served.values().flat_map(|served| served.ports.doors());
        let mut doors: Vec<_> = doors.map(|door| PollFd::new(door, PollFlags::IN)).collect();
        match poll(&mut doors, Some(&interval)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error).context("cannot wait for connections any more"),
        }
        let ready = doors.chunks(2).zip(self.served.keys());
        let ready = ready.filter(|(doors, _)| doors.iter().any(|door| !door.revents().is_empty()));
        Ok(ready.map(|(_, name)| name.clone()).collect())
    }

    /// Takes in the clients of a TPM, which is loaded if it is not there. Who comes to one that cannot be loaded is
    /// turned away.
    fn welcome(&mut self, name: &str, stop: &Stop) {
        let Some(served) = self.served.get_mut(name) else { return };
        loop {
            match served.ports.accept() {
                Ok(Some((socket, door))) => match served.machine(&self.root.join(name), self.load, stop) {
                    Ok(machine) => connected(socket, door, &machine, &served.guests),
                    Err(error) => log::error!("TPM {name}: a client is turned away: {error:#}"),
                },
                Ok(None) => return,
                Err(error) => {
                    log::error!("TPM {name} is served no longer: {error:#}");
                    served.end(name);
                    self.served.remove(name);
                    self.refused.insert(name.into());
                    return;
                }
            }
        }
    }

    /// Serves the folders that have come, and ends the TPMs of those that have gone.
    fn look(&mut self) -> Result<()> {
        let context = || format!("cannot read {}", self.root.display());
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&self.root).with_context(context)? {
            there.insert(entry.with_context(context)?.file_name());
        }
        let is_there = |name: &str, served: &Served| {
            fs::symlink_metadata(self.root.join(name)).is_ok_and(|found| identity(&found) == served.folder)
        };
        let gone = self.served.iter().filter(|(name, served)| !is_there(name, served));
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some(mut served) = self.served.remove(&name) {
                log::warn!("TPM {name} ends: its folder is gone");
                served.abandon();
            }
        }
        self.refused.retain(|name| there.contains(name));
        for name in there {
            if self.refused.contains(&name) || name.to_str().is_some_and(|name| self.served.contains_key(name)) {
                continue;
            }
            match self.admit(&name) {
                Ok(name) => log::debug!("TPM {name} can be reached"),
                Err(error) => {
                    log::error!("no TPM in {}: {error:#}", self.root.join(&name).display());
                    self.refused.insert(name);
                }
            }
        }
        Ok(())
    }

    /// Listens for a TPM of this name.
    fn admit(&mut self, name: &OsStr) -> Result<String> {
        let name = checked_name(name)?;
        let found = fs::symlink_metadata(self.root.join(name))?;
        ensure!(found.is_dir(), "it is no folder");
        ensure!(
            self.served.len() < self.limits.most,
            "{} TPMs are served, and no more (--most); the server looks again when the folder was away",
            self.limits.most
        );
        let path = self.sockets.join(name);
        let length = path.as_os_str().len() + ".ctrl".len();
        ensure!(length <= LONGEST_PATH, "the path of its socket is too long: {}", path.display());
        let served = Served {
            folder: identity(&found),
            ports: listen_unix(&path)?,
            life: Life::Off,
            guests: Guests::at_most(GUESTS),
            used: Instant::now(),
        };
        self.served.insert(name.to_owned(), served);
        Ok(name.to_owned())
    }

    /// Gives back the memory of TPMs that nobody uses.
    fn rest(&mut self) {
        for (name, served) in &mut self.served {
            if let Err(error) = served.rest(self.limits.idle) {
                log::error!("TPM {name} is as its folder has it: {error:#}");
            }
        }
    }
}

impl Served {
    /// The TPM, which is loaded or woken if it is not there.
    fn machine(&mut self, folder: &Path, load: &Load<'_>, stop: &Stop) -> Result<Arc<Machine>> {
        self.used = Instant::now();
        let backend = match core::mem::replace(&mut self.life, Life::Off) {
            Life::On(machine) => {
                self.life = Life::On(Arc::clone(&machine));
                return Ok(machine);
            }
            Life::Off => load(folder)?,
            Life::Resting(resting) => resting.wake()?,
        };
        let machine = Arc::new(Machine::new(backend, None, None, stop.clone()));
        self.life = Life::On(Arc::clone(&machine));
        Ok(machine)
    }

    /// Lets a TPM that nobody uses rest, or go where it is switched off.
    fn rest(&mut self, idle: Duration) -> Result<()> {
        if !self.guests.are_none() {
            self.used = Instant::now();
            return Ok(());
        }
        self.life = match core::mem::replace(&mut self.life, Life::Off) {
            Life::On(machine) if !machine.is_powered() || self.used.elapsed() >= idle => {
                // A thread that has just left may hold it for a moment more.
                match Arc::try_unwrap(machine) {
                    Err(machine) => Life::On(machine),
                    Ok(machine) if machine.is_powered() => Life::Resting(machine.into_backend().rest()?),
                    Ok(_) => Life::Off,
                }
            }
            life => life,
        };
        Ok(())
    }

    /// Ends a TPM in order, which may have to be woken for it.
    fn end(&mut self, name: &str) {
        let ended = match core::mem::replace(&mut self.life, Life::Off) {
            Life::Off => Ok(()),
            Life::On(machine) => {
                machine.end();
                Ok(())
            }
            Life::Resting(resting) => resting.wake().map(|mut backend| backend.shut_down()),
        };
        if let Err(error) = ended {
            log::error!("TPM {name} has not ended in order: {error:#}");
        }
    }

    /// Ends a TPM that has no folder any more.
    fn abandon(&mut self) {
        if let Life::On(machine) = core::mem::replace(&mut self.life, Life::Off) {
            machine.set_cancels(true);
            machine.power_off();
        }
        self.guests.dismiss();
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// A name of a TPM, which is one of a folder and of a socket in everybody's shell: up to 64 of letters and digits of
/// ASCII, `-`, `_` and `.`, of which the first is a letter or a digit. One that ends in `.ctrl` would be another's
/// control channel.
fn checked_name(name: &OsStr) -> Result<&str> {
    let bytes = name.as_bytes();
    ensure!(bytes.len() <= LONGEST_NAME, "a name has at most {LONGEST_NAME} characters");
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    ensure!(
        bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.iter().all(inner),
        "a name has letters, digits, `-`, `_` and `.`, and begins with a letter or a digit"
    );
    ensure!(!bytes.ends_with(b".ctrl"), "a name does not end in .ctrl");
    name.to_str().context("a name is text")
}

#[cfg(test)]
mod tests {
    use super::checked_name;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_name_is_one_of_a_folder_and_of_a_socket_and_nothing_else() {
        for name in ["a", "vm-1", "0", "Debian_13.2", &"n".repeat(64)] {
            assert_eq!(checked_name(OsStr::new(name)).unwrap(), name);
        }
        let long = "n".repeat(65);
        let refused: [(&[u8], &str); 12] = [
            (b"", "begins with"),
            (b".", "begins with"),
            (b"..", "begins with"),
            (b".hidden", "begins with"),
            (b"-option", "begins with"),
            (b"a/b", "letters"),
            (b"../a", "begins with"),
            (b"a b", "letters"),
            (b"a\n", "letters"),
            (b"\xff", "begins with"),
            (b"vm.ctrl", ".ctrl"),
            (long.as_bytes(), "at most 64"),
        ];
        for (name, why) in refused {
            let error = checked_name(OsStr::from_bytes(name)).unwrap_err().to_string();
            assert!(error.contains(why), "{name:?}: {error}");
        }
    }
}
