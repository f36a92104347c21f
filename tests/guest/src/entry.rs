//! What `entry.s` shows to Rust: exceptions, and accesses that may fault.

use crate::ghcb;
use crate::page::Page;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

global_asm!(include_str!("entry.s"), start = sym crate::start, fault = sym fault);

/// The exception that the machine gives for an access that the RMP forbids (`vmpl-fault=gp`).
pub(crate) const GENERAL_PROTECTION: u64 = 13;

/// #VC: an access to a page that is not validated, among others.
pub(crate) const VMM_COMMUNICATION: u64 = 29;

/// One descriptor of an exception handler in `entry.s`.
#[repr(C)]
struct Vector {
    number: u64,
    handler: u64,
}

unsafe extern "sysv64" {
    static __vectors: [Vector; 16];
    static __taken_count: AtomicU64;
    static __taken: [AtomicU8; 256];
    static __c_bit: u64;
    fn __probe_copy(destination: u64, source: u64, length: u64) -> u64;
    fn __probe_pvalidate(address: u64, validate: u64) -> u64;
    fn __probe_rmpadjust(address: u64, attributes: u64) -> u64;
}

/// 64-bit interrupt gates (AMD64 APM volume 2, 4.8.4).
static IDT: Page = Page::new();

/// Operand of LIDT.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads an IDT with the handlers of `entry.s`.
pub(crate) fn install_exception_handlers() {
    // SAFETY: `entry.s` defines the table, nothing writes it, and it ends with a number 0.
    let vectors = unsafe { &__vectors };
    for vector in vectors.iter().take_while(|vector| vector.number != 0) {
        let [low, middle, high] = [vector.handler & 0xFFFF, vector.handler >> 16 & 0xFFFF, vector.handler >> 32];
        let at = usize::try_from(vector.number).unwrap_or(0) * 16;
        // Selector 8, present, interrupt gate, no IST: what may fault keeps nothing below the stack pointer.
        IDT.write(at, low | 8 << 16 | 0x8E00 << 32 | middle << 48);
        IDT.write(at + 8, high);
    }
    let pointer = Pointer { limit: 4095, base: IDT.gpa() };
    // SAFETY: the IDT is static, and its gates lead to handlers in our code segment.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// An exception outside the probes is an error of ours.
extern "sysv64" fn fault(_vector: u64, _error: u64, _rip: u64) -> ! {
    ghcb::terminate()
}

/// How many interrupts have been noted.
pub(crate) fn taken_count() -> u64 {
    // SAFETY: `entry.s` defines it, and changes it in one step.
    unsafe { __taken_count.load(Ordering::SeqCst) }
}

/// The vector of the interrupt that was noted as number `index`.
pub(crate) fn taken(index: u64) -> u64 {
    let index = usize::try_from(index % 256).unwrap_or(0);
    // SAFETY: `entry.s` defines them, and writes bytes.
    unsafe { __taken[index].load(Ordering::SeqCst).into() }
}

/// Lets interrupts come for a while.
pub(crate) fn open() {
    // SAFETY: all gates lead to handlers that change nothing but their notes; nothing is kept below the stack pointer.
    // In QEMU the shadow of STI does not end with a PAUSE.
    unsafe { asm!("sti", "nop", "nop") };
    (0..200).for_each(|_| core::hint::spin_loop());
    // SAFETY: as above.
    unsafe { asm!("cli") };
}

/// The C-bit as a mask of a physical address.
pub(crate) fn c_bit() -> u64 {
    // SAFETY: `entry.s` has written it before Rust ran, and nothing writes it after.
    unsafe { __c_bit }
}

/// Copies bytes by address; `Err` is the vector of the exception that it met.
///
/// # Safety
/// `destination` must be memory that Rust knows nothing of, or that it has given for this; `source` may be anything: a
/// fault is caught.
pub(crate) unsafe fn copy(destination: u64, source: u64, length: usize) -> Result<(), u64> {
    // SAFETY: the caller answers for what is written; a fault resumes in the probe with its vector.
    match unsafe { __probe_copy(destination, source, length as u64) } {
        0 => Ok(()),
        vector => Err(vector),
    }
}

/// PVALIDATE of a 4 KiB page: EAX, or the vector of the exception that it met.
pub(crate) fn pvalidate(address: u64, validate: bool) -> Result<u64, u64> {
    // SAFETY: at VMPL2 the instruction changes nothing: it faults. That it does is what is tested.
    done_or_vector(unsafe { __probe_pvalidate(address, u64::from(validate)) })
}

/// RMPADJUST of a 4 KiB page: EAX, or the vector of the exception that it met.
pub(crate) fn rmpadjust(address: u64, attributes: u64) -> Result<u64, u64> {
    // SAFETY: it is only tried on pages and levels for which it must be refused, and changes permissions of other
    // levels alone.
    done_or_vector(unsafe { __probe_rmpadjust(address, attributes) })
}

fn done_or_vector(value: u64) -> Result<u64, u64> {
    if value & 0x100 == 0 { Err(value) } else { Ok(value & 0xFF) }
}
