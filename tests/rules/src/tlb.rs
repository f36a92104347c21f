//! What the TLB remembers: rights that were taken stay in use until they are flushed, and a page that changes hands
//! before that is a mistake.

use crate::controls::FREE;
use crate::guest::{self, FULL, VMSA_READ};
use crate::hypervisor::{Back, GUEST_GHCB, check, own_zeroed, page_state};
use crate::sys::{self, PAGE, peek, poke, probe, pvalidate, reload_cr3, rmpadjust, toggle_global_pages};

/// Where VMPL2 says what its accesses have raised.
const SAID: u64 = FREE + PAGE;
/// Nothing was raised.
const NOTHING: u64 = 1;
const GP: u64 = 13;

fn guest_writes_again_and_again() -> ! {
    GUEST_GHCB.register();
    loop {
        let raised = probe!("mov [rdx], rax", in("rdx") FREE);
        poke(SAID, raised.map_or(NOTHING, |raised| raised.0));
        guest::back();
        // As it is told.
        match peek(SAID) {
            2 => sys::invlpg(FREE),
            3 => reload_cr3(),
            _ => {}
        }
    }
}

fn guest_reads_then_writes() -> ! {
    GUEST_GHCB.register();
    peek(FREE);
    guest::back();
    let raised = probe!("mov [rdx], rax", in("rdx") FREE);
    poke(SAID, raised.map_or(NOTHING, |raised| raised.0));
    guest::done()
}

fn share(function: fn() -> !) {
    own_zeroed(FREE);
    own_zeroed(SAID);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(SAID, 0, FULL) == 0, 20);
    guest::prepare(function);
    check(guest::run() == Back(0, 0), 21);
}

/// Runs VMPL2 for another access: what it raised.
fn again(order: u64) -> u64 {
    poke(SAID, order);
    check(guest::run() == Back(0, 0), 22);
    peek(SAID)
}

fn revoke() {
    check(rmpadjust(FREE, 0, 2) == 0, 23);
}

pub(crate) fn remembers() {
    share(guest_writes_again_and_again);
    check(peek(SAID) == NOTHING, 24);
    revoke();
    check(again(0) == NOTHING, 25);
    // Neither CR3 nor INVLPG of VMPL0 is about VMPL2's translations.
    reload_cr3();
    sys::invlpg(FREE);
    check(again(0) == NOTHING, 26);
    toggle_global_pages();
    check(again(0) == GP, 27);
    // VMPL2's own INVLPG and MOV to CR3 flush, too.
    for order in [2, 3] {
        check(rmpadjust(FREE, 0, FULL) == 0 && again(0) == NOTHING, 28);
        revoke();
        check(again(0) == NOTHING && again(order) == GP, 29);
    }
}

/// A translation by which nothing was written gives no right to write.
pub(crate) fn write_is_walked() {
    share(guest_reads_then_writes);
    check(rmpadjust(FREE, 0, 0x102) == 0, 24);
    check(guest::run() == Back(0, 0) && peek(SAID) == GP, 25);
}

pub(crate) fn of_its_own() {
    own_zeroed(FREE);
    check(pvalidate(FREE, 0, false) == (0, false), 20);
    check(probe!("mov rax, [rdx]", in("rdx") FREE).is_none(), 21);
    sys::invlpg(FREE + PAGE);
    check(probe!("mov rax, [rdx]", in("rdx") FREE).is_none(), 22);
    sys::invlpg(FREE);
    check(probe!("mov rax, [rdx]", in("rdx") FREE).is_some_and(|raised| raised.1 == 0x404), 23);
    check(pvalidate(FREE, 0, true) == (0, false), 24);
    poke(FREE, 1);
    check(pvalidate(FREE, 0, false) == (0, false), 25);
    reload_cr3();
    check(probe!("mov rax, [rdx]", in("rdx") FREE).is_some_and(|raised| raised.1 == 0x404), 26);
}

/// A page state change has every CPU forget the page.
pub(crate) fn host_flushes() {
    own_zeroed(FREE);
    check(pvalidate(FREE, 0, false) == (0, false) && page_state(FREE, 2) == 0x015, 20);
    check(probe!("mov rax, [rdx]", in("rdx") FREE).is_some_and(|raised| raised.1 == 0x404), 21);
}

pub(crate) fn stale_rescinded() {
    share(guest_writes_again_and_again);
    revoke();
    pvalidate(FREE, 0, false);
}

pub(crate) fn stale_vmsa() {
    share(guest_writes_again_and_again);
    revoke();
    rmpadjust(FREE, 0, VMSA_READ);
}

/// What others have may be global.
pub(crate) fn stale_after_cr3() {
    share(guest_writes_again_and_again);
    revoke();
    reload_cr3();
    pvalidate(FREE, 0, false);
}
