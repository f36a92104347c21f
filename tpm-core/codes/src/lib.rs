//! Names for numbers of Part 2, and which of them this implementation has: response codes, faults, command codes,
//! identifiers of algorithms, and the profile.
//!
//! Nothing is below this crate. What speaks of a TPM and has none, such as the ports of a server, need not compile
//! cryptography for it.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod cc;
pub mod fault;
mod id;
pub mod profile;
pub mod rc;
pub mod st;

pub use id::{AlgId, EccCurve, MlDsaSet, MlKemSet};
