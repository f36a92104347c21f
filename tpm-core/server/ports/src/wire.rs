//! Streams of both kinds, TCP and Unix, read in the pieces that the protocols are made of.

use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A client's connection.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Whether only swtpm's clients can be here: the simulator has no Unix sockets.
    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Whether there is something to read, or an end, within a time.
pub(super) trait Pending {
    fn is_pending(&self, patience: Duration) -> Result<bool>;
}

impl Pending for &Socket {
    fn is_pending(&self, patience: Duration) -> Result<bool> {
        let patience = Timespec::try_from(patience).context("so long cannot be waited")?;
        match poll(&mut [PollFd::new(*self, PollFlags::IN)], Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).read(buffer),
            Socket::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).write(buffer),
            Socket::Unix(stream) => (&*stream).write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A platform connection: what comes may bring a file descriptor.
#[derive(Debug)]
pub(crate) struct Channel<'a> {
    socket: &'a Socket,
    descriptor: Option<OwnedFd>,
}

impl<'a> Channel<'a> {
    pub(crate) const fn new(socket: &'a Socket) -> Self {
        Self { socket, descriptor: None }
    }
}

/// Where the words of a platform's client come from.
pub(super) trait Listen: Read + Write {
    fn is_unix(&self) -> bool;
    /// The descriptor that came with what was read last, once.
    fn descriptor(&mut self) -> Option<OwnedFd>;
}

impl Listen for Channel<'_> {
    fn is_unix(&self) -> bool {
        self.socket.is_unix()
    }

    fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }
}

impl Read for Channel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received?,
            }
        };
        for rights in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = rights {
                self.descriptor = descriptors.last().or(self.descriptor.take());
            }
        }
        Ok(message.bytes)
    }
}

impl Write for Channel<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Four bytes, or nothing at the end of the stream.
pub(crate) fn first_word(stream: &mut impl Read) -> Result<Option<u32>> {
    let mut first = [0; 1];
    match stream.read(&mut first) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let [a, b, c] = take(stream)?;
    Ok(Some(u32::from_be_bytes([first[0], a, b, c])))
}

/// Exactly `N` bytes.
pub(crate) fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).context("the message is cut short")?;
    Ok(bytes)
}

/// A number of four bytes.
pub(crate) fn word(stream: &mut impl Read) -> Result<u32> {
    Ok(u32::from_be_bytes(take(stream)?))
}

/// Exactly `length` bytes.
pub(crate) fn take_all(stream: &mut impl Read, length: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut bytes).context("the message is cut short")?;
    Ok(bytes)
}

/// Bytes after their length, which is at most `limit`.
pub(crate) fn sized(stream: &mut impl Read, limit: u32) -> Result<Vec<u8>> {
    let length = word(stream)?;
    ensure!(length <= limit, "{length} bytes where at most {limit} are taken");
    take_all(stream, length)
}

/// A socket from a descriptor that a client has sent.
pub(crate) fn socket_from(descriptor: OwnedFd) -> Result<Socket> {
    if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode).is_socket() {
        bail!("what was sent as a data channel is no socket");
    }
    Ok(Socket::Unix(UnixStream::from(descriptor)))
}
