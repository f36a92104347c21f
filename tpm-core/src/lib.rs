//! The TPM 2.0 engine of Quoin: TPM 2.0 Library specification 1.85, bytes in, bytes out.
//!
//! Principles: no `unsafe`, no globals, no heap, no panics; time and entropy are injected ([`Hooks`]); a failed command
//! leaves the TPM as it was (lockout counters, clock and audit excepted); every command is declared once, and
//! everything that is known about it comes from there.
//!
//! # Quick start
//!
//! `examples/tpm.rs` is a whole program.
//!
//! ```
//! use std::{error::Error, fs::File, io::Read, time::Instant};
//! use tpm_core::profile::MAX_RESPONSE_SIZE;
//! use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};
//!
//! struct Random(File);
//! impl Entropy for Random {
//!     fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
//!         self.0.read_exact(out).map_err(|_| EntropyFailure)
//!     }
//! }
//!
//! struct Uptime(Instant);
//! impl Clock for Uptime {
//!     fn now_ms(&mut self) -> u64 {
//!         self.0.elapsed().as_millis() as u64
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn Error>> {
//! let (mut entropy, mut clock) = (Random(File::open("/dev/urandom")?), Uptime(Instant::now()));
//! let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
//!
//! // A new TPM, made where it stays. Its first command is TPM2_Startup(TPM_SU_CLEAR).
//! let mut tpm = Box::new(Tpm::blank());
//! tpm.manufacture(hooks)?;
//! let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
//! let mut response = [0; MAX_RESPONSE_SIZE];
//! let length = tpm.execute(hooks, Locality::ZERO, &startup, &mut response);
//! assert_eq!(response[..length], [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]);
//!
//! // After each command: a TPM that has failed answers TPM_RC_FAILURE and is not saved. The platform goes back to the
//! // last state, or resets it, and tells somebody.
//! if let Some(fault) = tpm.fault() {
//!     eprintln!("the TPM has failed: {fault}");
//!     tpm.init(hooks);
//! }
//!
//! // An orderly end. All secrets are in the state: it is encrypted before it is kept.
//! tpm.shut_down(hooks);
//! let mut state = vec![0; MAX_STATE_SIZE];
//! let length = tpm.export(StateForm::PoweredOff, &mut state)?;
//!
//! // The same TPM when its platform has power again: TPM2_Startup is to come.
//! tpm.import(&state[..length], hooks)?;
//! # Ok(())
//! # }
//! ```
//!
//! Where power may be lost at any time, the state is saved before a response is given: [`store`] does that. What else a
//! platform does with a TPM are methods of [`Tpm`]; one that has to answer without it uses [`rc::Rc::response`].
//!
//! # Floors
//!
//! Each knows those below it and nothing above; the compiler holds the lowest, `tests/floors` the others.
//!
//! | floor | is |
//! |---|---|
//! | `pipeline` | around every command: header, sessions, authorization, encryption, response; what a platform calls |
//! | `command` | Part 3: a folder a chapter, a file a command, one table of them all |
//! | `operation` | what the parts of the TPM do: make objects, sign, extend PCR, write indices, export a state |
//! | `data` | what each part of the TPM is, and how it is kept: objects, sessions, NV, PCR, policies, timers, lists |
//! | crates `tpm-wire`, `tpm-crypto` | Part 2; cryptography, and secrets in memory |
//! | crate `tpm-codes` | names of numbers: response codes, faults, identifiers; the [`profile`] |
//!
//! Beside them is [`store`], which keeps the state on a disk.
//!
//! # Memory
//!
//! A [`Tpm`] has some 240 KiB and is made where it stays, in a `Box` or a `static`. No call needs more than 256 KiB of
//! stack in a release build, and 1 MiB without optimisation, whose frames are the largest. `cargo xtask needs` measures
//! every call on a painted stack, and fails beyond that; in KiB:
//!
//! | call | release | without optimisation |
//! |---|---|---|
//! | a blank TPM in a `Box` | 8 | 237 |
//! | manufacture, import | 67 | 648 |
//! | TPM2_Quote and others, signed by ML-DSA, the greediest | 153 | 382 |
//! | a key of ML-DSA or ML-KEM | 128 | 359 |
//! | a key of RSA-4096 or P-521 | 50 | 180 |
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

use tpm_codes::fault;
use tpm_crypto as crypto;
use tpm_crypto::{bounded, secret};
use tpm_wire as wire;

pub use command::cc;
pub use data::platform::{Clock, Entropy, EntropyFailure, Hooks, Locality, Provided};
pub use data::tpm::{Failure, Tpm};
pub use operation::endorsement::{AkTemplate, EkTemplate, MAX_EK_PUBLIC};
pub use operation::firmware::{Event, EventDigests};
pub use operation::state::{Generation, MAX_STATE_SIZE, ProfileName, StateError, StateForm};
pub use tpm_codes::{fault::Fault, profile, rc};
