//! Octets read from the front, and written to the end. Integers are little-endian.

use alloc::vec::Vec;

use crate::refusal::Refusal;

/// What has not been read yet.
#[derive(Clone, Copy)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Refusal::Shape)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (first, rest) = self.0.split_at_checked(len).ok_or(Refusal::Shape)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Refusal> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Refusal> {
        self.array().map(u64::from_le_bytes)
    }

    /// Nothing is left.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Shape) }
    }
}

/// An empty buffer with room for so many octets.
pub(crate) fn room(len: usize) -> Result<Vec<u8>, Refusal> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Refusal::Room)?;
    Ok(buffer)
}

/// The parts, one after another.
pub(crate) fn joined(parts: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
    let mut all = room(parts.iter().map(|part| part.len()).sum())?;
    parts.iter().for_each(|part| all.extend_from_slice(part));
    Ok(all)
}
