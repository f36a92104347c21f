//! The conditions that end the firmware. The last console line says why; the termination request (GHCB MSR protocol
//! 0x100) carries [`SET`] and the reason's code, so that a host's log can be read without the console.

use core::fmt;

use heapless::String;

/// Reason-code set of our own (GHCB specification: 0 general, 1 Linux; linux-svsm uses 15).
pub const SET: u8 = 10;

/// Why the firmware ends. The discriminant is the termination code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// No usable C-bit in the CPUID page: said by the entry stub, which has no console.
    NoCBit = 1,
    /// SEV_STATUS does not say that SNP is active.
    NotSnp = 2,
    /// The host does not speak GHCB version 2, names another C-bit, or answers outside of the protocol.
    Protocol = 3,
    /// The host lacks a feature that is needed.
    Features = 4,
    /// A page could not be made private or shared.
    PageState = 5,
    /// The memory map lies.
    MemoryMap = 6,
    /// A page could not be validated or granted, or was valid already.
    Validation = 7,
    /// The measured launch parameters are malformed, or name memory that the guest does not have.
    LaunchParams = 8,
    /// The CPUID page is malformed.
    CpuidPage = 9,
    /// The entropy sources fail their health tests (RN-01).
    Entropy = 10,
    /// The TPM could not be made.
    Tpm = 11,
    /// No attestation report at boot.
    Report = 12,
    /// The guest's register state was refused.
    GuestStart = 13,
    /// The host does not run the guest.
    RunGuest = 14,
    /// An exception that the firmware does not cause.
    Exception = 15,
    /// A #VC that is not one of the firmware's own CPUID instructions.
    Vc = 16,
    /// The heap is used up.
    OutOfMemory = 17,
    /// A defect of the firmware.
    Panic = 18,
    /// There is no guest to run: the image's parameters say so.
    NoGuest = 19,
    /// The guest could not be measured into PCRs.
    Measurement = 20,
    /// The measured settings are malformed, or one is there that this firmware does not obey.
    Settings = 21,
    /// The platform is not what the firmware's policy demands.
    Policy = 22,
    /// There is no disk, and the settings require a state.
    NoDisk = 23,
    /// The disk cannot be read or written, or is too small.
    Disk = 24,
    /// What is on the disk is no state of this firmware on this chip.
    NotOurs = 25,
    /// The state on the disk is damaged.
    Damaged = 26,
    /// The state cannot be opened or kept for a reason that is not the disk's.
    State = 27,
    /// The operator's authority, which the settings require, has certified nothing.
    Authority = 28,
    /// Anchors know a newer state than that on the disk, or another copy of the TPM has started.
    Old = 29,
    /// Too few anchors answer, and the settings want them.
    Anchors = 30,
}

impl Reason {
    /// The termination code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    const fn sentence(self) -> &'static str {
        match self {
            Reason::NoCBit => "no C-bit in the CPUID page",
            Reason::NotSnp => "SEV-SNP is not active",
            Reason::Protocol => "the host breaks the GHCB protocol",
            Reason::Features => "the host lacks a feature",
            Reason::PageState => "a page state change failed",
            Reason::MemoryMap => "the memory map is refused",
            Reason::Validation => "a page cannot be validated",
            Reason::LaunchParams => "the launch parameters are malformed",
            Reason::CpuidPage => "the CPUID page is malformed",
            Reason::Entropy => "no entropy",
            Reason::Tpm => "the TPM cannot be made",
            Reason::Report => "no attestation report",
            Reason::GuestStart => "the guest's register state is refused",
            Reason::RunGuest => "the guest cannot be run",
            Reason::Exception => "unexpected exception",
            Reason::Vc => "unexpected #VC",
            Reason::OutOfMemory => "out of memory",
            Reason::Panic => "defect",
            Reason::NoGuest => "the image has no guest",
            Reason::Measurement => "the guest cannot be measured",
            Reason::Settings => "the settings are refused",
            Reason::Policy => "the platform is not what is demanded",
            Reason::NoDisk => "there is no disk with the TPM's state",
            Reason::Disk => "the disk of the TPM's state cannot be used",
            Reason::NotOurs => "the state on the disk is not this TPM's",
            Reason::Damaged => "the state on the disk is damaged",
            Reason::State => "the TPM's state cannot be kept",
            Reason::Authority => "no certificate of the operator's",
            Reason::Old => "the TPM's state is not its newest",
            Reason::Anchors => "too few anchors",
        }
    }
}

/// A reason with its circumstances.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Why.
    pub reason: Reason,
    detail: String<104>,
}

impl Fatal {
    /// What happened; a detail that is too long is cut off. Not in line: the image has a limit, and many ends.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn new(reason: Reason, detail: fmt::Arguments<'_>) -> Fatal {
        let mut text = String::new();
        // Cut off at the first part that does not fit.
        let _ = fmt::write(&mut text, detail);
        Fatal { reason, detail: text }
    }

    /// For `map_err`: the error's own description is the detail.
    pub fn because<E: fmt::Debug>(reason: Reason) -> impl FnOnce(E) -> Fatal {
        move |error| Fatal::new(reason, format_args!("{error:x?}"))
    }

    /// For `ok_or_else`, where there is nothing more to say.
    pub fn plain(reason: Reason) -> impl FnOnce() -> Fatal {
        move || Fatal::new(reason, format_args!(""))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (code {})", self.reason.sentence(), self.reason.code())?;
        if self.detail.is_empty() { Ok(()) } else { write!(out, ": {}", self.detail) }
    }
}

impl core::error::Error for Fatal {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_line_has_sentence_code_and_detail() {
        let fatal = Fatal::new(Reason::MemoryMap, format_args!("at {:#x}", 0x1000));
        assert_eq!(fatal.to_string(), "the memory map is refused (code 6): at 0x1000");
        assert_eq!(Fatal::plain(Reason::NoGuest)().to_string(), "the image has no guest (code 19)");
    }
}
