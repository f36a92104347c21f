//! The end of every panic.

use core::panic::PanicInfo;
use core::ptr;

// Nobody runs these programs: what is outside them stays undefined.
unsafe extern "C" {
    safe fn platform_panicked(at: *const u8) -> !;
}

/// What it does with the place keeps the optimiser from making one panic of many.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    platform_panicked(info.location().map_or(ptr::null(), |at| ptr::from_ref(at).cast()))
}
