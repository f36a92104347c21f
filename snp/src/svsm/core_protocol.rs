//! Core protocol (protocol 0).

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ResultCode;
use crate::bits::{high32, join, low32};
use crate::rmp::PageSize;

/// Call numbers.
pub mod call {
    /// SVSM_CORE_REMAP_CA: RCX = GPA of the new calling area.
    pub const REMAP_CA: u32 = 0;
    /// SVSM_CORE_PVALIDATE: RCX = GPA of the list.
    pub const PVALIDATE: u32 = 1;
    /// SVSM_CORE_CREATE_VCPU: RCX = VMSA, RDX = calling area, R8 = APIC id.
    pub const CREATE_VCPU: u32 = 2;
    /// SVSM_CORE_DELETE_VCPU: RCX = VMSA.
    pub const DELETE_VCPU: u32 = 3;
    /// SVSM_CORE_DEPOSIT_MEM: RCX = GPA of the list.
    pub const DEPOSIT_MEM: u32 = 4;
    /// SVSM_CORE_WITHDRAW_MEM: RCX = GPA at which the SVSM makes a list.
    pub const WITHDRAW_MEM: u32 = 5;
    /// SVSM_CORE_QUERY_PROTOCOL: RCX = protocol << 32 | version.
    pub const QUERY_PROTOCOL: u32 = 6;
    /// SVSM_CORE_CONFIGURE_VTOM.
    pub const CONFIGURE_VTOM: u32 = 7;
}

/// RCX of QUERY_PROTOCOL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolQuery {
    /// Protocol number.
    pub protocol: u32,
    /// Version that is asked for.
    pub version: u32,
}

impl ProtocolQuery {
    /// Splits RCX.
    #[must_use]
    pub const fn from_rcx(rcx: u64) -> Self {
        Self { protocol: high32(rcx), version: low32(rcx) }
    }

    /// RCX of the answer: lowest and highest version if the one asked for is among them, else 0.
    #[must_use]
    pub const fn answer(self, min: u32, max: u32) -> u64 {
        if self.version < min || self.version > max { 0 } else { join(max, min) }
    }
}

/// Head of a list of PVALIDATE or DEPOSIT_MEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PvalidateHead {
    /// Number of entries.
    pub count: U16,
    /// Index of the first entry to be done; the SVSM writes it back.
    pub next: U16,
    /// Zero.
    pub reserved: U32,
}

/// Bytes of the head, and of each entry.
pub const PVALIDATE_HEAD_SIZE: u64 = 8;
const _: () = assert!(size_of::<PvalidateHead>() as u64 == PVALIDATE_HEAD_SIZE);
/// Offset of `next` in the head.
pub const PVALIDATE_NEXT_OFFSET: u64 = 2;

impl PvalidateHead {
    /// Checks the head of a list at `gpa`: aligned to 8, at least one entry left, all entries in the page of the head.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`.
    pub const fn check(&self, gpa: u64) -> Result<(), ResultCode> {
        let (count, next) = (self.count.get(), self.next.get());
        let left = count != 0 && next < count && self.reserved.get() == 0;
        if left && count <= room_for_entries(gpa) { Ok(()) } else { Err(ResultCode::INVALID_PARAMETER) }
    }
}

/// How many entries a list at `gpa` has room for behind its head; none if it is not aligned to 8.
#[must_use]
pub const fn room_for_entries(gpa: u64) -> u16 {
    if !gpa.is_multiple_of(8) {
        return 0;
    }
    let entries = (crate::PAGE_SIZE as u64 - gpa % crate::PAGE_SIZE as u64 - PVALIDATE_HEAD_SIZE) / 8;
    let [low, high, ..] = entries.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// An entry of a PVALIDATE list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PvalidateEntry {
    /// Address of the page, aligned to its size.
    pub gpa: u64,
    /// Size of the page.
    pub size: PageSize,
    /// Validate, or else invalidate.
    pub validate: bool,
    /// Whether a page that already is in the wanted state is no error.
    pub ignore_carry: bool,
}

impl PvalidateEntry {
    /// Splits an entry: bits 1:0 size, 2 action, 3 ignore CF, 11:4 zero, 63:12 page number.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: a size of 2 or 3, bits 11:4 not zero, or a 2 MiB page that is not aligned.
    pub fn decode(entry: u64) -> Result<Self, ResultCode> {
        let (gpa, size) = page(entry, 0xFF0)?;
        Ok(Self { gpa, size, validate: entry & 4 != 0, ignore_carry: entry & 8 != 0 })
    }
}

/// Address and size of an entry's page; the bits of `zero` are reserved.
fn page(entry: u64, zero: u64) -> Result<(u64, PageSize), ResultCode> {
    let size = match entry & 3 {
        0 => PageSize::Size4K,
        1 => PageSize::Size2M,
        _ => return Err(ResultCode::INVALID_PARAMETER),
    };
    let gpa = entry & !0xFFF;
    if entry & zero != 0 || !gpa.is_multiple_of(size.bytes()) {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    Ok((gpa, size))
}

/// An entry of a list of DEPOSIT_MEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositEntry {
    /// Address of the page, aligned to its size.
    pub gpa: u64,
    /// Size of the page.
    pub size: PageSize,
}

impl DepositEntry {
    /// Splits an entry: bits 1:0 size, 11:2 zero, 63:12 page number.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: a size of 2 or 3, bits 11:2 not zero, or a 2 MiB page that is not aligned.
    pub fn decode(entry: u64) -> Result<Self, ResultCode> {
        let (gpa, size) = page(entry, 0xFFC)?;
        Ok(Self { gpa, size })
    }
}
