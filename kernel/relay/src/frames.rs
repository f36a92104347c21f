//! Frames on a stream of octets that may begin, and be cut, anywhere.
//!
//! > 0 ‖ stuffed(length₄ ‖ service₂ ‖ number₂ ‖ message) ‖ 0
//!
//! all little-endian; the length is that of all behind it: 4 to 65,536. What is stuffed has no zero in it (Consistent
//! Overhead Byte Stuffing: Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999): blocks of one octet n,
//! 1 to 255, and n − 1 octets other than zero, of which a zero stands behind each but those of 255 and the last.
//!
//! So whatever has come, the next zero ends it, and the frame behind that is whole. A frame that was cut, and octets of
//! no frame, are lost, and nothing else: the length tells them from a frame.

use alloc::vec::Vec;
use core::mem::{replace, take};

use crate::Message;

/// Octets of a message at most.
pub const MAX_MESSAGE: usize = MAX_LENGTH - ADDRESS;
/// Largest length.
const MAX_LENGTH: usize = 0x1_0000;
/// Octets of the length, and of service and number.
const LENGTH: usize = 4;
const ADDRESS: usize = 4;
/// A block behind which no zero stands.
const FULL: u8 = 0xff;
/// Octets of it, but for the first.
const FULL_OCTETS: usize = 254;

/// What is wrong with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// A message has more than [`MAX_MESSAGE`] octets.
    TooLong(usize),
    /// Octets came that are no whole frame.
    Cut,
}

snp::error_words! { BadFrame {
    Self::TooLong(octets) => "a message of {octets} octets is too long",
    Self::Cut => "octets have come that are no whole frame",
} }

/// The frame of a message.
///
/// # Errors
/// `TooLong`.
pub fn frame(service: u16, number: u16, message: &[u8]) -> Result<Vec<u8>, BadFrame> {
    let length = u32::try_from(ADDRESS + message.len()).ok().filter(|_| message.len() <= MAX_MESSAGE);
    let length = length.ok_or(BadFrame::TooLong(message.len()))?.to_le_bytes();
    Ok(stuffed(&[&length[..], &service.to_le_bytes(), &number.to_le_bytes(), message].concat()))
}

/// These octets, stuffed, between zeros.
fn stuffed(plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(plain.len() + plain.len() / FULL_OCTETS + 3);
    frame.push(0);
    for run in plain.split(|octet| *octet == 0) {
        let full = run.chunks_exact(FULL_OCTETS);
        let last = full.remainder();
        for octets in full {
            frame.push(FULL);
            frame.extend_from_slice(octets);
        }
        frame.push(u8::try_from(last.len() + 1).unwrap_or(FULL));
        frame.extend_from_slice(last);
    }
    frame.push(0);
    frame
}

/// Makes messages of octets as they come.
#[derive(Debug, Default)]
pub struct Frames {
    place: Place,
    /// What has come of the frame, without its stuffing; never more than of one.
    plain: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// The stream has begun, and no frame has.
    #[default]
    Before,
    /// Behind octets that are no frame.
    Lost,
    /// In a frame, or before its first block: so many octets of this block are missing, and a zero is due behind it.
    Within { missing: u8, zero: bool },
}

impl Frames {
    /// Takes octets to the end of a frame, or of what is none; how many that are. To be called with the rest again.
    /// `Cut` is said once for all octets up to the next zero.
    pub fn take(&mut self, octets: &[u8]) -> (usize, Option<Result<Message, BadFrame>>) {
        let mut used = 0;
        for octet in octets {
            used += 1;
            let end = self.octet(*octet);
            if end.is_some() {
                return (used, end);
            }
        }
        (used, None)
    }

    fn octet(&mut self, octet: u8) -> Option<Result<Message, BadFrame>> {
        if octet == 0 {
            return self.end();
        }
        self.place = match self.place {
            Place::Lost => return None,
            Place::Before => return self.lose(),
            Place::Within { missing: 0, zero } => {
                if zero {
                    self.plain.push(0);
                }
                Place::Within { missing: octet - 1, zero: octet != FULL }
            }
            Place::Within { missing, zero } => {
                self.plain.push(octet);
                Place::Within { missing: missing - 1, zero }
            }
        };
        if self.plain.len() > LENGTH + MAX_LENGTH { self.lose() } else { None }
    }

    fn lose(&mut self) -> Option<Result<Message, BadFrame>> {
        *self = Self { place: Place::Lost, plain: Vec::new() };
        Some(Err(BadFrame::Cut))
    }

    /// At a zero: what has come before it is over, and a frame may begin.
    fn end(&mut self) -> Option<Result<Message, BadFrame>> {
        let plain = take(&mut self.plain);
        match replace(&mut self.place, Place::Within { missing: 0, zero: false }) {
            Place::Within { missing: 0, .. } if plain.is_empty() => None,
            Place::Within { missing: 0, .. } => Some(whole(&plain).ok_or(BadFrame::Cut)),
            Place::Within { .. } => Some(Err(BadFrame::Cut)),
            Place::Before | Place::Lost => None,
        }
    }
}

fn whole(plain: &[u8]) -> Option<Message> {
    let (length, rest) = plain.split_first_chunk::<LENGTH>()?;
    let (&[a, b, c, d], message) = rest.split_first_chunk::<ADDRESS>()?;
    let is_whole = usize::try_from(u32::from_le_bytes(*length)).is_ok_and(|length| length == rest.len());
    let (service, number) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    is_whole.then(|| Message { service, number, octets: message.to_vec() })
}

#[cfg(test)]
mod tests;
