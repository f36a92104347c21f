//! Correct sequences: what the machine must let pass, and the codes with which it must refuse.

use crate::guest::{self, FULL, VMSA, field};
use crate::hypervisor::{Back, GHCB, GUEST_GHCB, RAX, RBX, RCX, RDX, SCRATCH, check, own, own_zeroed, page_state};
use crate::sys::{
    self, PAGE, SHARED, cpuid_page, install_exceptions, memory_map, msr_call, peek, poke, probe, pvalidate, rmpadjust,
    secrets_page,
};

/// Free RAM for experiments.
pub(crate) const FREE: u64 = 0x20_8000;
/// Free RAM at a multiple of 2 MiB.
pub(crate) const FREE_HUGE: u64 = 0x40_0000;
/// A page of data of this program's, owned by VMPL0 since the launch.
pub(crate) fn own_page() -> u64 {
    secrets_page()
}

const GP: u64 = 13;
const VC: u64 = 29;

pub(crate) fn memory() {
    own_zeroed(FREE);
    poke(FREE + 8, 7);
    check(peek(FREE + 8) == 7 && peek(FREE) == 0, 20);
    // Back to the hypervisor: what was in it is lost.
    check(pvalidate(FREE, 0, false) == (0, false), 21);
    check(page_state(FREE, 2) == 0x015, 22);
    check(peek(SHARED + FREE + 8) != 7, 23);
    poke(SHARED + FREE + 8, 9);
    check(peek(SHARED + FREE + 8) == 9, 24);
}

pub(crate) fn pvalidate_codes() {
    check(pvalidate(FREE_HUGE + PAGE, 1, true).0 == 1, 21);
    check(page_state(FREE, 1) == 0x015 && page_state(FREE + PAGE, 1) == 0x015, 22);
    // Rescinding what is not validated changes nothing.
    check(pvalidate(FREE + PAGE, 0, false) == (0, true), 23);
    check(pvalidate(FREE, 0, true) == (0, false), 24);
    // Of ECX and EDX, bit 0 counts: Linux leaves in the others what was there.
    check(pvalidate(FREE, 0x6200, false) == (0, false), 28);
    check(
        probe!(".byte 0xf2, 0x0f, 0x01, 0xff", in("rax") FREE, in("rcx") 0x62u64 << 32, in("rdx") 0x6201u64).is_none(),
        29,
    );
    poke(FREE, 1);
    check(peek(FREE) == 1, 20);
    // 2 MiB asked for, the reverse map has 4 KiB.
    check(page_state(FREE_HUGE, 1) == 0x015, 25);
    check(pvalidate(FREE_HUGE, 1, true).0 == 6, 26);
    // An address without memory is the guest's page fault, if the guest's page tables do not map it.
    check(
        probe!(".byte 0xf2, 0x0f, 0x01, 0xff", in("rax") 0x123_0000_0000u64, in("rcx") 0u64, in("rdx") 1u64)
            .map(|raised| raised.0)
            == Some(14),
        27,
    );
}

/// RMPADJUST of a VMSA that can be run is refused, whatever it wants; without EFER.SVME it is done.
pub(crate) fn vmsa_in_use() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 19);
    guest::prepare(guest_by_msr);
    for (step, attributes) in [(20, guest::VMSA_READ), (21, 0x102), (22, 2), (23, FULL)] {
        check(rmpadjust(VMSA, 0, attributes) == 3, step);
    }
    check(msr_call(2 << 32 | 0x016) == 0x017, 24);
    let efer = peek(VMSA + field::EFER);
    poke(VMSA + field::EFER, efer & !0x1000);
    check(rmpadjust(VMSA, 0, 2) == 0 && rmpadjust(VMSA, 0, guest::VMSA_READ) == 0, 25);
    poke(VMSA + field::EFER, efer);
    check(msr_call(2 << 32 | 0x016) == 0x017 && peek(FREE) == 0x017, 26);
}

pub(crate) fn pvalidate_rescued() {
    own(FREE);
    check(pvalidate(FREE, 0, true) == (0, true), 20);
    // Rescinded and validated anew, the page is known to be the only one.
    check(pvalidate(FREE, 0, false) == (0, false), 21);
    check(pvalidate(FREE, 0, true) == (0, false), 22);
    poke(FREE, 1);
    // A page that was granted is VMPL2's to worry about.
    check(rmpadjust(FREE, 0, FULL) == 0, 23);
    check(pvalidate(FREE, 0, true) == (0, true), 24);
    check(peek(FREE) == 1, 25);
}

pub(crate) fn rmpadjust_codes() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 2, FULL) == 0, 20);
    check(rmpadjust(FREE, 0, 0xF04) == 1, 21);
    check(rmpadjust(FREE, 0, 0x1F02) == 1, 22);
    check(rmpadjust(FREE, 0, 1 << 17 | 2) == 1, 23);
    check(rmpadjust(FREE, 1, FULL) == 1, 24);
    check(rmpadjust(FREE_HUGE, 1, 0x1_0102) == 1, 25);
    check(page_state(FREE_HUGE, 1) == 0x015 && pvalidate(FREE_HUGE, 0, true) == (0, false), 26);
    check(rmpadjust(FREE_HUGE, 1, FULL) == 6, 27);
    for vmpl in 1..4 {
        check(rmpadjust(FREE, 0, 0xF00 | vmpl) == 0, 28);
    }
}

pub(crate) fn two_mebibytes() {
    let list = GHCB.at() + 0x800;
    poke(list, 0);
    poke(list + 8, FREE_HUGE | 1 << 52 | 1 << 56);
    check(GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 20);
    check(peek(list) & 0xFFFF == 1 && peek(list + 8) & 0xFFF == 512, 21);
    check(pvalidate(FREE_HUGE, 1, true) == (0, false), 22);
    check(rmpadjust(FREE_HUGE, 1, FULL) == 0, 23);
    poke(FREE_HUGE + 0x1F_F000, 5);
    // 4 KiB of it: the hypervisor splits the page, and the instruction goes on.
    check(rmpadjust(FREE_HUGE + PAGE, 0, 2) == 0, 24);
    check(rmpadjust(FREE_HUGE, 1, FULL) == 6, 25);
    check(peek(FREE_HUGE + 0x1F_F000) == 5, 26);
}

const MALFORMED: u64 = 2;

pub(crate) fn ghcb_refusals() {
    let refused = |back: Back, why: u64, step| check(back == Back(MALFORMED, why), step);
    refused(GHCB.exit(0x1234, 0, 0, &[]), 6, 20);
    refused(GHCB.exit(0x8000_1234, 0, 0, &[]), 6, 21);
    // The AP jump table, which OVMF asks for: no vCPU is started by it with SNP.
    refused(GHCB.exit(0x8000_0005, 1, 0, &[]), 6, 37);
    // CPUID wants RAX and RCX.
    refused(GHCB.exit(0x72, 0, 0, &[(RAX, 0)]), 4, 22);
    refused(GHCB.exit(0x72, 0, 0, &[(RAX, 0xD), (RCX, 0)]), 4, 23);
    // String I/O beyond the shared buffer, in private memory, and far away.
    refused(GHCB.exit(0x7B, 0x3F8_0014, 0x7F1, &[(SCRATCH, GHCB.0 + 0x800)]), 3, 24);
    refused(GHCB.exit(0x7B, 0x3F8_0014, 8, &[(SCRATCH, GHCB.0 + 0xFF0)]), 3, 25);
    refused(GHCB.exit(0x7B, 0x3F8_0014, 8, &[(SCRATCH, 0x80_0000_0000)]), 3, 26);
    refused(GHCB.exit(0x7B, 0x3F8_0014, 8, &[(SCRATCH, u64::MAX)]), 3, 27);
    refused(GHCB.exit(0x7B, 0x3F8_0070, 0, &[(RAX, 0)]), 5, 28);
    // MMIO where RAM is, where the machine is, and of a strange size.
    refused(GHCB.exit(0x8000_0001, FREE, 4, &[(SCRATCH, GHCB.0 + 0x800)]), 5, 29);
    refused(GHCB.exit(0x8000_0001, 0x1900_0000, 4, &[(SCRATCH, GHCB.0 + 0x800)]), 5, 30);
    refused(GHCB.exit(0x8000_0001, 0xFEE0_0030, 3, &[(SCRATCH, GHCB.0 + 0x800)]), 5, 31);
    // A GHCB of another form.
    GHCB.exit(0x72, 0, 0, &[(RAX, 0), (RCX, 0)]);
    GHCB.set(RAX, 0);
    GHCB.set(RCX, 0);
    GHCB.set(0x390, 0x72);
    poke(GHCB.at() + 0xFF8, 2 << 16 | 1 << 32);
    refused(GHCB.go(), 2, 32);
    // An MSR that is nobody's business is #GP for the guest.
    check(GHCB.exit(0x7C, 0, 0, &[(RCX, 0xC001_0117)]) == Back(1, 0x8000_0B0D), 33);
    refused(GHCB.exit(0x8000_0011, 0x30_2001, 0x30_3000, &[]), 5, 34);
    refused(GHCB.exit(0x8000_0011, 0x30_2000, 0x30_2000, &[]), 5, 35);
    refused(GHCB.exit(0x8000_0011, 0x80_0000_0000, 0x30_3000, &[]), 5, 36);
}

pub(crate) fn ghcb_services() {
    check(GHCB.exit(0x72, 0, 0, &[(RAX, 0x8000_001F), (RCX, 0)]) == Back(0, 0), 20);
    check(GHCB.get(RBX) & 0x3F == 47 && GHCB.get(RAX) & 0x12 == 0x12, 21);
    check(GHCB.exit(0x6E, 0, 0, &[]) == Back(0, 0), 22);
    let first = GHCB.get(RDX) << 32 | GHCB.get(RAX);
    check(GHCB.exit(0x87, 0, 0, &[]) == Back(0, 0), 23);
    check(GHCB.get(RDX) << 32 | GHCB.get(RAX) > first, 24);
    check(GHCB.exit(0x8000_FFFD, 0, 0, &[]) == Back(0, 0x3), 25);
    // The local APIC's version register, by MMIO; its base, by MSR.
    check(GHCB.exit(0x8000_0001, 0xFEE0_0030, 4, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 26);
    check(peek(GHCB.at() + 0x800) & 0xFF == 0x14, 27);
    poke(GHCB.at() + 0x800, 0xA0);
    check(GHCB.exit(0x8000_0002, 0xFEE0_0080, 4, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0), 28);
    check(
        GHCB.exit(0x8000_0001, 0xFEE0_0080, 4, &[(SCRATCH, GHCB.0 + 0x800)]) == Back(0, 0)
            && peek(GHCB.at() + 0x800) & 0xFF == 0xA0,
        29,
    );
    check(GHCB.exit(0x7C, 0, 0, &[(RCX, 0x1B)]) == Back(0, 0) && GHCB.get(RAX) & 0xFEE0_0000 == 0xFEE0_0000, 30);
    // One port, without string: the serial port's scratch register.
    GHCB.out(0x3FF, 1, 0x5A);
    check(GHCB.exit(0x7B, 0x3FF_0011, 0, &[]) == Back(0, 0) && GHCB.get(RAX) & 0xFF == 0x5A, 31);
    // VMMCALL is an unknown hypercall; APIC ids.
    check(GHCB.exit(0x81, 0, 0, &[(RAX, 1)]) == Back(0, 0) && GHCB.get(RAX).cast_signed() == -1000, 33);
    check(GHCB.exit(0x8000_0017, 0x30_6000, 0, &[(RAX, 1)]) == Back(0, 0) && peek(SHARED + 0x30_6000) == 1, 34);
    check(GHCB.exit(0x89, 0, 0, &[]) == Back(0, 0), 35);
    // The machine's own ports are not the guest's.
    GHCB.out(0xF4, 4, 0);
    GHCB.out(0xE9, 1, u64::from(b'!'));
}

pub(crate) fn msr_protocol() {
    let information = msr_call(0x002);
    check(information == 2 << 48 | 1 << 32 | 47 << 24 | 1, 20);
    check(msr_call(0x080) == 0x3 << 12 | 0x081, 21);
    // CPUID 8000_001F, EBX.
    let answer = msr_call(0x8000_001F << 32 | 1 << 30 | 0x004);
    check(answer & 0xFFF == 0x005 && answer >> 32 & 0x3F == 47, 22);
    check(msr_call(0x010) == !0xFFF | 0x011, 23);
    // Registration of what is no memory is refused.
    check(msr_call(0x7000_0000 | 0x012) == !0xFFF | 0x013, 24);
    // Page states: no memory, no such operation.
    check(page_state(0x7000_0000, 1) == 1 << 32 | 0x015, 25);
    check(page_state(FREE, 9) == 1 << 32 | 0x015, 26);
    // What nobody knows stays without an answer.
    check(msr_call(0x0F0) == 0x0F0, 27);
    check(sys::rdmsr(0xC001_0131) == 7, 28);
}

pub(crate) fn page_state_list() {
    let list = GHCB.at() + 0x800;
    let go = || GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]);
    poke(list, 2 << 16);
    for index in 0..3 {
        poke(list + 8 + 8 * index, (FREE + index * PAGE) | 1 << 52);
    }
    check(go() == Back(0, 0) && peek(list) & 0xFFFF == 3, 20);
    (0..3).for_each(|index| check(pvalidate(FREE + index * PAGE, 0, true) == (0, false), 21));
    // Done already: nothing is left to do.
    check(go() == Back(0, 0), 22);
    // A header and an entry that make no sense.
    poke(list, 253 << 16);
    check(go() == Back(0, 1 << 32 | 1), 23);
    poke(list, 0);
    poke(list + 8, 0x7000_0000 | 1 << 52);
    check(go() == Back(0, 1 << 32 | 2) && peek(list) & 0xFFFF == 0, 24);
}

pub(crate) fn ap_creation() {
    own_zeroed(VMSA);
    guest::fill_vmsa(VMSA, guest::done);
    let create = |info1: u64, vmsa: u64, features: u64| GHCB.exit(0x8000_0013, info1, vmsa, &[(RAX, features)]);
    let refused = Back(MALFORMED, 5);
    // Another APIC id, VMPL0, no VMPL, no page, other features, no such request.
    check(create(1 << 32 | 2 << 16, VMSA, 1) == refused, 20);
    check(create(0, VMSA, 1) == refused, 21);
    check(create(4 << 16, VMSA, 1) == refused, 22);
    check(create(2 << 16, VMSA + 8, 1) == refused, 23);
    check(create(2 << 16, VMSA, 3) == refused, 24);
    check(create(2 << 16 | 7, VMSA, 1) == refused, 25);
    check(create(2 << 16, 0x7000_0000, 1) == refused, 26);
    check(create(2 << 16, VMSA, 1) == Back(0, 0), 27);
    check(create(2 << 16 | 2, VMSA, 1) == Back(0, 0), 28);
}

pub(crate) fn vc_codes() {
    let code = |raised: sys::Raised| raised.filter(|raised| raised.0 == VC).map(|raised| raised.1);
    check(code(probe!("cpuid", in("rax") 0u64, in("rcx") 0u64)) == Some(0x72), 20);
    check(code(probe!("in al, dx", in("rdx") 0x3F8u64)) == Some(0x7B), 21);
    check(code(probe!("out dx, al", in("rdx") 0x3FFu64)) == Some(0x7B), 22);
    check(code(probe!("rdmsr", in("rcx") 0x1Bu64)) == Some(0x7C), 23);
    check(code(probe!("wrmsr", in("rcx") 0x8Bu64, in("rax") 0u64, in("rdx") 0u64)) == Some(0x7C), 24);
    check(code(probe!("vmmcall")) == Some(0x81), 25);
    // A device: nested page fault.
    check(code(probe!("mov eax, [rdx]", in("rdx") 0xFEE0_0030u64)) == Some(0x400), 26);
    check(code(probe!("mov [rdx], eax", in("rdx") 0xFEE0_0080u64)) == Some(0x400), 27);
    // MSRs of the VMSA do not exit; writing SEV_STATUS is #GP.
    check(probe!("rdmsr", in("rcx") 0xC000_0080u64).is_none(), 28);
    check(
        probe!("wrmsr", in("rcx") 0xC001_0131u64, in("rax") 0u64, in("rdx") 0u64).map(|raised| raised.0) == Some(GP),
        29,
    );
    check(probe!("ud2").map(|raised| raised.0) == Some(6), 30);
}

pub(crate) fn vc_change_of_cpl() {
    let on = |top: u64, raised: sys::Raised| {
        raised.is_some_and(|(vector, code, stack)| vector == VC && code == 0x72 && (top - 48..top).contains(&stack))
    };
    check(on(sys::vc_stack_top(), sys::cpuid_in_ring_3()), 20);
    check(on(sys::vc_stack_top(), probe!("cpuid")), 21);
    install_exceptions(0);
    check(on(sys::ring0_stack_top(), sys::cpuid_in_ring_3()), 22);
}

pub(crate) fn vc_without_ist() {
    install_exceptions(0);
    let raised = probe!("cpuid", in("rax") 0u64, in("rcx") 0u64);
    let here = &raw const raised as u64;
    // On the stack that was in use, aligned, 40 bytes of frame left after the error code.
    check(raised.is_some_and(|(vector, _, stack)| vector == VC && here.abs_diff(stack) < 4096 && stack % 16 == 8), 20);
}

pub(crate) fn vc_32_bit() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::grant_image();
    own_zeroed(VMSA);
    guest::fill_vmsa(VMSA, guest::done);
    guest::make_32_bit(VMSA, FREE);
    check(rmpadjust(VMSA, 0, guest::VMSA_READ) == 0 && guest::register(VMSA) == Back(0, 0), 21);
    check(guest::run() == Back(0, 0), 22);
    check(peek(FREE) == 0x600D_0000_0072, 23);
}

/// An interrupt wakes a halted processor and goes straight to the guest's handler.
pub(crate) fn halt_until_interrupt() {
    let apic = |register: u64, value: u64| {
        poke(GHCB.at() + 0x800, value);
        let back = GHCB.exit(0x8000_0002, 0xFEE0_0000 + register, 4, &[(SCRATCH, GHCB.0 + 0x800)]);
        check(back == Back(0, 0), 20);
    };
    // What the BIOS has left open is closed: nothing but the timer below wakes the processor.
    // Enabled by the spurious-interrupt register; timer: vector 64, once, divided by 1.
    for (register, value) in [(0xF0, 0x1FF), (0x3E0, 0xB), (0x320, 64), (0x380, 1_000_000)] {
        apic(register, value);
    }
    let raised = probe!("sti; hlt; nop");
    check(raised.is_some_and(|raised| raised.0 == 64), 21);
    apic(0xB0, 0);
}

pub(crate) fn rdseed() {
    let (mut first, mut second): (u64, u64) = (0, 0);
    let (mut carry_first, mut carry_second): (u8, u8) = (0, 0);
    sys::rdseed(&mut first, &mut carry_first);
    sys::rdseed(&mut second, &mut carry_second);
    check(first != second && carry_first == 1 && carry_second == 1, 20);
}

pub(crate) fn launch_pages() {
    // CPUID: a count, and leaf 8000_001F with the C-bit.
    let count = peek(cpuid_page()) & 0xFFFF_FFFF;
    check((1..=64).contains(&count), 20);
    let entry =
        (0..count).map(|index| cpuid_page() + 16 + 48 * index).find(|entry| peek(*entry) & 0xFFFF_FFFF == 0x8000_001F);
    check(entry.is_some_and(|entry| peek(entry + 0x18) >> 32 & 0x3F == 47), 21);
    // Secrets: version 3, four keys that differ and are not zero.
    let key = |n: u64| peek(secrets_page() + 0x20 + 32 * n);
    check(peek(secrets_page()) & 0xFFFF_FFFF == 3, 22);
    for n in 0..4 {
        check(key(n) != 0 && (0..n).all(|other| key(other) != key(n)), 23);
    }
    // Memory map: low memory is RAM, the firmware's own is not in it.
    let ranges = |index: u64| (peek(memory_map() + 24 * index), peek(memory_map() + 24 * index + 8));
    check((0..8).any(|index| ranges(index).0 <= 0x200 && ranges(index).0 + ranges(index).1 > 0x1_0000), 24);
    check((0..8).all(|index| ranges(index).0 < 0x800_0000), 25);
}

pub(crate) fn launch_map() {
    // As QEMU has it: low memory is one range, across video memory and BIOS, which no page state change reaches.
    check(peek(memory_map()) == 0 && peek(memory_map() + 8) > 0x1000, 20);
    for gpa in [0xA_0000, 0xB_8000, 0xC_0000, 0xF_F000] {
        check(page_state(gpa, 1) == 1 << 32 | 0x015, 21);
    }
    own_zeroed(0x9_F000);
}

/// The image that has asked for it has ACPI's table of interrupt controllers behind the memory map: one processor, one
/// I/O APIC.
pub(crate) fn launch_madt() {
    let mut table = [0; 64];
    sys::peek_bytes(memory_map() + 0xF00, &mut table);
    check(table.starts_with(b"APIC\x40\0\0\0"), 20);
    check(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0, 21);
    check(table[44..54] == [0, 8, 0, 0, 1, 0, 0, 0, 1, 12], 22);
}

pub(crate) fn required_memory() {
    // Behind what this program has validated: private, not validated, and not zeroed.
    let page = sys::image_end();
    check(pvalidate(page, 0, true) == (0, false), 20);
    check((0..PAGE).step_by(8).all(|offset| peek(page + offset) != 0), 21);
    // It was private, so there is nothing that the hypervisor would have to do.
    check(page_state(page - 0x4000_0000 + 0x80_0000_0000 + PAGE, 1) == 0x015, 22);
    check(pvalidate(page + PAGE, 0, true) == (0, false), 23);
}

/// The host's suite has added a page without contents 7 MiB into the firmware's memory.
pub(crate) fn empty_page() {
    let page = 0x4070_0000;
    check((0..PAGE).step_by(8).all(|offset| peek(page + offset) == 0), 20);
    check(pvalidate(page, 0, false) == (0, false), 21);
}

pub(crate) fn memory_map_ram() {
    let end = (0..8).map(|index| peek(memory_map() + 24 * index) + peek(memory_map() + 24 * index + 8)).max();
    check(end == Some(64 << 8), 20);
    check(page_state(64 << 20, 1) == 1 << 32 | 0x015, 21);
    own_zeroed((64 << 20) - PAGE);
}

fn guest_counts() -> ! {
    GUEST_GHCB.register();
    for turn in 1..4 {
        poke(FREE, turn);
        check(guest::back() == Back(0, 0), 90);
    }
    guest::done()
}

pub(crate) fn run_vmpl() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(guest_counts);
    for turn in 1..4 {
        check(guest::run() == Back(0, 0), 21);
        check(peek(FREE) == turn, 22);
        // What VMPL0 must look at before it serves a call.
        check(peek(VMSA + field::EXIT_CODE) == 0x403, 23);
    }
}

fn guest_by_msr() -> ! {
    poke(FREE, msr_call(0x016));
    loop {
        poke(FREE, msr_call(0x016) + 1);
    }
}

pub(crate) fn run_vmpl_by_msr() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(guest_by_msr);
    for expected in [0, 0x017, 0x018] {
        check(msr_call(2 << 32 | 0x016) == 0x017, 21);
        check(peek(FREE) == expected, 22);
    }
}

fn guest_is_refused() -> ! {
    GUEST_GHCB.register();
    let mut results = 0;
    // PVALIDATE is VMPL0's alone; RMPADJUST of VMPL1 and VMPL2 is not for VMPL2, nor the VMSA attribute; VMPL3 is.
    let raised = probe!(".byte 0xf2, 0x0f, 0x01, 0xff", in("rax") FREE, in("rcx") 0u64, in("rdx") 1u64);
    results |= u64::from(raised.is_some_and(|raised| raised.0 == GP));
    results |= u64::from(rmpadjust(FREE, 0, 0xF01) == 2) << 1;
    results |= u64::from(rmpadjust(FREE, 0, FULL) == 2) << 2;
    results |= u64::from(rmpadjust(FREE, 0, 0x1_0103) == 2) << 3;
    results |= u64::from(rmpadjust(FREE, 0, 0xF03) == 0) << 4;
    // Run-VMPL of a VMPL that has no VMSA; of its own; of none.
    for (bit, vmpl) in [(5, 1), (6, 2), (7, 3), (8, 4), (9, 1 << 40)] {
        results |= u64::from(GUEST_GHCB.exit(0x8000_0018, vmpl, 0, &[]) == Back(MALFORMED, 5)) << bit;
    }
    results |= u64::from(msr_call(3 << 32 | 0x016) == 1 << 32 | 0x017) << 10;
    // AP creation of a more privileged VMPL and of its own.
    for (bit, vmpl) in [(11, 0), (12, 1), (13, 2)] {
        let back = GUEST_GHCB.exit(0x8000_0013, vmpl << 16, VMSA, &[(RAX, 1)]);
        results |= u64::from(back == Back(MALFORMED, 5)) << bit;
    }
    results |= u64::from(probe!("vmload rax", in("rax") 0u64).is_some_and(|raised| raised.0 == 6)) << 14;
    poke(FREE, results);
    guest::done()
}

pub(crate) fn guest_refusals() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(guest_is_refused);
    check(guest::run() == Back(0, 0), 21);
    let results = peek(FREE);
    (0..15).for_each(|bit| check(results >> bit & 1 == 1, 30 + bit as u8));
}

fn guest_reaches_out() -> ! {
    GUEST_GHCB.register();
    let mut results = 0;
    let gp = |raised: sys::Raised| u64::from(raised.is_some_and(|raised| raised.0 == GP && raised.1 == 0));
    results |= gp(probe!("mov rax, [rdx]", in("rdx") secrets_page()));
    results |= gp(probe!("mov [rdx], rax", in("rdx") secrets_page())) << 1;
    results |= gp(probe!("mov [rdx], rax", in("rdx") VMSA)) << 2;
    results |= gp(probe!("mov rax, [rdx]", in("rdx") SHARED + FREE)) << 3;
    results |= gp(probe!("call rdx", in("rdx") FREE + PAGE)) << 4;
    // What was granted: read its own VMSA.
    results |= u64::from(probe!("mov rax, [rdx]", in("rdx") VMSA).is_none()) << 5;
    poke(FREE, results);
    guest::done()
}

pub(crate) fn guest_faults() {
    own_zeroed(FREE);
    own_zeroed(FREE + PAGE);
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    // Read and write, no execute.
    check(rmpadjust(FREE + PAGE, 0, 0x302) == 0, 21);
    guest::prepare(guest_reaches_out);
    check(guest::run() == Back(0, 0), 22);
    let results = peek(FREE);
    (0..6).for_each(|bit| check(results >> bit & 1 == 1, 30 + bit as u8));
}
