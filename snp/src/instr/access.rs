//! Accesses that may be refused: to memory of the guest's, which the host can take away at any moment, and by PVALIDATE
//! and RMPADJUST.
//!
//! An access that faults for such a reason ends at the instruction that faulted and returns [`Inaccessible`]. That
//! takes an exception handler that asks [`resume_at`] first. Any other exception, at any other instruction, is none of
//! this module's.

use core::arch::global_asm;

use super::{Attributes, PageSize, Pvalidated, RmpError};
use crate::bits::{high32, low32};
use crate::rmp::Inaccessible;

global_asm!(include_str!("access.s"));

unsafe extern "sysv64" {
    fn __access_copy(to: u64, from: u64, len: usize) -> u64;
    fn __access_exchange(byte: u64, value: u32) -> u64;
    fn __access_zero(start: u64, len: u64) -> Reached;
    fn __access_pvalidate(start: u64, end: u64, size: u32, validate: u32) -> Reached;
    fn __access_rmpadjust(start: u64, end: u64, size: u32, attributes: u64) -> Reached;
}

/// RAX and RDX: what came out, and at which address it ended.
#[repr(C)]
struct Reached {
    result: u64,
    address: u64,
}

unsafe extern "C" {
    static __access_copy_at: u8;
    static __access_copy_rest_at: u8;
    static __access_exchange_at: u8;
    static __access_zero_at: u8;
    static __access_zero_end: u8;
    static __access_pvalidate_at: u8;
    static __access_rmpadjust_at: u8;
    static __access_refused: u8;
}

/// What no access returns that was carried out.
const REFUSED: u64 = u64::MAX;

const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const VMM_COMMUNICATION: u64 = 29;
/// #VC of an access that the nested page tables do not let through: the host has nothing there.
const NESTED_PAGE_FAULT: u64 = 0x400;
/// #VC of a private access to a page that is not validated: the host has taken it, and perhaps given another.
const NOT_VALIDATED: u64 = 0x404;

/// Where to go on after the exception `vector` with `error` at `rip`; `None` if it does not mean that an access of this
/// module is refused.
#[must_use]
pub fn resume_at(vector: u64, error: u64, rip: u64) -> Option<u64> {
    let refusal = match vector {
        GENERAL_PROTECTION | PAGE_FAULT => true,
        VMM_COMMUNICATION => matches!(error, NESTED_PAGE_FAULT | NOT_VALIDATED),
        _ => false,
    };
    let reaches = [&raw const __access_copy_at, &raw const __access_copy_rest_at, &raw const __access_exchange_at]
        .into_iter()
        .chain([&raw const __access_pvalidate_at, &raw const __access_rmpadjust_at])
        .any(|instruction| instruction as u64 == rip);
    let zeroes = (&raw const __access_zero_at as u64..&raw const __access_zero_end as u64).contains(&rip);
    (refusal && (reaches || zeroes)).then_some(&raw const __access_refused as u64)
}

const fn done(result: u64) -> Result<u64, Inaccessible> {
    if result == REFUSED { Err(Inaccessible) } else { Ok(result) }
}

/// Copies bytes; each is read once, in an order that the compiler does not see.
///
/// # Errors
/// [`Inaccessible`]: the bytes before the page that faulted have been copied.
///
/// # Safety
/// Both ranges are mapped for it, no Rust reference to the guest's side exists, and the other side is the caller's for
/// the length.
pub unsafe fn copy(to: u64, from: u64, len: usize) -> Result<(), Inaccessible> {
    // SAFETY: as the caller promises; the direction flag is clear by the ABI.
    done(unsafe { __access_copy(to, from, len) }).map(drop)
}

/// Exchanges one byte atomically, as both sides of the calling area's first byte do, and returns the old one.
///
/// # Errors
/// [`Inaccessible`]: the byte is as it was.
///
/// # Safety
/// The byte is mapped, and all concurrent accesses to it are atomic or come from outside the firmware.
pub unsafe fn exchange(byte: u64, value: u8) -> Result<u8, Inaccessible> {
    // SAFETY: as the caller promises.
    let old = done(unsafe { __access_exchange(byte, value.into()) })?;
    Ok(crate::bits::byte_at(old, 0))
}

/// Fills `len` bytes, whole pages, with zeros.
///
/// # Errors
/// The address that faulted: the bytes before it are zero.
///
/// # Safety
/// The pages are mapped as writable, and no Rust object lies in them.
pub unsafe fn zero(start: u64, len: u64) -> Result<(), u64> {
    // SAFETY: as the caller promises; pages are aligned to more than 256 bytes.
    let end = unsafe { __access_zero(start, len) };
    done(end.result).map(drop).map_err(|Inaccessible| end.address)
}

/// Sets or clears the validated bit of the page at `address` (F2 0F 01 FF).
///
/// # Errors
/// The instruction's FAIL codes; `Inaccessible` if it faulted, and nothing has changed.
///
/// # Safety
/// `address` is mapped as private memory, aligned to `size`, and CPL is 0. When validating, no live Rust object may lie
/// in the page, as its contents are undefined; when invalidating, the caller owns the page and will not touch it
/// through a private mapping.
pub unsafe fn pvalidate(address: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
    // SAFETY: the caller owns the page; the instruction changes RAX, flags and the page's RMP entry only.
    pvalidated(&unsafe { __access_pvalidate(address, address + 1, u32::from(size as u8), u32::from(validate)) })
}

/// [`pvalidate`] of the 4 KiB pages from `start` to before `end`, up to the first of which the answer is not `Changed`.
/// Returns that page's address, or `end`, and the last answer.
///
/// # Safety
/// As for [`pvalidate`], for each of the pages.
pub unsafe fn pvalidate_row(start: u64, end: u64, validate: bool) -> (u64, Result<Pvalidated, RmpError>) {
    // SAFETY: as for `pvalidate`.
    let reached = unsafe { __access_pvalidate(start, end, u32::from(PageSize::Size4K as u8), u32::from(validate)) };
    (reached.address, pvalidated(&reached))
}

fn pvalidated(reached: &Reached) -> Result<Pvalidated, RmpError> {
    let result = done(reached.result)?;
    RmpError::check(low32(result))?;
    Ok(if high32(result) == 0 { Pvalidated::Changed } else { Pvalidated::Unchanged })
}

/// Sets what a lower VMPL may do with the page at `address` (F3 0F 01 FE).
///
/// # Errors
/// The instruction's FAIL codes; `Inaccessible` if it faulted, and nothing has changed.
///
/// # Safety
/// `address` is mapped as private validated memory, aligned to `size`, and CPL is 0. The caller owns the page, and if
/// the attributes let a lower VMPL write, no Rust reference to the page exists while that VMPL may run.
pub unsafe fn rmpadjust(address: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError> {
    // SAFETY: the caller owns the page; the instruction changes RAX, flags and the page's RMP entry only.
    adjusted(&unsafe { __access_rmpadjust(address, address + 1, u32::from(size as u8), attributes.bits()) })
}

/// [`rmpadjust`] of the 4 KiB pages from `start` to before `end`, up to the first that fails. Returns that page's
/// address, or `end`, and the last answer.
///
/// # Safety
/// As for [`rmpadjust`], for each of the pages.
pub unsafe fn rmpadjust_row(start: u64, end: u64, attributes: Attributes) -> (u64, Result<(), RmpError>) {
    // SAFETY: as for `rmpadjust`.
    let reached = unsafe { __access_rmpadjust(start, end, u32::from(PageSize::Size4K as u8), attributes.bits()) };
    (reached.address, adjusted(&reached))
}

fn adjusted(reached: &Reached) -> Result<(), RmpError> {
    RmpError::check(low32(done(reached.result)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec;

    #[test]
    fn bytes_are_copied_exchanged_and_zeroed() {
        #[repr(align(256))]
        struct Bytes([u8; 768]);
        let from: [u8; 100] = core::array::from_fn(|index| u8::try_from(index + 1).unwrap_or(0));
        let mut to = Bytes([0xee; 768]);
        let start = to.0.as_mut_ptr() as u64;
        for len in 0..100 {
            // SAFETY: both arrays are live and long enough.
            assert_eq!(unsafe { copy(start, from.as_ptr() as u64, len) }, Ok(()));
            assert_eq!(to.0[..len], from[..len]);
            assert_eq!(to.0[len], if len < 100 { 0xee } else { 0 });
        }
        // SAFETY: a live array.
        assert_eq!(unsafe { exchange(start, 7) }, Ok(1));
        assert_eq!(to.0[0], 7);
        // SAFETY: a live array, aligned to 256.
        assert_eq!(unsafe { zero(start, 512) }, Ok(()));
        assert_eq!(to.0[..512], [0; 512]);
        assert_eq!(to.0[512..], [0xee; 256]);
    }

    /// Of all vectors, error codes and instructions, those alone that can mean a page which the host has taken.
    #[test]
    fn only_faults_of_an_access_are_refusals() {
        let at = &raw const __access_copy_at as u64;
        let resumed = |vector, error, rip| resume_at(vector, error, rip).is_some();
        let wanted = |vector, error| [13, 14].contains(&vector) || vector == 29 && [0x400, 0x404].contains(&error);
        for vector in 0..256 {
            for error in (0..0x480).chain([0x8000_0000, u64::MAX]) {
                assert_eq!(resumed(vector, error, at), wanted(vector, error), "vector {vector} error {error:#x}");
            }
        }
        let (start, end) = (__access_copy as *const () as u64, &raw const __access_refused as u64);
        let taken: vec::Vec<u64> = (start - 64..end + 64).filter(|rip| resumed(29, 0x404, *rip)).collect();
        let zero = &raw const __access_zero_end as u64 - &raw const __access_zero_at as u64;
        assert_eq!(taken.len() as u64, 5 + zero, "five instructions, and the loop that zeroes");
        assert_eq!(resume_at(29, 0x404, at), Some(end));
    }
}
