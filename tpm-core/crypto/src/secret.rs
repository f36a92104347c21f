//! Secrets in memory: bounded, wiped when dropped, compared in constant time.

use core::sync::atomic::{Ordering, compiler_fence};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, zeroize_bytes};

/// The value offered is longer than the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl core::fmt::Display for TooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("it is longer than the buffer")
    }
}

impl core::error::Error for TooLong {}

/// Whether two byte strings are equal, in time that depends on their lengths only.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The bytes up to the last that is not zero. The time depends on how many zeros there are.
#[must_use]
pub fn without_trailing_zeros(bytes: &[u8]) -> &[u8] {
    let kept = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.get(..kept).unwrap_or_default()
}

/// At most `N` secret bytes.
///
/// It has no `Debug`, `Clone`, `Copy` or `PartialEq`: a copy is made by [`Secret::duplicate`], where a reader sees it,
/// and a comparison by [`Secret::ct_eq`]. The bytes are wiped when the value is dropped; a move may leave the old bytes
/// behind on the stack, so keep a secret where it was made, or pass references.
///
/// ```compile_fail,E0599
/// let secret = tpm_crypto::secret::Secret::<4>::new();
/// let copy = secret.clone();
/// ```
/// ```compile_fail,E0277
/// println!("{:?}", tpm_crypto::secret::Secret::<4>::new());
/// ```
/// ```compile_fail,E0369
/// let (a, b) = (tpm_crypto::secret::Secret::<4>::new(), tpm_crypto::secret::Secret::<4>::new());
/// assert!(a == b);
/// ```
///
/// For all types with secrets this is asserted as here, where it is wrong and so does not compile:
/// ```compile_fail,E0283
/// static_assertions::assert_not_impl_any!(tpm_crypto::hash::Digest: Clone);
/// ```
pub struct Secret<const N: usize> {
    /// after `len` nothing but zeros
    bytes: [u8; N],
    len: usize,
}

/// A seed of a hierarchy, or a proof.
pub type Seed = Secret<64>;

impl<const N: usize> Secret<N> {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// `len` zero bytes, to be filled through [`Secret::as_mut_slice`].
    ///
    /// # Errors
    /// `TooLong` if `len` is more than `N`.
    pub const fn zeroed(len: usize) -> Result<Self, TooLong> {
        if len > N {
            return Err(TooLong);
        }
        Ok(Self { bytes: [0; N], len })
    }

    /// A copy of `bytes`, which the caller still has to wipe.
    ///
    /// # Errors
    /// `TooLong` if there are more than `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, TooLong> {
        let mut secret = Self::new();
        secret.extend(bytes)?;
        Ok(secret)
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// `TooLong` if they do not fit; the secret is then unchanged.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = self.len.checked_add(bytes.len()).ok_or(TooLong)?;
        self.bytes.get_mut(self.len..end).ok_or(TooLong)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Replaces the value by a copy of `bytes`.
    ///
    /// # Errors
    /// `TooLong` if they do not fit; the secret is then unchanged.
    pub fn set(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.len() > N {
            return Err(TooLong);
        }
        self.wipe();
        self.extend(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The secret bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets, and wipes, all bytes after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        if let Some(tail) = self.bytes.get_mut(len..self.len) {
            zeroize_bytes(tail);
            self.len = len;
        }
    }

    /// Forgets the last zero bytes, as an authValue is kept (Part 1, 16.6.4.3). The time depends on how many there are.
    pub fn trim_trailing_zeros(&mut self) {
        let kept = without_trailing_zeros(self.as_slice()).len();
        self.truncate(kept);
    }

    /// A second copy of the secret.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { bytes: self.bytes, len: self.len }
    }

    /// Whether the secret equals `other`, in time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(self.as_slice(), other)
    }

    /// Overwrites the bytes with zeros, after which there are none but zeros in any case, and leaves the secret empty.
    pub fn wipe(&mut self) {
        zeroize_bytes(self.as_mut_slice());
        self.len = 0;
        compiler_fence(Ordering::SeqCst);
    }
}

impl<const N: usize> Default for Secret<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Zeroize for Secret<N> {
    fn zeroize(&mut self) {
        self.wipe();
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_at_most_n_bytes() {
        let mut secret = Secret::<4>::from_slice(b"abc").ok().unwrap();
        assert_eq!(secret.extend(b"de"), Err(TooLong));
        assert_eq!(secret.as_slice(), b"abc");
        assert_eq!(secret.extend(b"d"), Ok(()));
        assert_eq!(secret.set(b"12345"), Err(TooLong));
        assert_eq!(secret.as_slice(), b"abcd");
        assert!(Secret::<4>::zeroed(5).is_err());
    }

    #[test]
    fn what_is_cut_off_is_wiped() {
        let mut secret = Secret::<8>::from_slice(b"abc\0\0").ok().unwrap();
        secret.trim_trailing_zeros();
        assert_eq!(secret.as_slice(), b"abc");
        secret.truncate(1);
        assert_eq!((secret.as_slice(), secret.bytes), (&b"a"[..], *b"a\0\0\0\0\0\0\0"));
        secret.wipe();
        assert_eq!((secret.len(), secret.bytes), (0, [0; 8]));
    }

    #[test]
    fn equality_needs_equal_length_and_bytes() {
        let secret = Secret::<8>::from_slice(b"abc").ok().unwrap();
        assert!(secret.ct_eq(b"abc") && secret.duplicate().ct_eq(b"abc"));
        assert!(!secret.ct_eq(b"abd") && !secret.ct_eq(b"ab") && !secret.ct_eq(b"abc\0") && !secret.ct_eq(b""));
    }
}
