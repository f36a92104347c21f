//! The few instructions of the machine's own processor that Rust has no word for.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// Reads `size` (1, 2 or 4) bytes from an I/O port.
pub(crate) fn port_in(port: u16, size: u8) -> u32 {
    let value: u32;
    // SAFETY: an I/O read touches no memory of this program; devices that could (fw_cfg DMA) are kept from the guest.
    unsafe {
        match size {
            1 => asm!("xor eax, eax; in al, dx", in("dx") port, out("eax") value, options(nostack)),
            2 => asm!("xor eax, eax; in ax, dx", in("dx") port, out("eax") value, options(nostack)),
            _ => {
                asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags))
            }
        }
    }
    value
}

/// Writes the low `size` (1, 2 or 4) bytes of `value` to an I/O port.
pub(crate) fn port_out(port: u16, size: u8, value: u32) {
    // SAFETY: as for `port_in`; the one device that writes memory on such a write is used by `fwcfg` alone.
    unsafe {
        match size {
            1 => {
                asm!("out dx, al", in("dx") port, in("eax") value, options(nostack, preserves_flags))
            }
            2 => {
                asm!("out dx, ax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
            }
            _ => {
                asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags))
            }
        }
    }
}

/// RDMSR. Unknown MSRs read as 0 under TCG.
pub(crate) fn rdmsr(msr: u32) -> u64 {
    let (lo, hi): (u32, u32);
    // SAFETY: reading an MSR has no effect on memory.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") lo, out("edx") hi, options(nomem, nostack, preserves_flags)) };
    u64::from(hi) << 32 | u64::from(lo)
}

/// WRMSR.
///
/// # Safety
/// `value` must leave this program's paging, stacks and exception handling as they are.
pub(crate) unsafe fn wrmsr(msr: u32, value: u64) {
    let (lo, hi) = (crate::bits::lo32(value), crate::bits::lo32(value >> 32));
    // SAFETY: the caller's promise.
    unsafe { asm!("wrmsr", in("ecx") msr, in("eax") lo, in("edx") hi, options(nostack, preserves_flags)) };
}

/// CPUID.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// RDTSC.
pub(crate) fn rdtsc() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// RDRAND, tried until it answers; QEMU's always does.
pub(crate) fn rdrand() -> u64 {
    loop {
        let (value, ok): (u64, u8);
        // SAFETY: EPYC-Milan has RDRAND, also under TCG.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack)) };
        if ok == 1 {
            return value;
        }
    }
}
