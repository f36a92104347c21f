//! The APIC protocol: an emulated x2APIC for each vCPU, where we have alternate injection. Interrupts are noted by
//! vector (`entry.s`); their ends are calls.

use crate::entry::{open, taken, taken_count};
use crate::ghcb::HostError;
use crate::hostile::Report;
use crate::page::Area;
use crate::svsm::{self, Registers, SUCCESS, Taken, protocol};
use crate::vcpu::{self, TASK};
use core::arch::asm;
use core::sync::atomic::Ordering;

const PROTOCOL: u64 = 3;
const QUERY_FEATURES: u64 = 0;
const CONFIGURE: u64 = 1;
const READ: u64 = 2;
const WRITE: u64 = 3;
const CONFIGURE_VECTOR: u64 = 4;

/// Registers.
const ID: u64 = 0x802;
const TPR: u64 = 0x808;
const EOI: u64 = 0x80B;
const ISR: u64 = 0x810;
const IRR: u64 = 0x820;
const ICR: u64 = 0x830;
const SELF_IPI: u64 = 0x83F;

const UNSUPPORTED_PROTOCOL: u64 = 0x8000_0001;
const UNSUPPORTED_CALL: u64 = 0x8000_0002;
const INVALID_PARAMETER: u64 = 0x8000_0005;
const INVALID_REQUEST: u64 = 0x8000_0006;

/// The second serial port's.
const COM2: u64 = 0x23;
/// What the host may raise for a while.
const OF_HOST: u64 = 0x55;
const NMI: u64 = 2;
/// What the second vCPU does: [`take`].
pub(crate) const TAKE: u64 = 5;
/// Looks at what another has done, before it is given up.
const PATIENCE: u64 = 3_000_000;

/// Our SEV_FEATURES.
pub(crate) fn sev_features() -> u64 {
    const SEV_STATUS: u32 = 0xC001_0131;
    let (low, high): (u32, u32);
    // SAFETY: reading the MSR changes nothing.
    unsafe { asm!("rdmsr", in("ecx") SEV_STATUS, out("eax") low, out("edx") high, options(nomem, nostack)) };
    (u64::from(high) << 32 | u64::from(low)) >> 2
}

/// Whether we have alternate injection.
pub(crate) fn is_there() -> bool {
    sev_features() & 1 << 4 != 0
}

/// A call: result and RDX.
fn call(number: u64, rcx: u64, rdx: u64) -> (u64, u64) {
    let mut registers = Registers { rdx, ..Registers::call(PROTOCOL, number, rcx) };
    match svsm::call(&mut registers) {
        Ok(Taken::Yes) => (registers.rax, registers.rdx),
        Ok(Taken::No) | Err(HostError) => (u64::MAX, 0),
    }
}

fn write(register: u64, value: u64) -> u64 {
    call(WRITE, register, value).0
}

fn allow(vector: u64, allowed: bool) -> u64 {
    call(CONFIGURE_VECTOR, vector | u64::from(allowed) << 8, 0).0
}

/// Ends whatever is in service.
pub(crate) fn end_all() {
    for _ in 0..8 {
        write(EOI, 0);
    }
}

/// The serial port may wake us.
pub(crate) fn set_up() {
    if is_there() {
        allow(COM2, true);
    }
}

/// The second vCPU's task.
pub(crate) fn take() {
    open();
    end_all();
}

/// The vectors noted since `from`, the first in the highest octet.
fn since(from: u64) -> u64 {
    (from..taken_count()).fold(0, |all, index| all << 8 | taken(index))
}

/// Tries all of it, with a line for each as [`crate::hostile::run`].
pub(crate) fn run<const N: usize>(text: &'static Area<N>) -> usize {
    let mut report = Report::new(text);
    if is_there() {
        calls(&mut report);
        own(&mut report);
        of_host(&mut report);
        let outcome = two(&mut report);
        report.attempt(outcome.err().unwrap_or("a second vCPU comes and goes"), 0, u64::from(outcome.is_err()));
        allow(COM2, true);
    } else {
        absent(&mut report);
    }
    report.finish()
}

/// Without alternate injection there is no such protocol.
fn absent<const N: usize>(report: &mut Report<N>) {
    for number in 0..6 {
        report.attempt(format_args!("no APIC protocol: call {number}"), UNSUPPORTED_PROTOCOL, call(number, 0, 0).0);
    }
    report.attempt("no APIC protocol: QUERY_PROTOCOL", 0, version());
}

fn version() -> u64 {
    let mut registers = Registers::call(protocol::CORE, 6, PROTOCOL << 32 | 1);
    let taken = svsm::call(&mut registers);
    if matches!(taken, Ok(Taken::Yes)) && registers.rax == SUCCESS { registers.rcx } else { u64::MAX }
}

fn calls<const N: usize>(report: &mut Report<N>) {
    report.attempt("APIC protocol: version", 1 << 32 | 1, version());
    for (name, expected, got) in [
        ("features", SUCCESS, call(QUERY_FEATURES, 0, 0).0),
        ("still wanted", SUCCESS, call(CONFIGURE, 0, 0).0),
        ("wanted by one more", SUCCESS, call(CONFIGURE, 2, 0).0),
        ("and by one less", SUCCESS, call(CONFIGURE, 1, 0).0),
        ("and by nobody", INVALID_REQUEST, call(CONFIGURE, 1, 0).0),
        ("configured otherwise", INVALID_PARAMETER, call(CONFIGURE, 3, 0).0),
        ("a call that there is not", UNSUPPORTED_CALL, call(5, 0, 0).0),
        ("the id", 0, call(READ, ID, 7).1),
        ("a register that is only written", INVALID_PARAMETER, call(READ, SELF_IPI, 0).0),
        ("a register that is only read", INVALID_PARAMETER, write(ID, 1)),
        ("no register", INVALID_PARAMETER, call(READ, 0x900, 0).0),
        ("a register far away", INVALID_PARAMETER, write(u64::MAX, 1)),
        ("an INIT", INVALID_PARAMETER, write(ICR, 1 << 32 | 0x4500)),
        ("a startup", INVALID_PARAMETER, write(ICR, 1 << 32 | 0x4608)),
        ("an SMI", INVALID_PARAMETER, write(ICR, 1 << 32 | 0x4200)),
        ("an exception as an interrupt", INVALID_PARAMETER, write(ICR, 1 << 18 | 0x0D)),
        ("an exception to oneself", INVALID_PARAMETER, write(SELF_IPI, 0x0D)),
        ("an exception of the host's", INVALID_PARAMETER, allow(0x0D, true)),
        ("a reserved bit", INVALID_PARAMETER, call(CONFIGURE_VECTOR, 1 << 10, 0).0),
        ("to nobody", SUCCESS, write(ICR, 77 << 32 | 0x4062)),
    ] {
        report.attempt(format_args!("APIC protocol: {name}"), expected, got);
    }
}

/// Interrupts of ours to ourselves.
fn own<const N: usize>(report: &mut Report<N>) {
    let from = taken_count();
    write(SELF_IPI, 0x41);
    write(SELF_IPI, 0x63);
    let requested = call(READ, IRR + 3, 0).1;
    report.attempt("interrupts off: nothing comes", 0, since(from));
    report.attempt("it is requested", 8, requested & 8);
    open();
    report.attempt("the more urgent one comes, alone", 0x63, since(from));
    report.attempt("it is in service", 8, call(READ, ISR + 3, 0).1 & 8);
    write(EOI, 0);
    open();
    report.attempt("the other one comes after its end", 0x6341, since(from));
    end_all();
    let from = taken_count();
    write(TPR, 0x80);
    write(SELF_IPI, 0x70);
    open();
    report.attempt("TPR holds it back", 0, since(from));
    write(TPR, 0);
    open();
    report.attempt("and lets it come", 0x70, since(from));
    end_all();
    let from = taken_count();
    write(ICR, 1 << 18 | 0x4400);
    report.attempt("an NMI comes with interrupts off", NMI, since(from));
}

/// What the host raises, with chance choosing what that is.
fn of_host<const N: usize>(report: &mut Report<N>) {
    let from = taken_count();
    allow(COM2, false);
    let rounds = |wanted: u64| {
        for _ in 0..2000 {
            open();
            end_all();
            if wanted != 0 && since(from) != 0 {
                break;
            }
        }
    };
    (0..20).for_each(|_| open());
    end_all();
    report.attempt("nothing of the host's comes that was not allowed", 0, since(from));
    report.attempt("the host is allowed a vector", SUCCESS, allow(OF_HOST, true));
    rounds(1);
    report.attempt("it comes", OF_HOST, since(from) & 0xFF);
    report.attempt("the host is allowed it no more", SUCCESS, allow(OF_HOST, false));
    open();
    end_all();
    open();
    let from = taken_count();
    for _ in 0..20 {
        open();
        end_all();
    }
    report.attempt("and it comes no more", 0, since(from));
}

fn two<const N: usize>(report: &mut Report<N>) -> Result<(), &'static str> {
    vcpu::start(0)?;
    TASK.store(TAKE, Ordering::SeqCst);
    for (name, command, vector) in [
        ("by its id", 1 << 32 | 0x4062, 0x62),
        ("by a set", 2 << 32 | 0x4841, 0x41),
        ("to all others", 3 << 18 | 0x4063, 0x63),
        ("an NMI by its id", 1 << 32 | 0x4400, NMI),
        ("an NMI to all others", 3 << 18 | 0x4400, NMI),
        ("by its id again", 1 << 32 | 0x4070, 0x70),
    ] {
        let from = taken_count();
        let sent = write(ICR, command);
        let has_come = (0..PATIENCE).any(|_| {
            core::hint::spin_loop();
            taken_count() > from
        });
        let got = if sent == SUCCESS && has_come { since(from) } else { u64::MAX };
        report.attempt(format_args!("to the other vCPU, {name}"), vector, got);
    }
    TASK.store(0, Ordering::SeqCst);
    (0..100_000).for_each(|_| core::hint::spin_loop());
    vcpu::stop(0)
}
