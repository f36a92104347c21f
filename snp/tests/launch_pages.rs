//! The CPUID page and the VMSA.

use proptest::prelude::*;
use snp::cpuid::{CpuState, CpuidError, CpuidRegisters, CpuidTable};
use snp::rmp::Vmpl;
use snp::vmsa::{Vmsa, VmsaError, features, guest_features};
use snp::{PAGE_SIZE, Page};
use zerocopy::{FromZeros, IntoBytes};

/// leaf, subleaf, eax, ebx, ecx, edx.
type Row = [u32; 6];

const SEV: Row = [0x8000_001F, 0, 0x1A, 51 | 1 << 6, 0, 0];

/// A page of the layout in svsm-snp.md 2.11.
fn page(rows: &[Row]) -> Page {
    let mut page = [0; PAGE_SIZE];
    page[..4].copy_from_slice(&u32::try_from(rows.len()).unwrap().to_le_bytes());
    for (index, row) in rows.iter().enumerate() {
        for (offset, word) in [0, 4, 0x18, 0x1C, 0x20, 0x24].into_iter().zip(row) {
            let at = 0x10 + 48 * index + offset;
            page[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    page
}

const STATE: CpuState = CpuState { apic_id: 0x1_23, osxsave: false, pke: false, xcr0: 1, xss: 0 };

fn lookup(rows: &[Row], leaf: u32, subleaf: u32, state: &CpuState) -> Option<[u32; 4]> {
    let table = CpuidTable::parse(&page(rows)).expect("well formed");
    table.lookup(leaf, subleaf, state).map(|CpuidRegisters { eax, ebx, ecx, edx }| [eax, ebx, ecx, edx])
}

#[test]
fn values_come_from_the_page() {
    let rows = [SEV, [0, 0, 0xD, 1, 2, 3], [7, 0, 1, 2, 3, 4], [7, 1, 5, 6, 7, 8]];
    assert_eq!(lookup(&rows, 0, 0, &STATE), Some([0xD, 1, 2, 3]));
    assert_eq!(lookup(&rows, 0, 99, &STATE), Some([0xD, 1, 2, 3]), "leaf 0 has no subleaves");
    assert_eq!(lookup(&rows, 7, 1, &STATE), Some([5, 6, 7, 8]));
    assert_eq!(lookup(&rows, 7, 2, &STATE), Some([0; 4]), "leaf 7 has");
}

#[test]
fn missing_leaves_are_zero_within_the_limits_and_none_beyond() {
    let rows = [SEV, [0, 0, 0xD, 0, 0, 0], [0x8000_0000, 0, 0x8000_0020, 0, 0, 0]];
    for (leaf, expected) in [
        (5, Some([0; 4])),
        (0xD, Some([0; 4])),
        (0xE, None),
        (0x8000_0020, Some([0; 4])),
        (0x8000_0021, None),
        (0x4000_0000, None),
        (0xC000_0000, None),
        (u32::MAX, None),
    ] {
        assert_eq!(lookup(&rows, leaf, 0, &STATE), expected, "leaf {leaf:#x}");
    }
}

#[test]
fn what_depends_on_the_cpu_comes_from_the_cpu() {
    let ones = u32::MAX;
    let rows =
        [SEV, [1, 0, 0, ones, ones, 0], [7, 0, 0, 0, ones, 0], [0xB, 0, 0, 0, 0, 9], [0x8000_001E, 0, 9, 0, 0, 0]];
    assert_eq!(lookup(&rows, 1, 0, &STATE), Some([0, 0x23FF_FFFF, ones & !(1 << 27), 0]));
    assert_eq!(lookup(&rows, 7, 0, &STATE), Some([0, 0, ones & !(1 << 4), 0]));
    assert_eq!(lookup(&rows, 0xB, 0, &STATE), Some([0, 0, 0, 0x123]));
    assert_eq!(lookup(&rows, 0x8000_001E, 0, &STATE), Some([0x123, 0, 0, 0]));
    let on = CpuState { osxsave: true, pke: true, ..STATE };
    assert_eq!(lookup(&[SEV, [1, 0, 0, 0, 0, 0]], 1, 0, &on), Some([0, 0x2300_0000, 1 << 27, 0]));
    assert_eq!(lookup(&[SEV, [7, 0, 0, 0, 0, 0]], 7, 0, &on), Some([0, 0, 1 << 4, 0]));
}

/// Leaf 0xD EBX: AVX state of 256 bytes at 576, PKRU of 8 at 2688; compacted, a supervisor state of 16 bytes aligned to
/// 64.
#[test]
fn save_area_sizes_are_computed() {
    let rows = [
        SEV,
        [0xD, 0, 0x207, 9, 9, 0],
        [0xD, 1, 0xF, 9, 0, 0],
        [0xD, 2, 256, 576, 0, 0],
        [0xD, 9, 8, 2688, 0, 0],
        [0xD, 11, 16, 0, 3, 0],
    ];
    let size = |subleaf, xcr0, xss| lookup(&rows, 0xD, subleaf, &CpuState { xcr0, xss, ..STATE }).expect("there")[1];
    assert_eq!(
        [size(0, 1, 0), size(0, 3, 0), size(0, 7, 0), size(0, 0x207, 0), size(0, 0x203, 0)],
        [576, 576, 832, 2696, 2696]
    );
    assert_eq!([size(1, 7, 0), size(1, 0x207, 0), size(1, 0x207, 0x800), size(1, 1, 0x800)], [832, 840, 912, 592]);
}

#[test]
fn every_count_of_16_bits_is_judged() {
    let rows: Vec<Row> = (0..63).map(|leaf| [leaf, 0, 0, 0, 0, 0]).chain([SEV]).collect();
    for count in 0..=0xFFFF_u32 {
        let mut page = page(&rows);
        page[..4].copy_from_slice(&count.to_le_bytes());
        let got = CpuidTable::parse(&page).map(|table| table.entries().len());
        match count {
            64 => assert_eq!(got, Ok(64)),
            1..64 => assert_eq!(got, Err(CpuidError::CBit), "the SEV leaf is the last"),
            _ => assert_eq!(got, Err(CpuidError::Count(count))),
        }
    }
}

fn verdict(rows: &[Row]) -> Result<(), CpuidError> {
    CpuidTable::parse(&page(rows)).map(drop)
}

/// QEMU lists leaf 4 by its subleaves.
#[test]
fn subleaves_of_a_leaf_are_no_contradiction() {
    for leaf in [4, 7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x18, 0x1F, 0x24, 0x8000_001D, 0x8000_0020, 0x8000_0026] {
        let rows = [[leaf, 0, 1, 0, 0, 0], SEV, [0, 0, 0x40, 0, 0, 0], [leaf, 1, 2, 0, 0, 0], [leaf, 2, 3, 0, 0, 0]];
        assert_eq!(verdict(&rows), Ok(()), "leaf {leaf:#x}");
        let eax = |subleaf| lookup(&rows, leaf, subleaf, &STATE).map(|found| found[0]);
        assert_eq!([eax(0), eax(1), eax(2)], [Some(1), Some(2), Some(3)], "leaf {leaf:#x}");
        let again = [SEV, [leaf, 1, 2, 0, 0, 0], [leaf, 1, 3, 0, 0, 0]];
        assert_eq!(verdict(&again), Err(CpuidError::Contradiction { leaf, subleaf: 1 }));
    }
}

#[test]
fn what_repeats_is_taken_and_what_contradicts_is_refused() {
    let leaves = [0, 1, 2, 4, 7, 0xB, 0xD, 0x21, 0x4000_0000, 0x8000_0001, 0x8000_001D, 0x8000_001E];
    for leaf in leaves {
        let row = [leaf, 0, 1, 2, 3, 4];
        assert_eq!(verdict(&[SEV, row, row, [5, 0, 0, 0, 0, 0], row]), Ok(()), "leaf {leaf:#x} repeats");
        for word in 2..6 {
            let mut other = row;
            other[word] ^= 0x8000;
            let expected = Err(CpuidError::Contradiction { leaf, subleaf: 0 });
            assert_eq!(verdict(&[SEV, row, [5, 0, 0, 0, 0, 0], other]), expected, "leaf {leaf:#x} word {word}");
        }
    }
    assert_eq!(verdict(&[SEV; 64]), Ok(()));
    // A leaf without subleaves is the same question whatever ECX is.
    let expected = Err(CpuidError::Contradiction { leaf: 1, subleaf: 5 });
    assert_eq!(verdict(&[SEV, [1, 0, 0, 0, 0, 0], [1, 5, 1, 0, 0, 0]]), expected);
    assert_eq!(verdict(&[SEV, [1, 0, 9, 0, 0, 0], [1, 5, 9, 0, 0, 0]]), Ok(()));
}

/// XCR0 and XSS tell entries apart for the sizes of the save area, and for nothing else.
#[test]
fn an_entry_for_another_xcr0_is_another_only_for_the_save_area() {
    for (leaf, subleaf, other) in [(0xD, 0, true), (0xD, 1, true), (0xD, 2, false), (1, 0, false), (7, 0, false)] {
        let mut page = page(&[SEV, [leaf, subleaf, 1, 0, 0, 0], [leaf, subleaf, 2, 0, 0, 0]]);
        page[0x10 + 48 + 8] = 3;
        let expected = if other { Ok(()) } else { Err(CpuidError::Contradiction { leaf, subleaf }) };
        assert_eq!(CpuidTable::parse(&page).map(drop), expected, "leaf {leaf:#x}, {subleaf}");
    }
}

#[test]
fn entries_come_in_any_order() {
    let mut rows: Vec<Row> = (0..63_u32).map(|leaf| [leaf * 29 % 63, 0, leaf * 29 % 63 + 1, 0, 0, 0]).collect();
    rows.insert(31, SEV);
    rows.reverse();
    assert_eq!(rows.len(), 64);
    for leaf in 2..63 {
        assert_eq!(lookup(&rows, leaf, 0, &STATE).map(|found| found[0]), Some(leaf + 1));
    }
}

#[test]
fn reserved_bytes_are_refused() {
    for offset in (4..16).chain(0x10 + 0x28..0x10 + 0x30) {
        let mut page = page(&[SEV]);
        page[offset] = 1;
        assert_eq!(CpuidTable::parse(&page).map(drop), Err(CpuidError::Reserved), "offset {offset:#x}");
    }
}

#[test]
fn the_c_bit_is_in_the_upper_half_of_an_entry() {
    for bit in 0..64 {
        let got =
            CpuidTable::parse(&page(&[[0x8000_001F, 0, 0, 0xFFC0 | bit, 0, 0]])).map(|table| u32::from(table.c_bit()));
        assert_eq!(got, if (32..=51).contains(&bit) { Ok(bit) } else { Err(CpuidError::CBit) });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever the page holds: no panic, and what is found equals what a search by hand finds.
    #[test]
    fn random_pages_are_survived(rows in prop::collection::vec(prop::array::uniform6(0..0x10_u32), 0..64), leaf in 0..0x10_u32, subleaf in 0..4_u32, noise in prop::collection::vec(any::<u8>(), 64)) {
        let mut page = page(&rows.iter().copied().chain([SEV]).collect::<Vec<_>>());
        if let Ok(table) = CpuidTable::parse(&page) {
            let indexed = [4, 7, 0xB, 0xD, 0xF].contains(&leaf);
            let expected = rows.iter().find(|row| row[0] == leaf && (!indexed || row[1] == subleaf));
            let got = table.raw(leaf, subleaf).map(|r| [r.eax, r.ebx, r.ecx, r.edx]);
            prop_assert_eq!(got, expected.map(|row| [row[2], row[3], row[4], row[5]]));
            let all = CpuState { xcr0: u64::MAX, xss: u64::MAX, ..STATE };
            let _ = (table.lookup(leaf, subleaf, &all), table.lookup(0xD, 1, &all));
        }
        page[..64].copy_from_slice(&noise);
        let _ = CpuidTable::parse(&page);
    }
}

fn word(vmsa: &Vmsa, offset: usize) -> u64 {
    u64::from_le_bytes(vmsa.as_bytes()[offset..offset + 8].try_into().unwrap())
}

/// The segment at `offset` as (selector, attributes, limit, base).
fn segment(vmsa: &Vmsa, offset: usize) -> (u64, u64, u64, u64) {
    let head = word(vmsa, offset);
    (head & 0xFFFF, head >> 16 & 0xFFFF, head >> 32, word(vmsa, offset + 8))
}

/// svsm-snp.md 2.12, "Fresh VMPL2 BSP".
#[test]
fn a_real_mode_start_has_the_values_of_the_manual() {
    let vmsa = Vmsa::real_mode(Vmpl::Vmpl2, 1, 0xFFFF_FFF0);
    let words = [
        (0xD0, 0),
        (0x148, 0),
        (0x150, 0),
        (0x158, 0x6000_0010),
        (0x160, 0x400),
        (0x168, 0xFFFF_0FF0),
        (0x170, 2),
        (0x178, 0xFFF0),
        (0x268, 0x0007_0406_0007_0406),
        (0x3B0, 1),
        (0x3E8, 1),
    ];
    for (offset, value) in words {
        assert_eq!(word(&vmsa, offset), value, "offset {offset:#x}");
    }
    assert_eq!(segment(&vmsa, 0x10), (0xF000, 0x9B, 0xFFFF, 0xFFFF_0000));
    for data in [0x00, 0x20, 0x30, 0x40, 0x50] {
        assert_eq!(segment(&vmsa, data), (0, 0x93, 0xFFFF, 0), "segment at {data:#x}");
    }
    assert_eq!([segment(&vmsa, 0x70).1, segment(&vmsa, 0x90).1], [0x82, 0x8B]);
    assert_eq!([segment(&vmsa, 0x60).2, segment(&vmsa, 0x80).2], [0xFFFF, 0xFFFF]);
    let bytes = vmsa.as_bytes();
    assert_eq!((bytes[0xCA], bytes[0xCB]), (2, 0));
    assert_eq!((bytes[0x408..0x412]).to_vec(), [0x80, 0x1F, 0, 0, 0x55, 0x55, 0, 0, 0x40, 0]);
}

#[test]
fn a_protected_mode_start_is_flat_and_unpaged() {
    let vmsa = Vmsa::protected_mode_32(Vmpl::Vmpl2, 1, 0x10_0000, 0x20_0000);
    assert_eq!([word(&vmsa, 0x158), word(&vmsa, 0x178), word(&vmsa, 0x1D8)], [0x31, 0x10_0000, 0x20_0000]);
    assert_eq!(
        (segment(&vmsa, 0x10), segment(&vmsa, 0x20)),
        ((8, 0xC9B, 0xFFFF_FFFF, 0), (0x10, 0xC93, 0xFFFF_FFFF, 0))
    );
}

#[test]
fn a_vcpu_runs_only_with_svme() {
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.efer.set(0xD01);
    vmsa.set_runnable(true);
    assert_eq!(word(&vmsa, 0xD0), 0x1D01);
    vmsa.set_runnable(false);
    assert_eq!(word(&vmsa, 0xD0), 0xD01);
}

fn offered(sev_features: u64) -> Vmsa {
    let mut vmsa = Vmsa::real_mode(Vmpl::Vmpl2, sev_features, 0);
    vmsa.set_runnable(true);
    vmsa
}

/// The must-check set of svsm-snp.md 2.12: bit 0 set; 3 and 5 to 8 free; all others as the SVSM has them.
#[test]
fn a_guest_chooses_only_what_concerns_itself() {
    for bit in 0..64 {
        let choice = 1 | 1 << bit;
        let free = matches!(bit, 0 | 3 | 5..=8);
        let expected = if free { Ok(()) } else { Err(VmsaError::Features(choice)) };
        assert_eq!(offered(choice).check_offered(Vmpl::Vmpl2, 1), expected, "bit {bit}");
    }
    let secure_tsc = 1 | features::SECURE_TSC;
    assert_eq!(offered(secure_tsc).check_offered(Vmpl::Vmpl2, secure_tsc), Ok(()));
    assert_eq!(offered(1).check_offered(Vmpl::Vmpl2, secure_tsc), Err(VmsaError::Features(1)));
    assert_eq!(offered(0).check_offered(Vmpl::Vmpl2, 1), Err(VmsaError::Features(0)));
}

#[test]
fn other_levels_no_svme_and_vtom_are_refused() {
    for vmpl in [Vmpl::Vmpl0, Vmpl::Vmpl1, Vmpl::Vmpl3] {
        assert_eq!(offered(1).check_offered(vmpl, 1), Err(VmsaError::Vmpl(2)));
    }
    let mut vmsa = offered(1);
    vmsa.set_runnable(false);
    assert_eq!(vmsa.check_offered(Vmpl::Vmpl2, 1), Err(VmsaError::Svme));
    let mut vmsa = offered(1);
    vmsa.virtual_tom.set(0x1000);
    assert_eq!(vmsa.check_offered(Vmpl::Vmpl2, 1), Err(VmsaError::VirtualTom));
}

#[test]
fn a_guest_does_not_inherit_the_svsms_injection_and_debug_settings() {
    assert_eq!(guest_features(0b10_1001 | 1 << 9), 1 | 1 << 9);
}
