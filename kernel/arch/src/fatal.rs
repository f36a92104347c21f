//! The end: a line on the console, then the termination request.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel::fatal::{Fatal, Reason, SET};
use snp::instr::{pause, terminate};

use crate::{host, processor};

/// Code of the reason for which the firmware is ending, above it the APIC id of the processor that ends it; 0 while
/// it is not.
static ENDING: AtomicU64 = AtomicU64::new(0);

/// Says why, and ends the guest.
pub fn end(why: &Fatal) -> ! {
    let ending = u64::from(processor::this().apic_id) << 8 | u64::from(why.reason.code());
    let first = ENDING.compare_exchange(0, ending, Ordering::AcqRel, Ordering::Acquire).err();
    match first {
        // SAFETY: the termination request below comes next, and nothing after it.
        None => unsafe { host::say_last("fatal", format_args!("{why}")) },
        // An exception while this very line is written must not write another, nor take the first one's place.
        Some(first) if first >> 8 == ending >> 8 => {}
        // Another processor says why, and then there is none of us any more.
        Some(_) => loop {
            pause();
        },
    }
    let [code, ..] = first.unwrap_or(ending).to_le_bytes();
    terminate(SET, code)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => end(&Fatal::new(Reason::Panic, format_args!("{}:{}", place.file(), place.line()))),
        None => end(&Fatal::new(Reason::Panic, format_args!("{}", info.message()))),
    }
}
