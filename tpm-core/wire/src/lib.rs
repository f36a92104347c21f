//! Part 2: bytes to types and back. This crate knows no state of the TPM.
//!
//! Unmarshalling returns a [`rc::Fmt1`] code, to which the command's declaration adds the position. Marshalling never
//! fails: a [`Writer`] counts what did not fit, and the pipeline turns that into a response code.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod algorithm;
mod attest;
mod attributes;
mod bytes;
mod capability;
mod codec;
mod command;
mod context;
mod handle;
mod key;
mod nv;
mod pcr;
mod scheme;
mod signature;
mod startup;
mod stored;
mod ticket;

pub use algorithm::*;
pub use attest::*;
pub use attributes::*;
pub use bytes::*;
pub use capability::*;
pub use codec::*;
pub use command::*;
pub use context::*;
pub use handle::*;
pub use key::*;
pub use nv::*;
pub use pcr::*;
pub use scheme::*;
pub use signature::*;
pub use startup::*;
pub use stored::*;
pub use ticket::*;
pub use tpm_codes::{AlgId, fault, profile, rc, st};
