//! The page tables in use, and access to guest-physical pages through the direct map.

use core::arch::asm;

use kernel::mm::page_table::{Access, Placement, Tables};
use kernel::mm::{Attributes, PageSize, Pages, Pvalidated, Region, RmpError};
use snp::instr;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr4, Cr4Flags};

use super::cell::TakeOnce;
use super::layout;

static TABLES: TakeOnce<Tables> = TakeOnce::new(Tables::EMPTY);

/// The firmware's page tables. There is one, and with it the right to touch guest-physical memory.
pub(crate) struct Memory {
    tables: &'static mut Tables,
    placement: Placement,
    own: u64,
}

impl Memory {
    /// Builds the firmware's own tables and leaves the entry stub's. `None` if that was done before.
    pub(crate) fn start(c_bit: u32) -> Option<Memory> {
        let tables = TABLES.take()?;
        let (placement, own) = (layout::placement(c_bit), layout::gpa_of(TABLES.address()));
        let mut parts = [(Region::new(0, 4096)?, Access::None); 5];
        for (slot, part) in parts.iter_mut().zip(layout::parts()) {
            *slot = part?;
        }
        let root = tables.build(placement, own, &parts);
        // SAFETY: the new tables map all of the firmware where it is, code as executable, and data and this stack as writable; the guard pages are never used.
        unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
        Some(Memory { tables, placement, own })
    }

    /// Takes the firmware's page at `address` out of private use: after it, the page is the host's as soon as the host is told.
    ///
    /// # Safety
    /// The page holds no Rust object, now or later.
    pub(crate) unsafe fn unvalidate_own(&mut self, address: u64) -> Result<Pvalidated, RmpError> {
        // SAFETY: mapped as private data; its contents are nobody's, as the caller says.
        let changed = unsafe { instr::pvalidate(address, PageSize::Size4K, false) }?;
        self.tables.set_own(self.placement, address, Access::Shared);
        tlb::flush(VirtAddr::new(address));
        Ok(changed)
    }

    /// Runs `access` while the page is in the direct map; `access` gets the address of the byte at `gpa`.
    fn with<R>(&mut self, gpa: u64, size: PageSize, access: impl FnOnce(u64) -> R) -> R {
        let page = gpa - gpa % size.bytes();
        let address = self.tables.open(self.placement, self.own, page, size);
        // The instruction keeps the compiler from moving accesses across the change of the tables.
        tlb::flush(VirtAddr::new_truncate(address));
        let result = access(address + (gpa - page));
        self.tables.close(page);
        tlb::flush(VirtAddr::new_truncate(address));
        result
    }
}

/// Copies bytes in one instruction that the compiler does not see through: memory that a guest may write to meanwhile is read exactly once.
///
/// # Safety
/// `len` bytes are readable at `from` and writable at `to`, and no Rust reference to the guest's side exists.
unsafe fn copy(from: u64, to: u64, len: usize) {
    // SAFETY: as the caller promises; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags));
    }
}

impl Pages for Memory {
    fn read(&mut self, gpa: u64, out: &mut [u8]) {
        let (to, len) = (out.as_mut_ptr() as u64, within_page(gpa, out.len()));
        // SAFETY: the bytes lie in the one page that is mapped, and `out` is ours.
        self.with(gpa, PageSize::Size4K, |from| unsafe { copy(from, to, len) });
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) {
        let (from, len) = (bytes.as_ptr() as u64, within_page(gpa, bytes.len()));
        // SAFETY: the bytes lie in the one page that is mapped; `Pages`' callers write to memory that they have checked to be no Rust object's.
        self.with(gpa, PageSize::Size4K, |to| unsafe { copy(from, to, len) });
    }

    fn exchange(&mut self, gpa: u64, value: u8) -> u8 {
        self.with(gpa, PageSize::Size4K, |address| match core::ptr::NonNull::new(address as *mut u8) {
            // SAFETY: the byte is mapped; guest and firmware both access it by exchange.
            Some(byte) => unsafe { instr::exchange_byte(byte, value) },
            None => 0,
        })
    }

    fn zero(&mut self, gpa: u64, size: PageSize) {
        self.with(gpa, size, |address| {
            // SAFETY: a whole page that is mapped, a multiple of 64 bytes; no Rust object lies in it.
            unsafe {
                asm!(
                    "xorps {zero}, {zero}",
                    "2:",
                    "movaps [{at}], {zero}",
                    "movaps [{at} + 16], {zero}",
                    "movaps [{at} + 32], {zero}",
                    "movaps [{at} + 48], {zero}",
                    "add {at}, 64",
                    "cmp {at}, {end}",
                    "jne 2b",
                    zero = out(xmm_reg) _,
                    at = inout(reg) address => _,
                    end = in(reg) address.wrapping_add(size.bytes()),
                    options(nostack),
                );
            }
        });
    }

    fn pvalidate(&mut self, gpa: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
        // SAFETY: mapped as private, aligned by `with`; the ownership map, which the caller asked, lets only pages without Rust objects come here.
        self.with(gpa, size, |address| unsafe { instr::pvalidate(address, size, validate) })
    }

    fn rmpadjust(&mut self, gpa: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError> {
        // SAFETY: as for `pvalidate`.
        self.with(gpa, size, |address| unsafe { instr::rmpadjust(address, size, attributes) })
    }

    fn flush(&mut self) {
        // A change of CR4.PGE is what also forgets global translations, and those of the guest's VMPL under the same ASID (APM volume 2, 5.5.3).
        let with = |pge| {
            // SAFETY: no translation of the firmware's own is global, so the bit changes nothing but what the TLB holds.
            unsafe { Cr4::update(|flags| flags.set(Cr4Flags::PAGE_GLOBAL, pge)) };
        };
        with(true);
        with(false);
    }
}

/// As many of `len` bytes as there are up to the end of the page.
fn within_page(gpa: u64, len: usize) -> usize {
    let left = PageSize::Size4K.bytes() - gpa % PageSize::Size4K.bytes();
    usize::try_from(left).map_or(0, |left| left.min(len))
}
