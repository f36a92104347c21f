//! Physical memory: the one place that turns addresses into memory.
//!
//! The machine lives in [`RESERVE_START`, `RESERVE_END`) and sees all memory at its physical address. From
//! `RESERVE_START` up come its ELF, then what [`Pool`] hands out as Rust slices, then ([`Pool::seal`]) the frames:
//! memory that is only reached through the functions here, by address.

use crate::bits::lo8;
use crate::log::fault;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Where the machine's ELF is linked; what is below is the guest's.
pub(crate) const RESERVE_START: u64 = 0x1800_0000;
/// End of the machine's own memory; above it, in a computer of 512 MiB, are the tables of QEMU's BIOS.
pub(crate) const RESERVE_END: u64 = 0x1FF0_0000;
/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// The identity map's end; behind what devices are given of the firmware's memory ([`crate::rmp::FIRMWARE`]).
const MAPPED: u64 = (512 << 30) + WINDOW;
/// Bytes of the window behind it.
const WINDOW: u64 = 1 << 30;

/// First address of the frames: everything in the reserve below it belongs to Rust objects.
static FRAMES: AtomicU64 = AtomicU64::new(RESERVE_END);

unsafe extern "C" {
    static __machine_end: u8;
}

/// Proves that `len` bytes at `hpa` are no memory of a Rust object.
fn check(hpa: u64, len: u64) {
    let end = hpa.saturating_add(len);
    if end > MAPPED || (hpa < FRAMES.load(Relaxed) && end > RESERVE_START) {
        fault!("access to {hpa:#x}+{len:#x}, which is not the guest's");
    }
}

/// Copies from physical memory. Of what the guest reaches it may get any bytes: another processor may be there.
pub(crate) fn read(hpa: u64, to: &mut [u8]) {
    check(hpa, to.len() as u64);
    // SAFETY: `check`: mapped, and outside of every Rust object, so `to` cannot overlap; bytes that others change
    // meanwhile are bytes.
    unsafe { core::ptr::copy_nonoverlapping(hpa as *const u8, to.as_mut_ptr(), to.len()) }
}

/// Copies to physical memory.
pub(crate) fn write(hpa: u64, from: &[u8]) {
    check(hpa, from.len() as u64);
    // SAFETY: as for `read`.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), hpa as *mut u8, from.len()) }
}

/// Reads a `u64`, volatile: device registers too.
pub(crate) fn read_u64(hpa: u64) -> u64 {
    check(hpa, 8);
    // SAFETY: `check`: mapped, outside of every Rust object.
    unsafe { (hpa as *const u64).read_unaligned() }
}

/// Writes a `u64`.
pub(crate) fn write_u64(hpa: u64, value: u64) {
    check(hpa, 8);
    // SAFETY: as for `read_u64`.
    unsafe { (hpa as *mut u64).write_unaligned(value) }
}

/// Writes two `u64` that are neighbours.
pub(crate) fn write_pair(hpa: u64, values: [u64; 2]) {
    check(hpa, 16);
    // SAFETY: as for `read_u64`.
    unsafe { (hpa as *mut [u64; 2]).write_unaligned(values) }
}

/// Writes a `u64` if it is still `old`; otherwise gives what it is.
pub(crate) fn exchange_u64(hpa: u64, old: u64, new: u64) -> Result<(), u64> {
    check(hpa, 8);
    // SAFETY: `check`: mapped, outside of every Rust object; aligned, as entries of tables are.
    let word = unsafe { AtomicU64::from_ptr(hpa as *mut u64) };
    word.compare_exchange(old, new, SeqCst, SeqCst).map(|_| ())
}

/// Fills physical memory.
pub(crate) fn fill(hpa: u64, len: u64, byte: u8) {
    check(hpa, len);
    // SAFETY: as for `write`.
    unsafe { core::ptr::write_bytes(hpa as *mut u8, byte, crate::bits::us(len)) }
}

/// Fills the page at `hpa` with two words by turns.
pub(crate) fn fill_pairs(hpa: u64, first: u64, second: u64) {
    use core::arch::x86_64::{__m128i, _mm_set_epi64x, _mm_store_si128};
    check(hpa, PAGE);
    // SAFETY: every x86-64 has SSE2.
    let pair = unsafe { _mm_set_epi64x(second.cast_signed(), first.cast_signed()) };
    // A loop of 16 stores: instructions are what counts where they are emulated.
    let page = hpa as *mut [[__m128i; 16]; 16];
    for line in 0..16 {
        for at in 0..16 {
            // SAFETY: as for `write`; the page is aligned.
            unsafe { _mm_store_si128(&raw mut (*page)[line][at], pair) };
        }
    }
}

/// Whether all of the page at `hpa` is zero.
pub(crate) fn is_zero(hpa: u64) -> bool {
    check(hpa, PAGE);
    // SAFETY: as for `read`; the page is aligned. It is asked of pages that no other processor reaches yet.
    let words = unsafe { core::slice::from_raw_parts(hpa as *const [u64; 8], crate::bits::us(PAGE / 64)) };
    words.iter().all(|words| words.iter().fold(0, |all, word| all | word) == 0)
}

/// Whether QEMU has memory in all of these pages: what is written is there.
pub(crate) fn is_memory(hpa: u64, len: u64) -> bool {
    const PATTERN: u64 = 0x0123_4567_89AB_CDEF;
    (hpa..hpa + len).step_by(crate::bits::us(PAGE)).all(|page| {
        write_u64(page, PATTERN ^ page);
        let is_there = read_u64(page) == PATTERN ^ page;
        write_u64(page, 0);
        is_there
    })
}

/// Where a device register at `hpa` is seen: beyond the identity map, through a window of 1 GiB behind it.
fn device(hpa: u64, size: u64) -> u64 {
    if hpa.saturating_add(size) <= MAPPED {
        check(hpa, size);
        return hpa;
    }
    crate::entry::map_window(hpa & !(WINDOW - 1));
    MAPPED + hpa % WINDOW
}

/// Reads a device register of `size` (1, 2, 4 or 8) bytes.
pub(crate) fn device_read(hpa: u64, size: u64) -> u64 {
    let hpa = device(hpa, size);
    let value: u64;
    // SAFETY: `device`: mapped. An instruction of the width that the guest asked for, at any address.
    unsafe {
        match size {
            1 => asm!("movzx {0:e}, byte ptr [{1}]", out(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
            2 => asm!("movzx {0:e}, word ptr [{1}]", out(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
            4 => asm!("mov {0:e}, [{1}]", out(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
            _ => asm!("mov {0}, [{1}]", out(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
        }
    }
    value
}

/// Writes a device register of `size` (1, 2, 4 or 8) bytes.
pub(crate) fn device_write(hpa: u64, size: u64, value: u64) {
    let hpa = device(hpa, size);
    // SAFETY: as for `device_read`.
    unsafe {
        match size {
            1 => asm!("mov [{1}], {0}", in(reg_byte) lo8(value), in(reg) hpa, options(nostack, preserves_flags)),
            2 => asm!("mov [{1}], {0:x}", in(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
            4 => asm!("mov [{1}], {0:e}", in(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
            _ => asm!("mov [{1}], {0}", in(reg) value, in(reg) hpa, options(nostack, preserves_flags)),
        }
    }
}

/// Gives out the reserve, in pages, upwards, for ever.
pub(crate) struct Pool {
    next: u64,
    sealed: bool,
}

impl Pool {
    /// The reserve behind the ELF. To be called once.
    pub(crate) fn new() -> Self {
        let end = (&raw const __machine_end) as u64;
        Self { next: end.next_multiple_of(PAGE), sealed: false }
    }

    /// `len` zeroed bytes, page-aligned, as a slice of Rust's.
    pub(crate) fn slice(&mut self, len: usize) -> &'static mut [u8] {
        if self.sealed {
            fault!("memory asked for too late");
        }
        let at = self.take(len as u64);
        // SAFETY: `take` gives every address once; it is mapped, in the reserve, behind the ELF and below `FRAMES`,
        // thus nobody else's.
        unsafe {
            core::ptr::write_bytes(at as *mut u8, 0, len);
            core::slice::from_raw_parts_mut(at as *mut u8, len)
        }
    }

    /// From here on only frames are given out.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
        FRAMES.store(self.next, Relaxed);
    }

    /// The address of `pages` zeroed frames, aligned to `align` bytes.
    pub(crate) fn frames(&mut self, pages: u64, align: u64) -> u64 {
        if !self.sealed {
            fault!("frames asked for before the slices are done");
        }
        self.next = self.next.next_multiple_of(align);
        let at = self.take(pages * PAGE);
        fill(at, pages * PAGE, 0);
        at
    }

    fn take(&mut self, len: u64) -> u64 {
        let at = self.next;
        let end = at.saturating_add(len).next_multiple_of(PAGE);
        if end > RESERVE_END {
            fault!(
                "the machine's own {} MiB are used up: give the guest less memory (ram=)",
                (RESERVE_END - RESERVE_START) >> 20
            );
        }
        self.next = end;
        at
    }
}
