//! The guest's start: which memory it gets, the pages that are filled in for it, and the register state of its first
//! vCPU.

use heapless::Vec;
use snp::secrets::{Secrets, SvsmArea};
use snp::vmsa::{Vmsa, guest_features};
use snp::{PAGE_SIZE as PAGE_BYTES, Page};

use crate::guest::{Claim, Refused};
use crate::launch::{Area, EntryKind, Kind, Launch, LaunchError, MAX_REGIONS, Validation};
use crate::mm::memory_map::{self, MAX_RANGES};
use crate::mm::{GUEST_VMPL, Owners, PAGE_SIZE, Pages, Region, e820};

/// Parts of the RAM in which nothing was placed: what can come of a memory map, and one more for each thing that was
/// placed.
pub const MAX_PARTS: usize = MAX_RANGES + MAX_REGIONS + 1;

/// Regions in ascending order.
pub type Parts = Vec<Region, MAX_PARTS>;

/// The parts of `ranges` that nothing of `placed` touches. `None`: more than [`MAX_PARTS`].
#[must_use]
pub fn without(ranges: &[Region], placed: impl IntoIterator<Item = Region>) -> Option<Parts> {
    let all = Vec::from_slice(ranges).ok()?;
    placed.into_iter().try_fold(all, |parts, hole| memory_map::without(&parts, hole))
}

/// All memory that the guest may come to own: `ranges`, and what the IGVM file has placed outside of them, such as a
/// firmware below 4 GiB.
#[must_use]
pub fn with_placed(ranges: &[Region], launch: &Launch) -> Option<Parts> {
    let mut all: Parts = Vec::from_slice(ranges).ok()?;
    for placed in launch.of_kind(Kind::Measured) {
        for outside in without(&[placed.region], all.clone())? {
            let at = all.iter().take_while(|part| part.start() < outside.start()).count();
            all.insert(at, outside).ok()?;
        }
    }
    Some(all)
}

/// The memory that the firmware validates and zeroes before the guest runs: of `ranges` or of the list, as the launch
/// parameters say. `used` is the firmware's and valid already.
#[must_use]
pub fn to_validate(ranges: &[Region], launch: &Launch, used: Region) -> Option<Parts> {
    match launch.validation {
        Validation::Everything => {
            let own = launch.areas.iter().filter(|area| matches!(area.kind, Kind::Measured | Kind::LeftAlone));
            without(ranges, own.map(|area| area.region).chain([used]))
        }
        Validation::Listed => {
            let listed =
                launch.areas.iter().filter(|area| !matches!(area.kind, Kind::Measured | Kind::LeftAlone | Kind::E820));
            let mut parts = Vec::new();
            listed.into_iter().try_for_each(|area| parts.push(area.region)).ok()?;
            Some(parts)
        }
    }
}

/// What is written into the guest's pages.
pub struct Filling<'a> {
    /// The CPUID page that the launcher has checked.
    pub cpuid: &'a Page,
    /// The secrets page.
    pub secrets: &'a Secrets,
    /// The firmware's memory.
    pub firmware: Region,
    /// The checked memory map.
    pub ranges: &'a [Region],
    /// The C-bit as a mask.
    pub c_bit: u64,
}

/// Writes what the guest finds at its start, region by region: CPUID page, secrets page without the firmware's key, an
/// empty calling area, page tables, the memory map.
///
/// Each page must be the guest's; the launch parameters are measured, so anything else is the packer's mistake.
pub fn fill_pages(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    launch: &Launch,
    filling: &Filling<'_>,
) -> Result<(), Refused> {
    fill(pages, map, calling_area(launch), &[0; PAGE_BYTES])?;
    for area in &launch.areas {
        match area.kind {
            Kind::Cpuid => fill(pages, map, area.gpa, filling.cpuid)?,
            Kind::Secrets => fill_secrets(pages, map, area.gpa, launch, filling)?,
            Kind::PageTables => fill_page_tables(pages, map, area, filling.c_bit)?,
            Kind::E820 => fill_memory_map(pages, map, area, launch, filling.ranges)?,
            Kind::CallingArea | Kind::Measured | Kind::Validated | Kind::LeftAlone => (),
        }
    }
    Ok(())
}

/// GPA of the first vCPU's calling area; 0 for none, which no check lets pass.
#[must_use]
pub fn calling_area(launch: &Launch) -> u64 {
    launch.page(Kind::CallingArea).unwrap_or(0)
}

fn fill(pages: &mut dyn Pages, map: &dyn Owners, gpa: u64, bytes: &Page) -> Result<(), Refused> {
    Claim::new(gpa, PAGE_SIZE).check_aligned(map)?.write(pages, bytes)
}

fn fill_secrets(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    gpa: u64,
    launch: &Launch,
    filling: &Filling<'_>,
) -> Result<(), Refused> {
    let mut page = [0; PAGE_BYTES];
    let svsm = SvsmArea {
        base: filling.firmware.start(),
        size: filling.firmware.len(),
        calling_area: calling_area(launch),
        guest_vmpl: GUEST_VMPL,
    };
    filling.secrets.for_guest(&svsm, &mut page);
    let filled = fill(pages, map, gpa, &page);
    Secrets::from_page(&mut page).wipe();
    filled
}

/// GiB that the page tables map, a page directory for each, behind the two levels above.
const MAPPED_GIB: u64 = 4;
/// P, R/W; in a page directory PS.
const TABLE: u64 = 3;
const LARGE: u64 = 0x83;

fn fill_page_tables(pages: &mut dyn Pages, map: &dyn Owners, area: &Area, c_bit: u64) -> Result<(), Refused> {
    let table = |n: u64| area.gpa + n * PAGE_SIZE;
    let entries = |count: usize, entry: &dyn Fn(u64) -> u64| {
        let mut page = [0; PAGE_BYTES];
        page.as_chunks_mut()
            .0
            .iter_mut()
            .take(count)
            .zip(0..)
            .for_each(|(to, n)| *to = (entry(n) | c_bit).to_le_bytes());
        page
    };
    fill(pages, map, table(0), &entries(1, &|_| table(1) | TABLE))?;
    fill(pages, map, table(1), &entries(4, &|n| table(2 + n) | TABLE))?;
    for gib in 0..MAPPED_GIB {
        fill(pages, map, table(2 + gib), &entries(512, &|n| (gib << 30 | n << 21) | LARGE))?;
    }
    Ok(())
}

fn fill_memory_map(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    area: &Area,
    launch: &Launch,
    ranges: &[Region],
) -> Result<(), Refused> {
    let others: alloc::vec::Vec<(Region, u16)> = launch
        .areas
        .iter()
        .filter(|other| other.kind != Kind::E820)
        .map(|other| (other.region, other.memory_type))
        .collect();
    let entries = e820::entries(ranges, &others);
    let count = u8::try_from(entries.len()).map_err(|_| Refused)?;
    let bytes = e820::to_bytes(&entries);
    if bytes.len() as u64 > area.size {
        return Err(Refused);
    }
    Claim::new(area.gpa, bytes.len() as u64).check(map)?.write(pages, &bytes)?;
    Claim::new(area.aux, 1).check(map)?.write(pages, &[count])
}

/// Register state of the guest's first vCPU; `None` if the image has no guest.
pub fn register_state(launch: &Launch, sev_features: u64, c_bit: u64) -> Result<Option<Vmsa>, LaunchError> {
    let features = guest_features(sev_features);
    let mut vmsa = match launch.entry {
        EntryKind::None => return Ok(None),
        EntryKind::Protected32 => Vmsa::protected_mode_32(GUEST_VMPL, features, launch.rip, launch.rsp),
        EntryKind::RealReset => {
            let reset = u32::try_from(launch.rip).map_err(|_| LaunchError::EntryKind)?;
            Vmsa::real_mode(GUEST_VMPL, features, reset)
        }
        EntryKind::Long64 => {
            let tables = launch.page(Kind::PageTables).ok_or(LaunchError::EntryKind)?;
            Vmsa::long_mode_64(GUEST_VMPL, features, tables | c_bit, launch.rip, launch.rsp)
        }
    };
    vmsa.rsi = launch.rsi.into();
    vmsa.rdi = launch.rdi.into();
    vmsa.set_runnable(true);
    Ok(Some(vmsa))
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;
    use crate::launch::{LaunchParams, NO_PCR, RegionEntry};
    use crate::testing::{FIRMWARE, FakeMachine, GIVEN};

    const C_BIT: u64 = 1 << 47;

    fn region(start: u64, end: u64) -> Region {
        Region::new(start, end).unwrap()
    }

    #[test]
    fn holes_are_cut_out_of_ranges() {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_0000)];
        let holes = [region(0x1_0000, 0x1_6000), region(0x10_0000, 0x20_0000), region(0xf0_0000, 0x200_0000)];
        let parts = without(&ram, holes).unwrap();
        assert_eq!(parts, [region(0, 0x1_0000), region(0x1_6000, 0xa_0000), region(0x20_0000, 0xf0_0000)]);
        assert_eq!(without(&[region(0x1000, 0x2000)], [region(0, 0x3000)]).unwrap(), []);
    }

    /// A launch of regions of GPA, size and kind.
    fn launch(entry_kind: u32, validation: u32, regions: &[(u64, u64, u16)]) -> Launch {
        let mut params = LaunchParams::EMPTY;
        params.entry_kind = entry_kind.into();
        params.validation = validation.into();
        (params.rip, params.rsi, params.rdi) = (0x10_0040.into(), 7.into(), 8.into());
        params.region_count = u32::try_from(regions.len()).unwrap().into();
        for (entry, (gpa, size, kind)) in params.regions.iter_mut().zip(regions) {
            *entry = RegionEntry {
                gpa: (*gpa).into(),
                size: (*size).into(),
                kind: (*kind).into(),
                memory_type: if *kind == 1 { 1.into() } else { 2.into() },
                pcr: NO_PCR.into(),
                ..RegionEntry::new_zeroed()
            };
            if *kind == 8 {
                entry.aux = (*gpa - 0x10).into();
            }
        }
        params.check().unwrap()
    }

    const SECRETS: u64 = GIVEN + 0x1000;
    const AREA: u64 = GIVEN + 0x2000;
    const USUAL: [(u64, u64, u16); 3] = [(GIVEN, 0x1000, 4), (SECRETS, 0x1000, 5), (AREA, 0x1000, 6)];

    fn fill_all(machine: &mut FakeMachine, launch: &Launch, source: &mut Page) -> Result<(), Refused> {
        let map = machine.booted();
        let filling = Filling {
            cpuid: &[0x11; 4096],
            secrets: Secrets::from_page(source),
            firmware: region(FIRMWARE, FIRMWARE + 0x80_0000),
            ranges: &[region(0, 0xa_0000), region(0x10_0000, 0x100_0000)],
            c_bit: C_BIT,
        };
        fill_pages(machine, &map, launch, &filling)
    }

    /// SE-01, over all of the guest's memory.
    #[test]
    fn the_firmwares_key_is_nowhere_in_the_guests_memory() {
        let mut machine = FakeMachine::new();
        let mut source: Page = core::array::from_fn(|index| ((index * index * 31 % 65_521) >> 4 & 0xff) as u8 | 1);
        let key: [u8; 32] = source[0x20..0x40].try_into().unwrap();
        let guests: [u8; 32] = source[0x60..0x80].try_into().unwrap();
        machine.place(AREA, &[0xff; 4096]);
        fill_all(&mut machine, &launch(1, 0, &USUAL), &mut source).unwrap();
        let memory = machine.snapshot();
        assert!(!memory.windows(32).any(|bytes| bytes == key));
        assert!(memory.windows(32).any(|bytes| bytes == guests));
        assert_eq!(machine.bytes(GIVEN, 4096), [0x11; 4096]);
        assert_eq!(machine.bytes(AREA, 4096), [0; 4096]);
        assert_eq!(machine.bytes(SECRETS + 0x140, 8), FIRMWARE.to_le_bytes());
    }

    #[test]
    fn pages_that_are_not_the_guests_are_not_filled() {
        for bad in [FIRMWARE, 0, 0xf000_0000] {
            for kind in [4, 5, 6] {
                let launch = launch(1, 0, &[(bad, 0x1000, kind), (AREA, 0x1000, if kind == 6 { 2 } else { 6 })]);
                assert_eq!(fill_all(&mut FakeMachine::new(), &launch, &mut [1; 4096]), Err(Refused), "{bad:#x}");
            }
        }
    }

    #[test]
    fn page_tables_map_four_gib_to_themselves_and_private() {
        let mut machine = FakeMachine::new();
        let tables = GIVEN + 0x3000;
        let launch = launch(3, 0, &[(AREA, 0x1000, 6), (tables, 0x6000, 7)]);
        fill_all(&mut machine, &launch, &mut [1; 4096]).unwrap();
        let entry = |gpa: u64| u64::from_le_bytes(machine.bytes(gpa, 8).try_into().unwrap());
        assert_eq!(entry(tables), (tables + 0x1000) | C_BIT | 3);
        assert_eq!(entry(tables + 0x1000 + 3 * 8), (tables + 0x5000) | C_BIT | 3);
        assert_eq!(entry(tables + 0x1000 + 4 * 8), 0);
        assert_eq!(entry(tables + 0x5000 + 511 * 8), 0xffe0_0000 | C_BIT | 0x83);
        let vmsa = register_state(&launch, 1, C_BIT).unwrap().unwrap();
        assert_eq!((vmsa.cr3.get(), vmsa.rip.get(), vmsa.rsi.get()), (tables | C_BIT, 0x10_0040, 7));
        assert_eq!((vmsa.efer.get(), vmsa.cr0.get() >> 31), (0x1d00, 1));
    }

    #[test]
    fn the_memory_map_and_its_count_are_written() {
        let mut machine = FakeMachine::new();
        let at = GIVEN + 0x3100;
        let launch = launch(1, 0, &[(AREA, 0x1000, 6), (GIVEN + 0x3000, 0x1000, 1), (at, 5 * 20, 8)]);
        fill_all(&mut machine, &launch, &mut [1; 4096]).unwrap();
        // Low RAM, RAM before the calling area, the calling area, RAM behind it.
        assert_eq!(machine.bytes(at - 0x10, 1), [4]);
        assert_eq!(machine.bytes(at + 40, 8), AREA.to_le_bytes());
        assert_eq!(machine.bytes(at + 56, 4), [2, 0, 0, 0]);
    }

    #[test]
    fn a_memory_map_that_does_not_fit_is_refused() {
        let launch = launch(1, 0, &[(AREA, 0x1000, 6), (GIVEN + 0x3000, 0x1000, 1), (GIVEN + 0x3100, 60, 8)]);
        assert_eq!(fill_all(&mut FakeMachine::new(), &launch, &mut [1; 4096]), Err(Refused));
    }

    #[test]
    fn a_protected_mode_guest_has_the_registers_of_the_launch() {
        let vmsa = register_state(&launch(1, 0, &USUAL), 1, C_BIT).unwrap().unwrap();
        assert_eq!((vmsa.rip.get(), vmsa.rsi.get(), vmsa.rdi.get()), (0x10_0040, 7, 8));
        assert_eq!((vmsa.vmpl, vmsa.cr0.get(), vmsa.efer.get()), (2, 0x31, 0x1000));
        assert!(register_state(&LaunchParams::EMPTY.check().unwrap(), 1, C_BIT).unwrap().is_none());
    }

    #[test]
    fn a_reset_vector_lies_below_4_gib() {
        let mut launch = launch(2, 1, &USUAL);
        launch.rip = 0xffff_fff0;
        let vmsa = register_state(&launch, 1, C_BIT).unwrap().unwrap();
        assert_eq!((vmsa.rip.get(), vmsa.cs.base.get()), (0xfff0, 0xffff_0000));
        launch.rip = 1 << 32;
        assert!(register_state(&launch, 1, C_BIT).is_err());
    }

    #[test]
    fn of_everything_what_is_placed_or_left_alone_is_not_validated() {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_0000)];
        let launch = launch(1, 0, &[(0x20_0000, 0x1000, 1), (0x30_0000, 0x1000, 3), (0x40_0000, 0x1000, 6)]);
        let parts = to_validate(&ram, &launch, region(0x1_0000, 0x1_6000)).unwrap();
        assert_eq!(
            parts,
            [
                region(0, 0x1_0000),
                region(0x1_6000, 0xa_0000),
                region(0x10_0000, 0x20_0000),
                region(0x20_1000, 0x30_0000),
                region(0x30_1000, 0x100_0000),
            ]
        );
    }

    #[test]
    fn of_a_list_what_the_firmware_prepares_is_validated() {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_0000)];
        let listed = launch(2, 1, &[(0xffc0_0000, 0x40_0000, 1), (0x80_0000, 0x9000, 2), (0x80_d000, 0x1000, 6)]);
        let parts = to_validate(&ram, &listed, region(0x1_0000, 0x1_6000)).unwrap();
        assert_eq!(parts, [region(0x80_0000, 0x80_9000), region(0x80_d000, 0x80_e000)]);
        let all = with_placed(&ram, &listed).unwrap();
        assert_eq!(all[..], [ram[0], ram[1], region(0xffc0_0000, 0x1_0000_0000)]);
    }
}
