//! HMAC (FIPS 198-1) over any [`HashAlg`].

use zeroize::{Zeroize, Zeroizing};

use super::hash::{Digest, HashAlg, Hasher, MAX_BLOCK};
use crate::secret::ct_eq;

/// An HMAC computation in progress. Its state is wiped when dropped.
pub struct Hmac {
    inner: Hasher,
    outer: Hasher,
}

impl Hmac {
    /// Starts a computation with a key of any length.
    #[must_use]
    pub fn new(alg: HashAlg, key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; MAX_BLOCK]);
        let mut hashed = Digest::EMPTY;
        let key = if key.len() > alg.block_size() {
            hashed = Hasher::new(alg).chain(key).finish();
            hashed.as_slice()
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let hmac = Self { inner: padded(alg, &block, 0x36), outer: padded(alg, &block, 0x5C) };
        hashed.zeroize();
        hmac
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
    pub fn finish(self) -> Digest {
        self.outer.chain(self.inner.finish().as_slice()).finish()
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

/// A hash computation that has taken in the key block, each byte combined with `pad`.
fn padded(alg: HashAlg, block: &[u8; MAX_BLOCK], pad: u8) -> Hasher {
    let mut block = Zeroizing::new(*block);
    block.iter_mut().for_each(|byte| *byte ^= pad);
    Hasher::new(alg).chain(block.get(..alg.block_size()).unwrap_or_default())
}

/// The HMAC of the concatenation of `parts`.
#[must_use]
pub fn hmac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(alg, key);
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finish()
}

/// Whether the HMAC of the concatenation of `parts` is `expected`, in constant time.
#[must_use]
pub fn verify(alg: HashAlg, key: &[u8], parts: &[&[u8]], expected: &[u8]) -> bool {
    ct_eq(hmac(alg, key, parts).as_slice(), expected)
}
