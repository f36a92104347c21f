//! What the machine does as KVM and QEMU's launcher do: page states, conversions by a wrong access, entries of 4 KiB,
//! the CPUID page, a host without VMPLs; a host that takes a page at a given moment; and what OVMF wants.

use crate::controls::{FREE, FREE_HUGE};
use crate::guest::{self, FULL, VMSA};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, RAX, RBX, RCX, SCRATCH, check, fw_cfg, own_zeroed, page_state};
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

/// The machine's memory, 0x1800_0000 to 0x1FF0_0000, is not the guest's RAM; and DMA, which would reach around the
/// machine, is not offered.
pub(crate) fn fw_cfg_of_the_guest() {
    GHCB.out(0x510, 2, 1);
    let mut features = [0; 4];
    GHCB.read_port(0x511, &mut features);
    check(u32::from_le_bytes(features) & 3 == 1, 20);
    let mut map = [0; 20 * 16];
    let len = fw_cfg("etc/e820", &mut map).unwrap_or(0);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (mut last, mut entries) = (0, 0);
    for entry in map[..len].chunks_exact(20) {
        entries += 1;
        if number(&entry[16..]) == 1 {
            last = last.max(number(&entry[..8]) + number(&entry[8..16]));
        }
    }
    check(entries > 0 && last == 0x1800_0000, 21);
}

/// KVM looks at the usage, not at the version.
pub(crate) fn ghcb_version_0() {
    GHCB.exit(0x72, 0, 0, &[(RAX, 0), (RCX, 0)]);
    for (field, value) in [(RAX, 0x8000_001F), (RCX, 0), (0x390, 0x72), (0x398, 0), (0x3A0, 0)] {
        GHCB.set(field, value);
    }
    poke(GHCB.at() + 0xFF8, 0);
    check(GHCB.go() == Back(0, 0) && GHCB.get(RBX) & 0x3F == 47, 20);
}

/// Devices may be from 2 GiB up to the C-bit.
pub(crate) fn mmio_windows() {
    let reads = |gpa| GHCB.exit(0x8000_0001, gpa, 4, &[(SCRATCH, GHCB.0 + 0x800)]);
    for gpa in [0x8000_0000, 0xFFC0_0000, 0x10_0000_0000, 0x100_0000_0000, (1 << 47) - 4] {
        check(reads(gpa) == Back(0, 0), 20);
    }
    for gpa in [0x7FFF_F000, 0x80_0000_0000, 1 << 47, u64::MAX - 3] {
        check(reads(gpa) == Back(2, 5), 21);
    }
}

/// Executes a private page through a mapping without C-bit, as the tables of some guests are.
pub(crate) fn guest_calls_without_c_bit() -> ! {
    loop {
        sys::call(SHARED + FREE);
        msr_call(0x016);
    }
}

/// RET in a page that VMPL2 may do everything with.
pub(crate) fn prepare_ret(function: fn() -> !) {
    own_zeroed(FREE);
    poke(FREE, 0xC3);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(function);
}

fn guest_reads_through_alias() -> ! {
    sys::call(SHARED + FREE);
    msr_call(0x004);
    let seen = peek(SHARED + FREE);
    poke(FREE + 8, seen);
    loop {
        msr_call(0x016);
    }
}

/// What is different from hardware: the mapping without C-bit goes on leading to the private page, also after an exit.
pub(crate) fn alias_stays() {
    prepare_ret(guest_reads_through_alias);
    guest::run();
    check(peek(FREE) == 0xC3 && peek(FREE + 8) == 0xC3, 21);
}
