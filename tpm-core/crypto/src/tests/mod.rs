//! Known answers from NIST and RFCs, answers of independent implementations, and properties.
#![allow(clippy::type_complexity, clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

extern crate std;

mod cmac;
mod drbg;
mod ecc;
mod hash;
mod kdf;
mod ml;
mod primary;
mod rsa;
mod rsa_vectors;
mod scheme;
mod sym;

use super::drbg::Drbg;

/// A random number generator that gives the same bytes in each run.
fn rng(seed: u8) -> Drbg {
    Drbg::new(&[seed; 32], b"", b"test").unwrap()
}
