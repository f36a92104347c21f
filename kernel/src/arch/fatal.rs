//! The end: a line on the console, then the termination request.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, Ordering};

use kernel::fatal::{Fatal, Reason, SET};
use snp::instr::terminate;

use super::host;

/// Code of the reason for which the firmware is ending; 0 while it is not.
static ENDING: AtomicU8 = AtomicU8::new(0);

/// Says why, and ends the guest.
pub(crate) fn end(why: &Fatal) -> ! {
    let code = why.reason.code();
    // An exception while this very line is written must not write another, nor take the first one's place.
    let first = ENDING.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
    if first.is_ok() {
        // SAFETY: the termination request below comes next, and nothing after it.
        unsafe { host::say_last("fatal", format_args!("{why}")) };
    }
    terminate(SET, first.err().unwrap_or(code))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => end(&Fatal::new(Reason::Panic, format_args!("{}:{}", place.file(), place.line()))),
        None => end(&Fatal::new(Reason::Panic, format_args!("{}", info.message()))),
    }
}
