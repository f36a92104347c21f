//! Memory that goes to the firmware and comes back: what it is deposited from, and what can be done with it meanwhile.

use super::addresses::forbidden;
use super::code::{INVALID_ADDRESS, INVALID_PARAMETER};
use super::memory;
use super::{Report, result};
use crate::entry::{self, GENERAL_PROTECTION};
use crate::page::Page;
use crate::svsm::{Registers, SUCCESS, calling_area, protocol};

const REMAP_CA: (u64, u64) = (protocol::CORE, 0);
const PVALIDATE: (u64, u64) = (protocol::CORE, 1);
const DEPOSIT: (u64, u64) = (protocol::CORE, 4);
const WITHDRAW: (u64, u64) = (protocol::CORE, 5);
const VTPM_CMD: (u64, u64) = (protocol::VTPM, 1);
const LARGE: u64 = 1;
/// A large page of RAM that nothing lies in.
const LARGE_PAGE: u64 = 0x800_0000;
const COUNT: usize = 3;

static PAGES: [Page; COUNT] = [const { Page::new() }; COUNT];
static LIST: Page = Page::new();
static OTHER_LIST: Page = Page::new();

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    whose(report);
    malformed(report);
    meanwhile(report);
    large(report);
    own_list(report);
}

/// A list of entries in a page, and the result of DEPOSIT_MEM.
fn deposit(entries: &[u64]) -> u64 {
    LIST.write(0, entries.len() as u64);
    for (at, entry) in (8..).step_by(8).zip(entries) {
        LIST.write(at, *entry);
    }
    result(Registers::call(DEPOSIT.0, DEPOSIT.1, LIST.gpa()))
}

/// The result of WITHDRAW_MEM, and how many pages have come back.
fn withdraw(list: &Page) -> (u64, u64) {
    list.write(0, 0xFFFF);
    let rax = result(Registers::call(WITHDRAW.0, WITHDRAW.1, list.gpa()));
    (rax, list.read(0) & 0xFFFF)
}

fn available() -> u64 {
    let mut byte = [0];
    calling_area().copy_out(1, &mut byte);
    byte[0].into()
}

fn whose<const N: usize>(report: &mut Report<N>) {
    for (place, gpa) in forbidden() {
        report.call(format_args!("DEPOSIT_MEM list at {place}"), DEPOSIT, gpa, INVALID_ADDRESS);
        report.call(format_args!("WITHDRAW_MEM to {place}"), WITHDRAW, gpa, INVALID_ADDRESS);
        // Page 0 may be RAM of ours.
        if gpa != 0 {
            report.attempt(format_args!("DEPOSIT_MEM of {place}"), INVALID_ADDRESS, deposit(&[gpa]));
        }
    }
    report.attempt("DEPOSIT_MEM of the calling area", INVALID_ADDRESS, deposit(&[calling_area().gpa()]));
    report.attempt("DEPOSIT_MEM of the large page around it", INVALID_ADDRESS, deposit(&[LARGE]));
    report.attempt("what is available after all that", 0, available());
}

fn malformed<const N: usize>(report: &mut Report<N>) {
    let gpa = PAGES[0].gpa();
    for low in [2, 3, 4, 8, 0x10, 0x800] {
        let name = format_args!("DEPOSIT_MEM of an entry with {low:#x}");
        report.attempt(name, INVALID_PARAMETER, deposit(&[gpa | low]));
    }
    report.attempt(
        "DEPOSIT_MEM of a misaligned large page",
        INVALID_PARAMETER,
        deposit(&[LARGE_PAGE + 0x1000 + LARGE]),
    );
    for head in [0, 1 | 1 << 16, 0x200, 1 | 1 << 32] {
        LIST.write(0, head);
        LIST.write(8, gpa);
        report.call(format_args!("DEPOSIT_MEM list with the head {head:#x}"), DEPOSIT, LIST.gpa(), INVALID_PARAMETER);
    }
    for offset in [1, 4, 7] {
        let gpa = LIST.gpa() + offset;
        report.call(format_args!("DEPOSIT_MEM list misaligned by {offset}"), DEPOSIT, gpa, INVALID_PARAMETER);
        report.call(format_args!("WITHDRAW_MEM to a list misaligned by {offset}"), WITHDRAW, gpa, INVALID_PARAMETER);
    }
    let end = LIST.gpa() + 0xFF8;
    report.call("WITHDRAW_MEM to the last head of a page", WITHDRAW, end, INVALID_PARAMETER);
}

fn meanwhile<const N: usize>(report: &mut Report<N>) {
    let gpas = [0, 1, 2].map(|index: usize| PAGES[index].gpa());
    PAGES.iter().for_each(|page| page.fill(0xAA));
    report.attempt("DEPOSIT_MEM of three pages", SUCCESS, deposit(&gpas));
    report.attempt("entries that were done", COUNT as u64, LIST.read(0) >> 16 & 0xFFFF);
    report.attempt("what is available: more than was asked for", 1, available());
    for gpa in gpas {
        report.attempt("read what was deposited", GENERAL_PROTECTION, memory::read(gpa).map_or_else(|got| got, |_| 0));
        // SAFETY: what is read is a page of ours; that it is not written to is what is tried.
        let written = unsafe { entry::copy(gpa, LIST.gpa(), 8) }.err().unwrap_or(0);
        report.attempt("write to what was deposited", GENERAL_PROTECTION, written);
        report.attempt("DEPOSIT_MEM of it once more", INVALID_ADDRESS, deposit(&[gpa]));
        for action in [0, 4, 12] {
            calling_area().write(8, 1);
            calling_area().write(16, gpa | action);
            let name = format_args!("PVALIDATE of what was deposited, {action:#x}");
            report.call(name, PVALIDATE, calling_area().gpa() + 8, INVALID_ADDRESS);
        }
        report.call("REMAP_CA to what was deposited", REMAP_CA, gpa, INVALID_ADDRESS);
        report.call("VTPM_CMD in what was deposited", VTPM_CMD, gpa, INVALID_PARAMETER);
        report.call("WITHDRAW_MEM to what was deposited", WITHDRAW, gpa, INVALID_ADDRESS);
    }
    let (rax, count) = withdraw(&LIST);
    report.attempt("WITHDRAW_MEM", SUCCESS, rax);
    report.attempt("pages that have come back", COUNT as u64, count);
    let listed = (0..COUNT).filter(|at| gpas.contains(&LIST.read(8 + 8 * *at))).count() as u64;
    report.attempt("of them ours", COUNT as u64, listed);
    let left: u64 = PAGES.iter().map(left_in).sum();
    report.attempt("octets of them that are not zero", 0, left);
    report.attempt("what is available after it", 0, available());
    let (rax, count) = withdraw(&LIST);
    report.attempt("WITHDRAW_MEM of more than there is", SUCCESS, rax);
    report.attempt("pages that come of it", 0, count);
}

fn left_in(page: &Page) -> u64 {
    let mut bytes = [0; 64];
    let parts = (0..crate::page::PAGE_SIZE).step_by(bytes.len());
    parts
        .map(|at| {
            page.copy_out(at, &mut bytes);
            bytes.iter().filter(|byte| **byte != 0).count() as u64
        })
        .sum()
}

fn large<const N: usize>(report: &mut Report<N>) {
    let inner = LARGE_PAGE + 0x7000;
    report.attempt(
        "DEPOSIT_MEM of a small page, then of the large one around",
        INVALID_ADDRESS,
        deposit(&[inner, LARGE_PAGE + LARGE]),
    );
    report.attempt("entries that were done", 1, LIST.read(0) >> 16 & 0xFFFF);
    report.attempt("pages that have come back", 1, withdraw(&LIST).1);
    report.attempt("DEPOSIT_MEM of a large page", SUCCESS, deposit(&[LARGE_PAGE + LARGE]));
    report.attempt("DEPOSIT_MEM of a small one in it", INVALID_ADDRESS, deposit(&[inner]));
    for gpa in [LARGE_PAGE, inner, LARGE_PAGE + 0x1F_F000] {
        report.attempt("read it", GENERAL_PROTECTION, memory::read(gpa).map_or_else(|got| got, |_| 0));
    }
    report.attempt("pages that have come back, as many as a list holds", 511, withdraw(&LIST).1);
    report.attempt("what is available", 1, available());
    report.attempt("pages that have come back, the rest", 1, withdraw(&LIST).1);
    report.attempt("read it again", 0, memory::read(inner).map_or_else(|got| got, u64::from));
}

/// The page of the list is deposited by the list.
fn own_list<const N: usize>(report: &mut Report<N>) {
    report.attempt("DEPOSIT_MEM of the list's own page", SUCCESS, deposit(&[LIST.gpa(), PAGES[0].gpa()]));
    report.attempt("read it", GENERAL_PROTECTION, memory::read(LIST.gpa()).map_or_else(|got| got, |_| 0));
    report.attempt("pages that have come back", 2, withdraw(&OTHER_LIST).1);
    report.attempt("octets of it that are not zero", 0, left_in(&LIST));
}
