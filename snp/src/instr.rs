//! The instructions, and memory that the host shares: the only `unsafe` of this crate.
#![expect(
    unsafe_code,
    reason = "instructions and host-shared memory have no safe form; everything else of the crate is built on this module"
)]

use core::arch::x86_64::{__cpuid_count, _mm_pause, _rdtsc};
use core::arch::{asm, global_asm};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::bits::{byte_at, high32, join, low32};
use crate::cpuid::CpuidRegisters;
use crate::ghcb::{Hypervisor, SharedMemory, msr};
use crate::rmp::{Attributes, PageSize, Pvalidated, RmpError};

pub mod access;

/// MSR of the GHCB protocol.
pub const MSR_GHCB: u32 = 0xC001_0130;
/// MSR that says which SEV features are active.
pub const MSR_SEV_STATUS: u32 = 0xC001_0131;

/// Exits to the hypervisor (`rep vmmcall`, F3 0F 01 D9).
///
/// # Safety
/// The GHCB MSR holds a request of the MSR protocol or the GPA of a registered GHCB page whose contents are meant as a
/// request, and the effect of that request (a page given away, another VMPL run) breaks no live Rust object.
pub unsafe fn vmgexit() {
    // SAFETY: the register state is private and comes back unchanged; memory is clobbered as far as the caller's
    // request says.
    unsafe { asm!(".byte 0xF3, 0x0F, 0x01, 0xD9", options(nostack)) }
}

/// Makes every processor of the guest forget all translations, of every VMPL, the global ones among them, and waits
/// until they have (INVLPGB with ASID 0, which is the guest's own, and TLBSYNC; APM volume 3).
///
/// # Safety
/// CPL is 0, and CPUID Fn8000_0008 EBX bit 3 says that there are such instructions.
pub unsafe fn flush_everywhere() {
    const ASID_VALID: u64 = 1 << 2;
    const GLOBAL: u64 = 1 << 3;
    // SAFETY: as the caller promises; what the processors forget they walk for again, so no object changes. The
    // assembler has the instructions by their octets: 0F 01 FE and 0F 01 FF.
    unsafe {
        asm!(
            ".byte 0x0F, 0x01, 0xFE",
            ".byte 0x0F, 0x01, 0xFF",
            in("rax") ASID_VALID | GLOBAL,
            in("ecx") 0,
            in("edx") 0,
            options(nostack, preserves_flags)
        );
    }
}

/// Reads an MSR.
///
/// # Safety
/// CPL is 0, and the MSR exists and may be read without side effects on live Rust objects.
#[must_use]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: as the caller promises; RDMSR writes EAX and EDX only.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    join(high, low)
}

/// Writes an MSR.
///
/// # Safety
/// CPL is 0, and the new value leaves the machine in a state in which live Rust objects stay valid.
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") low32(value), in("edx") high32(value), options(nostack, preserves_flags));
    }
}

/// Executes CPUID. In an SNP guest this is a #VC, which the kernel answers from the CPUID page.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidRegisters {
    let answer = __cpuid_count(leaf, subleaf);
    CpuidRegisters { eax: answer.eax, ebx: answer.ebx, ecx: answer.ecx, edx: answer.edx }
}

/// 64 bits from RDSEED, `None` if none were ready (CF = 0).
///
/// Only the 64-bit form exists here: the shorter ones return 0 with CF = 1 on some processors (AMD-SB-7055, RN-01).
#[must_use]
pub fn rdseed64() -> Option<u64> {
    let value: u64;
    let ready: u8;
    // SAFETY: RDSEED writes its destination and the flags. On a CPU without it, it raises #UD, which ends the firmware
    // and corrupts nothing.
    unsafe {
        asm!("rdseed {value}", "setc {ready}", value = out(reg) value, ready = out(reg_byte) ready, options(nomem, nostack));
    }
    (ready != 0).then_some(value)
}

/// 64 bits from RDRAND, `None` if none were ready (CF = 0).
#[must_use]
pub fn rdrand64() -> Option<u64> {
    let value: u64;
    let ready: u8;
    // SAFETY: as for RDSEED.
    unsafe {
        asm!("rdrand {value}", "setc {ready}", value = out(reg) value, ready = out(reg_byte) ready, options(nomem, nostack));
    }
    (ready != 0).then_some(value)
}

/// The time-stamp counter. The host's word unless SEV_STATUS has the Secure TSC bit.
#[must_use]
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter; has no effect on memory.
    unsafe { _rdtsc() }
}

/// A hint to the CPU within a polling loop.
pub fn pause() {
    _mm_pause();
}

/// Asks the hypervisor to end the guest, and does not come back even if the hypervisor does not comply.
pub fn terminate(set: u8, code: u8) -> ! {
    loop {
        // SAFETY: a termination request gives nothing away, and no Rust code runs after it.
        unsafe {
            wrmsr(MSR_GHCB, msr::termination(set, code));
            vmgexit();
            asm!("hlt", options(nomem, nostack));
        }
    }
}

/// The real hypervisor, reached by VMGEXIT.
#[derive(Debug)]
pub struct Hardware {
    /// What the GHCB MSR holds, if that is known; spares a WRMSR for each page request.
    msr: Option<u64>,
}

impl Hardware {
    /// The hypervisor of this guest.
    ///
    /// # Safety
    /// The CPU runs as an SNP guest at CPL 0, nothing else writes the GHCB MSR while this value lives, and requests
    /// that are made through it concern only memory that the caller owns.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self { msr: None }
    }
}

// Between the look at the note and the exit nothing must come that is not seen.
global_asm!(
    ".section .text.vmgexit_unless, \"ax\"",
    ".global __vmgexit_unless, __hv_window, __hv_window_end",
    "__vmgexit_unless:",
    "cmp byte ptr [rdi], 0",
    "__hv_window:",
    "jne 2f",
    ".byte 0xF3, 0x0F, 0x01, 0xD9",
    "2:",
    "__hv_window_end:",
    "ret",
);

unsafe extern "sysv64" {
    fn __vmgexit_unless(note: *const u8);
}

impl Hardware {
    /// A request of the MSR protocol, unless `note` is not 0, or becomes so before the exit: the handler of #HV, which
    /// writes it, takes what it interrupts between `__hv_window` and `__hv_window_end` to the latter. `None`: there was
    /// no exit. Otherwise what the MSR then holds.
    ///
    /// # Safety
    /// As for [`vmgexit`].
    pub unsafe fn msr_call_unless(&mut self, request: u64, note: &AtomicU8) -> Option<u64> {
        self.msr = None;
        // SAFETY: the MSR has no effect before an exit, which the caller answers for.
        unsafe {
            wrmsr(MSR_GHCB, request);
            __vmgexit_unless(note.as_ptr());
            Some(rdmsr(MSR_GHCB)).filter(|answer| *answer != request)
        }
    }
}

impl Hypervisor for Hardware {
    fn msr_call(&mut self, request: u64) -> u64 {
        self.msr = None;
        // SAFETY: promised at `new`.
        unsafe {
            wrmsr(MSR_GHCB, request);
            vmgexit();
            rdmsr(MSR_GHCB)
        }
    }

    fn page_call(&mut self, ghcb_gpa: u64) {
        if self.msr != Some(ghcb_gpa) {
            // SAFETY: promised at `new`.
            unsafe { wrmsr(MSR_GHCB, ghcb_gpa) };
            self.msr = Some(ghcb_gpa);
        }
        // SAFETY: promised at `new`.
        unsafe { vmgexit() };
    }
}

/// Memory that the host can read and write at any moment. Accesses are volatile, by 8 bytes where alignment allows; no
/// reference is ever made.
#[derive(Debug)]
pub struct SharedBytes {
    start: NonNull<u8>,
    len: usize,
}

impl SharedBytes {
    /// `len` bytes at `start`.
    ///
    /// # Safety
    /// For the life of the value the range is mapped shared (C-bit clear), readable and writable, and no Rust object
    /// lies in it. `start` is aligned to 8 bytes.
    #[must_use]
    pub const unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// The part of `len` bytes from `offset` that lies within the memory: its pointer and length.
    fn clip(&self, offset: usize, len: usize) -> (*mut u8, usize) {
        let offset = offset.min(self.len);
        // SAFETY: `offset` is at most the length of the mapped range.
        let start = unsafe { self.start.as_ptr().add(offset) };
        (start, len.min(self.len - offset))
    }
}

// SAFETY: the value is the only owner of its range on the firmware's side, as `new` demands, and holds no thread-bound
// state.
unsafe impl Send for SharedBytes {}

impl SharedMemory for SharedBytes {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let (start, len) = self.clip(offset, out.len());
        let (inside, outside) = out.split_at_mut(len);
        outside.fill(0);
        let mut at = 0;
        for chunk in inside.chunks_mut(8) {
            // SAFETY: `at` plus the chunk's length is at most `len`, which `clip` bounded; alignment is tested before
            // the wide access.
            unsafe {
                let from = start.add(at);
                match <&mut [u8; 8]>::try_from(&mut *chunk) {
                    Ok(word) if from.addr().is_multiple_of(8) => {
                        *word = from.cast::<u64>().read_volatile().to_le_bytes()
                    }
                    _ => chunk.iter_mut().enumerate().for_each(|(i, byte)| *byte = from.add(i).read_volatile()),
                }
            }
            at += 8;
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let (start, len) = self.clip(offset, bytes.len());
        let mut at = 0;
        for chunk in bytes.get(..len).unwrap_or_default().chunks(8) {
            // SAFETY: as in `read`.
            unsafe {
                let to = start.add(at);
                match <[u8; 8]>::try_from(chunk) {
                    Ok(word) if to.addr().is_multiple_of(8) => {
                        to.cast::<u64>().write_volatile(u64::from_le_bytes(word))
                    }
                    _ => chunk.iter().enumerate().for_each(|(i, byte)| to.add(i).write_volatile(*byte)),
                }
            }
            at += 8;
        }
    }

    fn exchange(&mut self, offset: usize, value: u32) -> u32 {
        let (start, len) = self.clip(offset, size_of::<u32>());
        if len < size_of::<u32>() || !start.addr().is_multiple_of(align_of::<u32>()) {
            return 0;
        }
        // SAFETY: four aligned bytes of the range, which `clip` bounded; what else reaches them is the host, as any
        // other owner of an atomic.
        let word = unsafe { AtomicU32::from_ptr(start.cast()) };
        u32::from_le(word.swap(value.to_le(), Ordering::AcqRel))
    }
}

/// Whether SEV_STATUS says that SNP is active (bit 2).
#[must_use]
pub const fn snp_active(sev_status: u64) -> bool {
    byte_at(sev_status, 0) & 0b111 == 0b111
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    /// Every offset and length, aligned or not, reads what was written, and nothing beyond the end is touched.
    #[test]
    fn shared_bytes_copy_every_range_exactly() {
        let mut backing = vec![0_u64; 6];
        let start = NonNull::new(backing.as_mut_ptr().cast::<u8>()).expect("a vector has an address");
        for offset in 0..44 {
            for len in 0..24 {
                // SAFETY: `backing` outlives the value, is not otherwise touched while it lives, and is aligned to 8.
                let mut shared = unsafe { SharedBytes::new(start, 40) };
                shared.write(0, &[0; 40]);
                let data: Vec<u8> = (1..=len).collect();
                shared.write(offset, &data);
                let mut copy = vec![0xFF; data.len()];
                shared.read(offset, &mut copy);
                let kept = data.len().min(40_usize.saturating_sub(offset));
                assert_eq!(copy[..kept], data[..kept]);
                assert!(copy[kept..].iter().all(|byte| *byte == 0), "beyond the end reads as zero");
                let mut all = [0; 40];
                shared.read(0, &mut all);
                assert_eq!(all.iter().filter(|byte| **byte != 0).count(), kept);
            }
        }
        assert_eq!(backing[5], 0, "the byte after the end was written");
    }

    #[test]
    fn four_aligned_bytes_within_the_memory_are_exchanged() {
        let mut backing = [0_u64; 2];
        let start = NonNull::new(backing.as_mut_ptr().cast::<u8>()).expect("an array has an address");
        // SAFETY: as above.
        let mut shared = unsafe { SharedBytes::new(start, 12) };
        assert_eq!((shared.exchange(8, 0x0403_0201), shared.exchange(8, 7)), (0, 0x0403_0201));
        for beyond in [1, 6, 9, 12, 16, usize::MAX] {
            assert_eq!((shared.exchange(beyond, u32::MAX), shared.exchange(beyond, u32::MAX)), (0, 0), "{beyond}");
        }
        assert_eq!(backing, [0, 7]);
    }

    #[test]
    fn snp_needs_sev_and_es() {
        for status in 0..16 {
            assert_eq!(snp_active(status), status & 7 == 7);
        }
    }
}
