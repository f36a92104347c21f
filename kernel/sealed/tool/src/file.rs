//! A disk that is a file or a block device; and an exported record: head and contents' sectors, one behind the other.

use anyhow::{Context, Result, bail};
use core::fmt;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use sealed::disk::{look, read_contents};
use sealed::layout::{MIN_SECTORS, ROOM};
use sealed::{BlockDevice, Found, Head, Refusal, SECTOR};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What the system says of a file, by its words: a refusal is compared and copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Io(String);

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Io {}

impl From<io::Error> for Io {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A refusal of a disk in a file.
pub(crate) type Refused = Refusal<Io>;

/// A disk.
pub(crate) struct Disk {
    file: fs::File,
    sectors: u64,
}

impl Disk {
    /// Opens a disk that is there, to be read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::of(fs::File::open(path)?)
    }

    /// Opens a disk that is there, to be written, too.
    pub(crate) fn open_to_write(path: &Path) -> Result<Self> {
        Self::of(fs::OpenOptions::new().read(true).write(true).open(path)?)
    }

    /// Makes a disk of the least size where there is no file. `None`: there is one.
    pub(crate) fn make(path: &Path) -> Result<Option<Self>> {
        let made = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            made => {
                let file = made?;
                file.set_len(MIN_SECTORS * SECTOR as u64)?;
                Self::of(file).map(Some)
            }
        }
    }

    fn of(mut file: fs::File) -> Result<Self> {
        // Of a block device, too.
        let octets = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, sectors: octets / SECTOR as u64 })
    }

    fn seek(&mut self, sector: u64) -> Result<(), Io> {
        let at = sector.checked_mul(SECTOR as u64).ok_or_else(|| Io("there is no such sector".into()))?;
        self.file.seek(SeekFrom::Start(at))?;
        Ok(())
    }

    /// Whether there is anything but zeros.
    pub(crate) fn has_anything(&mut self) -> Result<bool> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut block = vec![0; 1 << 16];
        loop {
            match self.file.read(&mut block)? {
                0 => return Ok(false),
                length if block[..length].iter().any(|octet| *octet != 0) => return Ok(true),
                _ => {}
            }
        }
    }
}

impl BlockDevice for Disk {
    type Error = Io;

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Io> {
        self.seek(first)?;
        Ok(self.file.read_exact(out)?)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Io> {
        self.seek(first)?;
        Ok(self.file.write_all(octets)?)
    }

    fn flush(&mut self) -> Result<(), Io> {
        Ok(self.file.sync_all()?)
    }
}

/// A sealed record, of a disk or from a file.
pub(crate) struct Record {
    pub(crate) head: Head,
    /// [`ROOM`] octets, the contents' sectors at their front
    pub(crate) room: Vec<u8>,
}

impl Record {
    /// The record in a file, which is a disk or was exported. `None`: a disk that is empty.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let mut disk = Disk::open(path)?;
        let mut first = vec![0; 8];
        disk.file.seek(SeekFrom::Start(0))?;
        let length = disk.file.read(&mut first)?;
        if first[..length] == *b"QUOINREC" { Self::exported(disk).map(Some) } else { Self::of_disk(&mut disk) }
            .with_context(|| path.display().to_string())
    }

    pub(crate) fn of_disk(disk: &mut Disk) -> Result<Option<Self>> {
        match look(&mut *disk)? {
            Found::Empty => Ok(None),
            Found::Record(head) => {
                let mut room = vec![0; ROOM];
                read_contents(&mut *disk, &head, &mut room)?;
                Ok(Some(Self { head, room }))
            }
        }
    }

    fn exported(mut disk: Disk) -> Result<Self> {
        disk.file.seek(SeekFrom::Start(0))?;
        let mut octets = Vec::new();
        (&mut disk.file).take((SECTOR + ROOM + 1) as u64).read_to_end(&mut octets)?;
        let Some((sector, contents)) = octets.split_first_chunk() else {
            bail!(Refused::Damaged(sealed::Part::Head(0)))
        };
        let head = sealed::disk::exported(sector, contents).map_err(|refusal: Refused| refusal)?;
        let mut room = contents.to_vec();
        room.resize(ROOM, 0);
        Ok(Self { head, room })
    }

    /// The record as a file has it.
    pub(crate) fn octets(&self) -> Vec<u8> {
        [self.head.as_sector(), &self.room[..self.head.sealed_octets()]].concat()
    }
}

/// Writes a file that must not be there yet, for its owner only; what cannot be written whole is not there.
pub(crate) fn write_new(path: &Path, octets: &[u8]) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(octets).and_then(|()| file.sync_all());
    if written.is_err() {
        // It was made here a moment ago.
        let _ = fs::remove_file(path);
    }
    Ok(written?)
}
