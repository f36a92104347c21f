//! The clients that are connected. As many as the process may have open, less what it needs itself; who has never said
//! anything goes first when there are more.

use crate::wire::{Pending, Socket};
use anyhow::Result;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More would be threads without a use.
const MOST: u64 = 512;
/// Descriptors for everything else: listeners, the state, the trace, and connections that are being ended.
const RESERVE: u64 = 24;

/// Has the system allow so many descriptors beside those for everything else, where it can; how many it allows.
pub(super) fn raise_limit(most: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(most + RESERVE, |maximum| maximum.min(most + RESERVE));
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok() {
        allowed = wanted;
    }
    allowed.saturating_sub(RESERVE)
}

/// All of them.
#[derive(Clone)]
pub(super) struct Guests {
    connected: Arc<Mutex<Vec<Arc<Connection>>>>,
    most: usize,
}

struct Connection {
    socket: Socket,
    /// It has said something.
    spoke: AtomicBool,
}

/// One, until it is dropped.
pub(super) struct Guest {
    connection: Arc<Connection>,
    guests: Guests,
}

impl Guests {
    /// As many as are allowed; the limit is raised where it can be.
    pub(super) fn new() -> Self {
        let most = raise_limit(MOST).clamp(4, MOST);
        Self::at_most(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// So many.
    pub(super) fn at_most(most: usize) -> Self {
        Self { connected: Arc::default(), most }
    }

    /// Whether nobody is connected.
    pub(super) fn are_none(&self) -> bool {
        self.connected().is_empty()
    }

    /// Ends all connections.
    pub(super) fn dismiss(&self) {
        for one in self.connected().iter() {
            let _ = shutdown(&one.socket, Shutdown::Both);
        }
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    fn connected(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more in, for whom the one that has been silent longest may have to go; nothing if there is no room.
    pub(super) fn welcome(&self, socket: Socket) -> Option<Guest> {
        let mut connected = self.connected();
        if connected.len() >= self.most {
            let silent = connected.iter().position(|one| !one.spoke.load(Ordering::Relaxed))?;
            let silent = connected.remove(silent);
            // Its thread reads the end of the stream.
            let _ = shutdown(&silent.socket, Shutdown::Both);
            log::warn!("{} clients are connected: one that has said nothing is turned away for another", self.most);
        }
        let connection = Arc::new(Connection { socket, spoke: AtomicBool::new(false) });
        connected.push(Arc::clone(&connection));
        Some(Guest { connection, guests: self.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.connected().retain(|one| !Arc::ptr_eq(one, &self.connection));
    }
}

impl Deref for Guest {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.connection.socket
    }
}

impl Guest {
    /// It said something.
    pub(super) fn speaks(&self) {
        self.connection.spoke.store(true, Ordering::Relaxed);
    }
}

impl Read for &Guest {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut socket = &self.connection.socket;
        let count = socket.read(buffer)?;
        if count > 0 {
            self.speaks();
        }
        Ok(count)
    }
}

impl Write for &Guest {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let mut socket = &self.connection.socket;
        socket.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pending for &Guest {
    fn is_pending(&self, patience: Duration) -> Result<bool> {
        (&self.connection.socket).is_pending(patience)
    }
}

#[cfg(test)]
mod tests {
    use super::Guests;
    use crate::wire::Socket;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn who_has_said_nothing_makes_room_and_who_has_stays() {
        let guests = Guests::at_most(4);
        let mut pairs: Vec<(UnixStream, UnixStream)> = (0..6).map(|_| UnixStream::pair().unwrap()).collect();
        let theirs: Vec<UnixStream> = pairs.iter().map(|(theirs, _)| theirs.try_clone().unwrap()).collect();
        let mut welcome = |_| guests.welcome(Socket::Unix(pairs.remove(0).1));
        let first: Vec<_> = (0..4).map(|n| welcome(n).unwrap()).collect();
        [0, 2, 3].into_iter().for_each(|n: usize| first[n].speaks());
        let fifth = welcome(4).unwrap();
        let mut silent = &theirs[1];
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "it was told by the end of its stream");
        fifth.speaks();
        assert!(welcome(5).is_none());
        drop(first);
        assert_eq!(guests.connected().len(), 1);
    }
}
