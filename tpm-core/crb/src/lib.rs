//! The Command Response Buffer (CRB) interface of the TCG's PC Client Platform TPM Profile (PTP): the device by which
//! unmodified systems find a TPM, for whoever has MMIO exits (a paravisor, a virtual machine monitor).
//!
//! Principles: no `unsafe`, no globals, no heap, no panics, whatever guest and embedder do; the guest's memory is
//! looked at once; no locality sees what is another's.
//!
//! # Quick start
//!
//! ```
//! use core::sync::atomic::AtomicBool;
//! use tpm_crb::{BASE, Config, CrbDevice, NoMemory, TpmEngine, registers};
//! # use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Tpm};
//! # struct Random(std::fs::File);
//! # impl Entropy for Random {
//! #     fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
//! #         std::io::Read::read_exact(&mut self.0, out).map_err(|_| EntropyFailure)
//! #     }
//! # }
//! # struct Uptime(std::time::Instant);
//! # impl Clock for Uptime {
//! #     fn now_ms(&mut self) -> u64 { self.0.elapsed().as_millis() as u64 }
//! # }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut random, mut uptime) = (Random(std::fs::File::open("/dev/urandom")?), Uptime(std::time::Instant::now()));
//! # let hooks = &mut Hooks { entropy: &mut random, clock: &mut uptime };
//! // The engine, as in tpm-core's examples, and the device.
//! let mut tpm = Box::new(Tpm::blank());
//! tpm.manufacture(hooks)?;
//! let mut device = Box::new(CrbDevice::new(Config::default())?);
//! tpm.set_buffer_size(device.config().buffer_size());
//!
//! // An MMIO exit of the guest: a write …
//! let canceled = AtomicBool::new(false);
//! let engine = &mut TpmEngine::new(&mut tpm, hooks, &canceled, |_| true);
//! let request = registers::REQUEST_ACCESS.to_le_bytes();
//! let _ = device.write(engine, &mut NoMemory, BASE + u64::from(registers::LOC_CTRL), &request);
//! // … and a read.
//! let mut value = [0; 4];
//! device.read(BASE + u64::from(registers::LOC_STS), &mut value);
//! assert_eq!(u32::from_le_bytes(value), registers::GRANTED);
//! # Ok(())
//! # }
//! ```
//!
//! The engine is its embedder's as ever: made, saved, reset (`Tpm::init` with [`CrbDevice::reset`]), looked at for
//! faults. `docs/embedding.md` has a whole program.
//!
//! # Transitions
//!
//! | state | cmdReady | goIdle | data buffer | nextChunk | crbRspRetry | Start | Cancel |
//! |---|---|---|---|---|---|---|---|
//! | Idle | Ready | | | | | | |
//! | Ready | Ready | Idle | Reception | | | Execution ¹ | |
//! | Reception | | Idle | Reception | Reception ² | | Execution | |
//! | Execution | | | | | | | ends early |
//! | Completion | Ready | Idle | Reception | Completion ² | Completion ² | Execution ¹ | |
//!
//! Where a cell is empty, a write changes nothing, and the request reads as served. ¹ With buffers in guest memory,
//! which the device cannot see being written; there is no Reception then. ² With [`Buffers::Chunks`]. When the engine
//! has answered, Execution becomes Completion.
//!
//! - Only the active locality's writes to these registers count; its data buffer reads what it wrote, or its response,
//!   and zeros in other states. In any other locality the data buffer reads ones. Registers hold no secrets and read
//!   the same in all localities, but TPM_LOC_STS.
//! - goIdle, cmdReady, and whatever takes the TPM from a locality, wipe both buffers. A command that an engine
//!   elsewhere still executes is cancelled then and its response dropped; cmdReady of the next locality reads 1 until
//!   it has ended.
//! - Accesses may have any width and alignment within a page. A register is written when its first octet is; the octets
//!   that are not written count as zeros. One that leaves the page reads ones, or is ignored, as a whole.
//! - TPM_LOC_CTRL, TPM_CRB_CTRL_REQ and TPM_CRB_CTRL_START take one bit at a time; a write of several is ignored, and
//!   so is a value of TPM_CRB_CTRL_CANCEL other than 0 and 1. What is reserved reads 0. There are no interrupts: their
//!   registers read 0. Addresses and sizes cannot be written.
//! - A response that cannot be given (guest memory that is not there, an engine that ignores
//!   [`Config::buffer_size`]) sets tpmSts until the reset.
//!
//! # Where this comes from
//!
//! The PTP's text (1.05 to 1.07) could not be had where this was written. Registers, bits and transitions are from
//! programs that follow it: drivers of Linux and illumos (which has the transitions of 1.05's table), EDK2's library,
//! QEMU's device, a firmware's TPM service that names the PTP's figure of the states, and register maps that cite
//! 1.07's tables 20, 24, 25 and 36 to 49. Left to us, then, and to be compared with the text: what a write of several
//! bits does; that waiting is ended by relinquish; that Seize, a D-RTM event and relinquish end a command; how many
//! octets HASH_DATA takes ([`CrbDevice::hash_data`]); that TPM_CRB_CTRL_CANCEL reads back as written until software
//! clears it or asks for a state; when beenSeized is cleared (when the locality has the TPM again).
//!
//! EDK2 takes InterfaceVersion 1 for a CRB, and 2 since September 2025; Linux looks at CapCRBChunk alone. So
//! [`Version::One`] goes with chunks, as in QEMU; the PTP gives chunks the version 3 ([`Version::Three`]).
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod config;
mod device;
mod engine;
mod locality;
pub mod registers;
mod saved;
mod state;

pub use config::{Area, BASE, Buffers, Config, ConfigError, Execution, Identity, Localities, Version};
pub use device::{CrbDevice, Pending, Written};
pub use engine::{Engine, Memory, MemoryFault, NoMemory, TpmEngine};
pub use saved::{MAX_DEVICE_STATE_SIZE, StateError};
pub use state::State;

/// The programs of the page on embedding.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
pub struct Page;
