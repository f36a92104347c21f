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
mod error;
pub mod hash;
mod hex;
pub mod hmac;
pub mod kdf;
pub mod mldsa;
pub mod mlkem;
mod num;
pub mod primary;
mod rng;
pub mod rsa;
pub mod secret;
pub mod selftest;
mod sha256;
pub mod sym;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use rng::Rng;
