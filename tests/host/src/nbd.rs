//! A disk that QEMU reaches by NBD, at a socket of ours. It knows what was written to it and in which order, counts
//! what it was asked, and may be one that fails, answers garbage, forgets or falls silent.

use crate::devices;
use crate::qemu::Folder;
use anyhow::{Context, Result};
use core::fmt;
use core::time::Duration;
use nbd::server::{Export, handshake, transmission};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The crate's server lists an export of this name.
const EXPORT: &str = "rustnbd";

/// What a disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To read from this octet on.
    Read(u64),
    /// To write from this octet on.
    Write(u64),
    /// To keep what was written, whatever happens.
    Flush,
}

/// What a bad disk does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Says that it has failed.
    Fail,
    /// Reads and writes other octets each time, and says that all is well.
    Garbage,
    /// Does nothing, and says that all is well: what is read is zeros.
    Forget,
    /// Says nothing any more.
    FallSilent,
}

/// A step of what was done to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These octets were written from here on, as one request.
    Written(u64, Vec<u8>),
    /// What was written before is to be there whatever happens.
    Flushed,
}

/// How often a disk was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// To read.
    pub reads: u64,
    /// To write.
    pub writes: u64,
    /// To flush.
    pub flushes: u64,
}

type When = Box<dyn Fn(Asked) -> bool + Send>;

struct Disk {
    octets: Vec<u8>,
    steps: Vec<Step>,
    counts: Counts,
    /// when the first write came, and when what was flushed last was there, since somebody asked
    span: Option<(Instant, Instant)>,
    bad: Option<(Conduct, When)>,
    /// where garbage comes from
    garbage: u64,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<Disk>, Condvar)>);

/// The disk. When it is dropped, it answers whoever still waits.
pub struct Served {
    folder: Folder,
    shared: Shared,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Served {
    /// With these octets.
    pub fn new(octets: Vec<u8>) -> Result<Self> {
        let claimed = octets.len();
        Self::that_claims(octets, claimed)
    }

    /// One that says that it has so many octets. Beyond those that it has, it fails.
    pub fn that_claims(octets: Vec<u8>, claimed: usize) -> Result<Self> {
        let folder = Folder::new()?;
        let path = folder.path().join("disk");
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let disk = Disk { octets, steps: Vec::new(), counts: Counts::default(), span: None, bad: None, garbage: 1 };
        let shared = Shared(Arc::new((Mutex::new(disk), Condvar::new())));
        let of_thread = shared.clone();
        thread::spawn(move || {
            // As often as QEMU is started. An error is the end of one connection.
            for stream in listener.incoming().map_while(io::Result::ok) {
                let _ = of_thread.serve(Whole(stream), claimed as u64);
            }
        });
        Ok(Self { folder, shared })
    }

    /// QEMU's options for it, as the firmware's disk.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let path = self.folder.path().join("disk");
        let node =
            format!("driver=nbd,node-name=state,server.type=unix,server.path={},export={EXPORT}", path.display());
        devices::disk_of("-blockdev", &node)
    }

    /// From now on it is a bad one, whenever it is asked for what `when` says.
    pub fn misbehave(&self, conduct: Conduct, when: impl Fn(Asked) -> bool + Send + 'static) {
        self.shared.lock().bad = Some((conduct, Box::new(when)));
        self.shared.0.1.notify_all();
    }

    /// From now on it does what it is asked.
    pub fn behave(&self) {
        self.shared.lock().bad = None;
        self.shared.0.1.notify_all();
    }

    /// From the arrival of the first write to the end of the last flush, since this was asked the last time. `None`:
    /// nothing was written.
    #[must_use]
    pub fn span(&self) -> Option<Duration> {
        self.shared.lock().span.take().map(|(from, to)| to - from)
    }

    /// How often it was asked.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// What was done to it, from step `first` on.
    #[must_use]
    pub fn steps_from(&self, first: usize) -> Vec<Step> {
        self.shared.lock().steps.get(first..).unwrap_or_default().to_vec()
    }

    /// How many steps were done.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.shared.lock().steps.len()
    }

    /// What is on it.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        self.shared.lock().octets.clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.behave();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: Whole, size: u64) -> io::Result<()> {
        handshake(&mut stream, |_| Ok(Export { size, send_flush: true, ..Export::<()>::default() }))?;
        transmission(stream, Requests { shared: self.clone(), at: 0, goes_on: false })
    }

    /// The disk, and what it does instead of what it is asked; when it speaks again, if it is silent.
    fn asked(&self, asked: Asked) -> (MutexGuard<'_, Disk>, Option<Conduct>) {
        let mut disk = self.lock();
        loop {
            let conduct = disk.bad.as_ref().filter(|(_, when)| when(asked)).map(|(conduct, _)| *conduct);
            if conduct != Some(Conduct::FallSilent) {
                return (disk, conduct);
            }
            disk = self.0.1.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A stream that gives as much as is asked for: so a request's data comes in one piece, and one that fails leaves
/// nothing of it behind.
struct Whole(UnixStream);

impl Read for Whole {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_exact(out)?;
        Ok(out.len())
    }
}

impl Write for Whole {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A connection's requests: the crate seeks before each.
struct Requests {
    shared: Shared,
    at: u64,
    /// what comes belongs to the request before
    goes_on: bool,
}

/// EIO, which QEMU passes on as an error of the disk.
fn failed() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Requests {
    /// Where `length` octets are, in a disk of so many.
    fn range(&self, length: usize, size: usize) -> io::Result<core::ops::Range<usize>> {
        let at = usize::try_from(self.at).map_err(|_| failed())?;
        let end = at.checked_add(length).filter(|end| *end <= size).ok_or_else(failed)?;
        Ok(at..end)
    }

    fn done(&mut self, length: usize) -> usize {
        self.at += length as u64;
        self.goes_on = true;
        length
    }
}

impl Disk {
    /// Other octets each time.
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            self.garbage ^= self.garbage << 13;
            self.garbage ^= self.garbage >> 7;
            self.garbage ^= self.garbage << 17;
            *octet = self.garbage.to_le_bytes()[3];
        }
    }
}

impl Read for Requests {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (mut disk, conduct) = self.shared.asked(Asked::Read(self.at));
        disk.counts.reads += u64::from(!self.goes_on);
        match conduct {
            None => {
                let range = self.range(out.len(), disk.octets.len())?;
                out.copy_from_slice(&disk.octets[range]);
            }
            Some(Conduct::Garbage) => disk.fill(out),
            Some(Conduct::Forget) => out.fill(0),
            Some(Conduct::Fail | Conduct::FallSilent) => return Err(failed()),
        }
        drop(disk);
        Ok(self.done(out.len()))
    }
}

impl Write for Requests {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let arrived = Instant::now();
        let (mut disk, conduct) = self.shared.asked(Asked::Write(self.at));
        disk.span.get_or_insert((arrived, arrived));
        disk.counts.writes += u64::from(!self.goes_on);
        let mut octets = octets.to_vec();
        match conduct {
            None => {}
            Some(Conduct::Garbage) => disk.fill(&mut octets),
            Some(Conduct::Forget) => {
                drop(disk);
                return Ok(self.done(octets.len()));
            }
            Some(Conduct::Fail | Conduct::FallSilent) => return Err(failed()),
        }
        let range = self.range(octets.len(), disk.octets.len())?;
        disk.octets[range].copy_from_slice(&octets);
        let length = octets.len();
        match disk.steps.last_mut() {
            Some(Step::Written(_, before)) if self.goes_on => before.extend(octets),
            _ => disk.steps.push(Step::Written(self.at, octets)),
        }
        drop(disk);
        Ok(self.done(length))
    }

    fn flush(&mut self) -> io::Result<()> {
        let (mut disk, conduct) = self.shared.asked(Asked::Flush);
        disk.counts.flushes += 1;
        match conduct {
            None | Some(Conduct::Garbage) => {
                disk.steps.push(Step::Flushed);
                if let Some((_, to)) = &mut disk.span {
                    *to = Instant::now();
                }
            }
            Some(Conduct::Forget) => {}
            Some(Conduct::Fail | Conduct::FallSilent) => return Err(failed()),
        }
        Ok(())
    }
}

impl Seek for Requests {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(failed()) };
        (self.at, self.goes_on) = (at, false);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Conduct, Counts, Served, Step};
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::unix::net::UnixStream;

    /// A client of the same crate, with the disk's name.
    fn client(disk: &Served) -> nbd::client::NbdClient<UnixStream> {
        let mut stream = UnixStream::connect(disk.folder.path().join("disk")).unwrap();
        let export = nbd::client::handshake(&mut stream, super::EXPORT.as_bytes()).unwrap();
        nbd::client::NbdClient::new(stream, &export)
    }

    #[test]
    fn what_is_written_is_read_counted_and_kept_in_order() {
        let disk = Served::new(vec![0; 4096]).unwrap();
        let mut client = client(&disk);
        let mut octets = [0; 512];
        client.seek(SeekFrom::Start(512)).unwrap();
        client.write_all(&[7; 512]).unwrap();
        client.flush().unwrap();
        client.seek(SeekFrom::Start(512)).unwrap();
        client.read_exact(&mut octets).unwrap();
        assert_eq!(octets, [7; 512]);
        assert_eq!(disk.counts(), Counts { reads: 1, writes: 1, flushes: 1 });
        assert_eq!(disk.steps_from(0), [Step::Written(512, vec![7; 512]), Step::Flushed]);
        assert_eq!((disk.octets()[511], disk.octets()[512], disk.octets()[1024]), (0, 7, 0));
        assert!(disk.span().is_some_and(|span| !span.is_zero()), "from the write to the flush");
        client.flush().unwrap();
        assert_eq!(disk.span(), None, "nothing was written since");
    }

    #[test]
    fn a_bad_disk_does_what_it_was_told_for_what_it_was_told() {
        let disk = Served::that_claims(vec![1; 1024], 4096).unwrap();
        let mut client = client(&disk);
        let mut octets = [0; 512];
        let mut read =
            |at| client.seek(SeekFrom::Start(at)).and_then(|_| client.read_exact(&mut octets)).map(|()| octets);
        assert_eq!(read(0).unwrap(), [1; 512]);
        assert!(read(1024).is_err(), "it has no such octets");
        disk.misbehave(Conduct::Garbage, |asked| asked == Asked::Read(512));
        let (first, second) = (read(512).unwrap(), read(512).unwrap());
        assert!(first != [1; 512] && first != second && read(0).unwrap() == [1; 512]);
        disk.misbehave(Conduct::Fail, |asked| matches!(asked, Asked::Read(_)));
        assert!(read(0).is_err());
        disk.misbehave(Conduct::Forget, |_| true);
        assert_eq!(read(0).unwrap(), [0; 512]);
        disk.behave();
        assert_eq!(read(0).unwrap(), [1; 512], "after a failure it goes on");
    }
}
