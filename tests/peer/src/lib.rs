//! TPMs with one interface: ours ([`Quoin`]) and Debian's libtpms ([`Libtpms`], through its C library), both in this
//! process, and a simulator by TCP ([`Mssim`]).
//!
//! Not a default member of the workspace: the engine is wanted optimised here (`cargo build --release -p peer`).

mod clock;
pub mod differential;
mod libtpms;
mod mssim;
mod quoin;
pub mod scenes;
pub mod tpm;

pub use clock::thread_time;
pub use libtpms::Libtpms;
pub use mssim::Mssim;
pub use quoin::Quoin;

/// A TPM, from the platform's side.
pub trait Peer {
    /// A new TPM, as after manufacture and _TPM_Init.
    fn manufacture(&mut self);

    /// Executes a command that came at a locality; `response` is overwritten, with nothing if the TPM has ended.
    fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>);

    /// From now on what must survive the loss of power is written to memory before every response, as a server writes
    /// it to a disk, or no longer. A peer that always does so goes on.
    fn keep(&mut self, kept: bool) {
        let _ = kept;
    }

    /// The loss of power, and _TPM_Init.
    fn power_cycle(&mut self);

    /// Asserts or withdraws physical presence.
    fn set_physical_presence(&mut self, asserted: bool);

    /// _TPM_Hash_Start, _TPM_Hash_Data for each part, _TPM_Hash_End.
    fn hash(&mut self, parts: &[&[u8]]);
}
