//! The local APIC, by which processors reach each other: the machine's own use of it, and what a guest may not do with
//! it, whose it is otherwise.
//!
//! A guest's INIT or startup IPI would take a processor away from under the machine: it is ignored, as a host ignores
//! it for a processor whose register state is encrypted. So is an SMI, and a change of the APIC's id, which the machine
//! counts on. An NMI is the machine's own sign; the guest's is injected where the same VMPL runs next.

use crate::bits::lo32;
use crate::cpu::{rdmsr, wrmsr};
use crate::machine::Machine;
use crate::phys::{device_read, device_write};
use crate::smp::{self, PROCESSORS};

const APIC_BASE: u32 = 0x1B;
const X2APIC_ENABLED: u64 = 1 << 10;
const MMIO: u64 = 0xFEE0_0000;
/// The first of the MSRs that are the registers of an APIC in x2APIC mode.
const X2APIC: u32 = 0x800;

const ID: u64 = 0x20;
const EOI: u64 = 0xB0;
const ICR: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;

/// Delivery modes of an interrupt command, and its other bits.
const MODE: u64 = 7 << 8;
const SMI: u64 = 2 << 8;
const NMI: u64 = 4 << 8;
const INIT: u64 = 5 << 8;
const STARTUP: u64 = 6 << 8;
const ASSERT: u64 = 1 << 14;
const TO_SELF: u64 = 1 << 18;
/// Whom a command is for, besides a destination: bits 19:18.
const SHORTHAND: u32 = 18;
/// The destination is a set, of which the APIC with id n is bit n.
const LOGICAL: u64 = 1 << 11;
/// Every APIC, as a destination.
const EVERYBODY: u64 = 0xFF;

fn is_x2apic() -> bool {
    rdmsr(APIC_BASE) & X2APIC_ENABLED != 0
}

fn write(register: u64, value: u64) {
    if is_x2apic() {
        // SAFETY: the registers written here send interrupts, or end one: none reaches this program unless it waits.
        unsafe { wrmsr(X2APIC + lo32(register >> 4), value) };
    } else {
        device_write(MMIO + register, 4, value);
    }
}

/// An interrupt command for one processor. A guest may have half of one written: the half stays as it is.
fn command(processor: usize, command: u64) {
    let destination = processor as u64;
    if is_x2apic() {
        return write(ICR, destination << 32 | command);
    }
    let kept = device_read(MMIO + ICR_HIGH, 4);
    write(ICR_HIGH, destination << 24);
    write(ICR, command);
    write(ICR_HIGH, kept);
}

/// Sends an NMI.
pub(crate) fn send_nmi(processor: usize) {
    command(processor, NMI | ASSERT);
}

/// Puts a processor back to where it waits for its start.
pub(crate) fn send_init(processor: usize) {
    command(processor, INIT | ASSERT);
}

/// Starts a processor that waits for it, in real mode at the page `page` below 1 MiB.
pub(crate) fn send_startup(processor: usize, page: u64) {
    command(processor, STARTUP | ASSERT | page >> 12);
}

/// Gives back an interrupt that was taken and found nobody: it is pending again.
pub(crate) fn give_back(vector: u8) {
    write(EOI, 0);
    write(ICR, TO_SELF | ASSERT | u64::from(vector));
}

/// The destination of an interrupt command: in x2APIC mode the value has it, otherwise a register of its own.
fn destination(command: u64) -> u64 {
    if is_x2apic() { command >> 32 } else { device_read(MMIO + ICR_HIGH, 4) >> 24 }
}

/// Whether processor `to` is whom `command` of processor `from` is for.
fn is_for(command: u64, from: usize, to: usize) -> bool {
    let (itself, destination) = (from == to, destination(command));
    match command >> SHORTHAND & 3 {
        0 if command & LOGICAL != 0 => destination >> to & 1 != 0,
        0 => destination == to as u64 || destination & EVERYBODY == EVERYBODY,
        1 => itself,
        2 => true,
        _ => !itself,
    }
}

impl Machine {
    /// Whether a guest's write to the register at `offset` is not for the APIC.
    pub(crate) fn is_kept_from_apic(&mut self, offset: u64, value: u64) -> bool {
        match (offset, value & MODE) {
            (ID, _) | (ICR, SMI | INIT | STARTUP) => true,
            (ICR, NMI) => {
                let (from, vmpl) = (self.me, self.current());
                let to = (0..self.processors.len()).filter(|to| is_for(value, from, *to));
                for to in to.collect::<heapless::Vec<_, PROCESSORS>>() {
                    self.processors[to].levels[vmpl].nmi = true;
                    smp::notify(to);
                }
                true
            }
            _ => false,
        }
    }
}

/// The register's offset that an address of a device is, if it is the APIC's.
pub(crate) fn register_at(gpa: u64) -> Option<u64> {
    (MMIO..MMIO + 0x1000).contains(&gpa).then(|| gpa - MMIO)
}

/// The same of an MSR.
pub(crate) fn register_of(msr: u32) -> Option<u64> {
    (X2APIC..X2APIC + 0x100).contains(&msr).then(|| u64::from(msr - X2APIC) << 4)
}
