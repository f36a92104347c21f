//! CMAC (SP 800-38B) over any cipher of [`super::sym`].

use zeroize::{Zeroize, Zeroizing};

use super::Error;
use super::sym::{BLOCK, Cipher, SymAlg};
use crate::secret::ct_eq;

/// The bytes of a CMAC.
pub const SIZE: usize = BLOCK;

/// A CMAC computation in progress. Its state is wiped when dropped.
pub struct Cmac {
    cipher: Cipher,
    /// the chaining value
    chain: [u8; BLOCK],
    /// what has come and is not yet chained: the last block needs a subkey, so it waits
    pending: [u8; BLOCK],
    len: usize,
}

impl Cmac {
    /// Starts a computation.
    ///
    /// # Errors
    /// `Error::Key` if the algorithm has no keys of this length.
    pub fn new(alg: SymAlg, key: &[u8]) -> Result<Self, Error> {
        Ok(Self { cipher: Cipher::new(alg, key)?, chain: [0; BLOCK], pending: [0; BLOCK], len: 0 })
    }

    /// A second copy of the computation.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let Self { cipher, chain, pending, len } = self;
        Self { cipher: cipher.duplicate(), chain: *chain, pending: *pending, len: *len }
    }

    /// Takes in `data`.
    pub fn update(&mut self, data: &[u8]) {
        let data = self.fill(data);
        if data.is_empty() {
            return;
        }
        self.absorb();
        // Whole blocks, but for the last one: it waits.
        let (now, later) = match data.as_chunks() {
            ([blocks @ .., last], []) => (blocks, &last[..]),
            whole => whole,
        };
        self.cipher.chain_blocks(&mut self.chain, now);
        self.fill(later);
    }

    /// Takes in what there is room for; the rest.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (now, later) = data.split_at(data.len().min(BLOCK.saturating_sub(self.len)));
        self.pending.iter_mut().skip(self.len).zip(now).for_each(|(to, from)| *to = *from);
        self.len = self.len.saturating_add(now.len());
        later
    }

    /// [`Cmac::update`], as part of an expression.
    #[must_use]
    pub fn chain(mut self, data: &[u8]) -> Self {
        self.update(data);
        self
    }

    /// The CMAC of everything taken in.
    #[must_use]
    pub fn finish(mut self) -> [u8; SIZE] {
        let mut subkey = Zeroizing::new([0; BLOCK]);
        self.cipher.encrypt_block(&mut subkey);
        *subkey = double(*subkey);
        if self.len < BLOCK {
            *subkey = double(*subkey);
            self.pending.iter_mut().skip(self.len).zip(core::iter::once(0x80).chain(core::iter::repeat(0))).for_each(
                |(to, padding)| {
                    *to = padding;
                },
            );
        }
        self.pending.iter_mut().zip(subkey.iter()).for_each(|(byte, key)| *byte ^= key);
        self.absorb();
        self.chain
    }

    /// The chaining value and what is not yet chained, to be saved.
    #[must_use]
    pub fn state(&self) -> ([u8; BLOCK], &[u8]) {
        (self.chain, self.pending.get(..self.len).unwrap_or_default())
    }

    /// Goes on from [`Cmac::state`].
    ///
    /// # Errors
    /// `Error::Key` as [`Cmac::new`], `Error::Length` if `pending` is longer than a block.
    pub fn resume(alg: SymAlg, key: &[u8], chain: [u8; BLOCK], pending: &[u8]) -> Result<Self, Error> {
        let mut cmac = Self { cipher: Cipher::new(alg, key)?, chain, pending: [0; BLOCK], len: pending.len() };
        cmac.pending.get_mut(..pending.len()).ok_or(Error::Length)?.copy_from_slice(pending);
        Ok(cmac)
    }

    /// Whether the CMAC of everything taken in is `expected`, in constant time. A shortened CMAC is wrong.
    #[must_use]
    pub fn verify(self, expected: &[u8]) -> bool {
        ct_eq(&self.finish(), expected)
    }

    fn absorb(&mut self) {
        self.chain.iter_mut().zip(&self.pending).for_each(|(byte, data)| *byte ^= data);
        self.cipher.encrypt_block(&mut self.chain);
        self.len = 0;
    }
}

impl Drop for Cmac {
    fn drop(&mut self) {
        self.chain.zeroize();
        self.pending.zeroize();
    }
}

/// Multiplication by x in GF(2^128) (SP 800-38B, 6.1), in constant time.
fn double(block: [u8; BLOCK]) -> [u8; BLOCK] {
    let value = u128::from_be_bytes(block);
    (value << 1 ^ 0x87 & (value >> 127).wrapping_neg()).to_be_bytes()
}
