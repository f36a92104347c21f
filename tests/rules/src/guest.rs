//! A context at VMPL2, in this program's own address space.

use crate::hypervisor::{Back, GHCB, GUEST_GHCB, RAX, check, own_zeroed};
use crate::sys::{
    PAGE, first_gdt, guest_entry, guest_stack_top, guest32, handler32, image_end, image_start, low_end, low_start,
    pml4, poke, poke_bytes, rmpadjust, tables,
};

/// Where the VMSA is: not at a multiple of 2 MiB.
pub(crate) const VMSA: u64 = 0x20_3000;
/// RMPADJUST's operand for VMPL2 with all permissions.
pub(crate) const FULL: u64 = 0xF02;
/// The same for a VMSA page: read, and the attribute.
pub(crate) const VMSA_READ: u64 = 0x1_0102;

/// Fields of the VMSA that cases change.
pub(crate) mod field {
    /// u8.
    pub(crate) const VMPL: u64 = 0xCA;
    /// u64.
    pub(crate) const EFER: u64 = 0xD0;
    /// u64.
    pub(crate) const CR0: u64 = 0x158;
    /// u64.
    pub(crate) const SEV_FEATURES: u64 = 0x3B0;
    /// u64.
    pub(crate) const EXIT_CODE: u64 = 0x3C0;
}

/// Grants this program's code, data and page tables to VMPL2, not its secrets page.
pub(crate) fn grant_image() {
    for (start, end) in [(low_start(), low_end()), (image_start(), image_end())] {
        (start..end).step_by(PAGE as usize).for_each(|page| check(rmpadjust(page, 0, FULL) == 0, 10));
    }
}

/// Fills a VMSA page: VMPL2 begins with `function`.
pub(crate) fn fill_vmsa(page: u64, function: fn() -> !) {
    let (gdt, idt, tss) = tables();
    let segment = |offset: u64, selector: u64, attributes: u64, limit: u64, base: u64| {
        poke(page + offset, selector | attributes << 16 | limit << 32);
        poke(page + offset + 8, base);
    };
    for offset in [0x00, 0x20, 0x30] {
        segment(offset, 0x10, 0xC93, 0xFFFF_FFFF, 0);
    }
    segment(0x10, 0x08, 0xA9B, 0xFFFF_FFFF, 0);
    segment(0x60, 0, 0, 55, gdt);
    segment(0x80, 0, 0, 1039, idt);
    segment(0x90, 0x28, 0x8B, 0x67, tss);
    poke_bytes(page + field::VMPL, &[2]);
    let fields = [
        // SVME, NXE, LMA, LME.
        (field::EFER, 0x1D00),
        (0x148, 0x620),
        (0x150, pml4() | 1 << 47),
        (field::CR0, 0x8000_0033),
        (0x160, 0x400),
        (0x168, 0xFFFF_0FF0),
        (0x170, 2),
        (0x178, guest_entry()),
        (0x1D8, guest_stack_top() - 8),
        (0x268, 0x0007_0406_0007_0406),
        (0x338, function as usize as u64),
        (field::SEV_FEATURES, 1),
        (0x3E8, 1),
        (0x408, 0x1F80 | 0x5555 << 32),
        (0x410, 0x40),
    ];
    fields.iter().for_each(|(offset, value)| poke(page + offset, *value));
}

/// Makes of a filled VMSA one in 32-bit protected mode with paging off; its IDT is in the page `idt`, its stack behind,
/// EDI points there.
pub(crate) fn make_32_bit(page: u64, idt: u64) {
    let handler = handler32();
    poke(idt + 29 * 8, handler & 0xFFFF | 0x18 << 16 | 0x8E00 << 32 | (handler >> 16) << 48);
    poke(page + 0x10, 0x18 | 0xC9B << 16 | 0xFFFF_FFFF << 32);
    poke(page + 0x60, 31 << 32);
    poke(page + 0x68, first_gdt());
    poke(page + 0x80, (30 * 8 - 1) << 32);
    poke(page + 0x88, idt);
    let fields = [
        (field::EFER, 0x1000),
        (0x148, 0),
        (0x150, 0),
        (field::CR0, 0x31),
        (0x178, guest32()),
        (0x1D8, idt + PAGE),
        (0x338, idt),
    ];
    fields.iter().for_each(|(offset, value)| poke(page + offset, *value));
}

/// Everything that VMPL2 needs, in order.
pub(crate) fn prepare(function: fn() -> !) {
    grant_image();
    own_zeroed(VMSA);
    fill_vmsa(VMSA, function);
    check(rmpadjust(VMSA, 0, VMSA_READ) == 0, 11);
    check(register(VMSA) == Back(0, 0), 12);
}

/// AP creation: names the VMSA of VMPL2.
pub(crate) fn register(vmsa: u64) -> Back {
    GHCB.exit(0x8000_0013, 2 << 16, vmsa, &[(RAX, 1)])
}

/// Runs VMPL2, until it or the host comes back.
pub(crate) fn run() -> Back {
    GHCB.exit(0x8000_0018, 2, 0, &[])
}

/// At VMPL2: back to VMPL0.
pub(crate) fn back() -> Back {
    GUEST_GHCB.exit(0x8000_0018, 0, 0, &[])
}

/// At VMPL2: back to VMPL0, for ever.
pub(crate) fn done() -> ! {
    loop {
        back();
    }
}
