//! The measured image, as a library: memory ownership, the services that a guest can call, what is attested, entropy.
//!
//! Principles:
//! - Everything here decides and nothing here touches the machine: that is behind the traits [`mm::Pages`],
//!   [`svsm::Tpm`], [`attest::Reports`] and [`entropy::Source`], which the image (`main.rs`, the crate `arch`)
//!   implements on hardware and tests implement on plain memory.
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
//! | [`identity`] | the TPM's keys, and certificates over them |
//! | [`moving`] | how the TPM leaves for another firmware, and arrives from one |
//! | [`interrupts`] | how the host can interrupt |
//! | [`start`] | the guest's pages and register state at its start |
//! | [`launch`] | the measured launch parameters |
//! | [`measure`], [`event_log`] | what is measured into PCRs, and the log of it |
//! | [`sync`] | the lock that processors share things by |
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
pub mod identity;
pub mod interrupts;
pub mod launch;
pub mod measure;
pub mod mm;
pub mod moving;
#[cfg(test)]
mod offered;
pub mod start;
pub mod svsm;
pub mod sync;
#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use std::string::ToString;

    fn said(error: impl core::error::Error) -> std::string::String {
        error.to_string()
    }

    #[test]
    fn every_error_says_what_is_wrong() {
        use crate::mm::{memory_map::MapError, ownership, validate::BootError};
        let refused = ownership::OwnershipError::NoRoom;
        assert_eq!(said(refused), "there is no room for one more page of another state");
        assert_eq!(said(ownership::NoMap::TooMuchRam(9)), "there is too much RAM: 9 blocks");
        assert_eq!(said(BootError::Map(0x1000, refused)), std::format!("the map refuses 0x1000: {refused}"));
        assert_eq!(said(MapError::Empty), "there is no memory");
        assert_eq!(said(crate::measure::MeasureError::LogFull), "the log is full");
        assert_eq!(said(crate::attest::ReportError::NoHost), "there is no way to the host");
        assert!(said(crate::interrupts::NotOffered).contains("restricted injection"));
        assert_eq!(said(crate::launch::LaunchError::TooMany), "there are too many regions");
        assert_eq!(said(crate::launch::SettingsError::Twice(3)), "there are two settings of kind 3");
        assert_eq!(said(crate::event_log::Full), "the event log is full");
        assert_eq!(said(crate::entropy::Hidden::RDSEED), "the CPU is said to have no RDSEED");
        assert_eq!(said(crate::guest::Refused), "the memory is not the guest's");
        assert_eq!(
            said(crate::fatal::Fatal::plain(crate::fatal::Reason::NoGuest)()),
            "the image has no guest (code 19)"
        );
    }
}
