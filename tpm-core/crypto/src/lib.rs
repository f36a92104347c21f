//! Cryptography of the TPM 2.0 engine: the only place of it that names third-party crypto crates.
//!
//! Everything else speaks the TPM's words: a [`hash::HashAlg`] is a TPMI_ALG_HASH, a [`ecc::Curve`] a TPM_ECC_CURVE,
//! and so on. Nothing here allocates, keeps global state or panics on its input; what depends on a secret takes the
//! same time for every value of it, as far as the processor and the libraries allow, and is wiped when dropped.
//!
//! | module | primitive | source |
//! |---|---|---|
//! | [`hash`], [`hmac`] | SHA-1, SHA-2, SHA-3, SM3; HMAC over them | FIPS 180-4, FIPS 202, GB/T 32905, FIPS 198-1 |
//! | [`kdf`] | KDFa, KDFe, KDF2 | SP 800-108, SP 800-56A, IEEE 1363a; Part 1, 8.4.10 |
//! | [`drbg`] | HMAC_DRBG with SHA-256 | SP 800-90A Rev. 1 |
//! | [`sym`] | AES, Camellia, SM4 in five modes; XOR | FIPS 197, RFC 3713, GB/T 32907, SP 800-38A; Part 1, 8.4.7 |
//! | [`cmac`] | CMAC over these ciphers | SP 800-38B |
//! | [`rsa`] | RSA 1024 to 4096 and its paddings | FIPS 186-5, RFC 8017; Part 1, Annex B |
//! | [`ecc`], curves | P-192 to P-521, BN P-256, SM2 P-256 | SP 800-186, GB/T 32918; Part 1, Annex C |
//! | [`ecc`], schemes | ECDSA, ECDAA, ECSchnorr, SM2, ECDH, ECMQV | FIPS 186-5, GB/T 32918; Part 1, Annex C |
//! | [`mlkem`], [`mldsa`] | ML-KEM, ML-DSA | FIPS 203, FIPS 204 |
//! | [`dhkem`] | a KEM over elliptic curves | RFC 9180 |
//! | [`primary`] | seed and template to primary key, frozen | own, described there |
//! | [`selftest`] | a known answer per algorithm | |
//! | [`secret`], [`bounded`] | secrets in memory; counting and copying without a panic | |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod bounded;
pub mod cmac;
pub mod dhkem;
pub mod drbg;
pub mod ecc;
pub mod hash;
pub mod hmac;
pub mod kdf;
pub mod mldsa;
pub mod mlkem;
mod num;
pub mod primary;
pub mod rsa;
pub mod secret;
pub mod selftest;
mod sha256;
pub mod sym;
#[cfg(test)]
mod tests;

use crate::secret::TooLong;

/// Why a cryptographic operation gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A buffer or value has a length that the operation cannot take.
    Length,
    /// A number is out of range: not below the modulus or order, zero, or not a point of the curve.
    Range,
    /// The key parameters are not those of a usable key.
    Key,
    /// A signature does not verify, or a decrypted message is not what its padding requires. Never says which.
    Invalid,
    /// The random number generator has to be reseeded first.
    Reseed,
    /// The platform has asked that the search be given up.
    Canceled,
    /// The result of a private operation does not fit the public key: a fault, the result was withheld.
    Fault,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "a length that the operation cannot take",
            Self::Range => "a number is out of range",
            Self::Key => "no usable key",
            Self::Invalid => "it is not genuine",
            Self::Reseed => "the random number generator has to be reseeded",
            Self::Canceled => "it was given up",
            Self::Fault => "a wrong result was withheld",
        })
    }
}

impl core::error::Error for Error {}

impl From<TooLong> for Error {
    fn from(_: TooLong) -> Self {
        Self::Length
    }
}

/// A source of random bytes: the TPM's DRBG, or a derivation.
pub trait Rng {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// `Error::Reseed` if the source has to be reseeded before it may go on; `out` is then all zero.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error>;
}

impl<R: Rng + ?Sized> Rng for &mut R {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        (**self).fill(out)
    }
}

/// Copies `from` to the end of `to` and zeros before it: a big-endian number in a wider field.
///
/// # Errors
/// `Error::Length` if `from` is longer than `to`.
pub(crate) fn pad_left(from: &[u8], to: &mut [u8]) -> Result<(), Error> {
    let zeros = to.len().checked_sub(from.len()).ok_or(Error::Length)?;
    let (head, tail) = to.split_at_mut_checked(zeros).ok_or(Error::Length)?;
    head.fill(0);
    tail.copy_from_slice(from);
    Ok(())
}
