//! Octets to values and back.

use crate::rc::Fmt1;

/// Reads big-endian values from the front of a byte slice.
#[derive(Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `n` bytes; INSUFFICIENT if there are fewer.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Fmt1> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Fmt1::INSUFFICIENT)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fmt1> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Fmt1::INSUFFICIENT)?;
        self.0 = tail;
        Ok(*head)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a value.
    pub fn get<T: Unmarshal<'a>>(&mut self) -> Result<T, Fmt1> {
        T::unmarshal(self)
    }
}

/// Writes big-endian values into a byte slice; what does not fit is counted but not written.
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer into this buffer.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Appends bytes.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(to) = self.buf.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
        self.len = end;
    }

    /// Overwrites bytes that were written before.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.buf.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
    }

    /// Bytes written or counted so far.
    #[allow(clippy::len_without_is_empty, reason = "a position, not a collection")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything written so far fitted.
    pub fn fits(&self) -> bool {
        self.len <= self.buf.len()
    }

    /// What was written from `at` on, if it fitted.
    pub fn written(&mut self, at: usize) -> &mut [u8] {
        self.buf.get_mut(at..self.len).unwrap_or_default()
    }

    /// Writes a TPM2B whose contents `f` marshals.
    pub fn sized(&mut self, f: impl FnOnce(&mut Self)) {
        let at = self.len;
        self.put(&[0; 2]);
        f(self);
        let size = u16::try_from(self.len.saturating_sub(at).saturating_sub(2)).unwrap_or(u16::MAX);
        self.patch(at, &size.to_be_bytes());
    }
}

/// A type of Part 2 that can be read.
pub trait Unmarshal<'a>: Sized {
    /// True for a TPM2B: only such a first parameter can be encrypted (Part 1, 18).
    const SIZED: bool = false;
    /// Reads the value; the code has no position yet.
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1>;
}

/// A type of Part 2 that can be written.
pub trait Marshal {
    /// True for a TPM2B: only such a first parameter can be encrypted (Part 1, 18).
    const SIZED: bool = false;
    /// Appends the value.
    fn marshal(&self, w: &mut Writer<'_>);
}

macro_rules! integer { ($($t:ty),*) => { $(
    impl Unmarshal<'_> for $t {
        #[inline]
        fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> { r.array().map(Self::from_be_bytes) }
    }
    impl Marshal for $t {
        #[inline]
        fn marshal(&self, w: &mut Writer<'_>) { w.put(&self.to_be_bytes()); }
    }
)* } }
integer!(u8, u16, u32, u64, i32);

/// TPMI_YES_NO (Part 2, 9.2).
impl Unmarshal<'_> for bool {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fmt1::VALUE),
        }
    }
}

impl Marshal for bool {
    fn marshal(&self, w: &mut Writer<'_>) {
        u8::from(*self).marshal(w);
    }
}

impl<T: Marshal> Marshal for &T {
    const SIZED: bool = T::SIZED;
    fn marshal(&self, w: &mut Writer<'_>) {
        (*self).marshal(w);
    }
}

/// A structure whose wire form is its fields in order.
#[macro_export]
#[doc(hidden)]
macro_rules! structure {
    ($(#[$m:meta])* $v:vis struct $name:ident { $($(#[$fm:meta])* $fv:vis $f:ident: $t:ty),* $(,)? }) => {
        $(#[$m])* $v struct $name { $($(#[$fm])* $fv $f: $t),* }
        impl $crate::Unmarshal<'_> for $name {
            fn unmarshal(r: &mut $crate::Reader<'_>) -> Result<Self, $crate::rc::Fmt1> {
                $(let $f = r.get()?;)*
                Ok(Self { $($f),* })
            }
        }
        impl $crate::Marshal for $name {
            fn marshal(&self, w: &mut $crate::Writer<'_>) { $($crate::Marshal::marshal(&self.$f, w);)* }
        }
    };
}

/// A TPM2B around a structure: the size must match exactly (Part 2, 10.4.1).
#[derive(Clone, Copy)]
pub struct Sized2b<T>(pub T);

impl<'a, T: Unmarshal<'a>> Unmarshal<'a> for Sized2b<T> {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        let size: u16 = r.get()?;
        if size == 0 {
            return Err(Fmt1::SIZE);
        }
        structure_of(r, size).map(Self)
    }
}

/// A structure that must have as many octets as the size before it says. What goes beyond them is found by the size
/// alone, as if the structure were not in a TPM2B.
pub(crate) fn structure_of<'a, T: Unmarshal<'a>>(r: &mut Reader<'a>, size: u16) -> Result<T, Fmt1> {
    let before = r.rest().len();
    let value = r.get()?;
    if before.checked_sub(r.rest().len()) == Some(size.into()) { Ok(value) } else { Err(Fmt1::SIZE) }
}

impl<T: Marshal> Marshal for Sized2b<T> {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized(|w| self.0.marshal(w));
    }
}
