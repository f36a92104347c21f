//! Exit codes of the page protocol, and the decoding of the host's answer (GHCB specification, 4.1).

use super::page::{ANSWER_END, ANSWER_START, Field, VALID_BITMAP};
use crate::bits::{byte_at, high32, low32};

/// SW_EXITCODE values.
pub mod code {
    /// RDTSC.
    pub const RDTSC: u64 = 0x6E;
    /// CPUID.
    pub const CPUID: u64 = 0x72;
    /// IN, OUT, INS, OUTS.
    pub const IOIO: u64 = 0x7B;
    /// RDMSR (info 1 = 0), WRMSR (info 1 = 1).
    pub const MSR: u64 = 0x7C;
    /// VMMCALL.
    pub const VMMCALL: u64 = 0x81;
    /// RDTSCP.
    pub const RDTSCP: u64 = 0x87;
    /// Nested page fault; as a #VC error code it means an MMIO access.
    pub const NPF: u64 = 0x400;
    /// VMGEXIT; the exit code that a VMPL's VMSA holds after it called the SVSM.
    pub const VMGEXIT: u64 = 0x403;
    /// MMIO read.
    pub const MMIO_READ: u64 = 0x8000_0001;
    /// MMIO write.
    pub const MMIO_WRITE: u64 = 0x8000_0002;
    /// Page state change.
    pub const PSC: u64 = 0x8000_0010;
    /// SNP guest request.
    pub const GUEST_REQUEST: u64 = 0x8000_0011;
    /// SNP extended guest request: with certificates.
    pub const EXT_GUEST_REQUEST: u64 = 0x8000_0012;
    /// SNP AP creation.
    pub const AP_CREATE: u64 = 0x8000_0013;
    /// #HV doorbell page.
    pub const HV_DOORBELL: u64 = 0x8000_0014;
    /// #HV IPI.
    pub const HV_IPI: u64 = 0x8000_0015;
    /// Specific EOI.
    pub const SPECIFIC_EOI: u64 = 0x8000_001D;
    /// Run a VMPL.
    pub const RUN_VMPL: u64 = 0x8000_0018;
    /// Hypervisor features.
    pub const HV_FEATURES: u64 = 0x8000_FFFD;
}

/// An exception that the host asks the guest to raise. Only these two may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// #GP with its error code.
    GeneralProtection(u32),
    /// #UD.
    InvalidOpcode,
}

/// What can go wrong in a request to the host. All of it is the host's doing, except [`GhcbError::Argument`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhcbError {
    /// The host did not mark this field as valid.
    NotValid(Field),
    /// The host asks for an exception (SW_EXITINFO1 = 1).
    Exception(Exception),
    /// The host finds the request malformed (SW_EXITINFO1 = 2): 1 not registered, 2 usage, 3 scratch, 4 missing input,
    /// 5 invalid input, 6 invalid event.
    Malformed(u64),
    /// SW_EXITINFO1 is none of 0, 1, 2, or an exception other than #GP or #UD was asked for.
    UnknownResult {
        /// SW_EXITINFO1.
        info1: u64,
        /// SW_EXITINFO2.
        info2: u64,
    },
    /// An answer of the MSR protocol is not the one to the request.
    MsrAnswer(u64),
    /// The host's protocol versions do not include 2.
    Version {
        /// Lowest version that the host takes.
        min: u16,
        /// Highest version that the host takes.
        max: u16,
    },
    /// C-bit positions of the MSR protocol and of the CPUID page differ.
    CBit(u8),
    /// Features that are needed, and that the host does not offer.
    Features(u64),
    /// A page state change failed with this SW_EXITINFO2 (or MSR answer).
    PageStateChange(u64),
    /// The header of the page state change list came back other than the rules allow, or the host made no progress.
    PageStateHeader,
    /// The host has taken another page than the one that was to be the #HV doorbell page.
    Doorbell(u64),
    /// An argument that the protocol has no form for (empty, too long, not aligned); nothing was sent.
    Argument,
}

crate::error_words! { GhcbError {
    Self::NotValid(field) => "the host has not marked {field:?} as valid",
    Self::Exception(exception) => "the host asks for an exception: {exception:?}",
    Self::Malformed(why) => "the host finds the request malformed ({why})",
    Self::UnknownResult { info1, info2 } => "an unknown result: {info1:#x}, {info2:#x}",
    Self::MsrAnswer(answer) => "{answer:#x} is no answer to the request through the MSR",
    Self::Version { min, max } => "the host speaks versions {min} to {max} of the protocol, and not 2",
    Self::CBit(position) => "the host has another position of the C-bit: {position}",
    Self::Features(missing) => "the host lacks features: {missing:#x}",
    Self::PageStateChange(info) => "the state of a page was not changed: {info:#x}",
    Self::PageStateHeader => "the list of page state changes came back other than it may",
    Self::Doorbell(gpa) => "the host has {gpa:#x} as the #HV doorbell page",
    Self::Argument => "an argument for which the protocol has no form",
} }

/// The save area as the host returned it: the one copy from which everything is read.
pub(crate) struct Answer {
    area: [u8; ANSWER_END - ANSWER_START],
}

impl Answer {
    pub(crate) const fn new(area: [u8; ANSWER_END - ANSWER_START]) -> Self {
        Self { area }
    }

    /// A field, if the host set its valid bit.
    pub(crate) fn field(&self, field: Field) -> Result<u64, GhcbError> {
        let valid = u128::from_le_bytes(self.bytes(VALID_BITMAP));
        if valid & field.valid_bit() == 0 {
            return Err(GhcbError::NotValid(field));
        }
        Ok(u64::from_le_bytes(self.bytes(field.offset())))
    }

    /// Refuses everything but success.
    pub(crate) fn check(&self) -> Result<(), GhcbError> {
        let info1 = self.field(Field::SwExitInfo1)?;
        let info2 = self.field(Field::SwExitInfo2)?;
        match low32(info1) {
            0 => Ok(()),
            1 => Err(exception(info2).map_or(GhcbError::UnknownResult { info1, info2 }, GhcbError::Exception)),
            2 => Err(GhcbError::Malformed(info2)),
            _ => Err(GhcbError::UnknownResult { info1, info2 }),
        }
    }

    /// `N` bytes at an offset of the page; zeros if they are not in the copy, which no field's offset is.
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let start = offset.wrapping_sub(ANSWER_START);
        self.area.get(start..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }
}

/// The event of SW_EXITINFO2 in EVENTINJ format (APM volume 2, 15.20): valid, type 3 (exception), and one of the two
/// vectors allowed.
fn exception(event: u64) -> Option<Exception> {
    const VALID: u64 = 1 << 31;
    const KIND: u64 = 0x700;
    const EXCEPTION: u64 = 3 << 8;
    const HAS_ERROR: u64 = 1 << 11;
    if event & VALID == 0 || event & KIND != EXCEPTION {
        return None;
    }
    match (byte_at(event, 0), event & HAS_ERROR != 0) {
        (13, true) => Some(Exception::GeneralProtection(high32(event))),
        (6, false) => Some(Exception::InvalidOpcode),
        _ => None,
    }
}
