//! What the firmware writes to its disk, sealed, and how it is read again.
//!
//! Principles: the host has the disk, and may read, change, keep, and put back what is on it; nothing is believed
//! before it is authenticated. A cut at any sector of any write leaves the record before or the new one, never less and
//! never a mixture. A key and a nonce never seal two things. Each reason not to use a disk is one of its own. No
//! `unsafe`, no heap, no panic, no I/O: a device is whatever implements [`BlockDevice`].
//!
//! What cannot be seen here is that the whole disk was put back to what it was, or that two copies of it run: the epoch
//! tells those who remember one (the verifier), or keep it (anchors).
//!
//! | module | subject |
//! |---|---|
//! | `device` | the disk's trait |
//! | [`layout`] | octets on the disk |
//! | [`keys`] | what a record is sealed with, and to what |
//! | `contents` | what is sealed |
//! | [`disk`] | looking, opening, writing |
//! | `import` | what the operator brings by the recovery key |
//! | `refusal` | the reasons |
//! | `store` | the disk for [`tpm_core::store`] |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod contents;
mod device;
pub mod disk;
mod import;
pub mod keys;
pub mod layout;
mod refusal;
mod store;
#[cfg(test)]
mod tests;

pub use contents::{Beside, Section};
pub use device::{BlockDevice, SECTOR};
pub use disk::{Beginning, Found, StateDisk, Writer};
pub use import::{Import, import};
pub use keys::{Fresh, RecoveryKey, RecoveryPoint, Root, Roots};
pub use layout::{Head, Kind};
pub use refusal::{Mismatch, Part, Refusal};
