//! Two processors: how the second one begins and ends, and that what its TLB remembers counts, too.

use crate::controls::FREE;
use crate::guest::{self, FULL, VMSA, VMSA_READ, field};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, Ghcb, RAX, SCRATCH, check, own_zeroed, page_state};
use crate::sys::{
    self, PAGE, SHARED, msr_call, pause, peek, poke, poke_bytes, probe, pvalidate, rmpadjust, toggle_global_pages,
};

/// The second processor's VMSAs, of VMPL0 and of VMPL2.
const OTHER: u64 = 0x20_4000;
const OTHER_GUEST: u64 = 0x20_5000;
/// And their stacks, of a page each.
const STACK: u64 = 0x20_6000;
const GUEST_STACK: u64 = 0x20_7000;
/// What both processors and all VMPLs may write.
const WORDS: u64 = 0x20_A000;
/// The second processor counts its rounds here,
const ROUNDS: u64 = WORDS;
/// is told what to do,
const ORDER: u64 = WORDS + 8;
/// and says what came of it, plus one.
const SAID: u64 = WORDS + 16;
/// Its GHCBs.
const OTHER_GHCB: Ghcb = Ghcb(0x30_8000);
const OTHER_GUEST_GHCB: Ghcb = Ghcb(0x30_9000);

/// RMPADJUST's operand for the VMSA of another processor's VMPL0, which names VMPL1.
const VMSA_OF_VMPL0: u64 = 0x1_0101;
const REFUSED: Back = Back(2, 5);
const DONE: Back = Back(0, 0);
const GP: u64 = 13;
const VC: u64 = 29;
/// Requests of AP creation.
const ON_INIT: u64 = 0;
const NOW: u64 = 1;
const DESTROY: u64 = 2;
/// The second processor.
const SECOND: u64 = 1;

/// INVLPGB of everything: ASID 0, global too.
const EVERYTHING: u64 = 1 << 2 | 1 << 3;

fn create_on(ghcb: Ghcb, request: u64, processor: u64, vmpl: u64, vmsa: u64) -> Back {
    ghcb.exit(0x8000_0013, processor << 32 | vmpl << 16 | request, vmsa, &[(RAX, 1)])
}

fn create(request: u64, processor: u64, vmpl: u64, vmsa: u64) -> Back {
    create_on(GHCB, request, processor, vmpl, vmsa)
}

/// A VMSA with which VMPL0 or VMPL2 of the second processor begins with `function`, on a stack of its own.
fn make(vmsa: u64, vmpl: u64, function: fn() -> !) {
    let stack = if vmpl == 0 { STACK } else { GUEST_STACK };
    guest::fill_vmsa(vmsa, function);
    poke_bytes(vmsa + field::VMPL, &[vmpl as u8]);
    poke(vmsa + 0x178, function as usize as u64);
    poke(vmsa + 0x1D8, stack + PAGE - 8);
}

/// Once, whoever needs them first.
fn share_words() {
    if page_state(WORDS, 1) == 0x015 && pvalidate(WORDS, 0, true) == (0, false) {
        sys::zero(WORDS);
        check(rmpadjust(WORDS, 0, FULL) == 0, 30);
    }
}

/// Everything that it needs, without its being started.
fn prepare(vmsa: u64, vmpl: u64, function: fn() -> !) {
    share_words();
    own_zeroed(if vmpl == 0 { STACK } else { GUEST_STACK });
    own_zeroed(vmsa);
    make(vmsa, vmpl, function);
    if vmpl == 2 {
        guest::grant_image();
        check(rmpadjust(GUEST_STACK, 0, FULL) == 0, 31);
    }
    check(rmpadjust(vmsa, 0, if vmpl == 0 { VMSA_OF_VMPL0 } else { VMSA_READ }) == 0, 32);
}

fn start(vmsa: u64, vmpl: u64, function: fn() -> !) {
    prepare(vmsa, vmpl, function);
    check(create(NOW, SECOND, vmpl, vmsa) == DONE, 33);
}

/// On a busy host QEMU may leave the second processor alone for a hundred thousand rounds of the first one's.
fn comes(what: impl Fn() -> bool) -> bool {
    (0..20_000_000).any(|_| {
        pause();
        what()
    })
}

/// Whether the second processor goes round.
fn goes_round() -> bool {
    let before = peek(ROUNDS);
    comes(|| peek(ROUNDS) > before + 1)
}

fn stands_still() -> bool {
    let before = peek(ROUNDS);
    (0..100_000).for_each(|_| pause());
    peek(ROUNDS) == before
}

fn round() {
    poke(ROUNDS, peek(ROUNDS) + 1);
    pause();
}

fn goes_for_ever() -> ! {
    loop {
        round();
    }
}

pub(crate) fn both_run() {
    start(OTHER, 0, goes_for_ever);
    for _ in 0..3 {
        check(goes_round(), 20);
        // Pages that this processor makes are seen by the other one, and the other way round.
        check(page_state(FREE, 1) == 0x015 && pvalidate(FREE, 0, true) == (0, false), 21);
        check(pvalidate(FREE, 0, false) == (0, false) && page_state(FREE, 2) == 0x015, 22);
    }
    let list = SHARED + 0x30_6000;
    check(GHCB.exit(0x8000_0017, 0x30_6000, 0, &[(RAX, 1)]) == DONE && peek(list) == 2 && peek(list + 8) == 1, 23);
    check(GHCB.exit(0x72, 0, 0, &[(RAX, 0x8000_0008), (crate::hypervisor::RCX, 0)]) == DONE, 24);
    check(GHCB.get(crate::hypervisor::RBX) >> 3 & 1 == 1, 25);
}

/// Gives the other processor its turns, and does nothing.
pub(crate) fn waits() {
    (0..1_000_000).for_each(|_| core::hint::spin_loop());
}

pub(crate) fn refusals() {
    prepare(OTHER, 0, goes_for_ever);
    // No such processor, itself, no VMPL, no page, no memory, no request.
    check(create(NOW, 2, 0, OTHER) == REFUSED && create(NOW, 1 << 31, 0, OTHER) == REFUSED, 20);
    check(create(NOW, 0, 0, OTHER) == REFUSED && create(DESTROY, 0, 0, OTHER) == REFUSED, 21);
    check(create(NOW, SECOND, 4, OTHER) == REFUSED, 22);
    check(create(NOW, SECOND, 0, OTHER + 8) == REFUSED && create(NOW, SECOND, 0, 0x7000_0000) == REFUSED, 23);
    check(create(3, SECOND, 0, OTHER) == REFUSED, 24);
    check(GHCB.exit(0x8000_0013, SECOND << 32 | NOW, OTHER, &[(RAX, 3)]) == REFUSED, 25);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 26);
    // One register state, one processor.
    check(create(NOW, 0, 2, OTHER) == REFUSED, 27);
}

/// What a processor runs from stays what it is.
pub(crate) fn vmsa_in_use() {
    start(OTHER, 0, goes_for_ever);
    check(goes_round(), 20);
    // In memory, the state is as it was at the start; without EFER.SVME it could not begin.
    let efer = peek(OTHER + field::EFER);
    poke(OTHER + field::EFER, efer & !0x1000);
    check(rmpadjust(OTHER, 0, 1) == 3 && rmpadjust(OTHER, 0, VMSA_OF_VMPL0) == 3, 21);
    check(pvalidate(OTHER, 0, false).0 == 3, 22);
    check(page_state(OTHER, 2) == 1 << 32 | 0x015, 23);
    check(create(DESTROY, SECOND, 0, 0) == DONE && stands_still(), 24);
    // What it had is stored; EFER, too.
    check(peek(OTHER + field::EFER) == efer && rmpadjust(OTHER, 0, 1) == 3, 25);
    poke(OTHER + field::EFER, efer & !0x1000);
    check(rmpadjust(OTHER, 0, 1) == 0 && pvalidate(OTHER, 0, false) == (0, false), 26);
    check(page_state(OTHER, 2) == 0x015, 27);
}

/// As OVMF does: one page for all the lives of a processor.
pub(crate) fn created_again() {
    start(OTHER, 0, goes_for_ever);
    for _ in 0..4 {
        check(goes_round(), 20);
        check(create(DESTROY, SECOND, 0, OTHER) == DONE && stands_still(), 21);
        make(OTHER, 0, goes_for_ever);
        check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 22);
        // Without being destroyed before: another page takes over.
        check(create(DESTROY, SECOND, 0, OTHER) == DONE, 23);
        check(create(NOW, SECOND, 0, OTHER) == DONE, 24);
    }
    // Not before its INIT, which never comes.
    check(create(DESTROY, SECOND, 0, OTHER) == DONE, 25);
    check(create(ON_INIT, SECOND, 0, OTHER) == DONE && stands_still(), 26);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 27);
}

fn parks() -> ! {
    round();
    match peek(ORDER) {
        0 => sys::halt(),
        _ => {
            msr_call(0x006);
        }
    }
    poke(SAID, 1);
    goes_for_ever()
}

/// HLT without interrupts, or AP reset hold: until AP creation has something else for it.
pub(crate) fn parked() {
    prepare(OTHER, 0, parks);
    for order in [0, 1] {
        poke(ORDER, order);
        poke(ROUNDS, 0);
        make(OTHER, 0, parks);
        check(create(NOW, SECOND, 0, OTHER) == DONE, 19);
        check(comes(|| peek(ROUNDS) == 1) && stands_still() && peek(SAID) == 0, 20);
        check(create(DESTROY, SECOND, 0, OTHER) == DONE, 21);
        make(OTHER, 0, goes_for_ever);
        check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 22);
        check(create(DESTROY, SECOND, 0, OTHER) == DONE, 23);
    }
}

fn runs_vmpl2() -> ! {
    OTHER_GHCB.register();
    loop {
        let back = OTHER_GHCB.exit(0x8000_0018, 2, 0, &[]);
        poke(SAID, 1 + back.0);
        round();
    }
}

fn calls_vmpl0() -> ! {
    OTHER_GUEST_GHCB.register();
    loop {
        poke(ORDER, peek(ORDER) + 1);
        check(OTHER_GUEST_GHCB.exit(0x8000_0018, 0, 0, &[]) == DONE, 99);
    }
}

/// VMPL0 of the second processor asks for VMPL2 before there is one: it waits for it.
pub(crate) fn run_vmpl_waits() {
    start(OTHER, 0, runs_vmpl2);
    check(stands_still() && peek(SAID) == 0, 20);
    start(OTHER_GUEST, 2, calls_vmpl0);
    check(goes_round() && comes(|| peek(SAID) == 1 && peek(ORDER) > 1), 21);
    check(create(DESTROY, SECOND, 2, OTHER_GUEST) == DONE, 22);
    check(stands_still(), 23);
    // And again, whether the host is to do so at once or at the next chance.
    for request in [NOW, ON_INIT] {
        make(OTHER_GUEST, 2, calls_vmpl0);
        check(create(request, SECOND, 2, OTHER_GUEST) == DONE && goes_round(), 24);
        check(create(DESTROY, SECOND, 2, OTHER_GUEST) == DONE && stands_still(), 25);
    }
}

fn guest_creates() -> ! {
    GUEST_GHCB.register();
    let request = |request, processor, vmpl, vmsa| create_on(GUEST_GHCB, request, processor, vmpl, vmsa);
    let results = [
        // A more privileged VMPL, anywhere; itself; a page that is no VMSA, that is not granted, of another VMPL.
        request(NOW, SECOND, 0, OTHER) == REFUSED && request(NOW, SECOND, 1, OTHER_GUEST) == REFUSED,
        request(DESTROY, SECOND, 0, 0) == REFUSED && request(DESTROY, SECOND, 1, 0) == REFUSED,
        request(NOW, 0, 2, OTHER_GUEST) == REFUSED && request(NOW, 0, 0, OTHER) == REFUSED,
        request(NOW, SECOND, 2, WORDS) == REFUSED && request(NOW, SECOND, 2, FREE) == REFUSED,
        request(NOW, SECOND, 2, OTHER) == REFUSED && request(NOW, SECOND, 3, OTHER_GUEST) == REFUSED,
        // Which this VMPL runs from itself.
        request(NOW, SECOND, 2, VMSA) == REFUSED,
        request(NOW, 7, 2, OTHER_GUEST) == REFUSED,
        request(NOW, SECOND, 2, OTHER_GUEST) == DONE,
    ];
    poke(SAID, results.iter().fold(1, |all, result| all << 1 | u64::from(*result)));
    guest::done()
}

/// VMPL2 creates its second processor by itself, and nothing else.
pub(crate) fn created_by_guest() {
    prepare(OTHER, 0, goes_for_ever);
    prepare(OTHER_GUEST, 2, goes_for_ever);
    guest::prepare(guest_creates);
    check(guest::run() == DONE, 20);
    let said = peek(SAID);
    (0..8).for_each(|bit| check(said >> bit & 1 == 1, 40 + bit as u8));
    check(goes_round(), 21);
    // VMPL0 takes the page away behind its back: nothing that stops the machine.
    check(create(DESTROY, SECOND, 2, 0) == DONE && stands_still(), 22);
}

/// What the sleeper says when it sleeps, and is told for a sleep without interrupts.
const SLEEPS: u64 = 1;
const STOPS: u64 = 2;

fn sleeps() -> ! {
    OTHER_GHCB.register();
    // The local APIC is its own: enabled by the spurious-interrupt register.
    poke(OTHER_GHCB.at() + 0x800, 0x1FF);
    check(OTHER_GHCB.exit(0x8000_0002, 0xFEE0_00F0, 4, &[(SCRATCH, OTHER_GHCB.0 + 0x800)]) == DONE, 98);
    loop {
        let raised = match peek(ORDER) {
            STOPS => {
                poke(ORDER, SLEEPS);
                probe!("cli; hlt; nop")
            }
            _ => {
                poke(ORDER, SLEEPS);
                probe!("sti; hlt; nop")
            }
        };
        poke(SAID, raised.map_or(0, |raised| raised.0) + 1);
        poke(OTHER_GHCB.at() + 0x800, 0);
        check(OTHER_GHCB.exit(0x8000_0002, 0xFEE0_00B0, 4, &[(SCRATCH, OTHER_GHCB.0 + 0x800)]) == DONE, 97);
        round();
    }
}

fn send(command: u64) {
    for (register, value) in [(0x310, SECOND << 24), (0x300, command)] {
        poke(GHCB.at() + 0x800, value);
        check(GHCB.exit(0x8000_0002, 0xFEE0_0000 + register, 4, &[(SCRATCH, GHCB.0 + 0x800)]) == DONE, 34);
    }
}

/// An interrupt or an NMI from processor to processor wakes one that has halted, and an NMI one without interrupts;
/// INIT, startup and SMI are ignored, and what is sent to somebody else.
pub(crate) fn interrupts() {
    const FIXED: u64 = 0x4040;
    const NMI: u64 = 0x4400;
    const NMI_TO_OTHERS: u64 = NMI | 3 << 18;
    start(OTHER, 0, sleeps);
    let wakes =
        [(FIXED, SLEEPS), (NMI, SLEEPS), (FIXED, STOPS), (NMI_TO_OTHERS, STOPS), (NMI, SLEEPS), (FIXED, SLEEPS)];
    for (round, (command, next)) in (1..).zip(wakes) {
        check(comes(|| peek(ORDER) == SLEEPS) && stands_still(), 20);
        [0x4500, 0x4608, 0x4200].into_iter().for_each(send);
        check(stands_still(), 21);
        poke(ORDER, next);
        send(command);
        let vector = if command == FIXED { 64 } else { 2 };
        check(comes(|| peek(ROUNDS) == round) && peek(SAID) == vector + 1, 22);
    }
}

/// VMPL2 of the second processor: writes to FREE until that raises something.
fn writes_on_and_on() -> ! {
    loop {
        let raised = probe!("mov [rdx], rax", in("rdx") FREE, in("rax") peek(ROUNDS));
        if let Some(raised) = raised {
            poke(SAID, raised.0 + 1);
            goes_for_ever();
        }
        match peek(ORDER) {
            1 => toggle_global_pages(),
            2 => sys::invlpg(FREE),
            _ => {}
        }
        round();
    }
}

/// The second processor's VMPL2 has written to FREE, and may do so no more.
fn revoked() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 35);
    start(OTHER_GUEST, 2, writes_on_and_on);
    check(goes_round() && goes_round(), 36);
    check(rmpadjust(FREE, 0, 2) == 0, 37);
}

/// It still does.
fn writes_still() -> bool {
    let before = peek(FREE);
    goes_round() && goes_round() && peek(FREE) > before && peek(SAID) == 0
}

/// It does no more, and has noticed.
fn has_raised(vector: u64) -> bool {
    comes(|| peek(SAID) != 0) && peek(SAID) == vector + 1
}

pub(crate) fn stale_until_tlbsync() {
    revoked();
    check(writes_still(), 20);
    // Flushes of this processor's, in whatever way, are its own.
    toggle_global_pages();
    sys::reload_cr3();
    sys::invlpg(FREE);
    check(writes_still(), 21);
    // Named by address: of VMPL0's translations only. TLBSYNC of nothing.
    check(sys::invlpgb(FREE | 0xD, 0, 0).is_none() && sys::tlbsync().is_none() && writes_still(), 22);
    // Without what is global.
    check(sys::invlpgb(1 << 2, 0, 0).is_none() && sys::tlbsync().is_none() && writes_still(), 23);
    check(sys::invlpgb(EVERYTHING, 0, 0).is_none() && writes_still(), 24);
    check(sys::tlbsync().is_none() && has_raised(GP), 25);
    check(pvalidate(FREE, 0, false) == (0, false) && page_state(FREE, 2) == 0x015, 26);
}

/// The second processor flushes by itself, as it is told.
fn its_flush(order: u64) {
    revoked();
    check(writes_still(), 20);
    poke(ORDER, order);
    check(has_raised(GP), 21);
    check(pvalidate(FREE, 0, false) == (0, false) && page_state(FREE, 2) == 0x015, 22);
}

pub(crate) fn stale_until_its_cr4() {
    its_flush(1);
}

pub(crate) fn stale_until_its_invlpg() {
    its_flush(2);
}

/// A page state change is seen everywhere at once.
pub(crate) fn host_flushes_everywhere() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    start(OTHER_GUEST, 2, writes_on_and_on);
    check(goes_round() && goes_round(), 21);
    check(page_state(FREE, 2) == 0x015 && has_raised(VC), 22);
}

pub(crate) fn stale_rescinded() {
    revoked();
    pvalidate(FREE, 0, false);
}

pub(crate) fn stale_vmsa() {
    revoked();
    rmpadjust(FREE, 0, VMSA_READ);
}

/// This processor's flush is not the other's.
pub(crate) fn stale_after_own_flush() {
    revoked();
    toggle_global_pages();
    pvalidate(FREE, 0, false);
}

pub(crate) fn stale_before_tlbsync() {
    revoked();
    check(sys::invlpgb(EVERYTHING, 0, 0).is_none(), 20);
    pvalidate(FREE, 0, false);
}

/// INVLPGB for what is stale by then only.
pub(crate) fn stale_after_invlpgb() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    start(OTHER_GUEST, 2, writes_on_and_on);
    check(goes_round() && goes_round(), 21);
    check(sys::invlpgb(EVERYTHING, 0, 0).is_none(), 22);
    check(rmpadjust(FREE, 0, 2) == 0 && sys::tlbsync().is_none(), 23);
    pvalidate(FREE, 0, false);
}

/// The right to write goes and the attribute comes in one step: the second processor writes on.
pub(crate) fn stale_vmsa_runs() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    start(OTHER_GUEST, 2, writes_on_and_on);
    check(goes_round() && goes_round(), 21);
    guest::fill_vmsa(FREE, guest::done);
    check(rmpadjust(FREE, 0, VMSA_READ) == 0 && guest::register(FREE) == DONE, 22);
    guest::run();
}

/// One register state for two processors.
pub(crate) fn vmsa_twice() {
    guest::prepare(guest::done);
    poke(VMSA + 0x178, goes_for_ever as *const () as usize as u64);
    share_words();
    check(create(NOW, SECOND, 2, VMSA) == DONE && goes_round(), 21);
    guest::run();
}

/// What may be in the registers of INVLPGB, and where the two do not exist.
pub(crate) fn invlpgb_codes() {
    let gp = |raised: sys::Raised| raised.is_some_and(|raised| raised.0 == GP && raised.1 == 0);
    check(sys::invlpgb(EVERYTHING, 7, 0).is_none() && sys::invlpgb(FREE | 0x1D, 7, 0).is_none(), 20);
    // Without a valid ASID, and another one than 0; a bit that is reserved; one page too many.
    check(gp(sys::invlpgb(1 << 3, 0, 0)) && gp(sys::invlpgb(EVERYTHING, 0, 1)), 21);
    check(gp(sys::invlpgb(EVERYTHING | 1 << 6, 0, 0)) && gp(sys::invlpgb(EVERYTHING | 1 << 11, 0, 0)), 22);
    check(gp(sys::invlpgb(FREE | 5, 8, 0)), 23);
    check(sys::tlbsync().is_none(), 24);
}

pub(crate) fn invlpgb_none() {
    let ud = |raised: sys::Raised| raised.is_some_and(|raised| raised.0 == 6);
    check(ud(sys::invlpgb(EVERYTHING, 0, 0)) && ud(sys::tlbsync()), 20);
}

/// The first creation is not carried out.
pub(crate) fn lie_ap_never() {
    start(OTHER, 0, goes_for_ever);
    check(stands_still(), 20);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 21);
}

pub(crate) fn lie_ap_refused() {
    prepare(OTHER, 0, goes_for_ever);
    check(create(NOW, SECOND, 0, OTHER) == REFUSED && stands_still(), 20);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 21);
}

fn says_who() -> ! {
    OTHER_GHCB.register();
    OTHER_GHCB.exit(0x72, 0, 0, &[(RAX, 1), (crate::hypervisor::RCX, 0)]);
    poke(SAID, 1 + (OTHER_GHCB.get(crate::hypervisor::RBX) >> 24 & 0xFF));
    goes_for_ever()
}

/// The third processor begins in place of the second one.
pub(crate) fn lie_ap_other() {
    start(OTHER, 0, says_who);
    check(goes_round() && peek(SAID) == 1 + 2, 20);
}

/// The first creation is carried out with the second one, of which nothing comes.
pub(crate) fn lie_ap_late() {
    start(OTHER, 0, goes_for_ever);
    check(stands_still(), 20);
    check(create(ON_INIT, SECOND, 2, OTHER) == DONE && goes_round(), 21);
}

/// One register state for two processors: one of them runs it.
pub(crate) fn lie_ap_twice() {
    start(OTHER, 0, says_who);
    check(goes_round() && (peek(SAID) == 1 + 1 || peek(SAID) == 1 + 2), 20);
    check(create(DESTROY, peek(SAID) - 1, 0, OTHER) == DONE && stands_still(), 21);
}

/// For another VMPL than its own a register state does not run.
pub(crate) fn lie_ap_vmpl() {
    start(OTHER, 0, goes_for_ever);
    check(stands_still() && peek(OTHER + field::EXIT_CODE) == 0, 20);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 21);
}

/// The page behind the register state is none.
pub(crate) fn lie_ap_page() {
    start(OTHER, 0, goes_for_ever);
    check(stands_still() && peek(OTHER + field::EXIT_CODE) == 0, 20);
    check(create(NOW, SECOND, 0, OTHER) == DONE && goes_round(), 21);
}

/// This processor's run-VMPL leads to what the other one was to run.
pub(crate) fn lie_vmsa_swapped() {
    prepare(OTHER_GUEST, 2, calls_vmpl0);
    check(create(ON_INIT, SECOND, 2, OTHER_GUEST) == DONE, 20);
    guest::prepare(guest::done);
    check(guest::run() == DONE && peek(ORDER) == 1, 21);
    // The state of the one that was not run is as it was.
    check(peek(VMSA + field::EXIT_CODE) == 0 && peek(OTHER_GUEST + field::EXIT_CODE) == 0x403, 22);
}
