//! Memory that the guest has deposited: pages that lie amid its RAM and are the firmware's, until it withdraws them.

use alloc::vec::Vec;

use super::ownership::NoMap;
use super::{PAGE_SIZE, Region};

/// Parts that are remembered, of the free pages and of those that the firmware uses: deposits that touch are one.
pub const MAX_PARTS: usize = 1024;

/// What was deposited. All room is reserved when it is made.
pub(super) struct Deposits {
    free: Parts,
    used: Parts,
}

impl Deposits {
    pub(super) fn new() -> Result<Deposits, NoMap> {
        Ok(Deposits { free: Parts::new()?, used: Parts::new()? })
    }

    /// Bytes of the heap that are reserved.
    pub(super) fn footprint(&self) -> usize {
        (self.free.0.capacity() + self.used.0.capacity()) * size_of::<Region>()
    }

    /// Whether the page at `gpa` was deposited, and the end of the part that it lies in.
    pub(super) fn end_of(&self, gpa: u64) -> Option<u64> {
        self.free.part(gpa).or_else(|| self.used.part(gpa)).map(Region::end)
    }

    /// The first page above `gpa` that was deposited.
    pub(super) fn next_above(&self, gpa: u64) -> Option<u64> {
        [&self.free, &self.used].iter().filter_map(|parts| parts.next_above(gpa)).min()
    }

    /// Whether one more part can be remembered.
    pub(super) fn has_room(&self) -> bool {
        self.free.has_room()
    }

    /// `region`, which was not deposited, is free from here on.
    pub(super) fn add(&mut self, region: Region) {
        self.free.insert(region);
    }

    /// Pages that are free.
    pub(super) fn free_pages(&self) -> u64 {
        self.free.0.iter().map(|part| part.len() / PAGE_SIZE).sum()
    }

    /// The free pages in the order in which they are given back.
    pub(super) fn free(&self) -> impl Iterator<Item = u64> + '_ {
        let pages = |part: &Region| (part.start() / PAGE_SIZE..part.end() / PAGE_SIZE).rev();
        self.free.0.iter().rev().flat_map(pages).map(|page| page * PAGE_SIZE)
    }

    /// A free page is no deposit any more.
    pub(super) fn remove_last(&mut self) -> Option<u64> {
        self.free.pop()
    }

    /// Whether so many pages, none of which touches another, can be remembered as in use.
    pub(super) fn has_room_to_use(&self, pages: usize) -> bool {
        self.used.0.len().saturating_add(pages) <= MAX_PARTS
    }

    /// A free page is the firmware's for good. `None`: there is none, or it cannot be remembered.
    pub(super) fn take_into_use(&mut self) -> Option<u64> {
        let page = self.used.has_room().then(|| self.free.pop())??;
        self.used.insert(Region::of_pages(page / PAGE_SIZE, 1)?);
        Some(page)
    }
}

/// Regions in ascending order, none of which touches another.
struct Parts(Vec<Region>);

impl Parts {
    fn new() -> Result<Parts, NoMap> {
        super::ownership::reserved(MAX_PARTS).map(Parts)
    }

    const fn has_room(&self) -> bool {
        self.0.len() < MAX_PARTS
    }

    /// How many parts begin at `gpa` or below.
    fn below(&self, gpa: u64) -> usize {
        self.0.partition_point(|part| part.start() <= gpa)
    }

    fn part(&self, gpa: u64) -> Option<Region> {
        self.0.get(self.below(gpa).checked_sub(1)?).copied().filter(|part| part.contains(gpa))
    }

    fn next_above(&self, gpa: u64) -> Option<u64> {
        self.0.get(self.below(gpa)).map(|part| part.start())
    }

    /// Overlaps no part, and is dropped where there is no room.
    fn insert(&mut self, region: Region) {
        let mut at = self.below(region.start());
        let mut all = region;
        if let Some(above) = self.0.get(at).filter(|above| above.start() == all.end()) {
            all = Region::new(all.start(), above.end()).unwrap_or(all);
            self.0.remove(at);
        }
        if let Some(below) =
            at.checked_sub(1).and_then(|below| self.0.get(below)).filter(|below| below.end() == all.start())
        {
            all = Region::new(below.start(), all.end()).unwrap_or(all);
            at -= 1;
            self.0.remove(at);
        }
        if self.has_room() {
            self.0.insert(at, all);
        }
    }

    /// Takes the last page out.
    fn pop(&mut self) -> Option<u64> {
        let last = self.0.pop()?;
        let page = last.end() - PAGE_SIZE;
        self.0.extend(Region::new(last.start(), page));
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec as StdVec;

    use super::*;

    fn page(number: u64) -> Region {
        Region::of_pages(number, 1).unwrap()
    }

    #[test]
    fn deposits_that_touch_are_one_part() {
        let mut deposits = Deposits::new().unwrap();
        for number in [5, 9, 7, 8, 6] {
            deposits.add(page(number));
        }
        assert_eq!(deposits.free.0, [Region::of_pages(5, 5).unwrap()]);
        assert_eq!((deposits.end_of(0x7fff), deposits.end_of(0xa000)), (Some(0xa000), None));
        assert_eq!((deposits.next_above(0x4fff), deposits.next_above(0x5000)), (Some(0x5000), None));
        assert_eq!(deposits.free().collect::<StdVec<_>>(), [0x9000, 0x8000, 0x7000, 0x6000, 0x5000]);
    }

    #[test]
    fn what_is_in_use_is_not_given_back() {
        let mut deposits = Deposits::new().unwrap();
        deposits.add(Region::of_pages(16, 3).unwrap());
        assert_eq!(deposits.take_into_use(), Some(0x1_2000));
        assert_eq!((deposits.free_pages(), deposits.end_of(0x1_2000)), (2, Some(0x1_3000)));
        assert_eq!(
            [deposits.remove_last(), deposits.remove_last(), deposits.remove_last()],
            [Some(0x1_1000), Some(0x1_0000), None]
        );
        assert_eq!(
            (deposits.take_into_use(), deposits.end_of(0x1_2000), deposits.end_of(0x1_1000)),
            (None, Some(0x1_3000), None)
        );
    }

    /// Nothing allocates after the beginning, and nothing is lost up to the last part.
    #[test]
    fn as_many_parts_as_there_is_room_for() {
        let mut deposits = Deposits::new().unwrap();
        let before = deposits.footprint();
        for number in 0..MAX_PARTS as u64 {
            assert!(deposits.has_room());
            deposits.add(page(number * 2));
        }
        assert!(!deposits.has_room());
        assert_eq!((deposits.free_pages(), deposits.footprint()), (MAX_PARTS as u64, before));
        let mut used = 0;
        assert!(deposits.has_room_to_use(MAX_PARTS) && !deposits.has_room_to_use(MAX_PARTS + 1));
        while deposits.take_into_use().is_some() {
            used += 1;
            assert!(deposits.has_room_to_use(MAX_PARTS - used) && !deposits.has_room_to_use(MAX_PARTS - used + 1));
        }
        assert_eq!((used, deposits.footprint()), (MAX_PARTS, before));
    }

    #[test]
    fn random_deposits_agree_with_a_plain_set_of_pages() {
        let (mut deposits, mut free, mut used) = (Deposits::new().unwrap(), BTreeSet::new(), BTreeSet::new());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (random >> 33) % 200;
            match random >> 60 {
                0..9 if !free.contains(&number) && !used.contains(&number) => {
                    deposits.add(page(number));
                    free.insert(number);
                }
                9..12 => assert_eq!(deposits.remove_last().map(|gpa| gpa / PAGE_SIZE), free.pop_last()),
                12 if used.len() < 100 => {
                    let taken = free.pop_last();
                    used.extend(taken);
                    assert_eq!(deposits.take_into_use().map(|gpa| gpa / PAGE_SIZE), taken);
                }
                _ => {}
            }
            let gpa = number * PAGE_SIZE;
            assert_eq!(deposits.end_of(gpa).is_some(), free.contains(&number) || used.contains(&number));
            assert_eq!(deposits.free_pages(), free.len() as u64);
        }
    }
}
