//! What the machine does as KVM and QEMU's launcher do: page states, conversions by a wrong access, entries of 4 KiB, the CPUID page, a host without VMPLs;
//! and a host that takes a page at a given moment.

use crate::controls::{FREE, FREE_HUGE};
use crate::guest::{self, FULL, VMSA};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, RAX, RBX, SCRATCH, check, own_zeroed, page_state};
use crate::sys::{self, PAGE, Raised, SHARED, cpuid_page as page, msr_call, peek, poke, probe, pvalidate, rmpadjust};

/// #VC, page not validated.
fn not_validated(raised: Raised) -> bool {
    raised.is_some_and(|raised| (raised.0, raised.1) == (29, 0x404))
}

fn read(at: u64) -> Raised {
    probe!("mov rax, [rdx]", in("rdx") at)
}

fn write(at: u64) -> Raised {
    probe!("mov [rdx], rax", in("rdx") at)
}

pub(crate) fn four_kibibytes() {
    let list = GHCB.at() + 0x800;
    poke(list, 0);
    poke(list + 8, FREE_HUGE | 1 << 52 | 1 << 56);
    check(GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 20);
    check(peek(list) & 0xFFFF == 1 && peek(list + 8) & 0xFFF == 512, 21);
    check(pvalidate(FREE_HUGE, 1, true).0 == 6, 22);
    for page in (FREE_HUGE..FREE_HUGE + 0x20_0000).step_by(PAGE as usize) {
        check(pvalidate(page, 0, true) == (0, false), 23);
    }
    check(rmpadjust(FREE_HUGE, 1, FULL) == 6, 24);
    check(rmpadjust(FREE_HUGE + 0x1F_F000, 0, FULL) == 0, 25);
}

pub(crate) fn implicit_conversion() {
    // The host's page as private: it becomes private, and is not validated.
    poke(SHARED + FREE, 7);
    check(not_validated(read(FREE)), 20);
    check(not_validated(write(FREE)), 21);
    check(pvalidate(FREE, 0, true) == (0, false), 22);
    check(read(FREE).is_none() && peek(FREE) != 7, 23);
    // A private page as shared: it becomes shared, and what was in it is lost.
    own_zeroed(FREE + PAGE);
    poke(FREE + PAGE, 7);
    check(read(SHARED + FREE + PAGE).is_none() && peek(SHARED + FREE + PAGE) != 7, 24);
    check(not_validated(read(FREE + PAGE)), 25);
    // Fetches are private.
    poke(SHARED + FREE + 2 * PAGE, 0xC3);
    check(not_validated(probe!("jmp rdx", in("rdx") SHARED + FREE + 2 * PAGE)), 26);
    // PVALIDATE has the page converted, RMPADJUST finds it not validated.
    check(pvalidate(FREE + 3 * PAGE, 0, true) == (0, false), 27);
    let adjust = probe!(".byte 0xf3, 0x0f, 0x01, 0xfe", in("rax") FREE + 4 * PAGE, in("rcx") 0u64, in("rdx") FULL);
    check(not_validated(adjust), 28);
}

pub(crate) fn page_state_of_validated() {
    own_zeroed(FREE);
    check(page_state(FREE, 2) == 0x015, 20);
    check(not_validated(read(FREE)), 21);
    own_zeroed(FREE + PAGE);
    let list = GHCB.at() + 0x800;
    poke(list, 0);
    poke(list + 8, (FREE + PAGE) | 2 << 52);
    check(GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 22);
    poke(SHARED + FREE + PAGE, 9);
    check(peek(SHARED + FREE + PAGE) == 9, 23);
    check(not_validated(read(FREE + PAGE)), 24);
    // And it does not come back as it was.
    check(page_state(FREE + PAGE, 1) == 0x015 && not_validated(read(FREE + PAGE)), 25);
}

fn guest_gives_its_page_away() -> ! {
    let done = page_state(FREE, 2) == 0x015;
    poke(FREE + PAGE, u64::from(done));
    guest::done()
}

/// Nobody asks VMPL0.
pub(crate) fn page_state_by_guest() {
    own_zeroed(FREE);
    own_zeroed(FREE + PAGE);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(FREE + PAGE, 0, FULL) == 0, 20);
    guest::prepare(guest_by_registered_ghcb);
    check(guest::run() == Back(0, 0), 21);
    check(peek(FREE + PAGE) == 1, 22);
    check(not_validated(read(FREE)), 23);
    check(pvalidate(FREE, 0, true) == (0, false), 24);
}

fn guest_by_registered_ghcb() -> ! {
    GUEST_GHCB.register();
    guest_gives_its_page_away()
}

/// RMPUPDATE does not touch a VMSA that is in use.
pub(crate) fn page_state_of_vmsa() {
    guest::prepare(guest::done);
    check(page_state(VMSA, 2) == 1 << 32 | 0x015, 20);
    check(read(VMSA).is_none(), 21);
}

/// The entry of a leaf: EAX, EBX, ECX, EDX.
fn leaf(leaf: u64, subleaf: u64) -> Option<[u64; 4]> {
    let count = peek(page()) & 0xFFFF_FFFF;
    let entry = (0..count).map(|index| page() + 16 + 48 * index).find(|entry| peek(*entry) == leaf | subleaf << 32)?;
    let [low, high] = [peek(entry + 0x18), peek(entry + 0x20)];
    Some([low & 0xFFFF_FFFF, low >> 32, high & 0xFFFF_FFFF, high >> 32])
}

pub(crate) fn cpuid_page() {
    let is = |at: Option<[u64; 4]>, register: usize, wanted: u64| at.is_some_and(|at| at[register] & wanted == wanted);
    check(is(leaf(0, 0), 0, 0x10) && is(leaf(0x8000_0000, 0), 0, 0x8000_0023), 20);
    // XSAVE and AVX; OSXSAVE is the operating system's.
    check(is(leaf(1, 0), 2, 1 << 26 | 1 << 28) && !is(leaf(1, 0), 2, 1 << 27), 21);
    check(is(leaf(0xD, 0), 0, 7) && is(leaf(0xD, 1), 0, 0xF) && is(leaf(0xD, 2), 0, 0x100), 22);
    check(leaf(0xF, 1).is_some() && leaf(0x10, 0).is_some() && leaf(0x8000_0021, 0).is_some(), 23);
    check(is(leaf(0x8000_001F, 0), 1, 47), 24);
    check((peek(page()) & 0xFFFF_FFFF) <= 64, 25);
}

pub(crate) fn cpuid_page_of_image() {
    check(leaf(0, 0).is_some_and(|at| at[0] == 0xB), 20);
    check(leaf(1, 0).is_some_and(|at| at[2] & (1 << 26 | 1 << 28) == 0), 21);
    check(leaf(0xD, 0).is_none_or(|at| at == [0; 4]), 22);
}

pub(crate) fn vmpls_none() {
    own_zeroed(VMSA);
    guest::fill_vmsa(VMSA, guest::done);
    check(rmpadjust(VMSA, 0, guest::VMSA_READ) == 0, 20);
    check(msr_call(0x080) == 0x3 << 12 | 0x081, 21);
    check(guest::register(VMSA) == Back(2, 5), 22);
    check(guest::run() == Back(2, 6), 23);
    check(msr_call(2 << 32 | 0x016) == 2 << 32 | 0x016, 24);
}

fn arm(gpa: u64, moment: u64, after: u64) {
    let back = GHCB.exit(0x81, 0, 0, &[(RAX, 0x494F_5551), (RBX, gpa | moment | after << 4)]);
    check(back == Back(0, 0) && GHCB.get(RAX) == 0, 19);
}

pub(crate) fn steal() {
    own_zeroed(FREE);
    arm(FREE, 0, 0);
    check(not_validated(read(FREE)), 20);
    check(pvalidate(FREE, 0, true) == (0, false), 21);
    // A write: what is read before is there.
    poke(FREE, 3);
    arm(FREE, 1, 0);
    check(peek(FREE) == 3 && not_validated(write(FREE)), 22);
    check(pvalidate(FREE, 0, true) == (0, false), 23);
    // The second of two instructions.
    arm(FREE, 2, 1);
    check(rmpadjust(FREE, 0, FULL) == 0, 24);
    let adjust = probe!(".byte 0xf3, 0x0f, 0x01, 0xfe", in("rax") FREE, in("rcx") 0u64, in("rdx") 2u64);
    check(not_validated(adjust), 25);
    check(GHCB.exit(0x81, 0, 0, &[(RAX, 0x494F_5551), (RBX, FREE | 3)]) == Back(2, 5), 26);
    check(sys::rdmsr(0xC001_0131) == 7, 27);
}
