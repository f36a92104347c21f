//! A platform of which the optimiser knows nothing.

use tpm_core::{Clock, Entropy, EntropyFailure, Provided, Tpm};
use tpm_crb::{Memory, MemoryFault};

unsafe extern "C" {
    safe fn platform_entropy(out: *mut u8, len: usize) -> bool;
    safe fn platform_now_ms() -> u64;
    safe fn platform_keeps(tpm: *const u8) -> bool;
    safe fn platform_reads(address: u64, out: *mut u8, len: usize) -> bool;
    safe fn platform_writes(address: u64, data: *const u8, len: usize) -> bool;
}

pub(crate) struct Platform;

impl Entropy for Platform {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        if platform_entropy(out.as_mut_ptr(), out.len()) { Ok(()) } else { Err(EntropyFailure) }
    }
}

impl Clock for Platform {
    fn now_ms(&mut self) -> u64 {
        platform_now_ms()
    }
}

/// The same octets for every index.
pub(crate) struct Given<'a>(pub(crate) &'a [u8]);

impl Provided for Given<'_> {
    fn contents(&self, index: u32) -> Option<&[u8]> {
        (index != 0).then_some(self.0)
    }
}

pub(crate) fn keeps(tpm: &Tpm) -> bool {
    platform_keeps(core::ptr::from_ref(tpm).cast())
}

impl Memory for Platform {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        if platform_reads(address, out.as_mut_ptr(), out.len()) { Ok(()) } else { Err(MemoryFault) }
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        if platform_writes(address, data.as_ptr(), data.len()) { Ok(()) } else { Err(MemoryFault) }
    }
}
