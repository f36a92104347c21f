//! Accesses without asking anybody.

use super::{FIRMWARE, Report};
use crate::entry::{self, GENERAL_PROTECTION, VMM_COMMUNICATION};
use crate::ghcb::{self, State};
use crate::page::{PAGE_SIZE, Page};

/// EAX of RMPADJUST: the executing VMPL may not do this.
const FAIL_PERMISSION: u64 = 2;
/// RMPADJUST's RDX: all rights.
const ALL_RIGHTS: u64 = 0xF00;
/// Where a VMSA keeps its VMPL.
const VMSA_VMPL: u64 = 0xCA;
/// What the firmware's entry stub has left to the guest (docs/boot.md: zeroed).
const LOW: core::ops::Range<u64> = 0x1_0000..0x2_0000;

/// A byte to read to and to write from.
static SCRATCH: Page = Page::new();

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    let (reads, vmsas, hosts) = read_firmware();
    report.attempt("read each of the firmware's 2048 pages, but our own VMSA", GENERAL_PROTECTION, reads);
    report.attempt("of the firmware's pages more than one is a VMSA that we can read", 0, u64::from(vmsas > 1));
    // The firmware shares its GHCB and the pages for guest messages. Our access has made them private, which it must
    // survive.
    report.attempt("of the firmware's pages more than 8 were the host's", 0, u64::from(hosts > 8));
    report.attempt("write each of the firmware's 2048 pages", GENERAL_PROTECTION, write_firmware());
    report.attempt("have the host make each of the firmware's 2048 pages private", 0, make_private());
    report.attempt("bytes that the firmware's entry stub has left behind", 0, left_behind());

    let own = SCRATCH.gpa();
    for validate in [false, true] {
        report.attempt("PVALIDATE of a page of ours", GENERAL_PROTECTION, vector(entry::pvalidate(own, validate)));
        report.attempt(
            "PVALIDATE of a page of the firmware's",
            GENERAL_PROTECTION,
            vector(entry::pvalidate(FIRMWARE.start, validate)),
        );
    }
    for level in 0..=2 {
        let name = format_args!("RMPADJUST of a page of ours for VMPL{level}");
        report.attempt(name, FAIL_PERMISSION, code(entry::rmpadjust(own, ALL_RIGHTS | level)));
        let name = format_args!("RMPADJUST of a page of the firmware's for VMPL{level}");
        report.attempt(name, FAIL_PERMISSION, code(entry::rmpadjust(FIRMWARE.start, ALL_RIGHTS | level)));
    }
}

fn firmware_pages() -> impl Iterator<Item = u64> {
    FIRMWARE.step_by(PAGE_SIZE)
}

/// How many of the firmware's pages the host has refused to make private.
fn make_private() -> u64 {
    firmware_pages().filter(|gpa| ghcb::change_state(*gpa, State::Private).is_err()).count() as u64
}

/// The vector that all reads of private pages give, 0 if one does not fault; how many pages that are VMSAs of our level
/// can be read; and how many are the host's.
fn read_firmware() -> (u64, u64, u64) {
    let (mut vector, mut vmsas, mut hosts) = (GENERAL_PROTECTION, 0, 0);
    for gpa in firmware_pages() {
        match read(gpa + VMSA_VMPL) {
            Ok(2) => vmsas += 1,
            Ok(_) => vector = 0,
            Err(VMM_COMMUNICATION) => hosts += 1,
            Err(other) if other != GENERAL_PROTECTION => vector = other,
            Err(_) => {}
        }
    }
    (vector, vmsas, hosts)
}

pub(super) fn read(gpa: u64) -> Result<u8, u64> {
    // SAFETY: what is written is a page of ours, to which there is no reference.
    unsafe { entry::copy(SCRATCH.gpa(), gpa, 1) }?;
    let mut byte = [0];
    SCRATCH.copy_out(0, &mut byte);
    Ok(byte[0])
}

/// The vector that all writes give, 0 if one does not fault.
fn write_firmware() -> u64 {
    let mut vector = GENERAL_PROTECTION;
    for gpa in firmware_pages() {
        // SAFETY: the write must fault; where it does not, the test has failed, and nothing of ours is there.
        let outcome = unsafe { entry::copy(gpa, SCRATCH.gpa(), 1) };
        if !matches!(outcome, Err(GENERAL_PROTECTION | VMM_COMMUNICATION)) {
            vector = outcome.err().unwrap_or(0);
        }
    }
    vector
}

/// How many bytes of the low piece are not zero, or cannot be read.
fn left_behind() -> u64 {
    let mut page = [0; PAGE_SIZE];
    let mut count = 0;
    for gpa in LOW.step_by(PAGE_SIZE) {
        // SAFETY: as in `read`.
        if unsafe { entry::copy(SCRATCH.gpa(), gpa, PAGE_SIZE) }.is_err() {
            return u64::MAX;
        }
        SCRATCH.copy_out(0, &mut page);
        count += page.iter().filter(|byte| **byte != 0).count() as u64;
    }
    count
}

/// The vector of the exception; 0 if there was none.
fn vector(outcome: Result<u64, u64>) -> u64 {
    outcome.err().unwrap_or(0)
}

/// EAX, or the vector with a mark that no EAX has.
fn code(outcome: Result<u64, u64>) -> u64 {
    outcome.unwrap_or_else(|vector| 0x100 | vector)
}
