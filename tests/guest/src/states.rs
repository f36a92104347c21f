//! Register states as a guest should not make them, and what comes of them: CREATE_VCPU with a bit flipped, and a host
//! that does not do with a new vCPU what it is told.

use crate::entry::{self, GENERAL_PROTECTION};
use crate::ghcb::{self, Creation};
use crate::hostile::{FIRMWARE, Report};
use crate::page::{Area, Page};
use crate::svsm::{self, SUCCESS};
use crate::vcpu::{self, TASK};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

const INVALID_PARAMETER: u64 = 0x8000_0005;
/// SEV_STATUS of VMPL2 whose SEV_FEATURES are SNP alone: SEV, SEV-ES, SNP.
const SEV_STATUS: u64 = 7;
/// How often a vCPU is looked for before it counts as one that does not come up.
const PATIENCE: u32 = 2_000_000;
/// What is there before the second vCPU has looked.
const NOT_YET: u64 = u64::MAX;

/// SEV_STATUS as the second vCPU reads it, and the vector that it gets from a page of the firmware's.
static STATUS: AtomicU64 = AtomicU64::new(NOT_YET);
static VECTOR: AtomicU64 = AtomicU64::new(NOT_YET);
static LOOK: Page = Page::new();

/// The second vCPU sees what it is.
pub(crate) fn look() {
    const MSR_SEV_STATUS: u32 = 0xC001_0131;
    let (low, high): (u32, u32);
    // SAFETY: reading it changes nothing.
    unsafe { asm!("rdmsr", in("ecx") MSR_SEV_STATUS, out("eax") low, out("edx") high, options(nomem, nostack)) };
    // SAFETY: what is written is a page that is given for this; a fault is caught. Entry code, which is never shared.
    let read = unsafe { entry::copy(LOOK.gpa(), FIRMWARE.start, 8) };
    STATUS.store(u64::from(high) << 32 | u64::from(low), Ordering::SeqCst);
    VECTOR.store(read.err().unwrap_or(0), Ordering::SeqCst);
}

fn forget() {
    STATUS.store(NOT_YET, Ordering::SeqCst);
    VECTOR.store(NOT_YET, Ordering::SeqCst);
    TASK.store(u64::MAX, Ordering::SeqCst);
    svsm::pending_of(1).store(0, Ordering::SeqCst);
}

/// What became of a vCPU that the host was told to start.
mod outcome {
    /// It runs at VMPL2.
    pub(super) const UP: u64 = 0;
    /// The host refused.
    pub(super) const REFUSED: u64 = 1;
    pub(super) const SILENT: u64 = 2;
    /// It runs, and is more than it should be.
    pub(super) const MORE: u64 = 3;
}

fn start(page: &Page) -> u64 {
    if ghcb::ap_create(Creation::Now, vcpu::APIC_ID, page.gpa()).is_err() {
        return outcome::REFUSED;
    }
    for _ in 0..PATIENCE {
        if TASK.load(Ordering::SeqCst) == 0 {
            let seen = [STATUS.load(Ordering::SeqCst), VECTOR.load(Ordering::SeqCst)];
            return if seen == [SEV_STATUS, GENERAL_PROTECTION] { outcome::UP } else { outcome::MORE };
        }
        core::hint::spin_loop();
    }
    outcome::SILENT
}

/// Whether CREATE_VCPU must refuse a state with this bit flipped (APM volume 2, table B-4): VMPL, SEV_FEATURES but
/// those that concern only ourselves, EFER.SVME, VIRTUAL_TOM.
const fn is_forbidden(octet: usize, bit: usize) -> bool {
    match octet {
        0xCA | 0x3B2..0x3B8 | 0x3C8..0x3D0 => true,
        0x3B0 => !matches!(bit, 3 | 5 | 6 | 7),
        0x3B1 => bit != 0,
        0xD1 => bit == 4,
        _ => false,
    }
}

/// Whether a vCPU comes up whatever this octet holds: it is not among what a processor takes at its start, or our entry
/// code does not look at it.
const fn is_of_no_account(octet: usize) -> bool {
    !matches!(octet, 0..0xA0 | 0xCB | 0xD0..0xD8 | 0x140..0x180 | 0x1D8..0x1E0 | 0x268..0x270 | 0x3B0..0x3B8 | 0x3E8..0x412)
}

/// CREATE_VCPU with each `step`-th bit from `first` up to `last` flipped; what is taken and can be run is run. One
/// line.
pub(crate) fn flipped<const N: usize>(text: &'static Area<N>, first: u32, last: u32, step: u32) -> usize {
    let mut report = Report::new(text);
    let (mut refused, mut taken, mut ran, mut wrong, mut last_wrong) = (0, 0, 0, 0, 0);
    for at in (first..last).step_by(step as usize) {
        let (octet, bit) = (at as usize / 8, at as usize % 8);
        let outcome = flip(octet, bit);
        match outcome {
            Flipped::Refused => refused += 1,
            Flipped::Taken => taken += 1,
            Flipped::Ran => ran += 1,
            Flipped::Wrong(_) => {
                wrong += 1;
                last_wrong = at;
            }
        }
        if let Flipped::Wrong(why) = outcome {
            report.attempt(format_args!("bit {bit} at {octet:#x} of a register state: {why}"), 0, 1);
        }
    }
    let name = format_args!(
        "register states, each {step}th of bits {first} to {last} flipped: {refused} refused, {taken} taken, {ran} run at VMPL2; wrong, the last at {last_wrong}"
    );
    report.attempt(name, 0, wrong);
    report.finish()
}

enum Flipped {
    Refused,
    Taken,
    Ran,
    Wrong(&'static str),
}

fn flip(octet: usize, bit: usize) -> Flipped {
    let page = vcpu::state(0);
    vcpu::fill(page);
    let mut byte = [0];
    page.copy_out(octet, &mut byte);
    page.copy_in(octet, &[byte[0] ^ 1 << bit]);
    forget();
    match (vcpu::create(page), is_forbidden(octet, bit)) {
        (Some(INVALID_PARAMETER), true) => return Flipped::Refused,
        (Some(SUCCESS), false) => {}
        (Some(SUCCESS), true) => {
            // What a firmware has taken that should not have: it goes.
            let _ = vcpu::delete(page);
            return Flipped::Wrong("taken");
        }
        _ => return Flipped::Wrong("refused, or by another code"),
    }
    // As it was offered; we may read it.
    let mut now = [0];
    page.copy_out(octet, &mut now);
    if now[0] != byte[0] ^ 1 << bit {
        return Flipped::Wrong("not what was offered");
    }
    let mut flipped = Flipped::Taken;
    if is_of_no_account(octet) {
        flipped = match start(page) {
            outcome::UP => Flipped::Ran,
            outcome::MORE => Flipped::Wrong("it is more than it should be"),
            _ => Flipped::Wrong("it does not come up"),
        };
        if ghcb::ap_create(Creation::Destroy, vcpu::APIC_ID, page.gpa()).is_err() {
            return Flipped::Wrong("it is not destroyed");
        }
    }
    match (vcpu::delete(page), page.read(octet & !7)) {
        (Some(SUCCESS), 0) => flipped,
        (Some(SUCCESS), _) => Flipped::Wrong("it is not zero after it was deleted"),
        _ => Flipped::Wrong("it cannot be deleted"),
    }
}

/// Starts the second vCPU as often as there are outcomes to expect: each the outcome (bits 3:0) and, of DELETE_VCPU
/// after its destruction, the code's last octet behind bit 31 (0xFF: it is not destroyed and not deleted).
pub(crate) fn created<const N: usize>(text: &'static Area<N>, expected: &[(u8, u8)]) -> usize {
    let mut report = Report::new(text);
    let page = vcpu::state(0);
    // Before it is a register state, the host has no use for it.
    vcpu::fill(page);
    forget();
    report.attempt("the host is given what is no register state", outcome::REFUSED, start(page));
    for (number, (outcome, deleted)) in (1..).zip(expected) {
        vcpu::fill(page);
        forget();
        report.attempt(format_args!("CREATE_VCPU {number}"), SUCCESS, vcpu::create(page).unwrap_or(u64::MAX));
        report.attempt(format_args!("vCPU {number} of a host that lies"), u64::from(*outcome), start(page));
        if *deleted == KEPT {
            continue;
        }
        let destroyed = ghcb::ap_create(Creation::Destroy, vcpu::APIC_ID, page.gpa());
        report.attempt(format_args!("vCPU {number} is destroyed"), 0, u64::from(destroyed.is_err()));
        let code = vcpu::delete(page).map_or(u64::MAX, |code| code & 0xFF);
        report.attempt(format_args!("DELETE_VCPU {number}"), u64::from(*deleted), code);
    }
    report.finish()
}

/// The vCPU stays.
const KEPT: u8 = 0xFF;
