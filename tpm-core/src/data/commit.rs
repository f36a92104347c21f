//! Ephemeral values of split schemes (Part 1, C.2.2): TPM2_Commit and TPM2_EC_Ephemeral commit to an r that TPM2_Sign
//! and TPM2_ZGen_2Phase use, once. The TPM keeps no r: it derives it again from a counter.
//!
//! Choice, version 1, frozen: r = (KDFa([`INTERNAL_HASH`], nonce, "ECDAA Commit", Name, counter₈, 8 · (size + 8)) mod
//! (n − 1)) + 1, where size is that of the curve in octets and Name is the signing key's, or empty for
//! TPM2_EC_Ephemeral.

use crate::crypto::ecc::{Curve, Scalar};
use crate::crypto::kdf::kdfa;
use crate::crypto::{Error, Rng};
use crate::secret::Seed;
use crate::wire::{INTERNAL_HASH, Marshal, Reader, Unmarshal, Writer};

/// How many commitments can be open at a time (TPM_PT_SPLIT_MAX).
pub(crate) const OPEN_MAX: u32 = u128::BITS;

/// commitNonce, commitCount and commitArray. What TPM Reset forgets.
pub(crate) struct Commit {
    nonce: Seed,
    /// counter of the next commitment
    counter: u64,
    /// bit `c` mod 128 is SET while the commitment `c` is open
    open: u128,
}

impl Commit {
    /// No commitments, and a new nonce.
    pub(crate) const fn new(nonce: Seed) -> Self {
        Self { nonce, counter: 0, open: 0 }
    }

    /// r of the next commitment.
    pub(crate) fn next(&self, curve: Curve, name: &[u8]) -> Result<Scalar, Error> {
        self.derive(curve, name, self.counter)
    }

    /// Opens the next commitment; the low 16 bits of its counter. The commitment that is 128 older, if still open, is
    /// forgotten.
    pub(crate) fn commit(&mut self) -> u16 {
        self.open |= Self::bit(self.counter);
        let low = low_bits(self.counter);
        self.counter = self.counter.wrapping_add(1);
        low
    }

    /// r of an open commitment; `None` if there is no such.
    pub(crate) fn reopen(&self, curve: Curve, name: &[u8], counter: u16) -> Option<Scalar> {
        let counter = self.find(counter)?;
        self.derive(curve, name, counter).ok()
    }

    /// Closes a commitment: its r has been used.
    pub(crate) fn close(&mut self, counter: u16) {
        self.open &= !Self::bit(counter.into());
    }

    /// The whole counter of an open commitment: the last one with the same place in the array.
    fn find(&self, counter: u16) -> Option<u64> {
        let window = u64::from(OPEN_MAX);
        let back = self.counter.wrapping_sub(u64::from(counter) + 1) % window + 1;
        let whole = self.counter.checked_sub(back)?;
        (low_bits(whole) == counter && self.open & Self::bit(whole) != 0).then_some(whole)
    }

    const fn bit(counter: u64) -> u128 {
        1 << (counter % OPEN_MAX as u64)
    }

    fn derive(&self, curve: Curve, name: &[u8], counter: u64) -> Result<Scalar, Error> {
        curve.random_scalar(&mut Derivation { nonce: self.nonce.as_slice(), name, counter })
    }
}

impl Marshal for Commit {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.nonce.marshal(w);
        self.counter.marshal(w);
        w.put(&self.open.to_be_bytes());
    }
}

impl Unmarshal<'_> for Commit {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, crate::rc::Fmt1> {
        let (nonce, counter) = (r.get()?, r.get()?);
        let open = u128::from(r.get::<u64>()?) << 64 | u128::from(r.get::<u64>()?);
        Ok(Self { nonce, counter, open })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
const fn low_bits(counter: u64) -> u16 {
    counter as u16
}

/// The octets from which r is made.
struct Derivation<'a> {
    nonce: &'a [u8],
    name: &'a [u8],
    counter: u64,
}

impl Rng for Derivation<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        kdfa(INTERNAL_HASH, self.nonce, b"ECDAA Commit", self.name, &self.counter.to_be_bytes(), out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    fn commit() -> Commit {
        Commit::new(Seed::from_slice(&[7; 64]).ok().unwrap())
    }

    fn r(commit: &Commit, counter: u16) -> Option<[u8; 32]> {
        commit.reopen(Curve::NistP256, b"name", counter).map(|r| r.as_slice().try_into().unwrap())
    }

    #[test]
    fn the_derivation_is_frozen() {
        let commit = commit();
        let next = commit.next(Curve::NistP256, b"name").unwrap();
        assert_eq!(next.as_slice(), hex!("2e0ee61aa7ccbfec2f5ed54c99b6917c7db57a3a651a322c8d123afa8433fabe"));
    }

    #[test]
    fn r_is_the_same_until_it_is_closed_and_never_again() {
        let mut commit = commit();
        assert_eq!(r(&commit, 0), None, "nothing is open");
        let next = commit.next(Curve::NistP256, b"name").unwrap();
        assert_eq!(commit.commit(), 0);
        assert_eq!(r(&commit, 0).unwrap(), next.as_slice());
        assert_ne!(commit.reopen(Curve::NistP256, b"other", 0).unwrap().as_slice(), next.as_slice());
        assert_ne!(commit.next(Curve::NistP256, b"name").unwrap().as_slice(), next.as_slice(), "the counter counts");
        commit.close(0);
        assert_eq!(r(&commit, 0), None);
    }

    #[test]
    fn a_hundred_and_twenty_eight_are_open_at_a_time() {
        let mut commit = commit();
        for expected in 0..=u16::MAX {
            assert_eq!(commit.commit(), expected);
        }
        assert_eq!(commit.commit(), 0, "the low 16 bits");
        assert!(r(&commit, 0).is_some() && r(&commit, u16::MAX).is_some() && r(&commit, u16::MAX - 126).is_some());
        assert_eq!((r(&commit, u16::MAX - 127), r(&commit, 1), r(&commit, 128)), (None, None, None));
        assert_eq!(commit.find(0), Some(0x1_0000));
    }

    #[test]
    fn it_survives_being_saved() {
        let mut commit = commit();
        commit.commit();
        commit.commit();
        commit.close(0);
        let mut bytes = [0; 100];
        let mut w = Writer::new(&mut bytes);
        commit.marshal(&mut w);
        let again = Commit::unmarshal(&mut Reader::new(w.written(0))).unwrap();
        assert_eq!((again.counter, again.open, r(&again, 1)), (2, 2, r(&commit, 1)));
    }
}
