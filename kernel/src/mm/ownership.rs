//! Who owns each page of guest-physical memory, and whether it is validated. Every GPA that a guest names is judged by
//! [`Ownership::owner`].
//!
//! A page of RAM is either in the guest's use (validated and granted to VMPL2) or not (shared with the host, or never
//! validated): the firmware must not touch the latter, since that access would fault. One bit is kept for each 2 MiB
//! block of RAM, and one for each page of the blocks that are neither wholly the guest's nor wholly not.
//!
//! All memory is reserved by [`Ownership::new`], within [`MAX_BLOCKS`] and [`FIRST_MIXED_BLOCKS`]: no later change
//! allocates, so none that [`Ownership::can_change`] has announced can fail. Where more blocks are in mixed use, the
//! guest is asked for memory ([`Ownership::grow`]).

use alloc::vec::Vec;

use heapless::Vec as FixedVec;

pub use super::owners::{Owner, Owners, OwnershipError};

use super::deposits::Deposits;
use super::memory_map::MAX_RANGES;
use super::{LARGE_PAGE_SIZE, PAGE, PAGE_SIZE, Region};

/// Pages that hold a register state (VMSA) made by `CREATE_VCPU`: two for each processor, one that it runs and one that
/// waits to be deleted.
pub const MAX_VMSAS: usize = 512;
/// Ranges of the firmware's own.
pub const MAX_FIRMWARE_RANGES: usize = 4;
/// 2 MiB blocks of RAM that can be kept track of: 16 TiB, by 1 MiB of bits.
pub const MAX_BLOCKS: usize = 8 * 1024 * 1024;
/// 2 MiB blocks that may be in mixed use at once by the firmware's own memory: 64 bytes each, thus 1 MiB.
pub const FIRST_MIXED_BLOCKS: usize = 16 * 1024;
/// The same with what the guest deposits, 128 GiB: 12 bytes more for each, which are reserved.
pub const MAX_MIXED_BLOCKS: usize = 64 * 1024;
/// As many at a time.
const ROOM: usize = 4 * 1024;
/// The pages that these take, and what the heap may lose by it.
pub const PAGES_TO_GROW: u32 = 65;
const _: () = assert!(ROOM * size_of::<Bits>() + PAGE <= PAGES_TO_GROW as usize * PAGE);
/// The pages that all of them take.
pub const MAX_GROWTH: usize = (MAX_MIXED_BLOCKS - FIRST_MIXED_BLOCKS) / ROOM * PAGES_TO_GROW as usize;
/// Pages, of either size, that are remembered as poisoned; after one more, no page that is not validated ever is again.
pub const MAX_POISONED: usize = 64;

/// No map can be made of so much RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMap {
    /// More than [`MAX_BLOCKS`] or too many ranges; the number is that of the blocks.
    TooMuchRam(usize),
    /// The heap has not as much as the map of these ranges needs.
    Heap,
}

snp::error_words! { NoMap {
    Self::TooMuchRam(blocks) => "there is too much RAM: {blocks} blocks",
    Self::Heap => "the heap has no room for the map",
} }

type Bits = [u64; 8];

/// A range of RAM, and the number of its first block: blocks are counted through all ranges, so a 2 MiB block in which
/// a range ends and another begins is two.
struct Ram {
    region: Region,
    first: usize,
}

impl Ram {
    /// The block that holds the page at `gpa`, which the range contains.
    fn block(&self, gpa: u64) -> usize {
        // No range has more blocks than `usize` has numbers: `MAX_BLOCKS` was checked.
        let within = gpa / LARGE_PAGE_SIZE - self.region.start() / LARGE_PAGE_SIZE;
        self.first + usize::try_from(within).unwrap_or(usize::MAX - self.first)
    }

    /// The part of the range in the 2 MiB block around `gpa`, as start and end.
    fn part(&self, gpa: u64) -> (u64, u64) {
        let block = gpa - gpa % LARGE_PAGE_SIZE;
        (self.region.start().max(block), self.region.end().min(block + LARGE_PAGE_SIZE))
    }
}

/// Where [`Ownership::change`] works: a block, which 2 MiB it is of, and whether all of it changes.
struct Place {
    block: usize,
    part: (u64, u64),
    whole: bool,
}

/// The map of all memory. There is one, behind one lock; code that decides something by it keeps the lock until the
/// last access is done.
pub struct Ownership {
    /// In ascending order.
    ram: FixedVec<Ram, MAX_RANGES>,
    firmware: FixedVec<Region, MAX_FIRMWARE_RANGES>,
    /// In ascending order.
    vmsas: Vec<u64>,
    deposits: Deposits,
    poisoned: FixedVec<Region, MAX_POISONED>,
    all_poisoned: bool,
    /// One bit a block: wholly the guest's. It does not count for blocks that are in `mixed`.
    guest: Vec<u64>,
    /// Blocks in mixed use, in ascending order, and where their bits are.
    mixed: Vec<(u32, u32)>,
    /// Each but the last has room for [`ROOM`].
    bits: FixedVec<Vec<Bits>, { MAX_MIXED_BLOCKS / ROOM }>,
    free: Vec<u32>,
    max_mixed: usize,
}

impl Owners for Ownership {
    fn owner(&self, gpa: u64) -> Owner {
        self.run(gpa).0
    }

    fn all(&self, region: Region, owner: Owner) -> bool {
        let mut gpa = region.start();
        while gpa < region.end() {
            let (found, next) = self.run(gpa);
            if found != owner {
                return false;
            }
            gpa = next;
        }
        true
    }

    fn give(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Unvalidated, true)
    }

    fn take(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Guest, false)
    }

    fn can_change(&self, region: Region) -> bool {
        let room = self.mixed.len() < self.max_mixed;
        self.place(region).is_ok_and(|place| place.whole || room || self.slot(place.block).is_some())
    }

    fn can_grow(&self) -> bool {
        !self.bits.is_full()
    }

    fn grow(&mut self) -> bool {
        let Ok(room) = reserved(ROOM) else { return false };
        let grown = self.can_grow() && self.bits.push(room).is_ok();
        self.max_mixed += if grown { ROOM } else { 0 };
        grown
    }

    fn deposited(&self) -> u64 {
        self.deposits.free_pages()
    }

    fn has_room_for_deposit(&self) -> bool {
        self.deposits.has_room()
    }

    fn deposit(&mut self, region: Region) -> Result<(), OwnershipError> {
        if !self.all(region, Owner::Guest) {
            return Err(OwnershipError::State);
        }
        if !self.deposits.has_room() {
            return Err(OwnershipError::NoRoom);
        }
        self.deposits.add(region);
        Ok(())
    }

    fn each_to_withdraw(&self, see: &mut dyn FnMut(u64) -> bool) {
        self.deposits.free().take_while(|page| see(*page)).for_each(drop);
    }

    fn withdraw(&mut self) -> Option<u64> {
        self.deposits.remove_last()
    }

    fn can_use_deposited(&self, pages: u32) -> bool {
        usize::try_from(pages).is_ok_and(|pages| self.deposits.has_room_to_use(pages))
    }

    fn use_deposited(&mut self) -> Option<u64> {
        self.deposits.take_into_use()
    }

    fn poison(&mut self, page: Region) {
        if self.poisoned.push(page).is_err() {
            self.all_poisoned = true;
            // It may have been the guest's.
            let _ = self.take(page);
        }
    }

    fn make_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        if self.owner(gpa) != Owner::Guest || !gpa.is_multiple_of(PAGE_SIZE) {
            return Err(OwnershipError::State);
        }
        let at = self.vmsas.partition_point(|vmsa| *vmsa < gpa);
        if !self.has_room_for_vmsa() {
            return Err(OwnershipError::NoRoom);
        }
        self.vmsas.insert(at, gpa);
        Ok(())
    }

    fn has_room_for_vmsa(&self) -> bool {
        self.vmsas.len() < MAX_VMSAS
    }

    fn unmake_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        let at = self.vmsas.binary_search(&gpa).map_err(|_| OwnershipError::State)?;
        self.vmsas.remove(at);
        Ok(())
    }
}

impl Ownership {
    /// A map in which all RAM is unvalidated. `ranges` are those of [`super::memory_map::check`]: ascending, and
    /// without `firmware`.
    pub fn new(ranges: &[Region], firmware: &[Region]) -> Result<Ownership, NoMap> {
        Self::with_room(ranges, firmware, FIRST_MIXED_BLOCKS)
    }

    /// [`Ownership::new`], with room for at most so many blocks in mixed use before it [grows](Ownership::grow).
    pub fn with_room(ranges: &[Region], firmware: &[Region], mixed_blocks: usize) -> Result<Ownership, NoMap> {
        let mut ram = FixedVec::new();
        let mut blocks = 0_usize;
        for region in ranges.iter().copied() {
            let first = blocks;
            let count = region.end().div_ceil(LARGE_PAGE_SIZE) - region.start() / LARGE_PAGE_SIZE;
            blocks = blocks.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
            ram.push(Ram { region, first }).map_err(|_| NoMap::TooMuchRam(blocks))?;
        }
        if blocks > MAX_BLOCKS {
            return Err(NoMap::TooMuchRam(blocks));
        }
        let max_mixed = blocks.min(FIRST_MIXED_BLOCKS).min(mixed_blocks);
        let lists = blocks.min(MAX_MIXED_BLOCKS);
        let mut bits = FixedVec::new();
        for first in (0..max_mixed).step_by(ROOM) {
            bits.push(reserved(ROOM.min(max_mixed - first))?).map_err(|_| NoMap::TooMuchRam(blocks))?;
        }
        let mut guest = reserved(blocks.div_ceil(64))?;
        guest.resize(blocks.div_ceil(64), 0);
        Ok(Ownership {
            ram,
            firmware: FixedVec::from_slice(firmware).map_err(|_| NoMap::TooMuchRam(blocks))?,
            vmsas: reserved(MAX_VMSAS)?,
            deposits: Deposits::new()?,
            poisoned: FixedVec::new(),
            all_poisoned: false,
            guest,
            mixed: reserved(lists)?,
            bits,
            free: reserved(lists)?,
            max_mixed,
        })
    }

    /// Bytes of the heap that are reserved for the map.
    #[must_use]
    pub fn footprint(&self) -> usize {
        fn bytes<T>(reserved: &Vec<T>) -> usize {
            reserved.capacity() * size_of::<T>()
        }
        let bits: usize = self.bits.iter().map(bytes).sum();
        let lists = bytes(&self.guest) + bytes(&self.mixed) + bytes(&self.free) + bytes(&self.vmsas);
        bits + lists + self.deposits.footprint()
    }

    #[cfg(test)]
    fn slots(&self) -> usize {
        self.bits.iter().map(Vec::len).sum()
    }

    /// No part more can be deposited.
    #[cfg(test)]
    pub(crate) fn fill_deposits(&mut self) {
        while self.has_room_for_deposit() {
            let parts = self.deposits.free_pages();
            self.deposits.add(Region::of_pages(0x1_0000_0000 + parts * 2, 1).unwrap());
        }
    }

    /// No page more can be used that touches none.
    #[cfg(test)]
    pub(crate) fn fill_uses(&mut self) {
        self.fill_deposits();
        while self.use_deposited().is_some() {}
    }

    /// No block that is whole now may come into mixed use.
    #[cfg(test)]
    pub(crate) fn fill_up(&mut self) {
        self.max_mixed = 0;
    }

    /// The owner of the page around `gpa`, and a GPA up to which all pages are that owner's.
    fn run(&self, gpa: u64) -> (Owner, u64) {
        let page = gpa - gpa % PAGE_SIZE;
        let next = page.saturating_add(PAGE_SIZE);
        if let Some(own) = self.firmware.iter().find(|own| own.contains(page)) {
            return (Owner::Firmware, own.end());
        }
        let above = match self.vmsas.binary_search(&page) {
            Ok(_) => return (Owner::Vmsa, next),
            Err(above) => self.vmsas.get(above).copied(),
        };
        if self.poisoned.iter().any(|region| region.contains(page)) {
            return (Owner::Poisoned, next);
        }
        let Some(ram) = self.ram_of(page) else { return (Owner::Unbacked, next) };
        if let Some(end) = self.deposits.end_of(page) {
            return (Owner::Firmware, end);
        }
        let block = ram.block(page);
        if let Some(bits) = self.slot(block).and_then(|slot| self.bits_at(slot)) {
            return (self.owner_of(bit(bits, page)), next);
        }
        // Up to the end of the block, or a page in it that is another's.
        let regions = self.firmware.iter().chain(&self.poisoned);
        let single = above.into_iter().chain(self.deposits.next_above(page));
        let others = single.chain(regions.map(|other| other.start()));
        let end = others.filter(|other| *other > page).fold(ram.part(page).1, u64::min);
        (self.owner_of(self.is_guest(block)), end)
    }

    const fn owner_of(&self, guest: bool) -> Owner {
        match guest {
            true => Owner::Guest,
            false if self.all_poisoned => Owner::Poisoned,
            false => Owner::Unvalidated,
        }
    }

    fn ram_of(&self, gpa: u64) -> Option<&Ram> {
        let above = self.ram.partition_point(|ram| ram.region.start() <= gpa);
        self.ram.get(above.checked_sub(1)?).filter(|ram| ram.region.contains(gpa))
    }

    fn is_guest(&self, block: usize) -> bool {
        self.guest.get(block / 64).is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    fn set_guest(&mut self, block: usize, guest: bool) {
        if let Some(word) = self.guest.get_mut(block / 64) {
            *word = *word & !(1 << (block % 64)) | u64::from(guest) << (block % 64);
        }
    }

    /// Where the block is, or would be, in `mixed`.
    fn search(&self, block: usize) -> Result<usize, usize> {
        self.mixed.binary_search_by(|(number, _)| (*number as usize).cmp(&block))
    }

    /// Where the bits of the block's pages are, if it is in mixed use.
    fn slot(&self, block: usize) -> Option<usize> {
        let at = self.search(block).ok()?;
        self.mixed.get(at).map(|(_, slot)| *slot as usize)
    }

    fn bits_at(&self, slot: usize) -> Option<&Bits> {
        self.bits.get(slot / ROOM)?.get(slot % ROOM)
    }

    fn bits_at_mut(&mut self, slot: usize) -> Option<&mut Bits> {
        self.bits.get_mut(slot / ROOM)?.get_mut(slot % ROOM)
    }

    fn change(&mut self, region: Region, from: Owner, to_guest: bool) -> Result<(), OwnershipError> {
        let place = self.place(region)?;
        if !self.all(region, from) {
            return Err(OwnershipError::State);
        }
        if place.whole {
            self.set_guest(place.block, to_guest);
            self.unmix(place.block);
            return Ok(());
        }
        let slot = self.mix(place.block)?;
        let bits = self.bits_at_mut(slot).ok_or(OwnershipError::State)?;
        for page in region.pages() {
            set_bit(bits, page, to_guest);
        }
        let (start, end) = place.part;
        let alike = (start..end).step_by(PAGE).all(|page| bit(bits, page) == to_guest);
        if alike {
            self.set_guest(place.block, to_guest);
            self.unmix(place.block);
        }
        Ok(())
    }

    /// The block that `region` lies in.
    fn place(&self, region: Region) -> Result<Place, OwnershipError> {
        let ram = self.ram_of(region.start()).ok_or(OwnershipError::State)?;
        let (start, end) = ram.part(region.start());
        if region.end() > end {
            return Err(OwnershipError::State);
        }
        let whole = (start, end) == (region.start(), region.end());
        Ok(Place { block: ram.block(region.start()), part: (start, end), whole })
    }

    /// Gives the block bits of its own, with the state that it had as a whole. Nothing allocates: `new` has reserved
    /// the room.
    fn mix(&mut self, block: usize) -> Result<usize, OwnershipError> {
        let at = match self.search(block) {
            Ok(_) => return self.slot(block).ok_or(OwnershipError::State),
            Err(at) => at,
        };
        let number = u32::try_from(block).map_err(|_| OwnershipError::NoRoom)?;
        if self.mixed.len() >= self.max_mixed {
            return Err(OwnershipError::NoRoom);
        }
        let bits = if self.is_guest(block) { [u64::MAX; 8] } else { [0; 8] };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.new_slot()?,
        };
        *self.bits_at_mut(slot as usize).ok_or(OwnershipError::State)? = bits;
        self.mixed.insert(at, (number, slot));
        Ok(slot as usize)
    }

    /// The first room that is not full.
    fn new_slot(&mut self) -> Result<u32, OwnershipError> {
        let rooms = (0_usize..).zip(self.bits.iter_mut());
        let (number, room) =
            rooms.into_iter().find(|(_, room)| room.len() < room.capacity()).ok_or(OwnershipError::NoRoom)?;
        let slot = u32::try_from(number * ROOM + room.len()).map_err(|_| OwnershipError::NoRoom)?;
        room.push([0; 8]);
        Ok(slot)
    }

    /// A block whose pages are all alike needs no bits of its own.
    fn unmix(&mut self, block: usize) {
        if let Ok(at) = self.search(block) {
            let (_, slot) = self.mixed.remove(at);
            self.free.push(slot);
        }
    }
}

/// Room for `count` values, and no more.
pub(super) fn reserved<T>(count: usize) -> Result<Vec<T>, NoMap> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| NoMap::Heap)?;
    Ok(room)
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

    use super::super::deposits::MAX_PARTS;
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
            assert_eq!((map.mixed.len(), map.slots(), map.free.len()), (0, 1, 1), "round {round}");
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
        for page in region(0, 0x110_0000).pages() {
            assert_eq!(map.owner(page) == Owner::Guest, model.contains(&page));
        }
    }

    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;
    #[test]
    fn the_map_has_a_budget_that_is_checked_before() {
        let of = |end| Ownership::new(&[region(4 * GIB, end)], &[]);
        // 2.45 TiB; the most; one block more; all that can be addressed.
        let most = 4 * GIB + 16 * TIB;
        assert!(of(4 * GIB + 659_013_632 * 4096).unwrap().footprint() < 2_100_000);
        // A bit for each block; for each that may be in mixed use its number, its place and a free place, and at first
        // for a part of them their bits; register states; two lists of deposits.
        let mixed = FIRST_MIXED_BLOCKS * 64 + MAX_MIXED_BLOCKS * (8 + 4);
        let others = MAX_VMSAS * 8 + 2 * MAX_PARTS * 16;
        assert_eq!(of(most).unwrap().footprint(), MAX_BLOCKS / 8 + mixed + others);
        assert_eq!(of(most + PAGE_SIZE).err(), Some(NoMap::TooMuchRam(MAX_BLOCKS + 1)));
        assert_eq!(of(1 << 47).err(), Some(NoMap::TooMuchRam((1 << 26) - 2048)));
    }

    #[test]
    fn a_change_that_was_announced_neither_fails_nor_allocates() {
        // More blocks than can be mixed.
        let end = (FIRST_MIXED_BLOCKS as u64 + 8) * LARGE_PAGE_SIZE;
        let mut map = Ownership::new(&[region(0, end)], &[]).unwrap();
        let before = map.footprint();
        let block = |number: u64| region(number * LARGE_PAGE_SIZE, (number + 1) * LARGE_PAGE_SIZE);
        let first = |number: u64| region(number * LARGE_PAGE_SIZE, number * LARGE_PAGE_SIZE + PAGE_SIZE);
        // Backwards, so that each goes to the front of the list.
        for number in (8..FIRST_MIXED_BLOCKS as u64 + 8).rev() {
            assert!(map.can_change(first(number)));
            map.give(first(number)).unwrap();
        }
        // No room for one more: that is said before, and a whole block or one that is mixed already can change.
        assert!(!map.can_change(first(0)));
        assert_eq!(map.give(first(0)), Err(OwnershipError::NoRoom));
        assert_eq!(map.owner(0), Owner::Unvalidated);
        assert!(map.can_change(block(0)) && map.can_change(first(8)));
        map.give(block(0)).unwrap();
        map.take(first(8)).unwrap();
        assert!(map.can_change(first(1)));
        map.give(first(1)).unwrap();
        assert_eq!(map.footprint(), before);
    }

    /// Every fourth page of a guest's, up to what can be kept track of; the map grows sixteen times.
    #[test]
    fn a_map_that_grows_takes_what_is_deposited_and_then_says_no() {
        let end = (MAX_MIXED_BLOCKS as u64 + 8) * LARGE_PAGE_SIZE;
        let mut map = Ownership::new(&[region(0, end)], &[]).unwrap();
        let before = map.footprint();
        let first = |number: u64| region(number * LARGE_PAGE_SIZE, number * LARGE_PAGE_SIZE + PAGE_SIZE);
        let mut grown = 0;
        for number in 0..MAX_MIXED_BLOCKS as u64 {
            if !map.can_change(first(number)) {
                assert_eq!(number as usize, FIRST_MIXED_BLOCKS + grown * ROOM);
                assert!(map.can_grow() && map.grow() && map.can_change(first(number)));
                grown += 1;
            }
            map.give(first(number)).unwrap();
        }
        assert_eq!(grown * PAGES_TO_GROW as usize, MAX_GROWTH);
        assert_eq!(map.footprint() - before, grown * ROOM * 64, "the lists were reserved");
        assert!(!map.can_change(first(MAX_MIXED_BLOCKS as u64)) && !map.can_grow() && !map.grow());
        for number in 0..MAX_MIXED_BLOCKS as u64 {
            assert_eq!(map.owner(first(number).start()), Owner::Guest);
            assert_eq!(map.owner(first(number).end()), Owner::Unvalidated);
        }
    }

    #[test]
    fn a_deposit_is_seen_in_a_block_that_is_wholly_the_guests() {
        let mut map = map();
        map.give(region(0x20_0000, 0x40_0000)).unwrap();
        assert_eq!(map.deposit(region(0x3f_f000, 0x40_1000)), Err(OwnershipError::State));
        map.deposit(region(0x30_0000, 0x30_2000)).unwrap();
        assert_eq!(map.deposit(region(0x30_1000, 0x30_2000)), Err(OwnershipError::State));
        assert!(map.all(region(0x20_0000, 0x30_0000), Owner::Guest));
        assert!(map.all(region(0x30_0000, 0x30_2000), Owner::Firmware));
        assert!(map.all(region(0x30_2000, 0x40_0000), Owner::Guest));
        assert!(!map.all(region(0x20_0000, 0x40_0000), Owner::Guest));
        assert_eq!(map.take(region(0x20_0000, 0x40_0000)), Err(OwnershipError::State));
        assert_eq!(map.make_vmsa(0x30_1000), Err(OwnershipError::State));
        assert_eq!(map.use_deposited(), Some(0x30_1000));
        assert_eq!((map.withdraw(), map.withdraw()), (Some(0x30_0000), None));
        assert_eq!((map.owner(0x30_0000), map.owner(0x30_1000)), (Owner::Guest, Owner::Firmware));
    }

    #[test]
    fn two_ranges_in_one_block_are_two_blocks() {
        let mut map = map();
        map.give(region(0, 0xa_0000)).unwrap();
        assert_eq!((map.owner(0), map.owner(0x10_0000)), (Owner::Guest, Owner::Unvalidated));
        map.give(region(0x10_0000, 0x20_0000)).unwrap();
        map.take(region(0, 0xa_0000)).unwrap();
        assert_eq!((map.owner(0), map.owner(0x10_0000)), (Owner::Unvalidated, Owner::Guest));
        assert!(map.mixed.is_empty() && map.slots() == 0);
    }

    #[test]
    fn the_firmware_amid_ram_is_the_firmwares() {
        let own = region(0x80_0000_0000, 0x80_0080_0000);
        let ram = [region(4 * GIB, own.start()), region(own.end(), TIB)];
        let mut map = Ownership::new(&ram, &[own]).unwrap();
        for range in ram {
            let (first, last) = (range.start(), range.end() - LARGE_PAGE_SIZE);
            map.give(region(first, first + LARGE_PAGE_SIZE)).unwrap();
            map.give(region(last, last + LARGE_PAGE_SIZE)).unwrap();
        }
        assert_eq!(map.owner(own.start() - 1), Owner::Guest);
        assert!(map.all(own, Owner::Firmware));
        assert_eq!(map.owner(own.end()), Owner::Guest);
        assert!(!map.can_change(region(own.start(), own.start() + PAGE_SIZE)));
        assert!(!map.all(region(own.start() - PAGE_SIZE, own.end()), Owner::Guest));
    }

    #[test]
    fn a_vmsa_is_seen_in_a_block_that_is_wholly_the_guests() {
        let mut map = map();
        map.give(region(0x20_0000, 0x40_0000)).unwrap();
        map.make_vmsa(0x30_0000).unwrap();
        assert!(map.all(region(0x20_0000, 0x30_0000), Owner::Guest));
        assert!(map.all(region(0x30_1000, 0x40_0000), Owner::Guest));
        assert!(!map.all(region(0x20_0000, 0x40_0000), Owner::Guest));
        assert_eq!(map.take(region(0x20_0000, 0x40_0000)), Err(OwnershipError::State));
    }
}
