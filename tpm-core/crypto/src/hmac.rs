//! HMAC (FIPS 198-1) over any [`HashAlg`].

use zeroize::Zeroize;

use super::hash::{Digest, HashAlg, Hasher, MAX_BLOCK, digest};
use super::sha256;
use crate::secret::{Secret, ct_eq};

/// An HMAC computation in progress. Its state is wiped when dropped.
pub struct Hmac {
    inner: Hasher,
    outer: Hasher,
}

impl Hmac {
    /// Starts a computation with a key of any length.
    #[must_use]
    pub fn new(alg: HashAlg, key: &[u8]) -> Self {
        let mut block = key_block(alg, key);
        combine(block.as_mut_slice(), INNER);
        let inner = started(alg, block.as_slice());
        combine(block.as_mut_slice(), INNER ^ OUTER);
        Self { inner, outer: started(alg, block.as_slice()) }
    }

    /// The hash algorithm.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.inner.alg()
    }

    /// A second copy of the computation.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { inner: self.inner.clone(), outer: self.outer.clone() }
    }

    /// Takes in `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    /// [`Hmac::update`], as part of an expression.
    #[must_use]
    pub fn chain(mut self, data: &[u8]) -> Self {
        self.update(data);
        self
    }

    /// The HMAC of everything taken in.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        let mut inner = self.inner.finish();
        self.outer.update(inner.as_slice());
        inner.zeroize();
        self.outer.finish()
    }

    /// The HMAC of everything taken in and then of `parts`. The computation can go on without them.
    #[must_use]
    pub fn with<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut inner = self.inner.clone();
        parts.into_iter().for_each(|part| inner.update(part));
        let mut inner = inner.finish();
        let mut outer = self.outer.clone();
        outer.update(inner.as_slice());
        inner.zeroize();
        outer.finish()
    }

    /// The two hash computations of which it consists, inner and outer, to be saved.
    #[must_use]
    pub const fn parts(&self) -> (&Hasher, &Hasher) {
        (&self.inner, &self.outer)
    }

    /// Goes on from the two hash computations of [`Hmac::parts`]; `None` if they have different algorithms.
    #[must_use]
    pub fn from_parts(inner: Hasher, outer: Hasher) -> Option<Self> {
        (inner.alg() == outer.alg()).then_some(Self { inner, outer })
    }

    /// Whether the HMAC of everything taken in is `expected`, in constant time. A shortened HMAC is wrong.
    #[must_use]
    pub fn verify(self, expected: &[u8]) -> bool {
        ct_eq(self.finish().as_slice(), expected)
    }
}

/// ipad and opad, eight at a time: the blocks of all hashes are multiples of that.
const INNER: u64 = u64::from_ne_bytes([0x36; 8]);
const OUTER: u64 = u64::from_ne_bytes([0x5C; 8]);

/// Combines a key block with a pad.
fn combine(block: &mut [u8], pad: u64) {
    for word in block.as_chunks_mut().0 {
        *word = (u64::from_ne_bytes(*word) ^ pad).to_ne_bytes();
    }
}

/// The key, padded or hashed to the length of a block.
fn key_block(alg: HashAlg, key: &[u8]) -> Secret<MAX_BLOCK> {
    let mut block = Secret::<MAX_BLOCK>::zeroed(alg.block_size()).unwrap_or_default();
    if let Some(start) = block.as_mut_slice().get_mut(..key.len()) {
        start.copy_from_slice(key);
    } else {
        let mut hashed = digest(alg, &[key]);
        block.as_mut_slice().iter_mut().zip(hashed.as_slice()).for_each(|(to, from)| *to = *from);
        hashed.zeroize();
    }
    block
}

/// A hash computation that has taken in a block.
fn started(alg: HashAlg, block: &[u8]) -> Hasher {
    let mut hasher = Hasher::new(alg);
    hasher.update(block);
    hasher
}

/// The HMAC of the concatenation of `parts`.
#[must_use]
pub fn hmac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> Digest {
    if alg == HashAlg::Sha256 {
        return Digest::of_state(&sha256::hmac_with_key(key, parts.iter().copied()));
    }
    hmac_of(alg, key, |hasher| parts.iter().for_each(|part| hasher.update(part)))
}

/// The HMAC of what `message` lets the hash take in: in one go, without an [`Hmac`] that would be moved about.
pub(super) fn hmac_of(alg: HashAlg, key: &[u8], message: impl FnOnce(&mut Hasher)) -> Digest {
    let mut block = key_block(alg, key);
    combine(block.as_mut_slice(), INNER);
    let mut hasher = started(alg, block.as_slice());
    message(&mut hasher);
    let mut inner = hasher.finish();
    combine(block.as_mut_slice(), INNER ^ OUTER);
    let outer = digest(alg, &[block.as_slice(), inner.as_slice()]);
    inner.zeroize();
    outer
}

/// Whether the HMAC of the concatenation of `parts` is `expected`, in constant time.
#[must_use]
pub fn verify(alg: HashAlg, key: &[u8], parts: &[&[u8]], expected: &[u8]) -> bool {
    ct_eq(hmac(alg, key, parts).as_slice(), expected)
}
