//! The SVSM's protocols as bytes: registers, calling area, and the structures of each protocol (SVSM specification
//! 1.01). What a request may do is the kernel's to decide; here are the forms.

use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bits::{high32, low32};
use crate::rmp::RmpError;

pub mod apic;
pub mod attestation;
pub mod core_protocol;
pub mod vtpm;

/// Protocol numbers.
pub mod protocol {
    /// Core.
    pub const CORE: u32 = 0;
    /// Attestation.
    pub const ATTESTATION: u32 = 1;
    /// vTPM.
    pub const VTPM: u32 = 2;
    /// APIC emulation.
    pub const APIC: u32 = 3;
}

/// RAX of a call: protocol and call number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    /// Bits 63:32.
    pub protocol: u32,
    /// Bits 31:0.
    pub call: u32,
}

impl CallId {
    /// Splits RAX.
    #[must_use]
    pub const fn from_rax(rax: u64) -> Self {
        Self { protocol: high32(rax), call: low32(rax) }
    }
}

/// RAX after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the guest is to be told"]
pub struct ResultCode(u64);

crate::error_words! { ResultCode {
    Self(code) => "result code {code:#x}",
} }

impl ResultCode {
    /// Done.
    pub const SUCCESS: Self = Self(0);
    /// To be called again.
    pub const INCOMPLETE: Self = Self(0x8000_0000);
    /// No such protocol.
    pub const UNSUPPORTED_PROTOCOL: Self = Self(0x8000_0001);
    /// No such call in the protocol.
    pub const UNSUPPORTED_CALL: Self = Self(0x8000_0002);
    /// An address that the guest may not use.
    pub const INVALID_ADDRESS: Self = Self(0x8000_0003);
    /// A structure that is not well formed.
    pub const INVALID_FORMAT: Self = Self(0x8000_0004);
    /// A value that is not allowed.
    pub const INVALID_PARAMETER: Self = Self(0x8000_0005);
    /// A call that is not allowed now.
    pub const INVALID_REQUEST: Self = Self(0x8000_0006);
    /// To be called again later.
    pub const BUSY: Self = Self(0x8000_0007);
    /// PVALIDATE call: CF = 1, and the entry does not ask to ignore it.
    pub const FAIL_UNCHANGED: Self = Self::specific(0x10);
    /// Attestation: the PSP gave no report.
    pub const REPORT_FAILED: Self = Self::specific(0);

    /// A code of a protocol's own.
    pub const fn specific(number: u32) -> Self {
        Self(0x8000_1000 + number as u64)
    }

    /// The guest is to deposit so many 4 KiB pages first: bits 29:0.
    pub const fn memory_wanted(pages: u32) -> Self {
        Self(0x4000_0000 | (pages & 0x3FFF_FFFF) as u64)
    }

    /// The register's value.
    #[must_use]
    pub const fn rax(self) -> u64 {
        self.0
    }

    /// The code for what PVALIDATE or RMPADJUST answered to a page of a core PVALIDATE call.
    pub const fn from_rmp(error: RmpError) -> Self {
        match error.code() {
            Some(code) => Self(0x8000_1000 + code as u64),
            None => Self::INVALID_ADDRESS,
        }
    }
}

/// The calling area: the defined head of its page. The guest uses the rest as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CallingArea {
    /// SVSM_CALL_PENDING: 1 from the guest, exchanged with 0 by the side that takes it.
    pub call_pending: u8,
    /// SVSM_MEM_AVAILABLE, in that of the first vCPU: there is memory to be withdrawn.
    pub mem_available: u8,
    /// No EOI is required (APIC protocol).
    pub no_eoi_required: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<CallingArea>() == 8);
const _: () = assert!(offset_of!(CallingArea, call_pending) == 0);
const _: () = assert!(offset_of!(CallingArea, no_eoi_required) == 2);

/// Whether `len` bytes at `gpa` lie in one 4 KiB page, as the specification demands of all structures but lists. False
/// for zero bytes and beyond 2^64.
#[must_use]
pub const fn within_page(gpa: u64, len: u64) -> bool {
    const PAGE: u64 = crate::PAGE_SIZE as u64;
    len != 0 && len <= PAGE && gpa % PAGE <= PAGE - len
}
