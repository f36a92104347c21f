//! A payload for VMPL2: it relays requests from the host to the firmware (docs/boot.md, "Relay"), and tries what a
//! hostile guest would.
//!
//! It is the other side of the firmware's protocols and shares no code with it.
//!
//! | module | is |
//! |---|---|
//! | [`entry`] | from 32-bit protected mode to Rust, exceptions, and accesses that may fault |
//! | [`page`] | memory that others write, too |
//! | [`ghcb`] | requests to the host |
//! | [`interrupts`] | the interrupt of the second serial port |
//! | [`serial`] | the second serial port |
//! | [`svsm`] | calls to the firmware through the calling area |
//! | [`apic`] | the APIC protocol, and interrupts by it |
//! | [`attest`], [`vtpm`] | the calls of those two protocols, with what they take and give |
//! | [`relay`] | the host's requests |
//! | [`hostile`] | the self-test |
//! | [`vcpu`] | a second vCPU |
//! | [`two`] | what two vCPUs try at once |
//! | [`states`] | register states as they should not be, and a host that lies about them |

#![no_std]
#![no_main]

mod apic;
mod attest;
mod entry;
mod ghcb;
mod hostile;
mod interrupts;
mod page;
mod relay;
mod serial;
mod states;
mod svsm;
mod two;
mod vcpu;
mod vtpm;

use core::panic::PanicInfo;

/// Called once by `entry.s`, in long mode, on the only stack.
extern "sysv64" fn start() -> ! {
    entry::install_exception_handlers();
    if ghcb::set_up().is_err() {
        ghcb::terminate();
    }
    serial::set_up();
    apic::set_up();
    relay::serve()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    ghcb::terminate()
}
