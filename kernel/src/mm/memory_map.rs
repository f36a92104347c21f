//! The IGVM memory map: the host's word about which GPAs are RAM, checked before anything is done with it.

use heapless::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{PAGE, Region};

/// Ranges of RAM that the firmware keeps track of.
pub const MAX_RANGES: usize = 16;

/// `IGVM_VHS_MEMORY_MAP_ENTRY`. An array of them fills the parameter area; the entry after the last has no pages.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// Page number of the first page.
    pub first_page: U64,
    /// How many pages.
    pub pages: U64,
    /// 0 is ordinary memory; everything else is not for the guest to run in.
    pub kind: U16,
    /// Not used.
    pub flags: U16,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// Ordinary memory: `IGVM_MEMORY_MAP_ENTRY_TYPE_MEMORY`.
pub const KIND_MEMORY: u16 = 0;

/// Why a memory map is refused. The host wrote it, so each of these ends the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A range wraps, or reaches beyond [`super::GPA_LIMIT`].
    Range,
    /// Two ranges have a page in common.
    Overlap,
    /// A range has a page in common with the firmware.
    Firmware,
    /// More than [`MAX_RANGES`].
    TooMany,
    /// There is no memory at all.
    Empty,
}

/// The ranges of ordinary memory in `page`, checked: none wraps, none overlaps another or one of `firmware`'s (MM-03).
pub fn check(page: &[u8; PAGE], firmware: &[Region]) -> Result<Vec<Region, MAX_RANGES>, MapError> {
    let mut ranges: Vec<Region, MAX_RANGES> = Vec::new();
    let (entries, _) =
        <[Entry]>::ref_from_prefix_with_elems(page, PAGE / size_of::<Entry>()).map_err(|_| MapError::Empty)?;
    let memory = |entry: &&Entry| entry.kind.get() == KIND_MEMORY;
    for entry in entries.iter().take_while(|entry| entry.pages.get() != 0).filter(memory) {
        let range = Region::of_pages(entry.first_page.get(), entry.pages.get()).ok_or(MapError::Range)?;
        if firmware.iter().any(|own| own.overlaps(range)) {
            return Err(MapError::Firmware);
        }
        if ranges.iter().any(|other| other.overlaps(range)) {
            return Err(MapError::Overlap);
        }
        ranges.push(range).map_err(|_| MapError::TooMany)?;
    }
    if ranges.is_empty() { Err(MapError::Empty) } else { Ok(ranges) }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::*;

    fn map(entries: &[(u64, u64, u16)]) -> Box<[u8; 4096]> {
        let mut page = Box::new([0; 4096]);
        for (slot, (first, pages, kind)) in page.chunks_mut(24).zip(entries) {
            slot[..8].copy_from_slice(&first.to_le_bytes());
            slot[8..16].copy_from_slice(&pages.to_le_bytes());
            slot[16..18].copy_from_slice(&kind.to_le_bytes());
        }
        page
    }

    fn own() -> Region {
        Region::new(0x80_0000_0000, 0x80_0080_0000).unwrap()
    }

    #[test]
    fn an_honest_map_is_taken_as_it_is() {
        let ranges =
            check(&map(&[(0, 0xa0, 0), (0xf0, 0x10, 1), (1 << 40, u64::MAX, 1), (0x100, 0x10000, 0)]), &[own()])
                .unwrap();
        assert_eq!(ranges[0], Region::new(0, 0xa_0000).unwrap());
        assert_eq!(ranges[1], Region::new(0x10_0000, 0x1010_0000).unwrap());
        assert_eq!(ranges.len(), 2);
    }

    #[test]
    fn each_lie_is_refused() {
        let refused = |entries: &[_]| check(&map(entries), &[own()]).unwrap_err();
        assert_eq!(refused(&[]), MapError::Empty);
        assert_eq!(refused(&[(0, 0x10, 1)]), MapError::Empty);
        assert_eq!(refused(&[(1, u64::MAX, 0)]), MapError::Range);
        assert_eq!(refused(&[(u64::MAX / 4096, 2, 0)]), MapError::Range);
        assert_eq!(refused(&[(0, 1 << 36, 0)]), MapError::Range);
        assert_eq!(refused(&[(0, 0x10, 0), (0xf, 0x10, 0)]), MapError::Overlap);
        assert_eq!(refused(&[(0, 0x10, 0), (0x7ff_ffff + 0x7ff, 2, 0)]), MapError::Firmware);
        assert_eq!(refused(&[(0x7ff_ffff, 2, 0)]), MapError::Firmware);
    }

    #[test]
    fn neighbours_of_the_firmware_are_welcome() {
        assert!(check(&map(&[(0x7ff_ffff, 1, 0), (0x800_0800, 1, 0)]), &[own()]).is_ok());
    }

    #[test]
    fn seventeen_ranges_are_too_many() {
        let entries: std::vec::Vec<_> = (0..17).map(|n| (n * 16, 1, 0)).collect();
        assert_eq!(check(&map(&entries[..16]), &[own()]).unwrap().len(), 16);
        assert_eq!(check(&map(&entries), &[own()]).unwrap_err(), MapError::TooMany);
    }
}
