//! Restricted injection: #HV and its doorbell page, and what is no handler of it. Alternate injection: interrupts by
//! the VMSA.

use crate::controls::FREE;
use crate::guest::{self, FULL, VMSA, field};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, check, clear_shared, own_zeroed};
use crate::sys::{self, PAGE, SHARED, peek, poke, probe, rmpadjust, set_ghcb, vmgexit};

/// The doorbell page.
const PAGE_AT: u64 = 0x30_5000;
const DOORBELL: u64 = 0x8000_0014;
const SET: u64 = 1;
const QUERY: u64 = 2;
const CLEAR: u64 = 3;
const HV: u64 = 28;
const INTERRUPT: u64 = 64;
/// SEV information, a request that changes nothing.
const NOTHING: u64 = 2;
const INVALID_INPUT: Back = Back(2, 5);
const INVALID_EVENT: Back = Back(2, 6);

fn doorbell(request: u64, gpa: u64) -> Back {
    GHCB.exit(DOORBELL, request, gpa, &[])
}

pub(crate) fn doorbell_page() {
    check(doorbell(0, 0) == Back(0, u64::MAX) && doorbell(QUERY, 0) == Back(0, u64::MAX), 20);
    check(doorbell(SET, PAGE_AT) == Back(0, PAGE_AT) && doorbell(QUERY, 0) == Back(0, PAGE_AT), 21);
    // Not aligned, private, no memory, no request.
    check(doorbell(SET, PAGE_AT + 8) == INVALID_INPUT && doorbell(SET, sys::low_start()) == INVALID_INPUT, 22);
    check(doorbell(SET, 0x7000_0000) == INVALID_INPUT && doorbell(4, PAGE_AT) == INVALID_INPUT, 23);
    check(doorbell(QUERY, 0) == Back(0, PAGE_AT), 24);
    check(doorbell(CLEAR, 0) == Back(0, 0) && doorbell(QUERY, 0) == Back(0, u64::MAX), 25);
    check(GHCB.exit(0x8000_FFFD, 0, 0, &[]) == Back(0, 7), 26);
}

pub(crate) fn doorbell_not_offered() {
    check(doorbell(0, 0) == INVALID_EVENT && doorbell(SET, PAGE_AT) == INVALID_EVENT, 20);
    check(GHCB.exit(0x8000_FFFD, 0, 0, &[]) == Back(0, 3), 21);
}

pub(crate) fn doorbell_refused() {
    check(doorbell(SET, PAGE_AT) == INVALID_INPUT && doorbell(QUERY, 0) == Back(0, u64::MAX), 20);
}

pub(crate) fn doorbell_other() {
    let other = PAGE_AT ^ PAGE;
    check(doorbell(SET, PAGE_AT) == Back(0, other) && doorbell(QUERY, 0) == Back(0, other), 20);
}

/// What an exit raises behind it.
fn raised_behind_an_exit() -> Option<u64> {
    set_ghcb(NOTHING);
    probe!("rep vmmcall; nop").map(|raised| raised.0)
}

/// SEV_FEATURES are what they were launched as, and #HV finds no page, and then one.
pub(crate) fn hv_arrives() {
    check(sys::rdmsr(0xC001_0131) == 3 | 9 << 2, 20);
    sys::on_signal(sys::handler_28(), 0);
    check(raised_behind_an_exit() == Some(HV), 21);
}

pub(crate) fn hv_fills_its_page() {
    clear_shared(PAGE_AT, 1);
    check(doorbell(SET, PAGE_AT) == Back(0, PAGE_AT), 20);
    sys::on_signal(sys::handler_28(), 0);
    check(raised_behind_an_exit() == Some(HV), 21);
    check(peek(SHARED + PAGE_AT) == 0x8000 | HV, 22);
}

/// Without restricted injection every vector arrives.
pub(crate) fn interrupt_arrives() {
    set_ghcb(NOTHING);
    let raised = probe!("sti; nop; rep vmmcall; nop; cli");
    check(raised.map(|raised| raised.0) == Some(INTERRUPT), 20);
}

pub(crate) fn interrupt_is_forbidden() {
    raised_behind_an_exit();
}

/// Many exits, at which #HV is raised.
fn is_signalled(handler: u64, ist: u64) {
    sys::on_signal(handler, ist);
    for _ in 0..40 {
        set_ghcb(NOTHING);
        vmgexit();
    }
}

/// A handler that only comes back, on the stack that it finds: it can come back from itself, too.
pub(crate) fn handler_comes_back() {
    is_signalled(sys::handler_ignores(), 0);
}

/// The same on a stack of its own: it has lost its way when it has interrupted itself.
pub(crate) fn handler_loses_its_frame() {
    is_signalled(sys::handler_ignores(), 1);
}

pub(crate) fn handler_exits() {
    is_signalled(sys::handler_ends(), 0);
}

pub(crate) fn handler_changes_a_register() {
    is_signalled(sys::handler_changes(), 0);
}

pub(crate) fn handler_stays() {
    is_signalled(sys::handler_stays(), 0);
}

/// VINTR_CTRL, and what it has for [`INTERRUPT`].
const CONTROL: u64 = VMSA + 0x3B8;
const V_IRQ: u64 = 1 << 8;
const REQUEST: u64 = V_IRQ | 4 << 16 | INTERRUPT << 32;
/// SEV_FEATURES: SNP, alternate injection.
const ALTERNATE: u64 = 0x11;

/// VMPL2: what comes when interrupts are on, plus one.
fn takes() -> ! {
    GUEST_GHCB.register();
    let raised = probe!("sti; nop; nop; nop; cli");
    poke(FREE, raised.map_or(0, |raised| raised.0) + 1);
    guest::done()
}

/// VMPL2 with this VINTR_CTRL: what came, and what is left.
fn with_control(control: u64) -> (u64, u64) {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(takes);
    poke(VMSA + field::SEV_FEATURES, ALTERNATE);
    poke(CONTROL, control);
    check(guest::run() == Back(0, 0), 21);
    (peek(FREE), peek(CONTROL) & (V_IRQ | 0xFF))
}

/// It is taken once, and the VMSA says that it was.
pub(crate) fn virtual_interrupt() {
    check(with_control(REQUEST) == (INTERRUPT + 1, 0), 22);
    poke(FREE, 0);
    check(guest::run() == Back(0, 0) && peek(FREE) == 0, 23);
}

pub(crate) fn virtual_interrupt_none() {
    check(with_control(0) == (1, 0), 22);
}

/// TPR holds it back, and stays.
pub(crate) fn virtual_interrupt_waits() {
    check(with_control(REQUEST | 9) == (1, V_IRQ | 9), 22);
}

pub(crate) fn both_injections() {
    guest::prepare(guest::done);
    poke(VMSA + field::SEV_FEATURES, ALTERNATE | 8);
    guest::run();
}
