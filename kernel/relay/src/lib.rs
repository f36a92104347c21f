//! The firmware's way to programs at the host: those that keep certificates, anchors, the other end of a migration.
//!
//! Messages go over a stream of octets, which is a virtio console's; on it a frame is
//!
//! > length₄ ‖ service₂ ‖ number₂ ‖ message
//!
//! all little-endian, where the length is that of all behind it: 4 to 65,536. The host passes a frame to the program of
//! that service and number, and the program's frames back. It may read, change, lose, repeat and invent all of them:
//! who uses this encrypts and authenticates.
//!
//! A length that is out of shape ends the relay, since nobody knows where the next frame begins.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

mod office;

pub use office::{Counter, Office};

use alloc::vec::Vec;
use core::mem::take;

/// Octets of a message at most.
pub const MAX_MESSAGE: usize = MAX_LENGTH - ADDRESS;
/// Largest length of a frame.
const MAX_LENGTH: usize = 0x1_0000;
/// Octets of the length, and of service and number.
const LENGTH: usize = 4;
const ADDRESS: usize = 4;

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

/// What is wrong with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// A message has more than [`MAX_MESSAGE`] octets.
    TooLong(usize),
    /// A length is none of a frame's: no frame is read behind it.
    Length(u32),
}

snp::error_words! { BadFrame {
    Self::TooLong(octets) => "a message of {octets} octets is too long",
    Self::Length(length) => "no frame has the length {length:#x}",
} }

/// The frame of a message.
///
/// # Errors
/// `TooLong`.
pub fn frame(service: u16, number: u16, message: &[u8]) -> Result<Vec<u8>, BadFrame> {
    let length = u32::try_from(ADDRESS + message.len()).ok().filter(|_| message.len() <= MAX_MESSAGE);
    let length = length.ok_or(BadFrame::TooLong(message.len()))?.to_le_bytes();
    Ok([&length[..], &service.to_le_bytes(), &number.to_le_bytes(), message].concat())
}

/// Makes messages of octets as they come.
#[derive(Debug, Default)]
pub struct Frames {
    /// The frame that is not whole yet; never more than one.
    partial: Vec<u8>,
    bad: Option<u32>,
}

impl Frames {
    /// Takes octets to the end of a frame; how many that are. To be called with the rest again, after the message has
    /// been taken.
    ///
    /// # Errors
    /// `Length`, now and from then on.
    pub fn take(&mut self, octets: &[u8]) -> Result<(usize, Option<Message>), BadFrame> {
        let mut used = 0;
        loop {
            let wanted = self.wanted()?;
            let rest = octets.get(used..).unwrap_or_default();
            let now = rest.get(..wanted.min(rest.len())).unwrap_or_default();
            self.partial.extend_from_slice(now);
            used += now.len();
            if now.len() < wanted {
                return Ok((used, None));
            }
            if self.partial.len() > LENGTH {
                return Ok((used, self.whole()));
            }
        }
    }

    /// Octets that are missing: of the length, or of what is behind it.
    fn wanted(&mut self) -> Result<usize, BadFrame> {
        if let Some(length) = self.bad {
            return Err(BadFrame::Length(length));
        }
        let Some(length) = self.partial.first_chunk::<LENGTH>() else { return Ok(LENGTH - self.partial.len()) };
        let length = u32::from_le_bytes(*length);
        match usize::try_from(length) {
            Ok(octets) if (ADDRESS..=MAX_LENGTH).contains(&octets) => Ok(LENGTH + octets - self.partial.len()),
            _ => {
                self.bad = Some(length);
                self.partial = Vec::new();
                Err(BadFrame::Length(length))
            }
        }
    }

    fn whole(&mut self) -> Option<Message> {
        let frame = take(&mut self.partial);
        let (&[a, b, c, d], message) = frame.get(LENGTH..)?.split_first_chunk::<ADDRESS>()?;
        let (service, number) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Some(Message { service, number, octets: message.to_vec() })
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
    /// A frame is out of shape.
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
    /// Over this stream, at the beginning of a frame.
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
        loop {
            if self.rest.is_empty() {
                let count = self.stream.read(&mut self.read).map_err(RelayError::Stream)?;
                self.rest = 0..count.min(PIECE);
                if count == 0 {
                    return Ok(None);
                }
            }
            let octets = self.read.get(self.rest.clone()).unwrap_or_default();
            let (used, message) = self.frames.take(octets).map_err(RelayError::Frame)?;
            self.rest.start += used;
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
