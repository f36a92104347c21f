//! A guest at VMPL0, without our firmware: the same regions that the firmware would prepare, placed by the file as a
//! host's launch prepares them.
//!
//! For the tests: it is what a host without an SVSM starts, and so the judge of the machine that knows nothing of us.

use super::elf::PAGE;
use super::guest::{Entry, Guest, Kind, memory_type};
use super::pack;
use anyhow::{Result, bail, ensure};
use igvm::snp_defs::SevVmsa;
use igvm_defs::IgvmPageDataType;
use std::collections::{BTreeMap, BTreeSet};

/// Entries of a memory map: GPA, octets, type of E820.
pub type MemoryMap<'a> = &'a [(u64, u64, u32)];

/// The map of a machine with these ranges of RAM, from the first octet to behind the last, in which the guest's regions
/// have their types.
pub fn memory_map(guest: &Guest, ram: &[core::ops::Range<u64>]) -> Vec<(u64, u64, u32)> {
    let mut regions: Vec<_> = guest.regions.iter().filter(|region| region.memory_type != memory_type::RAM).collect();
    regions.sort_unstable_by_key(|region| region.gpa);
    let mut map = Vec::new();
    for range in ram {
        let mut at = range.start;
        for region in regions.iter().filter(|region| range.contains(&region.gpa)) {
            let (start, end) = (region.gpa & !(PAGE - 1), (region.gpa + region.size).next_multiple_of(PAGE));
            // Several small regions may lie in one page.
            if start >= at {
                map.extend((start > at).then_some((at, start - at, memory_type::RAM.into())));
                map.push((start, end - start, region.memory_type.into()));
                at = end;
            }
        }
        map.push((at, range.end - at, memory_type::RAM.into()));
    }
    map
}

/// Packs `guest` to run at VMPL0. All RAM of `map` is launched validated, zeros where the guest places nothing.
pub fn image(guest: &Guest, map: MemoryMap<'_>) -> Result<Vec<u8>> {
    let mut pages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for (gpa, octets, _) in map.iter().filter(|(_, _, kind)| *kind == u32::from(memory_type::RAM)) {
        pages.extend((*gpa..gpa + octets).step_by(4096).map(|gpa| (gpa, Vec::new())));
    }
    pages.extend(guest.pages().into_iter().map(|(gpa, page)| (gpa, page.to_vec())));
    let mut special = BTreeMap::new();
    let mut without = BTreeSet::new();
    for region in &guest.regions {
        let all = (region.gpa & !(PAGE - 1)..region.gpa + region.size).step_by(4096);
        match region.kind {
            Kind::Cpuid => special.extend(all.map(|gpa| (gpa, IgvmPageDataType::CPUID_DATA))),
            Kind::Secrets => special.extend(all.map(|gpa| (gpa, IgvmPageDataType::SECRETS))),
            Kind::Validated | Kind::CallingArea => pages.extend(all.map(|gpa| (gpa, Vec::new()))),
            Kind::LeftAlone => without.extend(all),
            Kind::E820 => write_map(&mut pages, region.gpa, region.aux, map)?,
            // What is entered with paging off makes tables of its own.
            Kind::Measured | Kind::PageTables => {}
        }
    }
    let mut directives = Vec::new();
    for (gpa, data) in pages {
        if !special.contains_key(&gpa) && !without.contains(&gpa) {
            directives.push(pack::page_data(gpa, IgvmPageDataType::NORMAL, data));
        }
    }
    for (gpa, kind) in special {
        let data = if kind == IgvmPageDataType::CPUID_DATA { pack::cpuid_page() } else { Vec::new() };
        directives.push(pack::page_data(gpa, kind, data));
    }
    directives.push(pack::vp_context(0, vmsa(guest)?));
    for number in (1..).take(usize::try_from(guest.processors.saturating_sub(1))?) {
        directives.push(pack::vp_context(number, pack::parked()));
    }
    pack::serialize(directives)
}

/// The entries to `gpa`, their number, one octet, to `count`.
fn write_map(pages: &mut BTreeMap<u64, Vec<u8>>, gpa: u64, count: u64, map: MemoryMap<'_>) -> Result<()> {
    let mut put = |at: u64, bytes: &[u8]| -> Result<()> {
        let Some(page) = pages.get_mut(&(at & !(PAGE - 1))) else {
            bail!("the memory map goes to {at:#x}, where nothing is")
        };
        let at = usize::try_from(at % PAGE)?;
        ensure!(at + bytes.len() <= page.len(), "the memory map does not fit in its page");
        page[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    };
    put(count, &[u8::try_from(map.len())?])?;
    for (index, (start, octets, kind)) in map.iter().enumerate() {
        let entry = [&start.to_le_bytes()[..], &octets.to_le_bytes(), &kind.to_le_bytes()].concat();
        put(gpa + 20 * index as u64, &entry)?;
    }
    Ok(())
}

/// The first vCPU as KVM starts it: in real mode at the reset vector, or in 32-bit protected mode.
fn vmsa(guest: &Guest) -> Result<Box<SevVmsa>> {
    let [rip, rsp, rsi, rdi] = guest.registers;
    let mut vmsa = pack::vmsa(rip);
    match guest.entry {
        Entry::Protected32 => (vmsa.rsp, vmsa.rsi, vmsa.rdi) = (rsp, rsi, rdi),
        Entry::RealReset => {
            let segment =
                |selector, attrib, base| igvm::snp_defs::SevSelector { selector, attrib, limit: 0xFFFF, base };
            let data = segment(0, 0x93, 0);
            (vmsa.ds, vmsa.es, vmsa.fs, vmsa.gs, vmsa.ss) = (data, data, data, data, data);
            vmsa.cs = segment(0xF000, 0x9B, rip & !0xFFFF);
            (vmsa.rip, vmsa.cr0) = (rip & 0xFFFF, 0x30);
        }
        Entry::Long64 => bail!("KVM starts no vCPU in 64-bit mode"),
    }
    Ok(vmsa)
}

#[cfg(test)]
mod tests {
    use super::{image, memory_map};
    use crate::guest::{Entry, Guest, Interrupts, Kind, Measure, Personality, Region, Validation, memory_type};
    use crate::settings::Settings;
    use igvm::{IgvmDirectiveHeader as Directive, IgvmFile};
    use igvm_defs::IgvmPageDataType as Type;

    fn guest(entry: Entry) -> Guest {
        let mut map = Region::prepared(0x10_0010, 80, Kind::E820);
        map.aux = 0x10_0008;
        Guest {
            entry,
            registers: [0xFFFF_FFF0, 0, 0x10_0000, 0],
            validation: Validation::Everything,
            measure: Measure::Nothing,
            processors: 1,
            from_file: 0,
            mixed_blocks: 0,
            interrupts: Interrupts::default(),
            personality: Personality::default(),
            settings: Settings::default(),
            regions: vec![
                Region::measured(0x10_0000, memory_type::RAM, vec![7; 4096]),
                Region::prepared(0x10_1000, 4096, Kind::Cpuid),
                Region::prepared(0x10_2000, 4096, Kind::Secrets),
                Region::prepared(0x10_3000, 4096, Kind::LeftAlone),
                map,
            ],
        }
    }

    #[test]
    fn all_ram_is_launched_and_each_page_is_what_the_guest_wants_there() {
        let bytes = image(&guest(Entry::RealReset), &[(0x10_0000, 0x6000, 1), (0x20_0000, 0x1000, 2)]).unwrap();
        let mut seen = Vec::new();
        for directive in IgvmFile::new_from_binary(&bytes, None).unwrap().directives() {
            match directive {
                Directive::PageData { gpa, data_type, data, .. } => seen.push((*gpa, *data_type, data.len())),
                Directive::SnpVpContext { vmsa, .. } => {
                    assert_eq!((vmsa.rip, vmsa.cs.base, vmsa.cr0), (0xFFF0, 0xFFFF_0000, 0x30));
                }
                other => panic!("{other:?}"),
            }
        }
        let normal = |gpa, len| (gpa, Type::NORMAL, len);
        assert_eq!(seen[..3], [normal(0x10_0000, 4096), normal(0x10_4000, 0), normal(0x10_5000, 0)]);
        assert_eq!(
            seen[3..].iter().map(|page| (page.0, page.1)).collect::<Vec<_>>(),
            [(0x10_1000, Type::CPUID_DATA), (0x10_2000, Type::SECRETS)]
        );
    }

    #[test]
    fn regions_that_are_no_ram_are_cut_out_of_the_map() {
        let map = memory_map(&guest(Entry::Protected32), &[0..0x1000, 0x10_0000..0x10_6000]);
        // The part of a page that the firmware would write is of no RAM either, by its page; that page is RAM's and
        // comes first.
        assert_eq!(map[0], (0, 0x1000, 1));
        assert_eq!(map[1..3], [(0x10_0000, 0x1000, 2), (0x10_1000, 0x1000, 2)]);
        assert_eq!(map.last(), Some(&(0x10_4000, 0x2000, 1)));
    }

    #[test]
    fn the_memory_map_is_written_where_the_guest_reads_it() {
        let bytes = image(&guest(Entry::Protected32), &[(0x10_0000, 0x6000, 1), (0x20_0000, 0x1000, 2)]).unwrap();
        let file = IgvmFile::new_from_binary(&bytes, None).unwrap();
        let Directive::PageData { data, .. } = &file.directives()[0] else { panic!("no page") };
        assert_eq!((data[7], data[8], data[9]), (7, 2, 7));
        assert_eq!(data[0x10 + 20..0x10 + 28], 0x20_0000_u64.to_le_bytes());
        assert!(image(&guest(Entry::Long64), &[]).is_err());
    }
}
