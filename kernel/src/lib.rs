//! The measured image, as a library: memory ownership, the services that a guest can call, what is attested, entropy.
//!
//! Principles:
//! - Everything here decides and nothing here touches the machine: that is behind the traits [`mm::Pages`],
//!   [`svsm::Tpm`], [`attest::Reports`] and [`entropy::Source`], which the image (`main.rs`, `arch/`) implements on
//!   hardware and tests implement on plain memory.
//! - What a guest or host says is copied once, and the copy is judged. A guest's mistake is a result code, the host's a
//!   [`fatal::Reason`].
//! - No TPM logic and no protocol layouts: those are `tpm-core`'s and `snp`'s.
//!
//! | module | is |
//! |---|---|
//! | [`mm`] | guest-physical memory: map, ownership, validation, page tables |
//! | [`guest`] | a guest's claim about memory, and the check of it |
//! | [`svsm`] | the request loop's step, the service table, a handler per protocol |
//! | [`attest`] | manifests and reports |
//! | [`entropy`] | RDSEED and RDRAND under health tests |
//! | [`clock`] | time for the TPM |
//! | [`hooks`] | the TPM with its platform, as a service |
//! | [`start`] | the guest's pages and register state at its start |
//! | [`launch`] | the measured launch parameters |
//! | [`measure`], [`event_log`] | what is measured into PCRs, and the log of it |
//! | [`console`], [`fatal`] | what the host gets to read, and how it ends |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts, and cut bytes out of words")
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

pub mod attest;
pub mod clock;
pub mod console;
pub mod entropy;
pub mod event_log;
pub mod fatal;
pub mod guest;
pub mod hooks;
pub mod launch;
pub mod measure;
pub mod mm;
pub mod start;
pub mod svsm;
#[cfg(test)]
mod testing;
