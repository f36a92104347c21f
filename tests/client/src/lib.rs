//! What a TPM's caller says and computes: once for the engine's tests, the peers, the fuzz targets and the benchmark.
//!
//! Nothing here is computed by the engine or its cryptography (`tpm-crypto`): an answer is judged by what is written
//! here a second time. Of the engine are only names of numbers, and what its platform must implement. The verifier has
//! its own.
//!
//! | module | is |
//! |---|---|
//! | [`cc`], [`codes`], [`names`], [`attributes`] | numbers by their names |
//! | [`mod@command`] | commands and responses as octets |
//! | [`hash`], [`sym`] | hashing, HMAC, KDFa, KDFe; encryption of parameters |
//! | [`area`] | the authorization area of a command and of its response |
//! | [`session`] | sessions of one TPM, and commands with them |
//! | [`chance`] | numbers from a seed |
//! | [`history`] | commands that change what lasts, by chance |
//! | [`policy`] | policyDigest |
//! | [`template`] | public areas |
//! | [`platform`], [`lasting`] | entropy and time, the same in every run; what is looked at after every command |
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

pub mod area;
pub mod attributes;
pub mod chance;
pub mod codes;
pub mod command;
pub mod hash;
pub mod history;
pub mod lasting;
pub mod names;
pub mod platform;
pub mod policy;
pub mod session;
pub mod sym;
pub mod template;

pub use command::{command, password, tpm2b};
pub use tpm_core::cc;
