//! Seed and template to primary key: version 1, frozen.
//!
//! A primary key is a function of the hierarchy's seed and the template (Part 1, 24.6.3). This page is that function,
//! exactly; a change of one bit of it would change every endorsement key in use, so it never changes: a new function
//! gets a new version number.
//!
//! # Streams
//! Each secret of the object is drawn from a stream of its own: HMAC_DRBG with SHA-256 (SP 800-90A Rev. 1, 10.1.2),
//! instantiated with the seed material
//!
//! > "QUOIN PRIMARY" ‖ version (1 byte) ‖ purpose (1 byte) ‖ \[seed length\]₂ ‖ seed ‖ \[digest length\]₂ ‖ template
//! > digest
//!
//! where lengths are big-endian and the purposes are those of [`Purpose`]. There is no other input and no reseed. "Draw
//! n bytes" below is one generate request for n bytes without additional input. The template digest is the caller's:
//! nameAlg's digest of what the key shall depend on.
//!
//! # Secrets
//! - **RSA**, purpose 1: p, then q. To find a prime of k bits (half the key size; bytes: k/8): draw k/8 bytes as a
//!   big-endian number; set its two highest and its two lowest bits. Of the 8192 numbers from there in steps of 4 the
//!   prime is the first that has not more than k bits, is a prime and does not leave 1 modulo the public exponent. If
//!   there is none, draw again. For q, |p − q| must exceed 2^(k − 100) as well; where it does not, q's search starts
//!   again with a new draw. p is the prime that the sensitive area holds.
//! - **ECC**, purpose 1: draw (size of the order in bytes) + 8 bytes as a big-endian number c; d = (c mod (n − 1)) + 1
//!   (FIPS 186-5, A.2.1).
//! - **Symmetric keys and keyed-hash secrets**, purpose 1: draw as many bytes as the key has.
//! - **ML-KEM**, purpose 1: draw 64 bytes, d ‖ z of FIPS 203. **ML-DSA**, purpose 1: draw 32 bytes, ξ of FIPS 204.
//! - **seedValue**, purpose 2: draw as many bytes as it has.
//! - Purpose 3 gives the bases of the Miller-Rabin tests, which do not change the key.

use core::sync::atomic::AtomicBool;

use super::drbg::Drbg;
use super::ecc::{Curve, Point, Scalar};
use super::rsa::RsaPrivate;
use super::{Error, Rng};

/// The version of the function that new seeds use.
pub const VERSION: u8 = 1;

const LABEL: &[u8] = b"QUOIN PRIMARY";

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The sensitive value: the key.
    Sensitive = 1,
    /// The seedValue.
    SeedValue = 2,
    /// Bases of primality tests.
    Witness = 3,
}

impl Purpose {
    const fn number(self) -> u8 {
        match self {
            Self::Sensitive => 1,
            Self::SeedValue => 2,
            Self::Witness => 3,
        }
    }
}

/// The derivation of one primary object.
#[derive(Clone, Copy)]
pub struct Derivation<'a> {
    version: u8,
    seed: &'a [u8],
    template_digest: &'a [u8],
}

impl<'a> Derivation<'a> {
    /// The derivation from a primary seed (at least 32 bytes) and the digest of what the key shall depend on (at most
    /// 64 bytes).
    ///
    /// # Errors
    /// `Error::Range` for an unknown version, `Error::Length` for a seed of fewer than 32 or more than 64 bytes, or a
    /// longer digest.
    pub const fn new(version: u8, seed: &'a [u8], template_digest: &'a [u8]) -> Result<Self, Error> {
        if version != VERSION {
            return Err(Error::Range);
        }
        if seed.len() < 32 || seed.len() > 64 || template_digest.len() > 64 {
            return Err(Error::Length);
        }
        Ok(Self { version, seed, template_digest })
    }

    /// The stream for a purpose.
    #[must_use]
    pub fn rng(&self, purpose: Purpose) -> DerivationRng {
        let (seed_len, digest_len) = (length(self.seed), length(self.template_digest));
        let head = [self.version, purpose.number()];
        DerivationRng(Drbg::from_seed(&[LABEL, &head, &seed_len, self.seed, &digest_len, self.template_digest]))
    }

    /// The RSA key.
    ///
    /// # Errors
    /// `Error::Key` for a size or exponent that does not exist.
    pub fn rsa(&self, bits: u16, exponent: u32) -> Result<RsaPrivate, Error> {
        self.rsa_unless(bits, exponent, &AtomicBool::new(false))
    }

    /// The RSA key, unless `canceled` is set before it is found.
    ///
    /// # Errors
    /// As [`Self::rsa`]; `Error::Canceled` when it was given up.
    pub fn rsa_unless(&self, bits: u16, exponent: u32, canceled: &AtomicBool) -> Result<RsaPrivate, Error> {
        let (candidates, witnesses) = (&mut self.rng(Purpose::Sensitive), &mut self.rng(Purpose::Witness));
        RsaPrivate::generate_unless(bits, exponent, candidates, witnesses, canceled)
    }

    /// The elliptic curve key.
    ///
    /// # Errors
    /// None in practice.
    pub fn ecc(&self, curve: Curve) -> Result<(Scalar, Point), Error> {
        curve.generate(&mut self.rng(Purpose::Sensitive))
    }

    /// A symmetric key, a keyed-hash secret, the seed of an ML-KEM or ML-DSA key, or a seedValue: fills `out`.
    ///
    /// # Errors
    /// None in practice.
    pub fn bytes(&self, purpose: Purpose, out: &mut [u8]) -> Result<(), Error> {
        self.rng(purpose).fill(out)
    }
}

/// A stream of a derivation.
pub struct DerivationRng(Drbg);

impl Rng for DerivationRng {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.0.fill(out)
    }
}

/// A length of at most 64, in two bytes.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
