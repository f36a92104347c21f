//! The page tables in use, and access to guest-physical pages through the direct map.

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel::launch::SETTINGS_SIZE;
use kernel::mm::page_table::{Access, DIRECT_MAP, OwnTables, Placement, Window, WindowPages};
use kernel::mm::validate::{self, BootError};
use kernel::mm::{Attributes, Inaccessible, PAGE, PageSize, Pages, Pvalidated, Region, RmpError};
use snp::instr::{access, flush_everywhere};
use spin::Mutex;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr4, Cr4Flags};

use crate::cell::TakeOnce;
use crate::{heap, layout, processor};

static OWN: TakeOnce<OwnTables> = TakeOnce::new(OwnTables::EMPTY);
static WINDOW: TakeOnce<Window> = TakeOnce::new(Window::EMPTY);
/// The tables that all processors share, once they are in use, and where the firmware lies.
static SHARED: Mutex<Option<(&'static mut OwnTables, Placement)>> = Mutex::new(None);
/// The address behind the heap, up to which the tables map the firmware's memory.
static HEAP_END: Mutex<u64> = Mutex::new(layout::VIRTUAL_BASE + layout::SIZE);
/// All processors can be told to forget: CPUID says that there is INVLPGB.
static BROADCAST: AtomicBool = AtomicBool::new(false);

/// A processor's own way to guest-physical memory. There is one for each, and with it the right to touch that memory.
pub struct Memory {
    window: &'static mut Window,
    placement: Placement,
    /// Where the window's tables lie.
    at: WindowPages,
}

impl Memory {
    /// Builds the firmware's own tables and leaves the entry stub's. `None` if that was done before.
    pub fn start(c_bit: u32) -> Option<Memory> {
        let (own, window) = (OWN.take()?, WINDOW.take()?);
        let placement = layout::placement(c_bit);
        let at = WindowPages::find(|offset| Some(layout::gpa_of(WINDOW.address() + offset)))?;
        let mut parts = [(Region::new(0, 4096)?, Access::None); 6];
        for (slot, part) in parts.iter_mut().zip(layout::parts()) {
            *slot = part?;
        }
        own.build(placement, layout::gpa_of(OWN.address()), &parts);
        let root = window.build(placement, at, layout::gpa_of(OWN.address()));
        // SAFETY: the new tables map all of the firmware where it is, code as executable, and data and this stack as
        // writable; the guard pages are never used.
        unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
        *SHARED.lock() = Some((own, placement));
        Some(Memory { window, placement, at })
    }

    /// Another processor's way to memory, through tables in `window`; and the CR3 that goes with it. `None`: they are
    /// not mapped.
    pub fn another(&self, window: &'static mut Window) -> Option<(Memory, u64)> {
        let address = (&raw const *window) as u64;
        let at = WindowPages::find(|offset| Self::gpa_of(address + offset))?;
        let root = window.build(self.placement, at, layout::gpa_of(OWN.address()));
        Some((Memory { window, placement: self.placement, at }, root))
    }

    /// GPA of one of the firmware's addresses, wherever its page lies: also in what the guest has deposited. `None`:
    /// nothing is mapped there.
    pub fn gpa_of(address: u64) -> Option<u64> {
        SHARED.lock().as_ref().and_then(|(own, placement)| own.gpa_of(*placement, address))
    }

    /// Maps pages that are the firmware's alone, for good, one behind the other as the memory of the processor with
    /// this APIC id. Their address; `None`: it has no place. No CPU remembers that there was nothing (APM volume 2,
    /// 5.5.1).
    pub fn map_processor(apic_id: u32, gpas: &[u64]) -> Option<u64> {
        SHARED.lock().as_mut().and_then(|(own, placement)| own.map_processor(*placement, apic_id, gpas))
    }

    /// From here on [`Pages::flush`] reaches all processors.
    pub fn flush_everywhere_from_now_on() {
        BROADCAST.store(true, Ordering::Release);
    }

    /// Takes the firmware's page at `address` out of private use: after it, the page is the host's as soon as the host
    /// is told.
    ///
    /// # Safety
    /// The page holds no Rust object, now or later.
    pub unsafe fn unvalidate_own(&mut self, address: u64) -> Result<Pvalidated, RmpError> {
        // SAFETY: mapped as private data; its contents are nobody's, as the caller says.
        let changed = unsafe { access::pvalidate(address, PageSize::Size4K, false) }?;
        Self::set_own(address, Access::Shared);
        Ok(changed)
    }

    /// The firmware's page at `address` is never reached again: another processor that has it in mind has no use for
    /// it.
    pub fn guard(address: u64) {
        Self::set_own(address, Access::None);
    }

    /// The region behind the firmware's memory, which the host has made private, becomes heap: validated, none of it
    /// was before, and zeroed. To be done once, before anything is deposited.
    pub fn take_reserve(&mut self, region: Region) -> Result<(), BootError> {
        validate::take_region(self, region)?;
        for gpa in region.pages() {
            if !self.extend_heap(gpa) {
                return Err(BootError::Inaccessible(gpa));
            }
        }
        Ok(())
    }

    /// A copy of the measured settings. To be read when there is a heap.
    pub fn settings(&mut self) -> Result<Vec<u8>, Inaccessible> {
        let mut settings = alloc::vec![0; SETTINGS_SIZE];
        for (page, gpa) in settings.chunks_mut(PAGE).zip((layout::gpa_of(layout::settings())..).step_by(PAGE)) {
            self.read(gpa, page)?;
        }
        Ok(settings)
    }

    fn set_own(address: u64, access: Access) {
        if let Some((own, placement)) = SHARED.lock().as_mut() {
            own.set_own(*placement, address, access);
        }
        tlb::flush(VirtAddr::new(address));
    }

    /// Runs `access` while the page is in the direct map; `access` gets the address of the byte at `gpa`.
    fn with<R>(&mut self, gpa: u64, size: PageSize, access: impl FnOnce(u64) -> R) -> R {
        let page = gpa - gpa % size.bytes();
        let address = self.window.open(self.placement, self.at, page, size);
        // The instruction keeps the compiler from moving accesses across the change of the tables.
        tlb::flush(VirtAddr::new_truncate(address));
        let result = access(address + (gpa - page));
        self.window.close(page);
        tlb::flush(VirtAddr::new_truncate(address));
        result
    }

    /// Runs `access` while the block of a row of pages is in the direct map; `access` gets the addresses of the row's
    /// start and end. The rest of the block, whose it may be, is mapped for as long, and not touched.
    fn with_row<R>(&mut self, row: Region, access: impl FnOnce(u64, u64) -> R) -> R {
        self.with(row.start(), PageSize::Size2M, |start| access(start, start + row.len()))
    }
}

impl Pages for Memory {
    fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible> {
        let (to, len) = (out.as_mut_ptr() as u64, within_page(gpa, out.len()));
        // SAFETY: the bytes lie in the one page that is mapped, and `out` is ours.
        self.with(gpa, PageSize::Size4K, |from| unsafe { access::copy(to, from, len) })
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible> {
        let (from, len) = (bytes.as_ptr() as u64, within_page(gpa, bytes.len()));
        // SAFETY: the bytes lie in the one page that is mapped; `Pages`' callers write to memory that they have checked
        // to be no Rust object's.
        self.with(gpa, PageSize::Size4K, |to| unsafe { access::copy(to, from, len) })
    }

    fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible> {
        // SAFETY: the byte is mapped; guest and firmware both access it by exchange.
        self.with(gpa, PageSize::Size4K, |byte| unsafe { access::exchange(byte, value) })
    }

    fn zero(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible> {
        // SAFETY: a whole page that is mapped; no Rust object lies in it.
        self.with(gpa, size, |start| unsafe { access::zero(start, size.bytes()) }).map_err(|_| Inaccessible)
    }

    fn zero_row(&mut self, row: Region) -> Result<(), u64> {
        // SAFETY: as for `zero`, of whole pages in one block.
        self.with_row(row, |start, _| unsafe { access::zero(start, row.len()) })
            .map_err(|address| address - address % PageSize::Size4K.bytes() - DIRECT_MAP)
    }

    fn pvalidate_row(&mut self, row: Region, validate: bool) -> (u64, Result<Pvalidated, RmpError>) {
        // SAFETY: as for `pvalidate`, for each page of the row.
        let (address, answer) = self.with_row(row, |start, end| unsafe { access::pvalidate_row(start, end, validate) });
        (address - DIRECT_MAP, answer)
    }

    fn rmpadjust_row(&mut self, row: Region, attributes: Attributes) -> Result<(), (u64, RmpError)> {
        // SAFETY: as for `rmpadjust`, for each page of the row.
        let (address, answer) =
            self.with_row(row, |start, end| unsafe { access::rmpadjust_row(start, end, attributes) });
        answer.map_err(|why| (address - DIRECT_MAP, why))
    }

    fn pvalidate(&mut self, gpa: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
        // SAFETY: mapped as private, aligned by `with`; the ownership map, which the caller asked, lets only pages
        // without Rust objects come here.
        self.with(gpa, size, |address| unsafe { access::pvalidate(address, size, validate) })
    }

    fn rmpadjust(&mut self, gpa: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError> {
        // SAFETY: as for `pvalidate`.
        self.with(gpa, size, |address| unsafe { access::rmpadjust(address, size, attributes) })
    }

    fn extend_heap(&mut self, gpa: u64) -> bool {
        let mut end = HEAP_END.lock();
        let mut shared = SHARED.lock();
        let mapped = shared.as_mut().is_some_and(|(own, placement)| own.map(*placement, *end, gpa));
        if mapped {
            *end += PageSize::Size4K.bytes();
            // SAFETY: mapped above, behind what the heap has, and for good; the page is the firmware's alone, as the
            // caller says. No CPU remembers that there was nothing (APM volume 2, 5.5.1).
            unsafe { heap::extend(PAGE) };
        }
        mapped
    }

    fn start_processor(&mut self, apic_id: u32, block: &[u64]) -> bool {
        processor::start_later(self, apic_id, block)
    }

    fn flush(&mut self) {
        if BROADCAST.load(Ordering::Acquire) {
            // SAFETY: CPUID says that there is INVLPGB.
            return unsafe { flush_everywhere() };
        }
        // A change of CR4.PGE is what also forgets global translations, and those of the guest's VMPL under the same
        // ASID (APM volume 2, 5.5.3).
        let with = |pge| {
            // SAFETY: no translation of the firmware's own is global, so the bit changes nothing but what the TLB
            // holds.
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
