//! CREATE_VCPU with each bit of a register state flipped. What is wanted is written here in offsets of APM volume 2,
//! table B-4, and not taken from the code that judges.

use std::vec::Vec;

use crate::mm::ownership::Owner;
use crate::svsm::request::{Stop, after_stop};
use crate::testing::{GIVEN, PROCESSORS, Scene};

const CREATE: u64 = 2;
const DELETE: u64 = 3;
const INVALID_PARAMETER: u64 = 0x8000_0005;
const VMSA: u64 = GIVEN + 0x1_1000;
const AREA: u64 = GIVEN + 0x1_2000;
const BITS: usize = 8 * 4096;

type Page = [u8; 4096];

/// What Linux and OVMF have in common: a processor at the vector of a startup IPI (page 0x9F). `cr0`: they differ.
fn starting(cr0: u64) -> Page {
    let mut page = [0; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    for (at, selector, attributes, base) in [
        (0x00, 0_u16, 0x93_u16, 0_u64),
        (0x10, 0x9F00, 0x9B, 0x9_F000),
        (0x20, 0, 0x93, 0),
        (0x30, 0, 0x93, 0),
        (0x40, 0, 0x93, 0),
        (0x50, 0, 0x93, 0),
        (0x60, 0, 0, 0),
        (0x70, 0, 0x82, 0),
        (0x80, 0, 0, 0),
        (0x90, 0, 0x8B, 0),
    ] {
        put(at, &selector.to_le_bytes());
        put(at + 2, &attributes.to_le_bytes());
        put(at + 4, &0xFFFF_u32.to_le_bytes());
        put(at + 8, &base.to_le_bytes());
    }
    put(0xCA, &[2]);
    for (at, value) in [
        (0x0D0, 0x1000_u64),
        (0x148, 0x40),
        (0x158, cr0),
        (0x160, 0x400),
        (0x168, 0xFFFF_0FF0),
        (0x170, 2),
        (0x178, 0x10),
        (0x268, 0x0007_0406_0007_0406),
        (0x3B0, 1),
        (0x3E8, 1),
        (0x408, 0x5555 << 32 | 0x1F80),
        (0x410, 0x40),
    ] {
        put(at, &value.to_le_bytes());
    }
    page
}

/// Linux and OVMF.
fn bases() -> [Page; 2] {
    [starting(0x6000_0010), starting(0x10)]
}

/// Whether the state with this bit flipped must be refused: another VMPL; SEV_FEATURES but those that concern only the
/// guest itself (3 restricted injection, 5 debug registers, 6 IBS, 7 BTB isolation, 8 shadow stacks); EFER.SVME;
/// VIRTUAL_TOM.
fn is_forbidden(bit: usize) -> bool {
    match (bit / 8, bit % 8) {
        (0xCA, _) | (0x3C8..0x3D0, _) => true,
        (0x3B0, bit) => !matches!(bit, 3 | 5 | 6 | 7),
        (0x3B1, bit) => bit != 0,
        (0x3B2..0x3B8, _) => true,
        (0xD1, bit) => bit == 4,
        _ => false,
    }
}

/// What is wrong with how CREATE_VCPU takes this page, which must be refused or not.
fn judge(scene: &mut Scene, page: &Page, forbidden: bool) -> Result<(), &'static str> {
    scene.machine.place(VMSA, page);
    let code = scene.call(CREATE, [VMSA, AREA, PROCESSORS[1].into(), 0]).rax;
    let is_as_offered = |scene: &Scene| scene.machine.bytes(VMSA, 4096) == page;
    if forbidden {
        scene.machine.assert_granted(VMSA);
        return match code {
            INVALID_PARAMETER if scene.map().owner(VMSA) != Owner::Guest => Err("refused, and not the guest's"),
            INVALID_PARAMETER if !is_as_offered(scene) => Err("refused, and changed"),
            INVALID_PARAMETER => Ok(()),
            _ => Err("not refused"),
        };
    }
    if code != 0 {
        return Err("refused");
    }
    // What can be run is what was judged: of VMPL2, with the features that VMPL2 has, and read only for it.
    scene.machine.assert_vmsa(VMSA);
    let is_limited = page[0xCA] == 2 && page[0xD1] & 0x10 != 0 && page[0x3B0] & 1 == 1 && page[0x3B0] & 0x16 == 0;
    if !is_as_offered(scene) || !is_limited || page[0x3C8..0x3D0] != [0; 8] {
        return Err("what can be run is not what was judged");
    }
    // The processor looks at it before it has run: there is no call, whatever it says.
    scene.apic_id = PROCESSORS[1];
    let stop = after_stop(&mut scene.parts());
    scene.apic_id = PROCESSORS[0];
    if stop != Stop::NoCall || !is_as_offered(scene) {
        return Err("it was served");
    }
    match scene.call(DELETE, [VMSA, 0, 0, 0]).rax {
        0 => scene.machine.assert_granted_zeroed(VMSA),
        _ => return Err("it cannot be deleted"),
    }
    Ok(())
}

#[test]
fn every_bit_of_a_register_state() {
    let mut scene = Scene::new();
    for base in bases() {
        judge(&mut scene, &base, false).unwrap();
        let mut forbidden = 0;
        for bit in 0..BITS {
            let mut page = base;
            page[bit / 8] ^= 1 << (bit % 8);
            forbidden += u32::from(is_forbidden(bit));
            judge(&mut scene, &page, is_forbidden(bit))
                .unwrap_or_else(|why| panic!("bit {} at {:#x}: {why}", bit % 8, bit / 8));
        }
        // 8 of VMPL, 59 of SEV_FEATURES, 64 of VIRTUAL_TOM, EFER.SVME.
        assert_eq!(forbidden, 132);
    }
}

/// All bits of a field at once, and all values of the small ones: nothing that is refused in one bit is taken in two.
#[test]
fn every_value_of_the_fields_that_are_judged() {
    let mut scene = Scene::new();
    let [base, _] = bases();
    let with = |at: usize, value: u64| {
        let mut page = base;
        page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        page
    };
    for vmpl in (0..=255).filter(|vmpl| *vmpl != 2) {
        let mut page = base;
        page[0xCA] = vmpl;
        judge(&mut scene, &page, true).unwrap_or_else(|why| panic!("VMPL {vmpl}: {why}"));
    }
    for features in 0..=0xFFFF_u64 {
        let allowed = features & 1 == 1 && features & !0x1E9 == 0;
        judge(&mut scene, &with(0x3B0, features), !allowed).unwrap_or_else(|why| panic!("{features:#x}: {why}"));
    }
    for (at, value) in [(0xD0, 0), (0xD0, !0x1000), (0x3C8, u64::MAX), (0x3B0, 0), (0x3B0, u64::MAX)] {
        judge(&mut scene, &with(at, value), true).unwrap_or_else(|why| panic!("{value:#x} at {at:#x}: {why}"));
    }
}

/// A state that says of itself that it has made a call, with the byte that says so, too: it is one, with the registers
/// that the guest has put there, and no more than one.
#[test]
fn a_register_state_may_begin_with_a_call() {
    let mut scene = Scene::new();
    let [mut page, _] = bases();
    page[0x3C0..0x3C2].copy_from_slice(&0x403_u16.to_le_bytes());
    // QUERY_PROTOCOL of the core protocol, version 1.
    page[0x1F8] = 6;
    page[0x308] = 1;
    scene.machine.place(VMSA, &page);
    assert_eq!(scene.call(CREATE, [VMSA, AREA, PROCESSORS[1].into(), 0]).rax, 0);
    scene.machine.place(AREA, &[1]);
    scene.apic_id = PROCESSORS[1];
    assert_eq!(after_stop(&mut scene.parts()), Stop::Served);
    let registers: Vec<u8> = scene.machine.bytes(VMSA + 0x308, 8);
    assert_eq!(registers, [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(after_stop(&mut scene.parts()), Stop::NoCall);
}
