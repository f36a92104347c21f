//! The firmware's way to programs at the host: those that keep certificates, anchors, the other end of a migration.
//!
//! Messages go over a stream of octets, which is a virtio console's, as [`frames`]. The host passes a frame to the
//! program of its service and number, and the program's frames back. It may read, change, lose, repeat and invent all
//! of them: who uses this encrypts and authenticates. What was cut, or is no frame, is lost, and the next frame is not:
//! either end may go amid one, and come again.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

pub mod frames;
mod office;

pub use frames::{BadFrame, Frames, MAX_MESSAGE, frame};
pub use office::{Counter, Office};

use alloc::vec::Vec;

/// Services.
pub mod service {
    /// Certificates for the endorsement key.
    pub const CERTIFICATES: u16 = 1;
    /// Anchors, by their numbers.
    pub const ANCHORS: u16 = 2;
    /// The other end of a migration.
    pub const MIGRATION: u16 = 3;
}

/// A message of a program, or to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which service ([`service`]).
    pub service: u16,
    /// Which of several programs of that service, else 0.
    pub number: u16,
    /// The message.
    pub octets: Vec<u8>,
}

/// A way to programs at the host, which may read, change, lose, repeat and invent every message.
pub trait Relay {
    /// What can be wrong with it.
    type Error;
    /// Sends a message.
    fn send(&mut self, service: u16, number: u16, message: &[u8]) -> Result<(), Self::Error>;
    /// The next whole message, if there is one now.
    fn receive(&mut self) -> Result<Option<Message>, Self::Error>;
}

impl<R: Relay + ?Sized> Relay for &mut R {
    type Error = R::Error;

    fn send(&mut self, service: u16, number: u16, message: &[u8]) -> Result<(), R::Error> {
        (**self).send(service, number, message)
    }

    fn receive(&mut self) -> Result<Option<Message>, R::Error> {
        (**self).receive()
    }
}

/// A stream of octets.
pub trait Stream {
    /// What can be wrong with it.
    type Error;
    /// Writes all octets.
    fn write(&mut self, octets: &[u8]) -> Result<(), Self::Error>;
    /// Reads what is there now, without waiting; how many octets it is.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error>;
}

/// Why a relay over a stream does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayError<E> {
    /// The stream's error.
    Stream(E),
    /// A message is none that a frame has room for.
    Frame(BadFrame),
}

impl<E: core::fmt::Display> core::fmt::Display for RelayError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Stream(error) => write!(f, "the relay's stream: {error}"),
            Self::Frame(error) => write!(f, "the relay: {error}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for RelayError<E> {}

/// Octets that are read at once.
const PIECE: usize = 512;
/// Octets that are looked at before it is said that there is no message now: more than a frame has. A host may send
/// without end what is none.
const MOST_OCTETS: usize = 0x1_4000;

/// A relay over a stream.
#[derive(Debug)]
pub struct Framed<S> {
    stream: S,
    frames: Frames,
    /// What was read and not looked at, and where that begins.
    read: [u8; PIECE],
    rest: core::ops::Range<usize>,
}

impl<S: Stream> Framed<S> {
    /// Over this stream, wherever it begins.
    pub fn new(stream: S) -> Self {
        Self { stream, frames: Frames::default(), read: [0; PIECE], rest: 0..0 }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Stream> Relay for Framed<S> {
    type Error = RelayError<S::Error>;

    fn send(&mut self, service: u16, number: u16, message: &[u8]) -> Result<(), Self::Error> {
        let frame = frame(service, number, message).map_err(RelayError::Frame)?;
        self.stream.write(&frame).map_err(RelayError::Stream)
    }

    fn receive(&mut self) -> Result<Option<Message>, Self::Error> {
        let mut looked_at = 0;
        while looked_at < MOST_OCTETS {
            if self.rest.is_empty() {
                let count = self.stream.read(&mut self.read).map_err(RelayError::Stream)?;
                self.rest = 0..count.min(PIECE);
                if count == 0 {
                    return Ok(None);
                }
            }
            let octets = self.read.get(self.rest.clone()).unwrap_or_default();
            let (used, frame) = self.frames.take(octets);
            self.rest.start += used;
            looked_at += used;
            if let Some(Ok(message)) = frame {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
