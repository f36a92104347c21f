//! Who owns each page of guest-physical memory, and whether it is validated. Every GPA that a guest names is judged by [`Ownership::owner`].
//!
//! A page of RAM is either in the guest's use (validated and granted to VMPL2) or not (shared with the host, or never validated): the
//! firmware must not touch the latter, since that access would fault. One bit a page is kept, and only for 2 MiB blocks that
//! are neither wholly the guest's nor wholly not, so that a terabyte of RAM costs 2 MiB here.

use alloc::vec::Vec;

use heapless::Vec as FixedVec;

use super::memory_map::MAX_RANGES;
use super::{LARGE_PAGE_SIZE, PAGE_SIZE, Region};

/// Pages that hold a register state (VMSA) made by `CREATE_VCPU`.
pub const MAX_VMSAS: usize = 64;
/// Ranges of the firmware's own.
pub const MAX_FIRMWARE_RANGES: usize = 4;
/// 2 MiB blocks that may be in mixed use at once; 64 bytes each.
const MAX_MIXED_BLOCKS: usize = 16 * 1024;

/// Pages, of either size, that are remembered as poisoned; after one more, no page that is not validated ever is again.
pub const MAX_POISONED: usize = 64;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// RAM, validated and granted to VMPL2.
    Guest,
    /// RAM that is not validated: the guest may ask for its validation, nobody may touch it.
    Unvalidated,
    /// A register state of a guest's vCPU.
    Vmsa,
    /// The firmware's.
    Firmware,
    /// RAM of which the CPU and this map did not say the same: the host has swapped it. Nobody's, for ever (MM-01).
    Poisoned,
    /// No RAM: a device, a hole, or beyond the memory map.
    Unbacked,
}

/// The change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipError {
    /// The page is in no range of RAM, or not in the state that the change needs.
    State,
    /// No room to remember one more page in another state than its neighbours.
    NoRoom,
}

/// One 2 MiB block of a range of RAM.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    AllUnvalidated,
    AllGuest,
    Mixed(u16),
}

type Bits = [u64; 8];

struct Ram {
    region: Region,
    blocks: Vec<Block>,
}

impl Ram {
    fn new(region: Region) -> Result<Ram, OwnershipError> {
        let count = usize::try_from(region.end().div_ceil(LARGE_PAGE_SIZE) - region.start() / LARGE_PAGE_SIZE)
            .map_err(|_| OwnershipError::NoRoom)?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| OwnershipError::NoRoom)?;
        blocks.resize(count, Block::AllUnvalidated);
        Ok(Ram { region, blocks })
    }

    fn index(&self, gpa: u64) -> Option<usize> {
        let blocks = (gpa / LARGE_PAGE_SIZE).checked_sub(self.region.start() / LARGE_PAGE_SIZE)?;
        usize::try_from(blocks).ok()
    }

    fn block(&self, gpa: u64) -> Option<Block> {
        self.blocks.get(self.index(gpa)?).copied()
    }
}

/// The map of all memory. There is one, behind one lock; whoever decides something by it keeps the lock until the last access is done.
pub struct Ownership {
    ram: FixedVec<Ram, MAX_RANGES>,
    firmware: FixedVec<Region, MAX_FIRMWARE_RANGES>,
    vmsas: FixedVec<u64, MAX_VMSAS>,
    poisoned: FixedVec<Region, MAX_POISONED>,
    all_poisoned: bool,
    mixed: Vec<Bits>,
    free: Vec<u16>,
}

impl Ownership {
    /// A map in which all RAM is unvalidated. `ranges` have been checked against each other and `firmware`.
    pub fn new(ranges: &[Region], firmware: &[Region]) -> Result<Ownership, OwnershipError> {
        let mut ram = FixedVec::new();
        for range in ranges {
            ram.push(Ram::new(*range)?).map_err(|_| OwnershipError::NoRoom)?;
        }
        Ok(Ownership {
            ram,
            firmware: FixedVec::from_slice(firmware).map_err(|_| OwnershipError::NoRoom)?,
            vmsas: FixedVec::new(),
            poisoned: FixedVec::new(),
            all_poisoned: false,
            mixed: Vec::new(),
            free: Vec::new(),
        })
    }

    /// Who owns the page that the byte at `gpa` lies in.
    #[must_use]
    pub fn owner(&self, gpa: u64) -> Owner {
        if self.firmware.iter().any(|own| own.contains(gpa)) {
            return Owner::Firmware;
        }
        if self.vmsas.contains(&(gpa - gpa % PAGE_SIZE)) {
            return Owner::Vmsa;
        }
        if self.poisoned.iter().any(|page| page.contains(gpa)) {
            return Owner::Poisoned;
        }
        match self.ram.iter().find(|ram| ram.region.contains(gpa)) {
            None => Owner::Unbacked,
            Some(ram) if self.is_guest(ram, gpa) => Owner::Guest,
            Some(_) if self.all_poisoned => Owner::Poisoned,
            Some(_) => Owner::Unvalidated,
        }
    }

    /// Whether each page of `region` is owned by `owner`.
    #[must_use]
    pub fn all(&self, region: Region, owner: Owner) -> bool {
        region.pages().all(|page| self.owner(page) == owner)
    }

    /// Every page of `region` becomes the guest's. The region may be a whole 2 MiB block or lie in one.
    pub fn give(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Unvalidated, true)
    }

    /// Every page of `region` becomes unvalidated.
    pub fn take(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Guest, false)
    }

    /// Whether `region`, all in one 2 MiB block, could change hands: asked before the hardware is told, so that the map cannot fail after it.
    #[must_use]
    pub fn can_change(&self, region: Region) -> bool {
        let whole = region.len() == LARGE_PAGE_SIZE && region.start().is_multiple_of(LARGE_PAGE_SIZE);
        let mixed = |ram: &Ram| matches!(ram.block(region.start()), Some(Block::Mixed(_)));
        let room = whole || !self.free.is_empty() || self.mixed.len() < MAX_MIXED_BLOCKS;
        self.ram.iter().any(|ram| ram.region.covers(region) && (room || mixed(ram)))
    }

    /// The page is nobody's from here on. This cannot fail: when there is no room to remember it, its like is refused altogether.
    pub fn poison(&mut self, page: Region) {
        if self.poisoned.push(page).is_err() {
            self.all_poisoned = true;
            // It may have been the guest's.
            let _ = self.take(page);
        }
    }

    /// The guest's page at `gpa` becomes a VMSA.
    pub fn make_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        if self.owner(gpa) != Owner::Guest || !gpa.is_multiple_of(PAGE_SIZE) {
            return Err(OwnershipError::State);
        }
        self.vmsas.push(gpa).map_err(|_| OwnershipError::NoRoom)
    }

    /// Whether there is room for one more VMSA.
    #[must_use]
    pub fn has_room_for_vmsa(&self) -> bool {
        !self.vmsas.is_full()
    }

    /// The VMSA at `gpa` becomes an ordinary page of the guest's again.
    pub fn unmake_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        let at = self.vmsas.iter().position(|vmsa| *vmsa == gpa).ok_or(OwnershipError::State)?;
        self.vmsas.swap_remove(at);
        Ok(())
    }

    /// Pages that are the guest's, VMSAs included.
    #[must_use]
    pub fn guest_pages(&self) -> u64 {
        let in_ram = |ram: &Ram| ram.region.pages().filter(|page| self.is_guest(ram, *page)).count() as u64;
        self.ram.iter().map(in_ram).sum()
    }

    fn is_guest(&self, ram: &Ram, gpa: u64) -> bool {
        match ram.block(gpa) {
            Some(Block::AllGuest) => true,
            Some(Block::Mixed(at)) => self.mixed.get(usize::from(at)).is_some_and(|bits| bit(bits, gpa)),
            Some(Block::AllUnvalidated) | None => false,
        }
    }

    fn change(&mut self, region: Region, from: Owner, to_guest: bool) -> Result<(), OwnershipError> {
        let one_block = region.start() / LARGE_PAGE_SIZE == (region.end() - 1) / LARGE_PAGE_SIZE;
        if !one_block || !self.all(region, from) {
            return Err(OwnershipError::State);
        }
        let (at, index, whole) = self.locate(region)?;
        let wanted = if to_guest { Block::AllGuest } else { Block::AllUnvalidated };
        let slot = match self.block_mut(at, index)? {
            Block::Mixed(slot) => *slot,
            block if whole => {
                *block = wanted;
                return Ok(());
            }
            _ => self.split(at, index)?,
        };
        let bits = self.mixed.get_mut(usize::from(slot)).ok_or(OwnershipError::State)?;
        for page in region.pages() {
            set_bit(bits, page, to_guest);
        }
        self.merge(at, index, slot)
    }

    /// The range of RAM, the block in it, and whether the region is all of that block.
    fn locate(&self, region: Region) -> Result<(usize, usize, bool), OwnershipError> {
        let covers = |ram: &Ram| ram.region.covers(region);
        let at = self.ram.iter().position(covers).ok_or(OwnershipError::State)?;
        let ram = self.ram.get(at).ok_or(OwnershipError::State)?;
        let index = ram.index(region.start()).ok_or(OwnershipError::State)?;
        let block = region.start() - region.start() % LARGE_PAGE_SIZE;
        let whole = region.start() == ram.region.start().max(block)
            && region.end() == ram.region.end().min(block + LARGE_PAGE_SIZE);
        Ok((at, index, whole))
    }

    fn block_mut(&mut self, at: usize, index: usize) -> Result<&mut Block, OwnershipError> {
        self.ram.get_mut(at).and_then(|ram| ram.blocks.get_mut(index)).ok_or(OwnershipError::State)
    }

    /// Gives the block its own bits, with the state that it had as a whole.
    fn split(&mut self, at: usize, index: usize) -> Result<u16, OwnershipError> {
        let was_guest = *self.block_mut(at, index)? == Block::AllGuest;
        let bits = if was_guest { [u64::MAX; 8] } else { [0; 8] };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.mixed.get_mut(usize::from(slot)).ok_or(OwnershipError::State)? = bits;
                slot
            }
            None => self.push_bits(bits)?,
        };
        *self.block_mut(at, index)? = Block::Mixed(slot);
        Ok(slot)
    }

    fn push_bits(&mut self, bits: Bits) -> Result<u16, OwnershipError> {
        if self.mixed.len() >= MAX_MIXED_BLOCKS {
            return Err(OwnershipError::NoRoom);
        }
        let slot = u16::try_from(self.mixed.len()).map_err(|_| OwnershipError::NoRoom)?;
        self.mixed.try_reserve(1).map_err(|_| OwnershipError::NoRoom)?;
        self.free.try_reserve(self.mixed.len() + 1).map_err(|_| OwnershipError::NoRoom)?;
        self.mixed.push(bits);
        Ok(slot)
    }

    /// A block whose pages are all alike needs no bits of its own.
    fn merge(&mut self, at: usize, index: usize, slot: u16) -> Result<(), OwnershipError> {
        let bits = *self.mixed.get(usize::from(slot)).ok_or(OwnershipError::State)?;
        let ram = self.ram.get(at).ok_or(OwnershipError::State)?;
        let block = (ram.region.start() / LARGE_PAGE_SIZE + index as u64) * LARGE_PAGE_SIZE;
        let start = ram.region.start().max(block);
        let end = ram.region.end().min(block + LARGE_PAGE_SIZE);
        let mut pages = (start / PAGE_SIZE..end / PAGE_SIZE).map(|page| bit(&bits, page * PAGE_SIZE));
        let first = pages.next().ok_or(OwnershipError::State)?;
        if pages.all(|page| page == first) {
            *self.block_mut(at, index)? = if first { Block::AllGuest } else { Block::AllUnvalidated };
            // Room was reserved when the bits were made.
            self.free.push(slot);
        }
        Ok(())
    }
}

fn position(gpa: u64) -> (usize, u32) {
    let page = (gpa % LARGE_PAGE_SIZE) / PAGE_SIZE;
    ((page / 64) as usize, (page % 64) as u32)
}

fn bit(bits: &Bits, gpa: u64) -> bool {
    let (word, shift) = position(gpa);
    bits.get(word).is_some_and(|word| word >> shift & 1 != 0)
}

fn set_bit(bits: &mut Bits, gpa: u64, value: bool) {
    let (word, shift) = position(gpa);
    if let Some(word) = bits.get_mut(word) {
        *word = *word & !(1 << shift) | u64::from(value) << shift;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec as StdVec;

    use super::*;

    fn region(start: u64, end: u64) -> Region {
        Region::new(start, end).unwrap()
    }

    fn map() -> Ownership {
        let ram = [region(0, 0xa_0000), region(0x10_0000, 0x100_1000)];
        Ownership::new(&ram, &[region(0x80_0000_0000, 0x80_0080_0000)]).unwrap()
    }

    #[test]
    fn owners_change_exactly_at_the_edges() {
        let mut map = map();
        map.give(region(0x1_0000, 0x1_3000)).unwrap();
        let owners = [0xffff, 0x1_0000, 0x1_2fff, 0x1_3000, 0x9_ffff, 0xa_0000, 0x100_0fff, 0x100_1000]
            .map(|gpa| map.owner(gpa));
        use Owner::{Guest, Unbacked, Unvalidated};
        assert_eq!(owners, [Unvalidated, Guest, Guest, Unvalidated, Unvalidated, Unbacked, Unvalidated, Unbacked]);
        assert_eq!(map.owner(0x7f_ffff_ffff), Owner::Unbacked);
        assert_eq!(map.owner(0x80_0000_0000), Owner::Firmware);
        assert_eq!(map.owner(0x80_007f_ffff), Owner::Firmware);
        assert_eq!(map.owner(0x80_0080_0000), Owner::Unbacked);
        assert_eq!(map.owner(u64::MAX), Owner::Unbacked);
    }

    #[test]
    fn a_page_is_given_once_and_taken_once() {
        let mut map = map();
        let page = region(0x20_0000, 0x20_1000);
        assert_eq!(map.take(page), Err(OwnershipError::State));
        map.give(page).unwrap();
        assert_eq!(map.give(page), Err(OwnershipError::State));
        map.take(page).unwrap();
        assert_eq!(map.owner(0x20_0000), Owner::Unvalidated);
        assert_eq!(map.give(region(0x1f_f000, 0x20_1000)), Err(OwnershipError::State), "two blocks at once");
        assert_eq!(map.give(region(0x80_0000_0000, 0x80_0000_1000)), Err(OwnershipError::State));
        assert_eq!(map.give(region(0xa_0000, 0xa_1000)), Err(OwnershipError::State));
    }

    #[test]
    fn blocks_that_become_uniform_give_their_bits_back() {
        let mut map = map();
        for round in 0..3 {
            for page in region(0x40_0000, 0x60_0000).pages() {
                map.give(region(page, page + PAGE_SIZE)).unwrap();
            }
            map.take(region(0x40_0000, 0x60_0000)).unwrap();
            assert_eq!((map.mixed.len(), map.free.len()), (1, 1), "round {round}");
        }
        // The last page of RAM is a block of one page.
        map.give(region(0x100_0000, 0x100_1000)).unwrap();
        assert_eq!(map.owner(0x100_0000), Owner::Guest);
        assert_eq!(map.free.len(), 1);
    }

    #[test]
    fn a_vmsa_is_nobodys_page_until_it_is_deleted() {
        let mut map = map();
        assert_eq!(map.make_vmsa(0x20_1000), Err(OwnershipError::State));
        map.give(region(0x20_0000, 0x40_0000)).unwrap();
        map.make_vmsa(0x20_1000).unwrap();
        assert_eq!(map.owner(0x20_1fff), Owner::Vmsa);
        assert_eq!(map.take(region(0x20_1000, 0x20_2000)), Err(OwnershipError::State));
        assert_eq!(map.unmake_vmsa(0x20_2000), Err(OwnershipError::State));
        map.unmake_vmsa(0x20_1000).unwrap();
        assert_eq!(map.owner(0x20_1000), Owner::Guest);
    }

    #[test]
    fn a_poisoned_page_is_nobodys() {
        let mut map = map();
        let (given, not) = (region(0x20_0000, 0x20_1000), region(0x20_1000, 0x20_2000));
        map.give(given).unwrap();
        for page in [given, not] {
            map.poison(page);
            assert_eq!(map.owner(page.start()), Owner::Poisoned);
            assert_eq!((map.give(page), map.take(page)), (Err(OwnershipError::State), Err(OwnershipError::State)));
            assert_eq!(map.make_vmsa(page.start()), Err(OwnershipError::State));
        }
        assert_eq!(map.owner(0x20_2000), Owner::Unvalidated);
    }

    #[test]
    fn a_host_that_swaps_more_pages_than_are_remembered_gets_none_validated() {
        let mut map = map();
        map.give(region(0x20_0000, 0x40_0000)).unwrap();
        let pages: StdVec<Region> =
            region(0x20_0000, 0x40_0000).pages().map(|page| region(page, page + PAGE_SIZE)).collect();
        for page in &pages[..=MAX_POISONED] {
            assert_eq!(map.owner(0x50_0000), Owner::Unvalidated);
            map.poison(*page);
            assert_eq!(map.owner(page.start()), Owner::Poisoned);
        }
        assert_eq!(map.owner(0x50_0000), Owner::Poisoned);
        assert_eq!(map.give(region(0x50_0000, 0x50_1000)), Err(OwnershipError::State));
        assert_eq!(map.owner(0x3f_f000), Owner::Guest, "what the guest has stays its own");
    }

    #[test]
    fn random_changes_agree_with_a_plain_set_of_pages() {
        let mut map = map();
        let mut model = BTreeSet::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..40_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let page = 0x10_0000 + (random >> 33) % 0xf01 * PAGE_SIZE;
            let pages = [1, 1, 1, 3, 512][(random >> 20) as usize % 5];
            let start = if pages == 512 { page - page % LARGE_PAGE_SIZE } else { page };
            let wanted = region(start, start + pages * PAGE_SIZE);
            let one_block = start / LARGE_PAGE_SIZE == (wanted.end() - 1) / LARGE_PAGE_SIZE;
            let in_ram = start >= 0x10_0000 && wanted.end() <= 0x100_1000;
            let listed: StdVec<u64> = wanted.pages().collect();
            if random >> 60 & 1 == 0 {
                let possible = one_block && in_ram && listed.iter().all(|page| !model.contains(page));
                assert_eq!(map.give(wanted).is_ok(), possible);
                if possible {
                    model.extend(listed);
                }
            } else {
                let possible = one_block && in_ram && listed.iter().all(|page| model.contains(page));
                assert_eq!(map.take(wanted).is_ok(), possible);
                if possible {
                    model.retain(|page| !wanted.contains(*page));
                }
            }
        }
        assert_eq!(map.guest_pages(), model.len() as u64);
        for page in region(0, 0x110_0000).pages() {
            assert_eq!(map.owner(page) == Owner::Guest, model.contains(&page));
        }
    }
}
