//! The end: a line on the console, then the termination request.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel::fatal::{Fatal, Reason, SET};
use snp::instr::terminate;

use super::host;

static ENDING: AtomicBool = AtomicBool::new(false);

/// Says why, and ends the guest.
pub(crate) fn end(why: &Fatal) -> ! {
    // An exception while this very line is written must not write another.
    if !ENDING.swap(true, Ordering::AcqRel) {
        host::say("fatal", format_args!("{why}"));
    }
    terminate(SET, why.reason.code())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => end(&Fatal::new(Reason::Panic, format_args!("{}:{}", place.file(), place.line()))),
        None => end(&Fatal::new(Reason::Panic, format_args!("{}", info.message()))),
    }
}
