//! A platform of which the optimiser knows nothing, and the end of every panic.

use core::panic::{Location, PanicInfo};
use tpm_core::{Clock, Entropy, EntropyFailure};

// Nobody runs these programs: what is outside the engine stays undefined.
unsafe extern "C" {
    safe fn platform_entropy(out: *mut u8, len: usize) -> bool;
    safe fn platform_now_ms() -> u64;
    safe fn platform_panicked(at: Option<&Location<'_>>) -> !;
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

/// What it does with the place keeps the optimiser from making one panic of many.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    platform_panicked(info.location())
}
