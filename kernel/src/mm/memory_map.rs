//! The IGVM memory map: the host's word about which GPAs are RAM, checked before anything is done with it.

use heapless::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{GPA_LIMIT, PAGE, PAGE_SIZE, Region};

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

/// Entries that the page holds.
const MAX_ENTRIES: usize = PAGE / size_of::<Entry>();

/// The page, below the flash memory of 4 MiB, that processors wait in which the host launches beside the first one. It
/// is the firmware's for good: their launched register states are of VMPL0, and a host can run them at any time.
pub const PARKING: (u64, u64) = (0xffbf_f000, 0xffc0_0000);

/// Where no platform has RAM that could be made private, whatever its map says: the legacy video memory, option ROMs
/// and BIOS, which QEMU covers with one range of RAM from 0 up and whose page state it refuses to change; and
/// [`PARKING`].
pub const PLATFORM_HOLES: [(u64, u64); 2] = [(0xa_0000, 0x10_0000), PARKING];

/// The holes, and the firmware's own memory.
const MAX_HOLES: usize = PLATFORM_HOLES.len() + 1;

/// Ranges that can come of a map: each entry that is not memory, and each hole, cuts at most one range in two.
pub const MAX_RANGES: usize = MAX_ENTRIES + MAX_HOLES;

/// Ranges of RAM in ascending order, none of which overlaps or touches another.
pub type Ranges = Vec<Region, MAX_RANGES>;

/// Why a memory map is refused. The host wrote it, so each of these ends the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A range of memory wraps, or reaches beyond [`super::GPA_LIMIT`].
    Range,
    /// Two ranges of memory have a page in common.
    Overlap,
    /// More than [`MAX_RANGES`]: no map of one page has so many.
    TooMany,
    /// There is no memory at all.
    Empty,
}

snp::error_words! { MapError {
    Self::Range => "a range wraps, or lies beyond what can be addressed",
    Self::Overlap => "two ranges have a page in common",
    Self::TooMany => "there are too many ranges",
    Self::Empty => "there is no memory",
} }

/// The RAM in the map of `page`, checked: no range of memory wraps or overlaps another. The order of the entries does
/// not matter. What is no memory by another entry, lies in one of [`PLATFORM_HOLES`] or is `firmware`'s is taken out.
pub fn check(page: &[u8; PAGE], firmware: Region) -> Result<Ranges, MapError> {
    let (entries, _) = <[Entry]>::ref_from_prefix_with_elems(page, MAX_ENTRIES).map_err(|_| MapError::Empty)?;
    let listed = || entries.iter().take_while(|entry| entry.pages.get() != 0);
    let mut ranges = Ranges::new();
    for entry in listed().filter(|entry| entry.kind.get() == KIND_MEMORY) {
        let range = Region::of_pages(entry.first_page.get(), entry.pages.get()).ok_or(MapError::Range)?;
        insert(&mut ranges, range)?;
    }
    let mut ranges = joined(&ranges)?;
    let holes = PLATFORM_HOLES.iter().filter_map(|(start, end)| Region::new(*start, *end)).chain([firmware]);
    let reserved = listed().filter(|entry| entry.kind.get() != KIND_MEMORY).filter_map(clamped);
    for hole in holes.chain(reserved) {
        ranges = without(&ranges, hole).ok_or(MapError::TooMany)?;
    }
    if ranges.is_empty() { Err(MapError::Empty) } else { Ok(ranges) }
}

/// What `ranges`, at most `N` of them, have outside of `hole`. `None`: more than `N`.
#[must_use]
pub fn without<const N: usize>(ranges: &[Region], hole: Region) -> Option<Vec<Region, N>> {
    let mut left = Vec::new();
    for part in ranges.iter().flat_map(|range| range.without(hole)).flatten() {
        left.push(part).ok()?;
    }
    Some(left)
}

/// Keeps `ranges` in ascending order.
fn insert(ranges: &mut Ranges, range: Region) -> Result<(), MapError> {
    if ranges.iter().any(|other| other.overlaps(range)) {
        return Err(MapError::Overlap);
    }
    let at = ranges.iter().take_while(|other| other.start() < range.start()).count();
    ranges.insert(at, range).map_err(|_| MapError::TooMany)
}

/// Makes one of ranges that touch each other.
fn joined(ranges: &[Region]) -> Result<Ranges, MapError> {
    let mut all = Ranges::new();
    for range in ranges {
        let touching = all.last_mut().filter(|last: &&mut Region| last.end() == range.start());
        match (touching.as_deref().and_then(|last| Region::new(last.start(), range.end())), touching) {
            (Some(both), Some(last)) => *last = both,
            _ => all.push(*range).map_err(|_| MapError::TooMany)?,
        }
    }
    Ok(all)
}

/// An entry that is no memory may say what it likes: only what lies below the limit counts.
fn clamped(entry: &Entry) -> Option<Region> {
    let limit = GPA_LIMIT / PAGE_SIZE;
    let first = entry.first_page.get().min(limit);
    Region::of_pages(first, entry.pages.get().min(limit - first))
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::vec::Vec as StdVec;

    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;

    /// Entries of first page, pages and kind.
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

    /// Starts and ends of what is taken of entries of start, end and kind.
    fn taken(entries: &[(u64, u64, u16)]) -> Result<StdVec<(u64, u64)>, MapError> {
        let pages: StdVec<_> =
            entries.iter().map(|(start, end, kind)| (start / 4096, (end - start) / 4096, *kind)).collect();
        let ranges = check(&map(&pages), own())?;
        Ok(ranges.iter().map(|range| (range.start(), range.end())).collect())
    }

    #[test]
    fn an_honest_map_is_taken_as_it_is() {
        let page = map(&[(0, 0xa0, 0), (0xf0, 0x10, 1), (1 << 40, u64::MAX, 1), (0x100, 0x10000, 0)]);
        let ranges = check(&page, own()).unwrap();
        assert_eq!(ranges[0], Region::new(0, 0xa_0000).unwrap());
        assert_eq!(ranges[1], Region::new(0x10_0000, 0x1010_0000).unwrap());
        assert_eq!(ranges.len(), 2);
    }

    /// QEMU's e820 for an SEV-SNP guest of 4 GiB: RAM across the legacy hole, RAM above 4 GiB, what KVM reserves below
    /// it, AMD's HyperTransport hole.
    #[test]
    fn the_map_of_qemu_loses_the_legacy_hole() {
        let map = [
            (0, 2 * GIB, 0),
            (0xfeff_c000, 0xff00_0000, 1),
            (4 * GIB, 6 * GIB, 0),
            (0xfd_0000_0000, 0x100_0000_0000, 1),
        ];
        assert_eq!(taken(&map).unwrap(), [(0, 0xa_0000), (MIB, 2 * GIB), (4 * GIB, 6 * GIB)]);
    }

    #[test]
    fn a_guest_of_more_than_508_gib_loses_the_firmwares_place_only() {
        let ram = [(0, 2 * GIB, 0), (4 * GIB, TIB, 0)];
        let left = [(0, 0xa_0000), (MIB, 2 * GIB), (4 * GIB, own().start()), (own().end(), TIB)];
        assert_eq!(taken(&ram).unwrap(), left);
        let around = [(0, MIB, 0), (own().start() - 4096, own().end() + 4096, 0)];
        let left = [(0, 0xa_0000), (own().start() - 4096, own().start()), (own().end(), own().end() + 4096)];
        assert_eq!(taken(&around).unwrap(), left);
        assert_eq!(taken(&[(own().start(), own().end(), 0)]), Err(MapError::Empty));
    }

    /// 659,013,632 pages: 2.45 TiB.
    #[test]
    fn a_map_of_2_45_tib_is_taken() {
        let end = 4 * GIB + 659_013_632 * 4096;
        assert_eq!(taken(&[(4 * GIB, end, 0)]).unwrap(), [(4 * GIB, own().start()), (own().end(), end)]);
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter() {
        let sorted = [(0, 0x8_0000, 0), (MIB, 2 * MIB, 0), (3 * MIB, 4 * MIB, 0), (GIB, 2 * GIB, 0)];
        for turn in 0..4 {
            let mut entries = sorted;
            entries.rotate_left(turn);
            assert_eq!(taken(&entries), taken(&sorted));
            entries.reverse();
            assert_eq!(taken(&entries), taken(&sorted));
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(
            taken(&[(2 * MIB, 3 * MIB, 0), (MIB, 2 * MIB, 0), (3 * MIB, 5 * MIB, 0)]).unwrap(),
            [(MIB, 5 * MIB)]
        );
    }

    #[test]
    fn what_another_entry_calls_no_memory_is_taken_out() {
        let entries = [(2 * MIB, 3 * MIB, 1), (MIB, 9 * MIB, 0), (7 * MIB, 10 * MIB, 2)];
        assert_eq!(taken(&entries).unwrap(), [(MIB, 2 * MIB), (3 * MIB, 7 * MIB)]);
        // To the end of the address space and beyond it.
        for pages in [GPA_LIMIT, u64::MAX] {
            let page = map(&[(0x100, 0x1000, 0), (0x800, pages, 1)]);
            assert_eq!(&check(&page, own()).unwrap()[..], [Region::new(MIB, 8 * MIB).unwrap()]);
        }
        assert_eq!(check(&map(&[(0x100, 1, 0), (u64::MAX, u64::MAX, 1)]), own()).unwrap().len(), 1);
    }

    #[test]
    fn each_lie_is_refused() {
        let refused = |entries: &[_]| check(&map(entries), own()).unwrap_err();
        assert_eq!(refused(&[]), MapError::Empty);
        assert_eq!(refused(&[(0, 0x10, 1)]), MapError::Empty);
        assert_eq!(refused(&[(0xa0, 0x60, 0)]), MapError::Empty);
        assert_eq!(refused(&[(1, u64::MAX, 0)]), MapError::Range);
        assert_eq!(refused(&[(u64::MAX / 4096, 2, 0)]), MapError::Range);
        assert_eq!(refused(&[(0, 1 << 36, 0)]), MapError::Range);
        assert_eq!(refused(&[(0, 0x10, 0), (0xf, 0x10, 0)]), MapError::Overlap);
        assert_eq!(refused(&[(0x20, 0x10, 0), (0, 0x100, 0)]), MapError::Overlap);
        assert_eq!(refused(&[(0, 0x10, 0), (0, 0x10, 0)]), MapError::Overlap);
    }

    #[test]
    fn a_page_full_of_entries_is_taken_and_the_most_ranges_come_of_it() {
        let entries: StdVec<_> = (0..170).map(|n| (0x1000 + n * 16, 1, 0)).collect();
        assert_eq!(check(&map(&entries), own()).unwrap().len(), 170);
        // One range, and 169 entries that are no memory and cut it, each of them, and the hole, and the firmware.
        let cuts = (0..169).map(|n| (0x1000 + n * 16, 1, 1));
        let entries: StdVec<_> = [(0, 1 << 30, 0)].into_iter().chain(cuts).collect();
        assert_eq!(check(&map(&entries), own()).unwrap().len(), MAX_RANGES);
    }

    /// 20,000 small maps against a plain set of pages.
    #[test]
    fn random_maps_agree_with_a_plain_set_of_pages() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut accepted = 0;
        for _ in 0..20_000 {
            // 64 pages, of which each end of the hole and of the firmware's place is in the middle.
            let base = [0x80, 0xe0, 0x7ff_ffe0, 0x800_07e0][next(4) as usize];
            let count = 1 + next(6);
            let entries: StdVec<_> =
                (0..count).map(|_| (base + next(56), 1 + next(8), u16::from(next(4) == 0))).collect();
            let pages = |kind: u16| {
                let of = entries.iter().filter(move |entry| entry.2 == kind);
                of.flat_map(|(first, pages, _)| *first..first + pages)
            };
            let memory: BTreeSet<u64> = pages(0).collect();
            let overlap = memory.len() != pages(0).count();
            let holes = [0xa0..0x100, 0x800_0000..0x800_0800];
            let left: StdVec<u64> = memory
                .into_iter()
                .filter(|page| !holes.iter().any(|hole| hole.contains(page)) && !pages(1).any(|other| other == *page))
                .collect();
            match check(&map(&entries), own()) {
                Ok(ranges) => {
                    let found: StdVec<u64> =
                        ranges.iter().flat_map(|range| range.pages()).map(|gpa| gpa / 4096).collect();
                    assert!(!overlap && found == left, "{entries:x?}");
                    assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].start()), "{entries:x?}");
                    accepted += 1;
                }
                Err(MapError::Overlap) => assert!(overlap, "{entries:x?}"),
                Err(error) => assert!(!overlap && left.is_empty() && error == MapError::Empty, "{entries:x?}"),
            }
        }
        assert!(accepted > 5_000, "{accepted}");
    }

    /// Any page of bytes has a defined end.
    #[test]
    fn random_pages_have_a_defined_end() {
        let mut random = 1_u64;
        for turn in 0..20_000 {
            let mut page = [0; 4096];
            for (index, byte) in page.iter_mut().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Small and huge numbers, kinds 0 to 3.
                let wanted = [2, 3, 5, 8][turn % 4];
                *byte = match index % 24 {
                    at if at % 8 < wanted && at < 16 => (random >> 56) as u8,
                    16 => (random >> 60) as u8 % 4 / 3,
                    _ => 0,
                };
            }
            if let Ok(ranges) = check(&page, own()) {
                assert!(!ranges.is_empty() && ranges.iter().all(|range| !range.overlaps(own())));
            }
        }
    }
}
