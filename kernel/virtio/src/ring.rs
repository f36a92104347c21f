//! A queue that is shared with the host (virtio 1.3, 2.7), with one request in it at a time.
//!
//! One page has the rings, the others the request's octets, each buffer in pages of its own. Everything that the device
//! is to know is written anew for each request; of what it writes, its index, its one entry and the answer are read,
//! each once.

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};
use snp::ghcb::SharedMemory;

use crate::Fault;
use crate::host::{Host, PAGE, SharedPage};

/// Where the rings are in their page: descriptors, what the driver writes, what the device writes.
const DRIVER: usize = 0x800;
const DEVICE: usize = 0xC00;
/// Octets of a descriptor.
const DESCRIPTOR: usize = 16;
/// Entries that there is room for.
pub(crate) const MAX_SIZE: u16 = 64;
const _: () = assert!(DESCRIPTOR * MAX_SIZE as usize <= DRIVER);
const _: () = assert!(DRIVER + 6 + 2 * MAX_SIZE as usize <= DEVICE);
const _: () = assert!(DEVICE + 6 + 8 * MAX_SIZE as usize <= PAGE);

/// Of a descriptor: another one comes behind it; the device writes.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Of the driver's ring: no interrupts, since nobody would take them.
const NO_INTERRUPT: u16 = 1;

/// A part of a request: octets for the device, or room for its answer.
#[derive(Debug)]
pub(crate) struct Part {
    /// The octets, whichever way they go.
    pub(crate) octets: Vec<u8>,
    /// The device writes it.
    pub(crate) is_answer: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Ring<S> {
    rings: SharedPage<S>,
    pages: Vec<SharedPage<S>>,
    size: u16,
    /// Requests so far: the driver's index.
    made: u16,
    /// Answers so far: what the device's index must be, or one less than `made`.
    used: u16,
}

impl<S: SharedMemory> Ring<S> {
    /// A queue of `size` entries, with room for requests of `pages` pages.
    pub(crate) fn new(host: &mut impl Host<Shared = S>, size: u16, pages: usize) -> Result<Self, Fault> {
        if size == 0 || size > MAX_SIZE || pages > usize::from(size) {
            return Err(Fault::Queue);
        }
        let rings = host.share().ok_or(Fault::Memory)?;
        let pages: Option<Vec<_>> = (0..pages).map(|_| host.share()).collect();
        Ok(Self { rings, pages: pages.ok_or(Fault::Memory)?, size, made: 0, used: 0 })
    }

    /// Where the device finds descriptors, what the driver and what the device writes.
    pub(crate) fn areas(&self) -> [u64; 3] {
        [0, DRIVER, DEVICE].map(|offset| self.rings.gpa + offset as u64)
    }

    /// Makes a request, which the device may look at from here on.
    pub(crate) fn make(&mut self, parts: &[Part]) -> Result<(), Fault> {
        let mut pieces = parts.iter().flat_map(|part| part.octets.chunks(PAGE).map(|piece| (piece, part.is_answer)));
        let mut piece = pieces.next();
        let mut pages = self.pages.iter_mut();
        let mut number = 0_u16;
        while let Some((octets, is_answer)) = piece {
            let page = pages.next().ok_or(Fault::Queue)?;
            if !is_answer {
                page.bytes.write(0, octets);
            }
            piece = pieces.next();
            let flags = if piece.is_some() { NEXT } else { 0 } | if is_answer { WRITE } else { 0 };
            let len = u32::try_from(octets.len()).map_err(|_| Fault::Queue)?;
            let mut descriptor = [0; DESCRIPTOR];
            let words = [&page.gpa.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes()];
            let next = (number + 1).to_le_bytes();
            let fields = words.into_iter().chain([&next[..]]).flatten();
            descriptor.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
            self.rings.bytes.write(DESCRIPTOR * usize::from(number), &descriptor);
            number += 1;
        }
        // The entry that the index leads to: descriptor 0.
        self.rings.bytes.write(DRIVER, &NO_INTERRUPT.to_le_bytes());
        self.rings.bytes.write(DRIVER + 4 + 2 * usize::from(self.made % self.size), &0_u16.to_le_bytes());
        fence(Ordering::SeqCst);
        self.made = self.made.wrapping_add(1);
        self.rings.bytes.write(DRIVER + 2, &self.made.to_le_bytes());
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Whether the request has been answered: then the answer is in `parts`, and this is how many octets it has.
    pub(crate) fn take(&mut self, parts: &mut [Part]) -> Result<Option<u32>, Fault> {
        let mut index = [0; 2];
        self.rings.bytes.read(DEVICE + 2, &mut index);
        let index = u16::from_le_bytes(index);
        if index == self.used {
            return Ok(None);
        }
        if index != self.made || self.made != self.used.wrapping_add(1) {
            return Err(Fault::UsedIndex);
        }
        fence(Ordering::SeqCst);
        let mut entry = [0; 8];
        self.rings.bytes.read(DEVICE + 4 + 8 * usize::from(self.used % self.size), &mut entry);
        let [a, b, c, d, len @ ..] = entry;
        let len = u32::from_le_bytes(len);
        if [a, b, c, d] != [0; 4] {
            return Err(Fault::UsedId);
        }
        let room: usize = parts.iter().filter(|part| part.is_answer).map(|part| part.octets.len()).sum();
        let mut left = usize::try_from(len).ok().filter(|len| *len <= room).ok_or(Fault::Length)?;
        let mut pages = self.pages.iter();
        for part in parts {
            for piece in part.octets.chunks_mut(PAGE) {
                let page = pages.next().ok_or(Fault::Queue)?;
                if part.is_answer {
                    let written = left.min(piece.len());
                    page.bytes.read(0, piece.get_mut(..written).unwrap_or_default());
                    left -= written;
                }
            }
        }
        self.used = index;
        Ok(Some(len))
    }
}
