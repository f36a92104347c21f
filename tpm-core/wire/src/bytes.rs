//! TPM2B buffers (Part 2, 10.4): borrowed from a command, or owned by the TPM.

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;
use core::marker::PhantomData;
use heapless::Vec;

/// A TPM2B of at most `MAX` bytes which borrows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tpm2b<'a, const MAX: usize>(pub &'a [u8]);

impl<'a, const MAX: usize> Unmarshal<'a> for Tpm2b<'a, MAX> {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        let size: usize = r.get::<u16>()?.into();
        if size > MAX {
            return Err(Fmt1::SIZE);
        }
        r.take(size).map(Self)
    }
}

impl<const MAX: usize> Marshal for Tpm2b<'_, MAX> {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized(|w| w.put(self.0));
    }
}

/// A TPM2B of at most `MAX` bytes which owns them. Not for secrets: those are [`tpm_crypto::secret::Secret`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Buffer<const MAX: usize>(Vec<u8, MAX>);

impl<const MAX: usize> Buffer<MAX> {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These bytes, or SIZE if they are too many.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Fmt1> {
        Vec::from_slice(bytes).map(Self).map_err(|_| Fmt1::SIZE)
    }

    /// What `f` marshals, or SIZE if it is too long.
    pub fn of(f: impl FnOnce(&mut Writer<'_>)) -> Result<Self, Fmt1> {
        let mut bytes = [0; MAX];
        let mut w = Writer::new(&mut bytes);
        f(&mut w);
        Self::from_slice(w.written(0)).and_then(|b| if w.fits() { Ok(b) } else { Err(Fmt1::SIZE) })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the Empty Buffer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Borrowed, for a reply.
    pub fn as_2b(&self) -> Tpm2b<'_, MAX> {
        Tpm2b(&self.0)
    }
}

impl<const MAX: usize> Unmarshal<'_> for Buffer<MAX> {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Self::from_slice(r.get::<Tpm2b<'_, MAX>>()?.0)
    }
}

impl<const MAX: usize> Marshal for Buffer<MAX> {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        self.as_2b().marshal(w);
    }
}

/// An error if the value is longer than `MAX`: for copying a [`Tpm2b`] into the TPM.
impl<const MAX: usize> From<Tpm2b<'_, MAX>> for Buffer<MAX> {
    fn from(b: Tpm2b<'_, MAX>) -> Self {
        Self::from_slice(b.0).unwrap_or_default()
    }
}

/// A list with a UINT32 count of at most `MAX` elements (Part 2, 10.9).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List<T, const MAX: usize>(pub Vec<T, MAX>);

impl<T, const MAX: usize> List<T, MAX> {
    /// The first elements, as many as it can hold.
    pub fn of(items: impl Iterator<Item = T>) -> Self {
        let mut list = Vec::new();
        for item in items {
            if list.push(item).is_err() {
                break;
            }
        }
        Self(list)
    }
}

impl<'a, T: Unmarshal<'a>, const MAX: usize> Unmarshal<'a> for List<T, MAX> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        let count: u32 = r.get()?;
        if usize::try_from(count).map_or(true, |n| n > MAX) {
            return Err(Fmt1::SIZE);
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(r.get()?).map_err(|_| Fmt1::SIZE)?;
        }
        Ok(Self(list))
    }
}

impl<T: Marshal, const MAX: usize> Marshal for List<T, MAX> {
    fn marshal(&self, w: &mut Writer<'_>) {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).marshal(w);
        self.0.iter().for_each(|e| e.marshal(w));
    }
}

/// A list of a command as [`List`]. It is checked when it is read, and its elements are read again one after the other:
/// what is long is not moved.
pub struct Each<'a, T, const MAX: usize> {
    count: u32,
    octets: &'a [u8],
    elements: PhantomData<T>,
}

impl<'a, T: Unmarshal<'a>, const MAX: usize> Each<'a, T, MAX> {
    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T, MAX> {
        let mut r = Reader::new(self.octets);
        (0..self.count).map_while(move |_| r.get().ok())
    }
}

impl<'a, T: Unmarshal<'a>, const MAX: usize> Unmarshal<'a> for Each<'a, T, MAX> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        let count: u32 = r.get()?;
        if usize::try_from(count).map_or(true, |n| n > MAX) {
            return Err(Fmt1::SIZE);
        }
        let octets = r.rest();
        for _ in 0..count {
            r.get::<T>()?;
        }
        let octets = octets.get(..octets.len().saturating_sub(r.rest().len())).unwrap_or_default();
        Ok(Self { count, octets, elements: PhantomData })
    }
}
