//! What the machine carries out by itself behind a PVALIDATE leaves the registers and flags that the processor leaves.

use crate::controls::{FREE, FREE_HUGE};
use crate::guest::{self, FULL};
use crate::hypervisor::{Back, GUEST_GHCB, check, own_zeroed, page_state};
use crate::sys::{PAGE, Raised, behind_pvalidate, peek, poke, probe, pvalidate, rmpadjust, zero};

/// RDI and RSI: around every carry, sign, half carry and parity.
const VALUES: [u64; 14] = [
    0,
    1,
    0xF,
    0x10,
    0xFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0xFFFF_FFFF_FFFF_F000,
    u64::MAX,
];

/// Each way of going on, with RDI and RSI: RDI and the flags after it, with and without a PVALIDATE before it.
type Way = fn(bool, u64, u64) -> (u64, u64);

const WAYS: [Way; 10] = [
    |first, a, b| behind_pvalidate!(first, a, b, "add rdi, 4096"),
    |first, a, b| behind_pvalidate!(first, a, b, "add rdi, -4096"),
    |first, a, b| behind_pvalidate!(first, a, b, "add rdi, 0x7fffffff"),
    |first, a, b| behind_pvalidate!(first, a, b, "cmp rdi, rsi"),
    |first, a, b| behind_pvalidate!(first, a, b, "test edi, esi"),
    |first, a, b| behind_pvalidate!(first, a, b, "cmp rdi, rsi; mov rdi, rsi"),
    |first, a, b| behind_pvalidate!(first, a, b, "cmp rdi, rsi; jb 4f; add rdi, 4096; 4:"),
    |first, a, b| behind_pvalidate!(first, a, b, "cmp rdi, rsi; jae 4f; add rdi, 4096; 4:"),
    |first, a, b| behind_pvalidate!(first, a, b, "test edi, esi; jz 4f; mov rdi, rsi; 4:"),
    // With the last instruction the machine does not go on.
    |first, a, b| behind_pvalidate!(first, a, b, "test edi, esi; jnz 4f; mov rdi, rsi; 4: not rdi"),
];

pub(crate) fn as_the_processor() {
    for (way, step) in WAYS.iter().zip(20..) {
        for (a, b) in VALUES.into_iter().flat_map(|a| VALUES.map(|b| (a, b))) {
            check(way(true, a, b) == way(false, a, b), step);
        }
    }
    // A loop, which jumps back.
    for end in [FREE, FREE + 1, FREE + PAGE, FREE + 7 * PAGE] {
        let way = |first| behind_pvalidate!(first, FREE, end, "4: add rdi, 4096; cmp rdi, rsi; jb 4b");
        check(way(true) == way(false), 30);
    }
}

/// PVALIDATE of each page from the first address to before the second, until one does not change: which.
fn pvalidate_row(start: u64, end: u64, validate: u64) -> (Raised, u64) {
    let mut reached = start;
    let raised = probe!(
        "4: mov rax, rdi; .byte 0xf2, 0x0f, 0x01, 0xff; jc 2f; test eax, eax; jnz 2f; add rdi, 4096; cmp rdi, rsi; jb 4b",
        inout("rdi") reached, in("rsi") end, in("rcx") 0u64, in("rdx") validate
    );
    (raised, reached)
}

/// The same by RMPADJUST, until one has another code than 0.
fn rmpadjust_row(start: u64, end: u64, attributes: u64) -> (Raised, u64) {
    let mut reached = start;
    let raised = probe!(
        "4: mov rax, rdi; .byte 0xf3, 0x0f, 0x01, 0xfe; test eax, eax; jnz 2f; add rdi, 4096; cmp rdi, rsi; jb 4b",
        inout("rdi") reached, in("rsi") end, in("rcx") 0u64, in("rdx") attributes
    );
    (raised, reached)
}

/// A row of pages ends at the page at which it would end with an exit for each instruction.
pub(crate) fn rows() {
    for page in 0..3 {
        own_zeroed(FREE + page * PAGE);
    }
    check(page_state(FREE + 3 * PAGE, 1) == 0x015, 20);
    // The fourth is not validated.
    let (raised, reached) = rmpadjust_row(FREE, FREE + 5 * PAGE, FULL);
    check(raised.map(|raised| (raised.0, raised.1)) == Some((29, 0x404)), 21);
    check(reached == FREE + 3 * PAGE, 22);
    // The third is the first to be validated already: CF.
    check(pvalidate(FREE, 0, false) == (0, false) && pvalidate(FREE + PAGE, 0, false) == (0, false), 23);
    check(pvalidate_row(FREE, FREE + 5 * PAGE, 1) == (None, FREE + 2 * PAGE), 24);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(FREE + PAGE, 0, FULL) == 0, 25);
    long_rows();
}

/// Over the end of a table of leaves, by which the pages are told apart.
const GRANTED: u64 = FREE_HUGE - 6 * PAGE;
/// Beside it.
const RESCINDED: u64 = FREE_HUGE + 8 * PAGE;
const PAGES: u64 = 12;

fn row(start: u64) -> impl Iterator<Item = (u64, u64)> {
    (1..=PAGES).map(move |number| (number, start + (number - 1) * PAGE))
}

fn guest_doubles() -> ! {
    GUEST_GHCB.register();
    row(GRANTED).for_each(|(_, page)| poke(page, 2 * peek(page)));
    guest::done()
}

/// Pages alike, and in their middle one that is not: each has what the instruction gives, and its own contents.
fn long_rows() {
    for start in [RESCINDED, GRANTED] {
        row(start).for_each(|(_, page)| check(page_state(page, 1) == 0x015, 30));
        check(pvalidate_row(start, start + PAGES * PAGE, 1) == (None, start + PAGES * PAGE), 31);
        for (number, page) in row(start) {
            zero(page);
            poke(page, number);
        }
    }
    // The fifth is rescinded already.
    let end = RESCINDED + PAGES * PAGE;
    check(pvalidate(RESCINDED + 4 * PAGE, 0, false) == (0, false), 32);
    check(pvalidate_row(RESCINDED, end, 0) == (None, RESCINDED + 4 * PAGE), 33);
    check(pvalidate_row(RESCINDED + 5 * PAGE, end, 0) == (None, end), 34);
    let others = || row(RESCINDED).filter(|(number, _)| *number != 5);
    others().for_each(|(_, page)| check(pvalidate(page, 0, true) == (0, false), 35));
    others().for_each(|(number, page)| check(peek(page) == number, 36));
    // The fourth may be read already.
    let end = GRANTED + PAGES * PAGE;
    check(rmpadjust(GRANTED + 3 * PAGE, 0, 0x102) == 0, 37);
    check(rmpadjust_row(GRANTED, end, FULL) == (None, end), 38);
    guest::prepare(guest_doubles);
    check(guest::run() == Back(0, 0), 39);
    row(GRANTED).for_each(|(number, page)| check(peek(page) == 2 * number, 40));
}
