//! A folder that keeps a TPM's state, for one server at a time.
//!
//! | file | is |
//! |---|---|
//! | `state` | the state: a record of [`tpm_core::store`] |
//! | `state.new` | the next one while it is written; renamed when it is on the disk, so that `state` is always whole |
//! | `README` | says that this folder has a TPM in it: if the state is gone, that is a loss and no new folder |
//!
//! Everything secret that the TPM has is in `state`: nobody else may read it, or write to the folder.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, fstat, fsync, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tpm_core::store::Disk;

const STATE: &str = "state";
const NEW: &str = "state.new";
const MARK: &str = "README";
const MARK_TEXT: &str = "In this folder `quoin-tpm --state` keeps a TPM, all its secrets included: in the file `state`.\n\
    If that file is lost or damaged, so is the TPM, and no server makes another one here. To begin with a new TPM, remove the folder.\n";

/// The folder, locked as long as there is a copy of this.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    folder: Arc<OwnedFd>,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, which is made if it is not there, though not the one that it is in.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_parent(path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make the folder {}", path.display())),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("{} is no folder that can be read", path.display()))?;
        let folder = Self { folder: Arc::new(folder), path: path.to_owned() };
        let stat = fstat(&*folder.folder)?;
        ensure!(
            stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0,
            "others may write to {}: a TPM's state is safe only in a folder of its own",
            path.display()
        );
        match rustix::fs::flock(&*folder.folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(folder),
            Err(Errno::WOULDBLOCK) => bail!("another server has the TPM in {}", path.display()),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Whether a TPM in the folder was marked, be it lost.
    pub(crate) fn is_marked(&self) -> Result<bool> {
        self.has(MARK)
    }

    /// Whether there is a TPM in the folder, marked or not, be it lost.
    pub(crate) fn has_tpm(&self) -> Result<bool> {
        Ok(self.is_marked()? || self.has(STATE)?)
    }

    fn has(&self, name: &str) -> Result<bool> {
        match statat(&*self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot look into {}", self.path.display())),
        }
    }

    /// Whether nothing is in the folder but what a server leaves that ended before it had made its TPM.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            if entry?.file_name() != NEW {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// From now on there is a TPM in the folder.
    pub(crate) fn mark(&self) -> Result<()> {
        self.replace(MARK, MARK_TEXT.as_bytes())
    }

    /// Makes these bytes the contents of a file; whatever happens, it then has them or those that it had.
    fn replace(&self, name: &str, contents: &[u8]) -> Result<()> {
        let context = || format!("cannot write {name} in {}", self.path.display());
        match unlinkat(&*self.folder, NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(context),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = openat(&*self.folder, NEW, flags, Mode::RUSR | Mode::WUSR).with_context(context)?;
        let mut new = File::from(new);
        let written = new.write_all(contents).and_then(|()| new.sync_all());
        written.with_context(context)?;
        renameat(&*self.folder, NEW, &*self.folder, name).with_context(context)?;
        fsync(&*self.folder).with_context(context)
    }

    fn read_state(&self, out: &mut [u8]) -> Result<usize> {
        let path = self.path.join(STATE);
        let path = path.display();
        // Not blocking: it may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&*self.folder, STATE, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("cannot open {path}")),
        };
        let stat = fstat(&file)?;
        ensure!(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile, "{path} is no ordinary file");
        ensure!(stat.st_nlink == 1, "{path} has another name, too");
        ensure!(stat.st_mode & 0o077 == 0, "others may read or write {path}, where all secrets of the TPM are");
        let size = usize::try_from(stat.st_size)?;
        // No file is nothing; an empty one has lost its contents.
        ensure!(size > 0, "{path} is empty");
        let out = out.get_mut(..size).with_context(|| format!("{path} is too long for a state"))?;
        File::from(file).read_exact(out).with_context(|| format!("cannot read {path}"))?;
        Ok(size)
    }
}

/// Makes it last that a folder was made.
fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).with_context(|| format!("cannot sync {}", parent.display()))
}

impl Disk for Folder {
    type Error = anyhow::Error;
    const SLOTS: usize = 1;

    fn read(&mut self, _slot: usize, out: &mut [u8]) -> Result<usize> {
        self.read_state(out)
    }

    fn write(&mut self, _slot: usize, record: &[u8]) -> Result<()> {
        self.replace(STATE, record)
    }
}

#[cfg(test)]
mod tests {
    use super::{Disk, Folder};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A path in a folder for the test.
    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tpm");
        (place, path)
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let (_place, path) = place();
        let mut folder = Folder::open(&path).unwrap();
        let mut out = [0; 100];
        assert_eq!(folder.read(0, &mut out).unwrap(), 0);
        for record in [&b"a state"[..], b"one", b"a longer one"] {
            folder.write(0, record).unwrap();
            assert_eq!(folder.read(0, &mut out).unwrap(), record.len());
            assert_eq!(&out[..record.len()], record);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("state")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.join("state.new").exists());
        assert!(folder.read(0, &mut [0; 5]).is_err(), "too long");
    }

    #[test]
    fn a_folder_is_for_one_server() {
        let (_place, path) = place();
        let first = Folder::open(&path).unwrap();
        let refused = Folder::open(&path).unwrap_err().to_string();
        assert!(refused.contains("another server"), "{refused}");
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn a_new_folder_a_used_one_and_that_of_others_are_told_apart() {
        let (_place, path) = place();
        let folder = Folder::open(&path).unwrap();
        assert!(folder.is_empty().unwrap() && !folder.is_marked().unwrap());
        fs::write(path.join("state.new"), b"a part of a st").unwrap();
        assert!(folder.is_empty().unwrap());
        folder.mark().unwrap();
        assert!(!folder.is_empty().unwrap() && folder.is_marked().unwrap());
    }

    #[test]
    fn what_is_no_folder_or_file_of_ours_is_refused() {
        let (place, path) = place();
        fs::write(&path, b"").unwrap();
        Folder::open(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        symlink(place.path(), &path).unwrap();
        Folder::open(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        Folder::open(&path.join("below")).unwrap_err();

        let mut folder = Folder::open(&path).unwrap();
        let (state, other) = (path.join("state"), place.path().join("other"));
        let mut refused = |why: &str| {
            let error = format!("{:#}", folder.read(0, &mut [0; 100]).unwrap_err());
            assert!(error.contains(why), "{error}");
        };
        fs::write(&other, b"somewhere else").unwrap();
        symlink(&other, &state).unwrap();
        refused("cannot open");
        fs::remove_file(&state).unwrap();
        fs::hard_link(&other, &state).unwrap();
        refused("another name");
        fs::remove_file(&other).unwrap();
        refused("others may");
        allow(&state, 0o600);
        fs::write(&state, b"").unwrap();
        refused("empty");
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        refused("no ordinary file");
        allow(&path, 0o777);
        drop(folder);
        assert!(Folder::open(&path).unwrap_err().to_string().contains("others may write"));
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let (place, path) = place();
        let mut folder = Folder::open(&path).unwrap();
        folder.write(0, b"the state before").unwrap();
        // Others' files are not written through a link either.
        let other = place.path().join("other");
        fs::write(&other, b"somewhere else").unwrap();
        symlink(&other, path.join("state.new")).unwrap();
        folder.write(0, b"the state").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"somewhere else");
        fs::create_dir(path.join("state.new")).unwrap();
        folder.write(0, b"the state after").unwrap_err();
        let mut out = [0; 100];
        assert_eq!(folder.read(0, &mut out).unwrap(), 9);
        assert_eq!(&out[..9], b"the state");
    }
}
