//! TPM commands through a list of pages: what is right, what is malformed, pages that are not ours, and garbage.

use super::addresses::forbidden;
use super::code::{INVALID_PARAMETER, UNSUPPORTED_CALL};
use super::{FIRMWARE, NOT_TAKEN, Report, result};
use crate::page::{PAGE_SIZE, Page};
use crate::svsm::{Registers, SUCCESS, Taken, calling_area, protocol};
use crate::vtpm::{self, CMD_PAGES, LIST, MOST_PAGES, pages};

/// TPM2_GetCapability of TPM_PT_MAX_COMMAND_SIZE.
const COMMAND: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7A, 0, 0, 0, 6, 0, 0, 1, 0x1E, 0, 0, 0, 1];
const CALL: (u64, u64) = (protocol::VTPM, CMD_PAGES);
/// The answer to [`COMMAND`] once the TPM is started, and before.
const ANSWERS: [usize; 2] = [27, 10];
const ROUNDS: u64 = 400;

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    query(report);
    counts(report);
    fields(report);
    addresses(report);
    each_firmware_page(report);
    garbage(report);
}

/// What a guest with one page looks at is as ever; the bit of the list is the only other one.
fn query<const N: usize>(report: &mut Report<N>) {
    let mut registers = Registers::call(protocol::VTPM, 0, 0);
    let taken = crate::svsm::call(&mut registers);
    let was_taken = matches!(taken, Ok(Taken::Yes)) && registers.rax == SUCCESS;
    report.attempt("VTPM_QUERY's platform commands", 1 << 8, if was_taken { registers.rcx } else { NOT_TAKEN });
    report.attempt("VTPM_QUERY's features", 1 << 63, registers.rdx);
}

/// A list that is right but for what the caller changes in it.
fn right() {
    vtpm::request_in_pages(&COMMAND, pages().len());
}

fn send() -> u64 {
    let (protocol, call) = CALL;
    result(Registers::call(protocol, call, LIST.gpa()))
}

fn counts<const N: usize>(report: &mut Report<N>) {
    for count in 1..=3 {
        pages().iter().for_each(|page| page.fill(0xEE));
        vtpm::request_in_pages(&COMMAND, count);
        let rax = send();
        report.attempt(format_args!("VTPM_CMD by a list of {count} pages"), SUCCESS, rax);
        let size = vtpm::size_in_pages();
        let known = ANSWERS.contains(&size);
        report.attempt(format_args!("the answer by {count} pages is as long as it should be"), 1, u64::from(known));
        let mut first = [0; PAGE_SIZE];
        pages()[0].copy_out(0, &mut first);
        let stale = first[size.max(COMMAND.len())..].iter().filter(|byte| **byte != 0xEE).count() as u64;
        report.attempt(format_args!("bytes behind it that are not ours, by {count} pages"), 0, stale);
        if size == ANSWERS[0] {
            let told = u32::from_be_bytes([first[23], first[24], first[25], first[26]]);
            let expected = (count * PAGE_SIZE).min(vtpm::LONGEST) as u64;
            report.attempt(format_args!("TPM_PT_MAX_COMMAND_SIZE by {count} pages"), expected, told.into());
        }
    }
    for count in [0_u16, 4, 5, 15, 16, 17, 255, 0xFFFF] {
        right();
        LIST.copy_in(0xC, &count.to_le_bytes());
        // Entries that are null are no pages of ours.
        report.call(
            format_args!("VTPM_CMD by a list of {count} pages, three of them ours"),
            CALL,
            LIST.gpa(),
            INVALID_PARAMETER,
        );
    }
}

fn fields<const N: usize>(report: &mut Report<N>) {
    let first = pages()[0].gpa();
    let all: [(&str, usize, u64, u64); 17] = [
        ("platform command 0", 0, 0, INVALID_PARAMETER),
        ("platform command 1", 0, 1, UNSUPPORTED_CALL),
        ("platform command 9", 0, 9, UNSUPPORTED_CALL),
        ("platform command 2^32-1", 0, 0xFFFF_FFFF, INVALID_PARAMETER),
        ("locality 1", 0, 8 | 1 << 32, INVALID_PARAMETER),
        ("locality 255", 0, 8 | 255 << 32, INVALID_PARAMETER),
        ("the first reserved byte", 0, 8 | 1 << 40, INVALID_PARAMETER),
        ("the third reserved byte", 0, 8 | 1 << 63, INVALID_PARAMETER),
        ("a size beyond what the TPM takes", 8, 8193 | 3 << 32, INVALID_PARAMETER),
        ("a size beyond the pages", 8, 12_289 | 3 << 32, INVALID_PARAMETER),
        ("a size of 2^32-1", 8, 0xFFFF_FFFF | 3 << 32, INVALID_PARAMETER),
        ("the reserved word", 8, 22 | 3 << 32 | 1 << 48, INVALID_PARAMETER),
        ("a page twice", 0x18, first, INVALID_PARAMETER),
        ("its own page", 0x18, LIST.gpa(), INVALID_PARAMETER),
        ("a page plus 1", 0x10, first + 1, INVALID_PARAMETER),
        ("a page plus 2048", 0x10, first + 0x800, INVALID_PARAMETER),
        ("an entry that is not counted", 0x88, first, INVALID_PARAMETER),
    ];
    for (what, at, value, expected) in all {
        right();
        LIST.write(at, value);
        report.call(format_args!("VTPM_CMD by a list with {what}"), CALL, LIST.gpa(), expected);
    }
}

fn addresses<const N: usize>(report: &mut Report<N>) {
    for (place, gpa) in forbidden() {
        report.call(format_args!("VTPM_CMD by a list at {place}"), CALL, gpa, INVALID_PARAMETER);
        let mut got = INVALID_PARAMETER;
        for at in 0..pages().len() {
            right();
            LIST.write(0x10 + at * 8, gpa);
            let rax = send();
            got = if rax == INVALID_PARAMETER { got } else { rax };
        }
        report.attempt(format_args!("VTPM_CMD by lists with {place}"), INVALID_PARAMETER, got);
    }
    let shared = calling_area().gpa() + 0x1000;
    let others = [
        ("misaligned by 1", LIST.gpa() + 1),
        ("misaligned by 4", LIST.gpa() + 4),
        ("misaligned by 7", LIST.gpa() + 7),
        ("crossing the end of its page", LIST.gpa() + 0xF78),
        ("crossing into our shared page", shared - 8),
        ("crossing into the firmware", FIRMWARE.start - 8),
        ("wrapping at 2^64", u64::MAX - 7),
    ];
    for (place, gpa) in others {
        right();
        report.call(format_args!("VTPM_CMD by a list {place}"), CALL, gpa, INVALID_PARAMETER);
    }
}

/// Wherever it keeps what is secret, it is in one of these.
fn each_firmware_page<const N: usize>(report: &mut Report<N>) {
    right();
    let mut got = INVALID_PARAMETER;
    for gpa in FIRMWARE.step_by(PAGE_SIZE) {
        LIST.write(0x18, gpa);
        let rax = send();
        got = if rax == INVALID_PARAMETER { got } else { rax };
    }
    report.attempt("VTPM_CMD by a list with each of the firmware's 2048 pages", INVALID_PARAMETER, got);
}

/// Numbers that look random, and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Lists that are right or nearly so, and others: what each comes to is computed here a second time.
fn garbage<const N: usize>(report: &mut Report<N>) {
    let mut numbers = Numbers(0x51_56);
    let (mut wrong, mut last, mut served, mut refused) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let count = numbers.next(4);
        let entries = right_entries(&mut numbers);
        vtpm::request_in_pages(&COMMAND, usize::try_from(count).unwrap_or(0));
        entries
            .iter()
            .enumerate()
            .take(usize::try_from(count).unwrap_or(0))
            .for_each(|(at, gpa)| LIST.write(0x10 + at * 8, *gpa));
        for _ in 0..numbers.next(3) {
            let (at, value) = (numbers.next(0x90 + 16), numbers.next(256));
            // These octets of an entry could make it another page of ours, which we need.
            if at < 0x10 || !(1..=3).contains(&(at % 8)) {
                LIST.copy_in(usize::try_from(at).unwrap_or(0), &[u8::try_from(value).unwrap_or(0)]);
            }
        }
        let expected = expected();
        let got = send();
        (served, refused) = (served + u64::from(got == SUCCESS), refused + u64::from(got != SUCCESS));
        if got != expected {
            (wrong, last) = (wrong + 1, got | round << 40);
        }
    }
    report.attempt(format_args!("{ROUNDS} random lists, last wrong {last:#x}: wrong"), 0, wrong);
    let both = served > ROUNDS / 20 && refused > ROUNDS / 20;
    report.attempt(format_args!("of them {served} are served and {refused} refused: some of both"), 1, u64::from(both));
}

/// Our pages, or rarely others, in any order.
fn right_entries(numbers: &mut Numbers) -> [u64; 3] {
    let turn = usize::try_from(numbers.next(3)).unwrap_or(0);
    let mut entries = pages().map(Page::gpa);
    entries.rotate_left(turn);
    if numbers.next(8) == 0 {
        let others = forbidden();
        let which = usize::try_from(numbers.next(others.len() as u64)).unwrap_or(0);
        entries[usize::try_from(numbers.next(3)).unwrap_or(0)] = others[which].1;
    }
    entries
}

/// What the list comes to.
fn expected() -> u64 {
    let (head, sizes) = (LIST.read(0), LIST.read(8));
    let [command, size] = [head, sizes].map(|word| word & 0xFFFF_FFFF);
    if (1..=21).contains(&command) && command != 8 {
        return UNSUPPORTED_CALL;
    }
    let count = usize::try_from(sizes >> 32 & 0xFFFF).unwrap_or(0);
    let mut entries = [0; MOST_PAGES];
    entries.iter_mut().enumerate().for_each(|(at, entry)| *entry = LIST.read(0x10 + at * 8));
    if head != 8 || sizes >> 48 != 0 || !(1..=MOST_PAGES).contains(&count) {
        return INVALID_PARAMETER;
    }
    let (named, rest) = entries.split_at(count);
    let ours = pages().map(Page::gpa);
    let known = named.iter().all(|gpa| ours.contains(gpa));
    let once = ours.iter().all(|gpa| named.iter().filter(|named| *named == gpa).count() <= 1);
    let fits = size <= (count * PAGE_SIZE).min(vtpm::LONGEST) as u64;
    if known && once && fits && rest.iter().all(|entry| *entry == 0) { SUCCESS } else { INVALID_PARAMETER }
}
