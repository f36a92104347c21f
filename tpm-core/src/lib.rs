//! The TPM 2.0 engine of Quoin: TPM 2.0 Library specification 1.85, bytes in, bytes out.
//!
//! Principles: no `unsafe`, no globals, no heap, no panics; time and entropy are injected ([`Hooks`]); a failed command
//! leaves the TPM as it was (lockout counters, clock and audit excepted); every command is declared once, and
//! everything that is known about it comes from there.
//!
//! | module | is |
//! |---|---|
//! | [`Tpm`] | the TPM: a blank one, manufacture, _TPM_Init, execute |
//! | [`profile`] | every choice of the implementation |
//! | `wire` | Part 2: bytes and types, no state |
//! | `pipeline` | what happens around every command |
//! | `command` | Part 3: a folder a chapter, a file a command, one table |
//! | `object`, `session`, `policy`, `nv`, `pcr`, `entity`, `context`, `hierarchy`, `dictionary`, `presence`, `clock`, `audit`, `act`, `commit`, `selftest` | the parts of the TPM |
//! | `state` | who survives what |
//! | [`store`] | keeps the state on a disk |
//! | [`crypto`] | the only place that names cryptographic crates |
//!
//! # Memory
//!
//! A [`Tpm`] has some 230 KiB and is made where it stays, in a `Box` or a `static`. The stack that it needs in a build
//! without optimisation, whose frames are the largest, in KiB (`tests/stack.rs`):
//!
//! | step | KiB |
//! |---|---|
//! | a blank TPM in a `Box`, manufacture or import, TPM2_Startup | 830 |
//! | _TPM_Init, TPM2_Startup | 130 |
//! | a key of P-256 | 230 |
//! | ML-DSA-87, the greediest: a key, a signature | 1730 |
//!
//! A thread of 2 MiB, as Rust makes it, has room for each.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![expect(clippy::needless_lifetimes, reason = "`run` of every command stands as its trait declares it")]
#![allow(clippy::large_enum_variant, reason = "there is no heap to put a variant on")]

mod command;
mod data;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod operation;
mod pipeline;
#[cfg(test)]
mod secrets;
pub mod store;

use tpm_crypto as crypto;
use tpm_crypto::{bounded, secret};
use tpm_wire as wire;
use tpm_wire::rc;

pub use data::measurement::Measurement;
pub use data::platform::{Clock, Entropy, EntropyFailure, Hooks, Locality};
pub use data::tpm::{Failure, Tpm};
pub use operation::endorsement::{EkTemplate, MAX_EK_PUBLIC};
pub use operation::firmware::EventDigests;
pub use operation::state::{MAX_STATE_SIZE, ProfileName, StateError, StateForm};
pub use tpm_wire::profile;
