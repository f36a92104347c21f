//! Guest messages: what the guest and the PSP say to each other through the host (SNP firmware ABI, chapter 8.24 and
//! table 98 on).
//!
//! AES-256-GCM with a key per VMPL (VMPCK) and the sequence number as IV. GCM is broken as soon as one IV encrypts two
//! plaintexts, and the host decides which requests get an answer; so [`channel`] is made such that a request, once
//! encrypted, can only be repeated bit by bit or be answered, and a new one exists only after a verified answer to the
//! last.

pub mod certificates;
pub mod channel;
pub mod header;
pub mod key;
pub mod report;
pub mod seal;
pub mod transport;

pub use channel::{Channel, MessageError};
pub use seal::Vmpck;
pub use transport::{Exit, GhcbTransport, Transport};
