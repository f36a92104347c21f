#![no_std]
#![no_main]
#![expect(clippy::cast_possible_truncation, reason = "test payload: registers are cut to the fields that they go to")]
//! Deliberately wrong firmware: one case for each rule of the software SEV-SNP machine, correct sequences beside them,
//! and one for each lie.
//!
//! The case is chosen by the line `case=NAME` of the machine's configuration, which this program reads from fw_cfg
//! through the GHCB. A case that finds everything as expected powers off; a check that fails terminates with set 9 and
//! the number of the check as the code.
//!
//! | module | is |
//! |---|---|
//! | `cases` | the table, which the host's suite reads, too |
//! | `controls`, `kvm`, `tlb`, `smp`, `broken`, `lies`, `psp`, `signals` | the cases |
//! | `guest` | a context at VMPL2 |
//! | `hypervisor`, `sys`, `entry` | GHCB, instructions, start |

mod ahead;
mod broken;
// The payload needs the names only; the host's suite reads the rest.
#[expect(dead_code, reason = "shared with the host's suite")]
#[macro_use]
mod cases;
mod controls;
mod entry;
mod guest;
mod hypervisor;
mod kvm;
mod lies;
#[path = "../../machine/src/mem.rs"]
mod mem;
mod psp;
mod signals;
mod smp;
mod sys;
mod tlb;

use hypervisor::{GHCB, check, fw_cfg, power_off, say, terminate};

/// Termination code when no case is chosen.
const NO_CASE: u8 = 250;
/// Termination code when a case that should have been stopped was not.
const NOT_STOPPED: u8 = 251;

fn none() {
    check(false, NO_CASE);
}

/// The function of a case.
fn function(name: &str) -> fn() {
    macro_rules! of_name {
        ($($name:literal $function:path, $expect:ident $(($($of:expr),*))?, $config:expr;)*) => {
            match name {
                $($name => $function as fn(),)*
                _ => none,
            }
        };
    }
    for_each_case!(of_name)
}

fn terminate_by_msr() {
    terminate(77)
}

fn terminate_by_page() {
    GHCB.exit(0x8000_FFFE, 9 | 77 << 4, 0, &[]);
}

/// Must the machine have stopped this case before it came back?
fn must_stop(name: &str) -> bool {
    cases::CASES.iter().any(|case| case.name == name && matches!(case.expect, cases::Expect::Stop(_)))
}

#[unsafe(no_mangle)]
extern "sysv64" fn rules_main() -> ! {
    sys::install_exceptions(1);
    sys::msr_call(GHCB.0 | 0x012);
    let mut config = [0; 512];
    let len = fw_cfg("opt/org.quoin/config", &mut config).unwrap_or(0);
    let config = core::str::from_utf8(&config[..len]).unwrap_or("");
    let name = config.lines().find_map(|line| line.strip_prefix("case=")).unwrap_or("");
    say(name);
    function(name)();
    check(!must_stop(name), NOT_STOPPED);
    say("done");
    power_off()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    terminate(255)
}
