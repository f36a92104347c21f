//! The memory map that an operating system is given: entries of E820 (ACPI 6.5, 15: address, length, type; 20 octets
//! without attributes).

use alloc::vec::Vec;

use super::Region;

/// AddressRangeMemory.
pub const RAM: u16 = 1;
/// Octets of an entry.
pub const ENTRY_SIZE: usize = 20;

/// All of `ranges` as RAM, but for `others`, which have types of their own and need not lie in a range. Ascending, none
/// overlaps another.
#[must_use]
pub fn entries(ranges: &[Region], others: &[(Region, u16)]) -> Vec<(Region, u16)> {
    let mut all: Vec<(Region, u16)> = ranges.iter().map(|range| (*range, RAM)).collect();
    for (other, kind) in others.iter().filter(|(_, kind)| *kind != RAM) {
        all = all
            .into_iter()
            .flat_map(|(region, kind)| cut(region, *other).map(|part| Some((part?, kind))))
            .flatten()
            .collect();
        all.push((*other, *kind));
    }
    all.sort_unstable_by_key(|(region, _)| region.start());
    all
}

fn cut(part: Region, hole: Region) -> [Option<Region>; 2] {
    if !part.overlaps(hole) {
        return [Some(part), None];
    }
    [Region::new(part.start(), hole.start()), Region::new(hole.end(), part.end())]
}

/// As an operating system reads them.
#[must_use]
pub fn to_bytes(entries: &[(Region, u16)]) -> Vec<u8> {
    let bytes = |(region, kind): &(Region, u16)| {
        let mut entry = [0; ENTRY_SIZE];
        let fields = [region.start().to_le_bytes(), region.len().to_le_bytes(), u64::from(*kind).to_le_bytes()];
        entry.iter_mut().zip(fields.as_flattened()).for_each(|(to, from)| *to = *from);
        entry
    };
    entries.iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, end: u64) -> Region {
        Region::new(start, end).unwrap()
    }

    #[test]
    fn what_is_reserved_is_cut_out_of_ram_and_what_lies_outside_is_added() {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_0000)];
        let others = [
            (region(0x20_0000, 0x20_3000), 2),
            (region(0x20_3000, 0x20_4000), 3),
            (region(0x40_0000, 0x50_0000), RAM),
            (region(0xffc0_0000, 0x1_0000_0000), 2),
        ];
        let all = entries(&ram, &others);
        assert_eq!(
            all,
            [
                (region(0, 0xa_0000), RAM),
                (region(0x10_0000, 0x20_0000), RAM),
                (region(0x20_0000, 0x20_3000), 2),
                (region(0x20_3000, 0x20_4000), 3),
                (region(0x20_4000, 0x100_0000), RAM),
                (region(0xffc0_0000, 0x1_0000_0000), 2),
            ]
        );
    }

    #[test]
    fn an_entry_has_twenty_octets() {
        let bytes = to_bytes(&[(region(0x1000, 0x3000), 2), (region(0x10_0000, 0x20_0000), 1)]);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[..20], [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    }
}
