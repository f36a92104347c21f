//! How the state of a vTPM moves from one running firmware to another: to a new firmware on the same chip, or to
//! another chip. docs/migration.md has every message octet by octet, every check with the threat that it answers, and
//! what is done after each cut.
//!
//! Principles:
//! - The hosts carry the messages. They may read, change, lose, repeat and invent all of them; what they can reach by
//!   that is that nothing moves.
//! - Each side shows a report of its secure processor over its ephemeral key and all that was said. No secret of the
//!   TPM is sent before that is judged ([`Terms`] are measured), and none is accepted.
//! - Exactly one lives. The source is dead, on its disk too, before it gives its receipt; the destination has the state
//!   on its disk before it says so, and cannot answer before it has the receipt. The receipt may be known to everybody
//!   from then on, and may be given again and again: so no cut can leave none.
//! - Nothing here does I/O: messages in, messages out, and what the caller has to make durable in between
//!   ([`source::Next`], [`destination::Next`]).
//!
//! | module | is |
//! |---|---|
//! | [`terms`] | the measured setting: who may come before and after this firmware |
//! | [`grant`] | the owner's word, signed, that one measurement may follow another |
//! | [`chain`] | certificates up to a pinned root, and the report's signature |
//! | [`judge`] | what a report must say |
//! | [`message`], [`transcript`] | the messages; what was said so far, and who says so |
//! | [`channel`] | keys, and sealed messages |
//! | [`source`], [`destination`] | the two sides |
//! | [`record`] | what each keeps on its disk |
//! | [`disk`] | the same on a disk of crate `sealed` |
//! | [`refusal`] | why something is refused |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

mod certificate;
pub mod chain;
pub mod channel;
pub mod destination;
pub mod disk;
pub mod grant;
pub mod judge;
pub mod message;
mod octets;
pub mod record;
pub mod refusal;
pub mod source;
pub mod terms;
pub mod transcript;
mod wiped;

pub use channel::Channel;
pub use destination::Destination;
pub use grant::Grant;
pub use record::{Arrival, Pending, Receipt, Tombstone};
pub use refusal::Refusal;
pub use source::Source;
pub use terms::Terms;
pub use transcript::{Testimony, Witness};
pub use wiped::Wiped;

/// Octets of a launch digest.
pub const MEASUREMENT: usize = 48;

/// A launch digest.
pub type Measurement = [u8; MEASUREMENT];

/// The name of a TPM, which it has from its manufacture and keeps wherever it moves.
pub type Identity = [u8; 32];
