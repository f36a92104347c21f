//! Half-open ranges of pages.

use super::{GPA_LIMIT, LARGE_PAGE_SIZE, PAGE_SIZE};

/// Whole pages `start..end` below [`GPA_LIMIT`], never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    start: u64,
    end: u64,
}

impl Region {
    /// The region from `start` up to but not including `end`; `None` if it is empty, not of whole pages, or beyond the
    /// limit.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Option<Region> {
        let whole = start.is_multiple_of(PAGE_SIZE) && end.is_multiple_of(PAGE_SIZE);
        if whole && start < end && end <= GPA_LIMIT { Some(Region { start, end }) } else { None }
    }

    /// `count` pages from page number `first`.
    #[must_use]
    pub fn of_pages(first: u64, count: u64) -> Option<Region> {
        let start = first.checked_mul(PAGE_SIZE)?;
        let end = first.checked_add(count)?.checked_mul(PAGE_SIZE)?;
        Region::new(start, end)
    }

    /// Every page that the `len` bytes at `gpa` touch.
    #[must_use]
    pub fn covering(gpa: u64, len: u64) -> Option<Region> {
        let end = gpa.checked_add(len)?.checked_next_multiple_of(PAGE_SIZE)?;
        Region::new(gpa - gpa % PAGE_SIZE, end)
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The byte after the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Never: an empty region cannot be made.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether the byte at `gpa` lies inside.
    #[must_use]
    pub const fn contains(self, gpa: u64) -> bool {
        self.start <= gpa && gpa < self.end
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub const fn covers(self, other: Region) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two have a page in common.
    #[must_use]
    pub const fn overlaps(self, other: Region) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What is left of the region without `hole`: the parts below and above it.
    #[must_use]
    pub fn without(self, hole: Region) -> [Option<Region>; 2] {
        if !self.overlaps(hole) {
            return [Some(self), None];
        }
        [Region::new(self.start, hole.start), Region::new(hole.end, self.end)]
    }

    /// The parts of the region in each 2 MiB block, in ascending order.
    pub fn blocks(self) -> impl Iterator<Item = Region> {
        let blocks = self.start / LARGE_PAGE_SIZE..self.end.div_ceil(LARGE_PAGE_SIZE);
        blocks.map(move |block| Region {
            start: self.start.max(block * LARGE_PAGE_SIZE),
            end: self.end.min((block + 1) * LARGE_PAGE_SIZE),
        })
    }

    /// The GPAs of the pages.
    pub fn pages(self) -> impl Iterator<Item = u64> {
        (self.start / PAGE_SIZE..self.end / PAGE_SIZE).map(|page| page * PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_empty_and_unaligned_ranges_do_not_exist() {
        assert_eq!(Region::new(0x1000, 0x1000), None);
        assert_eq!(Region::new(0x2000, 0x1000), None);
        assert_eq!(Region::new(0x1001, 0x2000), None);
        assert_eq!(Region::of_pages(u64::MAX / PAGE_SIZE, 2), None);
        assert_eq!(Region::of_pages(u64::MAX, 2), None);
        assert_eq!(Region::covering(u64::MAX - 1, 8), None);
        assert_eq!(Region::covering(u64::MAX - 4096, 1), None);
        assert_eq!(Region::new(GPA_LIMIT - PAGE_SIZE, GPA_LIMIT + PAGE_SIZE), None);
    }

    #[test]
    fn covering_takes_every_page_that_is_touched() {
        let region = Region::covering(0x1fff, 2).unwrap();
        assert_eq!((region.start(), region.end(), region.len()), (0x1000, 0x3000, 0x2000));
        assert_eq!(region.pages().collect::<std::vec::Vec<_>>(), [0x1000, 0x2000]);
    }

    #[test]
    fn a_hole_leaves_what_is_below_and_above_it() {
        let region = |start, end| Region::new(start, end);
        let all = Region::new(0x1000, 0x5000).unwrap();
        let without = |start, end| all.without(Region::new(start, end).unwrap());
        assert_eq!(without(0x2000, 0x3000), [region(0x1000, 0x2000), region(0x3000, 0x5000)]);
        assert_eq!(without(0, 0x2000), [None, region(0x2000, 0x5000)]);
        assert_eq!(without(0x4000, 0x6000), [region(0x1000, 0x4000), None]);
        assert_eq!(without(0, 0x8000), [None, None]);
        assert_eq!(without(0x5000, 0x6000), [Some(all), None]);
    }

    #[test]
    fn blocks_are_the_whole_region_in_order() {
        let region = Region::new(0x1f_f000, 0x60_1000).unwrap();
        let blocks: std::vec::Vec<_> = region.blocks().map(|block| (block.start(), block.end())).collect();
        let (two, four, six) = (0x20_0000, 0x40_0000, 0x60_0000);
        assert_eq!(blocks, [(0x1f_f000, two), (two, four), (four, six), (six, 0x60_1000)]);
        let last = Region::new(GPA_LIMIT - PAGE_SIZE, GPA_LIMIT).unwrap();
        assert_eq!(last.blocks().collect::<std::vec::Vec<_>>(), [last]);
        let inner = Region::new(0x20_1000, 0x20_2000).unwrap();
        assert_eq!(inner.blocks().collect::<std::vec::Vec<_>>(), [inner]);
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let a = Region::new(0x1000, 0x3000).unwrap();
        let b = Region::new(0x3000, 0x4000).unwrap();
        assert!(!a.overlaps(b) && !b.overlaps(a));
        assert!(a.contains(0x2fff) && !a.contains(0x3000));
    }
}
