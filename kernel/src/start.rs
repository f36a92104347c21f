//! The guest's start: which memory it gets, the pages that are filled in for it, and the register state of its first vCPU.

use heapless::Vec;
use snp::secrets::{Secrets, SvsmArea};
use snp::vmsa::{Vmsa, guest_features};
use snp::{PAGE_SIZE as PAGE_BYTES, Page};

use crate::guest::{Claim, Refused};
use crate::launch::{EntryKind, Launch, LaunchError, MAX_PIECES};
use crate::mm::memory_map::{self, MAX_RANGES};
use crate::mm::ownership::Ownership;
use crate::mm::{GUEST_VMPL, PAGE_SIZE, Pages, Region};

/// Parts of the RAM in which nothing was placed: what can come of a memory map, and one more for each thing that was placed.
pub const MAX_PARTS: usize = MAX_RANGES + MAX_PIECES + 1;

/// The parts of `ranges` that nothing of `placed` touches: the memory that is validated at boot. `None`: more than [`MAX_PARTS`].
#[must_use]
pub fn without(ranges: &[Region], placed: &[Region]) -> Option<Vec<Region, MAX_PARTS>> {
    let all = Vec::from_slice(ranges).ok()?;
    placed.iter().try_fold(all, |parts, hole| memory_map::without(&parts, *hole))
}

/// Writes what the guest finds at its start: CPUID page, secrets page without the firmware's key, an empty calling area.
///
/// Each page must be the guest's; the launch parameters are measured, so anything else is the packer's mistake.
pub fn fill_pages(
    pages: &mut dyn Pages,
    map: &Ownership,
    launch: &Launch,
    cpuid: &Page,
    secrets: &Secrets,
    firmware: Region,
) -> Result<(), Refused> {
    let area = calling_area(launch);
    if let Some(gpa) = launch.cpuid_page {
        fill(pages, map, gpa, cpuid)?;
    }
    if let Some(gpa) = launch.secrets_page {
        let mut page = [0; PAGE_BYTES];
        let svsm =
            SvsmArea { base: firmware.start(), size: firmware.len(), calling_area: area, guest_vmpl: GUEST_VMPL };
        secrets.for_guest(&svsm, &mut page);
        let filled = fill(pages, map, gpa, &page);
        Secrets::from_page(&mut page).wipe();
        filled?;
    }
    fill(pages, map, area, &[0; PAGE_BYTES])
}

/// GPA of the first vCPU's calling area; 0 for none, which no check lets pass.
#[must_use]
pub fn calling_area(launch: &Launch) -> u64 {
    launch.calling_area.unwrap_or(0)
}

fn fill(pages: &mut dyn Pages, map: &Ownership, gpa: u64, bytes: &Page) -> Result<(), Refused> {
    Claim::new(gpa, PAGE_SIZE).check_aligned(map)?.write(pages, bytes)
}

/// Register state of the guest's first vCPU; `None` if the image has no guest. At a 32-bit entry ESI holds the GPA of the
/// secrets page and EDI that of the CPUID page (docs/boot.md).
pub fn register_state(launch: &Launch, sev_features: u64) -> Result<Option<Vmsa>, LaunchError> {
    let features = guest_features(sev_features);
    let mut vmsa = match launch.entry {
        EntryKind::None => return Ok(None),
        EntryKind::Protected32 => Vmsa::protected_mode_32(GUEST_VMPL, features, launch.rip, launch.rsp),
        EntryKind::RealReset => {
            let reset = u32::try_from(launch.rip).map_err(|_| LaunchError::EntryKind)?;
            Vmsa::real_mode(GUEST_VMPL, features, reset)
        }
    };
    if launch.entry == EntryKind::Protected32 {
        vmsa.rsi = launch.secrets_page.unwrap_or(0).into();
        vmsa.rdi = launch.cpuid_page.unwrap_or(0).into();
    }
    vmsa.set_runnable(true);
    Ok(Some(vmsa))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::LaunchParams;
    use crate::testing::{FIRMWARE, FakeMachine, GIVEN};

    fn region(start: u64, end: u64) -> Region {
        Region::new(start, end).unwrap()
    }

    #[test]
    fn holes_are_cut_out_of_ranges() {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_0000)];
        let holes = [region(0x1_0000, 0x1_6000), region(0x10_0000, 0x20_0000), region(0xf0_0000, 0x200_0000)];
        let parts = without(&ram, &holes).unwrap();
        assert_eq!(parts, [region(0, 0x1_0000), region(0x1_6000, 0xa_0000), region(0x20_0000, 0xf0_0000)]);
        assert_eq!(without(&[region(0x1000, 0x2000)], &[region(0, 0x3000)]).unwrap(), []);
    }

    fn launch() -> Launch {
        let mut params = LaunchParams::EMPTY;
        params.entry_kind = 1.into();
        params.rip = 0x10_0040.into();
        params.cpuid_page = GIVEN.into();
        params.secrets_page = (GIVEN + 0x1000).into();
        params.calling_area = (GIVEN + 0x2000).into();
        params.check().unwrap()
    }

    /// SE-01, over all of the guest's memory.
    #[test]
    fn the_firmwares_key_is_nowhere_in_the_guests_memory() {
        let mut machine = FakeMachine::new();
        let map = machine.booted();
        let mut source: Page = core::array::from_fn(|index| ((index * index * 31 % 65_521) >> 4 & 0xff) as u8 | 1);
        let key: [u8; 32] = source[0x20..0x40].try_into().unwrap();
        let guests: [u8; 32] = source[0x60..0x80].try_into().unwrap();
        machine.place(GIVEN + 0x2000, &[0xff; 4096]);
        let firmware = region(FIRMWARE, FIRMWARE + 0x80_0000);
        let secrets = Secrets::from_page(&mut source);
        fill_pages(&mut machine, &map, &launch(), &[0x11; 4096], secrets, firmware).unwrap();
        let memory = machine.snapshot();
        assert!(!memory.windows(32).any(|bytes| bytes == key));
        assert!(memory.windows(32).any(|bytes| bytes == guests));
        assert_eq!(machine.bytes(GIVEN, 4096), [0x11; 4096]);
        assert_eq!(machine.bytes(GIVEN + 0x2000, 4096), [0; 4096]);
        assert_eq!(machine.bytes(GIVEN + 0x1000 + 0x140, 8), FIRMWARE.to_le_bytes());
    }

    #[test]
    fn pages_that_are_not_the_guests_are_not_filled() {
        let mut machine = FakeMachine::new();
        let map = machine.booted();
        let mut source = [1; 4096];
        for bad in [FIRMWARE, 0, 0xf000_0000] {
            let mut launch = launch();
            launch.calling_area = Some(bad);
            let firmware = region(FIRMWARE, FIRMWARE + 0x80_0000);
            let secrets = Secrets::from_page(&mut source);
            assert_eq!(fill_pages(&mut machine, &map, &launch, &[0; 4096], secrets, firmware), Err(Refused));
        }
    }

    #[test]
    fn a_protected_mode_guest_finds_its_pages_in_esi_and_edi() {
        let vmsa = register_state(&launch(), 1).unwrap().unwrap();
        assert_eq!((vmsa.rip.get(), vmsa.rsi.get(), vmsa.rdi.get()), (0x10_0040, GIVEN + 0x1000, GIVEN));
        assert_eq!((vmsa.vmpl, vmsa.cr0.get(), vmsa.efer.get()), (2, 0x31, 0x1000));
        assert!(register_state(&LaunchParams::EMPTY.check().unwrap(), 1).unwrap().is_none());
    }

    #[test]
    fn a_reset_vector_lies_below_4_gib() {
        let mut launch = launch();
        launch.entry = EntryKind::RealReset;
        launch.rip = 0xffff_fff0;
        let vmsa = register_state(&launch, 1).unwrap().unwrap();
        assert_eq!((vmsa.rip.get(), vmsa.cs.base.get(), vmsa.rsi.get()), (0xfff0, 0xffff_0000, 0));
        launch.rip = 1 << 32;
        assert!(register_state(&launch, 1).is_err());
    }
}
