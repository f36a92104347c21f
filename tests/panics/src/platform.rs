//! A platform of which the optimiser knows nothing.

use tpm_core::{Clock, Entropy, EntropyFailure};

unsafe extern "C" {
    safe fn platform_entropy(out: *mut u8, len: usize) -> bool;
    safe fn platform_now_ms() -> u64;
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
