//! What the machine carries out by itself behind a PVALIDATE leaves the registers and flags that the processor leaves.

use crate::controls::FREE;
use crate::guest::FULL;
use crate::hypervisor::{check, own_zeroed, page_state};
use crate::sys::{PAGE, behind_pvalidate, probe, pvalidate, rmpadjust};

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

/// A row of pages ends at the page at which it would end with an exit for each instruction.
pub(crate) fn rows() {
    for page in 0..3 {
        own_zeroed(FREE + page * PAGE);
    }
    check(page_state(FREE + 3 * PAGE, 1) == 0x015, 20);
    let mut reached = FREE;
    // The fourth is not validated.
    let raised = probe!(
        "4: mov rax, rdi; .byte 0xf3, 0x0f, 0x01, 0xfe; test eax, eax; jnz 2f; add rdi, 4096; cmp rdi, rsi; jb 4b",
        inout("rdi") reached, in("rsi") FREE + 5 * PAGE, in("rcx") 0u64, in("rdx") FULL
    );
    check(raised.map(|raised| (raised.0, raised.1)) == Some((29, 0x404)), 21);
    check(reached == FREE + 3 * PAGE, 22);
    // The third is the first to be validated already: CF.
    check(pvalidate(FREE, 0, false) == (0, false) && pvalidate(FREE + PAGE, 0, false) == (0, false), 23);
    reached = FREE;
    let raised = probe!(
        "4: mov rax, rdi; .byte 0xf2, 0x0f, 0x01, 0xff; jc 2f; test eax, eax; jnz 2f; add rdi, 4096; cmp rdi, rsi; jb 4b",
        inout("rdi") reached, in("rsi") FREE + 5 * PAGE, in("rcx") 0u64, in("rdx") 1u64
    );
    check(raised.is_none() && reached == FREE + 2 * PAGE, 24);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(FREE + PAGE, 0, FULL) == 0, 25);
}
