//! Lies of the host that are not about guest messages: each must be there as the configuration asks for it.

use crate::controls::{FREE, FREE_HUGE};
use crate::guest::{self, FULL, VMSA, VMSA_READ, field};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, RAX, RBX, RCX, SCRATCH, check, own_zeroed, page_state};
use crate::sys::{self, PAGE, SHARED, cpuid_page, memory_map, msr_call, peek, poke, probe, pvalidate, rmpadjust};

pub(crate) fn ghcb_invalid() {
    check(GHCB.exit(0x72, 0, 0, &[(RAX, 0), (RCX, 0)]) == Back(0, 0) && !GHCB.any_valid(), 20);
    check(GHCB.exit(0x6E, 0, 0, &[]) == Back(0, 0) && !GHCB.any_valid(), 21);
}

pub(crate) fn ghcb_invalid_one() {
    check(GHCB.exit(0x72, 0, 0, &[(RAX, 0), (RCX, 0)]) == Back(0, 0) && !GHCB.any_valid(), 20);
    check(GHCB.exit(0x6E, 0, 0, &[]) == Back(0, 0) && GHCB.any_valid(), 21);
}

pub(crate) fn psc_partial() {
    let list = GHCB.at() + 0x800;
    let go = || GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]);
    poke(list, 4 << 16);
    (0..5).for_each(|index| poke(list + 8 + 8 * index, (FREE + index * PAGE) | 1 << 52));
    for done in [2, 4, 5] {
        check(go() == Back(0, 0) && peek(list) & 0xFFFF == done, 20);
    }
    (0..5).for_each(|index| check(pvalidate(FREE + index * PAGE, 0, true) == (0, false), 21));
}

pub(crate) fn hv_features() {
    check(msr_call(0x080) == 5 << 12 | 0x081, 20);
    check(GHCB.exit(0x8000_FFFD, 0, 0, &[]) == Back(0, 5), 21);
}

pub(crate) fn ghcb_register_other() {
    check(msr_call(FREE | 0x012) == (FREE ^ PAGE) | 0x013, 20);
    // What was asked for is what counts.
    msr_call(GHCB.0 | 0x012);
}

pub(crate) fn c_bit() {
    check(msr_call(0x002) >> 24 & 0xFF == 51, 20);
    check(GHCB.exit(0x72, 0, 0, &[(RAX, 0x8000_001F), (RCX, 0)]) == Back(0, 0) && GHCB.get(RBX) & 0x3F == 51, 21);
    // The secure processor's page has the truth.
    let count = peek(cpuid_page()) & 0xFFFF_FFFF;
    let entry =
        (0..count).map(|index| cpuid_page() + 16 + 48 * index).find(|entry| peek(*entry) & 0xFFFF_FFFF == 0x8000_001F);
    check(entry.is_some_and(|entry| peek(entry + 0x18) >> 32 & 0x3F == 47), 22);
}

pub(crate) fn cpuid_overflow() {
    check(peek(cpuid_page()) & 0xFFFF_FFFF == 65, 20);
}

fn guest_is_interrupted() -> ! {
    GUEST_GHCB.register();
    poke(FREE, 1);
    // This is no call of VMPL0, and yet VMPL0 will run.
    let raised = probe!("cpuid", in("rax") 0u64, in("rcx") 0u64);
    poke(FREE, if raised.is_some() { 3 } else { 2 });
    guest::done()
}

pub(crate) fn spurious_run() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(guest_is_interrupted);
    check(guest::run() == Back(0, 0), 21);
    check(peek(FREE) == 1 && peek(VMSA + field::EXIT_CODE) == 0x72, 22);
    check(sys::rdmsr(0xC001_0131) == 7, 23);
}

/// First page and number of pages of an entry of the memory map.
fn entry(index: u64) -> (u64, u64) {
    (peek(memory_map() + 24 * index), peek(memory_map() + 24 * index + 8))
}

pub(crate) fn memory_map_lie() {
    check((0..8).any(|index| entry(index) == (0x800_0000, 0x800)), 20);
}

pub(crate) fn required_validated() {
    check(pvalidate(0x4070_0000 + PAGE, 0, true) == (0, false), 20);
    check(pvalidate(0x4070_0000, 0, true) == (0, true), 21);
    // The way back, so that the page is known to be the only one.
    check(pvalidate(0x4070_0000, 0, false) == (0, false), 22);
}

pub(crate) fn map_pages() {
    check((0..8).any(|index| entry(index) == (0x10_0000, 659_013_632)), 20);
    // And they are not there.
    check(page_state(4 << 30, 1) == 1 << 32 | 0x015, 21);
}

pub(crate) fn map_ranges() {
    check(entry(0) == (0, 0x3FF) && entry(1).0 == 0x400, 20);
    (1..100).for_each(|index| check(entry(index).0 + entry(index).1 + 1 == entry(index + 1).0, 21));
    check(entry(100).1 > 100 && entry(101) == (0, 0), 22);
}

pub(crate) fn map_overlap() {
    check(entry(0).0 + entry(0).1 > 0x100 && (1..8).any(|index| entry(index) == (0x100, 1)), 20);
}

pub(crate) fn map_unsorted() {
    check(entry(0) == (0x10_0000, 1), 20);
    let count = (0..8).take_while(|index| entry(*index).1 != 0).count() as u64;
    check(count > 1 && entry(count - 1).0 == 0, 21);
    check((1..count).all(|index| entry(index).0 < entry(index - 1).0), 22);
}

/// The entries of the CPUID page: (leaf, subleaf, EAX, EBX, ECX).
fn entries() -> impl Iterator<Item = [u64; 5]> {
    let count = peek(cpuid_page()) & 0xFFFF_FFFF;
    let half = |at: u64| peek(at & !7) >> (8 * (at & 4)) & 0xFFFF_FFFF;
    (0..count).map(move |index| [0, 4, 0x18, 0x1C, 0x20].map(|offset| half(cpuid_page() + 16 + 48 * index + offset)))
}

pub(crate) fn no_rdseed() {
    check(entries().any(|entry| entry[0] == 7 && entry[1] == 0 && entry[3] >> 18 & 1 == 0), 20);
    check(entries().any(|entry| entry[0] == 1 && entry[4] >> 30 & 1 == 1), 21);
}

pub(crate) fn no_rdrand() {
    check(entries().any(|entry| entry[0] == 7 && entry[1] == 0 && entry[3] >> 18 & 1 == 1), 20);
    check(entries().any(|entry| entry[0] == 1 && entry[4] >> 30 & 1 == 0), 21);
}

pub(crate) fn cpuid_repeats() {
    let times = |wanted: [u64; 5]| entries().filter(|entry| *entry == wanted).count();
    check(entries().take(3).all(|entry| times(entry) == 2), 20);
    let of_leaf_4 = |subleaf| entries().filter(|entry| entry[..2] == [4, subleaf]).count();
    (0..4).for_each(|subleaf| check(of_leaf_4(subleaf) == 1, 21));
}

pub(crate) fn cpuid_contradicts() {
    check(entries().filter(|entry| entry[0] == 1).count() == 2, 20);
}

pub(crate) fn swap_before_rescind() {
    own_zeroed(FREE);
    own_zeroed(FREE + PAGE);
    check(pvalidate(FREE, 0, false) == (0, false), 20);
    check(pvalidate(FREE + PAGE, 0, false) == (0, true), 21);
    own_zeroed(FREE + 2 * PAGE);
    check(pvalidate(FREE + 2 * PAGE, 0, false) == (0, false), 22);
}

/// A firmware that ends on every exception, and sees nothing of those that were made up and taken back.
pub(crate) fn inject() {
    sys::on_every_exception(sys::handler_ends());
    let (mut sum, mut tsc) = (1_u64, 0);
    for turn in 0..60 {
        check(GHCB.exit(0x6E, 0, 0, &[]) == Back(0, 0) && GHCB.get(RAX) != tsc, 20);
        tsc = GHCB.get(RAX);
        sum = sum.wrapping_mul(31).wrapping_add(turn);
        poke(SHARED + FREE + 8 * turn, sum);
    }
    let mut again = 1_u64;
    for turn in 0..60 {
        again = again.wrapping_mul(31).wrapping_add(turn);
        check(peek(SHARED + FREE + 8 * turn) == again, 21);
    }
    sys::install_exceptions(0);
}

/// A firmware that goes on as if nothing had been.
pub(crate) fn inject_ignored() {
    sys::on_every_exception(sys::handler_ignores());
    (0..60).for_each(|_| check(GHCB.exit(0x6E, 0, 0, &[]) == Back(0, 0), 20));
}

unsafe extern "sysv64" {
    fn __refusable_access() -> u64;
}

/// Whether one of many accesses was refused.
fn is_any_refused() -> bool {
    // SAFETY: two exits and many instructions that do nothing.
    let refused = (0..30).filter(|_| unsafe { __refusable_access() } == u64::MAX).count();
    sys::install_exceptions(0);
    refused > 0
}

/// A firmware that refuses an access where a page may be gone, and ends on all else.
pub(crate) fn inject_refused() {
    let refuses = sys::handler_refuses();
    sys::on_exceptions(sys::handler_ends(), &[(13, refuses), (14, refuses), (29, sys::handler_refuses_vc())]);
    check(!is_any_refused(), 20);
}

/// The same, whatever the error code of #VC.
pub(crate) fn inject_refused_for_all() {
    let refuses = sys::handler_refuses();
    sys::on_exceptions(sys::handler_ends(), &[(13, refuses), (14, refuses), (29, refuses)]);
    check(!is_any_refused(), 20);
}

/// What VMPL2 counts and asks for.
const COUNT: u64 = FREE;
const TIMES: u64 = FREE + 8;
/// A page of the guest's for which VMPL0 reaches.
const NAMED: u64 = FREE + PAGE;

/// Its first call is one into which the machine looks, the others are not.
fn guest_marks() -> ! {
    poke(COUNT, 1);
    sys::set_ghcb(0x016);
    sys::vmgexit_marked(peek(TIMES));
    loop {
        poke(COUNT, peek(COUNT) + 1);
        msr_call(0x016);
    }
}

/// The guest has made its call, and the machine looks into what comes.
fn marked_call(times: u64) {
    own_zeroed(FREE);
    own_zeroed(NAMED);
    poke(TIMES, times);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(NAMED, 0, FULL) == 0, 20);
    guest::prepare(guest_marks);
    check(guest::run() == Back(0, 0), 21);
}

/// EFER.SVME is clear meanwhile, and nobody runs it.
fn serve() {
    let efer = peek(VMSA + field::EFER);
    poke(VMSA + field::EFER, efer & !0x1000);
    if rmpadjust(VMSA, 0, VMSA_READ) == 0 && peek(VMSA + field::EFER) & 0x1000 == 0 {
        (0..50).for_each(|turn| poke(VMSA + 0x308, turn));
    }
    poke(VMSA + field::EFER, efer);
}

/// Whoever runs it.
fn serve_anyone() {
    let efer = peek(VMSA + field::EFER);
    poke(VMSA + field::EFER, efer & !0x1000);
    poke(VMSA + 0x308, 1);
    poke(VMSA + field::EFER, efer);
}

pub(crate) fn window_busy() {
    sys::on_every_exception(sys::handler_ends());
    marked_call(0);
    serve_anyone();
    guest::run();
}

/// A firmware that ends on every exception, and after the loss of a page, too.
pub(crate) fn window() {
    sys::on_every_exception(sys::handler_ends());
    marked_call(0);
    serve();
    check(guest::run() == Back(0, 0) && peek(COUNT) == 2, 22);
    sys::install_exceptions(1);
}

pub(crate) fn window_ignored() {
    sys::on_every_exception(sys::handler_ignores());
    marked_call(0);
    serve();
    guest::run();
}

/// A firmware that does something else when a page of its guest's is gone.
fn window_refused(instead: fn()) {
    sys::on_exceptions(sys::handler_ends(), &[(29, sys::handler_vc())]);
    marked_call(0);
    for turn in 0..20u64 {
        let raised = probe!("mov [rdx], rax", in("rdx") NAMED, in("rax") turn);
        if raised.is_some() {
            instead();
            break;
        }
    }
    guest::run();
    sys::install_exceptions(1);
}

/// It gives one of its own away.
pub(crate) fn window_gives() {
    window_refused(|| {
        rmpadjust(sys::secrets_page(), 0, FULL);
    });
}

/// It gives the page back with what is in it now.
pub(crate) fn window_gives_unzeroed() {
    window_refused(|| {
        pvalidate(NAMED, 0, true);
        rmpadjust(NAMED, 0, FULL);
    });
}

pub(crate) fn window_refuses() {
    window_refused(|| {});
}

/// VMPL2 runs on before VMPL0 has executed an instruction, and calls again.
pub(crate) fn unasked() {
    marked_call(0);
    check(peek(COUNT) == 2, 22);
}

/// The same as soon as it can be run again.
pub(crate) fn unasked_later() {
    marked_call(1);
    check(peek(COUNT) == 1, 22);
    serve();
    check(peek(COUNT) == 2, 23);
}

pub(crate) fn psmash() {
    // Of this page two instructions pass.
    check(FREE_HUGE >> 21 & 7 == 2, 20);
    marked_call(0);
    let list = GHCB.at() + 0x800;
    poke(list, 0);
    poke(list + 8, FREE_HUGE | 1 << 52 | 1 << 56);
    check(GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 22);
    check(pvalidate(FREE_HUGE, 1, true) == (0, false) && rmpadjust(FREE_HUGE, 1, FULL) == 0, 23);
    poke(FREE_HUGE + 0x1F_F000, 5);
    check(rmpadjust(FREE_HUGE, 1, FULL) == 6 && pvalidate(FREE_HUGE, 1, false) == (6, false), 24);
    check(rmpadjust(FREE_HUGE, 0, FULL) == 0 && peek(FREE_HUGE + 0x1F_F000) == 5, 25);
}
