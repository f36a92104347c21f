//! The firmware's page tables: its own 8 MiB with the least rights that each part needs, and a direct map through which
//! one page at a time can be reached.
//!
//! The direct map begins at [`DIRECT_MAP`]. An entry exists only while a page is being accessed, so nothing of the
//! guest's is mapped at any other time, and three tables are enough for all of memory. Each processor has a direct map,
//! and with it a root, of its own: what one has open, no other reaches.

use zerocopy::FromZeros;

use super::ownership::MAX_GROWTH;
use super::{LARGE_PAGE_SIZE, PAGE, PAGE_SIZE, PageSize, Region};
use crate::svsm::vcpus::{MAX_LATER_PAGES, MAX_PROCESSORS};

/// Virtual address of GPA 0 in the direct map.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// Set in advance, so that the CPU need not write to a table.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits of an entry that are an address, or the C-bit.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const DATA: u64 = PRESENT | WRITABLE | ACCESSED_DIRTY | NO_EXECUTE;
const TABLE: u64 = PRESENT | WRITABLE | ACCESSED_DIRTY;
const ENTRIES: usize = 512;
/// 2 MiB blocks of the firmware's memory that the linker knows of.
const FIRMWARE_BLOCKS: usize = 4;
/// 2 MiB blocks that the file can reserve behind them.
pub const MAX_RESERVED_BLOCKS: u32 = 10;
/// 2 MiB blocks of addresses for what the guest deposits and the firmware uses.
const DEPOSIT_BLOCKS: usize = 2;
const _: () = assert!(MAX_GROWTH as u64 * PAGE_SIZE <= DEPOSIT_BLOCKS as u64 * LARGE_PAGE_SIZE);
/// All blocks that the heap can grow into.
const HEAP_BLOCKS: usize = FIRMWARE_BLOCKS + MAX_RESERVED_BLOCKS as usize + DEPOSIT_BLOCKS;
/// 2 MiB blocks of addresses for processors whose memory the guest deposits, behind them.
const PROCESSOR_BLOCKS: usize = (MAX_PROCESSORS * MAX_LATER_PAGES).div_ceil(ENTRIES);
/// All blocks that have a table.
const BLOCKS: usize = HEAP_BLOCKS + PROCESSOR_BLOCKS;

/// What may be done in a part of the firmware's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Instructions.
    Execute,
    /// Constants.
    Read,
    /// Variables.
    Write,
    /// Memory that the host reads and writes: no C-bit.
    Shared,
    /// Nothing: a guard.
    None,
}

/// Where the firmware lies.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Virtual address of the first byte, a multiple of 1 GiB below 512 GiB.
    pub virtual_base: u64,
    /// GPA of the first byte.
    pub gpa_base: u64,
    /// The C-bit, as a mask.
    pub c_bit: u64,
}

#[derive(Clone, FromZeros)]
#[repr(C, align(4096))]
struct Table([u64; ENTRIES]);

impl Table {
    const EMPTY: Table = Table([0; ENTRIES]);

    fn set(&mut self, index: u64, entry: u64) {
        let slot = usize::try_from(index).ok().and_then(|index| self.0.get_mut(index % ENTRIES));
        if let Some(slot) = slot {
            *slot = entry;
        }
    }

    fn get(&self, index: u64) -> u64 {
        let slot = usize::try_from(index).ok().and_then(|index| self.0.get(index % ENTRIES));
        slot.copied().unwrap_or(0)
    }
}

/// The tables of the firmware's own memory, which all processors share. They lie in that memory at a known GPA.
#[repr(C, align(4096))]
pub struct OwnTables {
    low: Table,
    directory: Table,
    blocks: [Table; BLOCKS],
}

/// The tables of one processor: its root and its direct map. They lie in the firmware's memory at known GPAs.
#[derive(FromZeros)]
#[repr(C, align(4096))]
pub struct Window {
    root: Table,
    pointers: Table,
    directory: Table,
    table: Table,
}

const fn table_offset(index: u64) -> u64 {
    index * PAGE_SIZE
}

const OWN_DIRECTORY: u64 = table_offset(1);
const OWN_BLOCKS: u64 = table_offset(2);

/// GPAs of a [`Window`]'s pages, in their order: they may lie anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPages {
    root: u64,
    pointers: u64,
    directory: u64,
    table: u64,
}

impl WindowPages {
    /// Of a window of which `gpa_of` knows where the byte at an offset lies. `None`: it does not know.
    pub fn find(gpa_of: impl Fn(u64) -> Option<u64>) -> Option<WindowPages> {
        let page = |index| gpa_of(table_offset(index));
        Some(WindowPages { root: page(0)?, pointers: page(1)?, directory: page(2)?, table: page(3)? })
    }
}

const _: () = assert!(core::mem::offset_of!(OwnTables, low) == 0);
const _: () = assert!(core::mem::offset_of!(OwnTables, directory) as u64 == OWN_DIRECTORY);
const _: () = assert!(core::mem::offset_of!(OwnTables, blocks) as u64 == OWN_BLOCKS);
const _: () = assert!(core::mem::offset_of!(Window, root) == 0);
const _: () = assert!(core::mem::offset_of!(Window, pointers) as u64 == table_offset(1));
const _: () = assert!(core::mem::offset_of!(Window, directory) as u64 == table_offset(2));
const _: () = assert!(core::mem::offset_of!(Window, table) as u64 == table_offset(3));

/// A position of a page in the tables: the index at each level.
const fn indices(address: u64) -> [u64; 4] {
    [address >> 39 & 0x1ff, address >> 30 & 0x1ff, address >> 21 & 0x1ff, address >> 12 & 0x1ff]
}

impl OwnTables {
    /// No mapping at all.
    pub const EMPTY: OwnTables =
        OwnTables { low: Table::EMPTY, directory: Table::EMPTY, blocks: [const { Table::EMPTY }; BLOCKS] };

    /// Maps all of the firmware's memory as data, except for `parts` (virtual ranges). `own` is the GPA of these
    /// tables.
    pub fn build(&mut self, placement: Placement, own: u64, parts: &[(Region, Access)]) {
        let [_, low, _, _] = indices(placement.virtual_base);
        self.low.set(low, (own + OWN_DIRECTORY) | TABLE | placement.c_bit);
        for block in 0..BLOCKS as u64 {
            let table = own + OWN_BLOCKS + table_offset(block);
            self.directory.set(block, table | TABLE | placement.c_bit);
        }
        let size = FIRMWARE_BLOCKS as u64 * LARGE_PAGE_SIZE;
        for address in (placement.virtual_base..placement.virtual_base + size).step_by(PAGE) {
            let part = parts.iter().find(|(region, _)| region.contains(address));
            let offset = address - placement.virtual_base;
            let access = part.map_or(Access::Write, |(_, access)| *access);
            self.set(offset, entry(placement, placement.gpa_base + offset, access));
        }
    }

    /// Changes what may be done with the firmware's page at the virtual `address`, wherever it lies. Where none is
    /// mapped nothing changes.
    pub fn set_own(&mut self, placement: Placement, address: u64, access: Access) {
        if let Some(gpa) = self.gpa_of(placement, address) {
            self.set(address - placement.virtual_base, entry(placement, gpa - gpa % PAGE_SIZE, access));
        }
    }

    /// GPA of the byte at the virtual `address`. `None`: nothing is mapped there.
    #[must_use]
    pub fn gpa_of(&self, placement: Placement, address: u64) -> Option<u64> {
        let offset = address.checked_sub(placement.virtual_base)?;
        let entry = self.get(offset)?;
        (entry & PRESENT != 0).then_some((entry & FRAME & !placement.c_bit) + address % PAGE_SIZE)
    }

    /// Maps the page at `gpa`, which is not the firmware's by its place, as data at the virtual `address`, which is
    /// behind the heap. `false`: the heap has no such address.
    pub fn map(&mut self, placement: Placement, address: u64, gpa: u64) -> bool {
        let offset = address - placement.virtual_base;
        offset < HEAP_BLOCKS as u64 * LARGE_PAGE_SIZE && self.set(offset, entry(placement, gpa, Access::Write))
    }

    /// Maps the pages at `gpas`, which lie anywhere, as data one behind the other, where the memory of the processor
    /// with this APIC id has its place. Their virtual address; `None`: it has none, they do not fit, or others have
    /// been there before.
    pub fn map_processor(&mut self, placement: Placement, apic_id: u32, gpas: &[u64]) -> Option<u64> {
        let number = usize::try_from(apic_id).ok().filter(|number| *number < MAX_PROCESSORS)?;
        let first = HEAP_BLOCKS * ENTRIES + number * MAX_LATER_PAGES;
        let mut places = (first as u64..).take(MAX_LATER_PAGES);
        if gpas.len() > MAX_LATER_PAGES || places.any(|page| self.get(page * PAGE_SIZE) != Some(0)) {
            return None;
        }
        for (page, gpa) in (first as u64..).zip(gpas) {
            self.set(page * PAGE_SIZE, entry(placement, *gpa, Access::Write));
        }
        Some(placement.virtual_base + first as u64 * PAGE_SIZE)
    }

    fn get(&self, offset: u64) -> Option<u64> {
        let table = self.blocks.get(usize::try_from(offset / LARGE_PAGE_SIZE).ok()?)?;
        Some(table.get(offset / PAGE_SIZE % ENTRIES as u64))
    }

    fn set(&mut self, offset: u64, entry: u64) -> bool {
        let block = usize::try_from(offset / LARGE_PAGE_SIZE).ok();
        let table = block.and_then(|block| self.blocks.get_mut(block));
        let found = table.is_some();
        table.into_iter().for_each(|table| table.set(offset / PAGE_SIZE % ENTRIES as u64, entry));
        found
    }
}

/// What a table has for the firmware's page at `gpa`.
const fn entry(placement: Placement, gpa: u64, access: Access) -> u64 {
    let private = gpa | placement.c_bit;
    match access {
        Access::Execute => private | PRESENT | ACCESSED_DIRTY,
        Access::Read => private | PRESENT | ACCESSED_DIRTY | NO_EXECUTE,
        Access::Write => private | DATA,
        Access::Shared => gpa | DATA,
        Access::None => 0,
    }
}

impl Window {
    /// No mapping at all.
    pub const EMPTY: Window =
        Window { root: Table::EMPTY, pointers: Table::EMPTY, directory: Table::EMPTY, table: Table::EMPTY };

    /// Makes a root that leads to the firmware's own memory. `at` is where these tables lie, `own` the GPA of the
    /// shared ones. Returns CR3.
    pub fn build(&mut self, placement: Placement, at: WindowPages, own: u64) -> u64 {
        let [root, ..] = indices(placement.virtual_base);
        self.root.set(root, own | TABLE | placement.c_bit);
        at.root | placement.c_bit
    }

    /// Lets the page at `gpa` appear in the direct map as private data, and returns its address there.
    pub fn open(&mut self, placement: Placement, at: WindowPages, gpa: u64, size: PageSize) -> u64 {
        let page = gpa - gpa % size.bytes();
        let address = DIRECT_MAP + page;
        let [root, pointer, directory, table] = indices(address);
        self.root.set(root, at.pointers | TABLE | placement.c_bit);
        self.pointers.set(pointer, at.directory | TABLE | placement.c_bit);
        match size {
            PageSize::Size2M => self.directory.set(directory, page | DATA | LARGE | placement.c_bit),
            PageSize::Size4K => {
                self.directory.set(directory, at.table | TABLE | placement.c_bit);
                self.table.set(table, page | DATA | placement.c_bit);
            }
        }
        address
    }

    /// Takes away what [`Window::open`] made for the page at `gpa`. The caller then invalidates the address.
    pub fn close(&mut self, gpa: u64) {
        let [root, pointer, directory, table] = indices(DIRECT_MAP + gpa);
        self.table.set(table, 0);
        self.directory.set(directory, 0);
        self.pointers.set(pointer, 0);
        self.root.set(root, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::*;
    use crate::mm::GPA_LIMIT;

    const OWN: u64 = 0x80_0040_0000;
    const WINDOW: u64 = 0x80_0048_0000;
    /// Where the linker puts the tables: one behind the other.
    const AT: WindowPages =
        WindowPages { root: WINDOW, pointers: WINDOW + 0x1000, directory: WINDOW + 0x2000, table: WINDOW + 0x3000 };
    const PLACEMENT: Placement = Placement { virtual_base: 0x4000_0000, gpa_base: 0x80_0000_0000, c_bit: 1 << 47 };

    struct Tables {
        own: OwnTables,
        window: Window,
        at: WindowPages,
    }

    fn built() -> Box<Tables> {
        let mut tables = Box::new(Tables { own: OwnTables::EMPTY, window: Window::EMPTY, at: AT });
        let text = Region::new(0x4000_0000, 0x4000_3000).unwrap();
        let constants = Region::new(0x4000_3000, 0x4000_4000).unwrap();
        let guard = Region::new(0x4030_0000, 0x4030_1000).unwrap();
        let parts = [(text, Access::Execute), (constants, Access::Read), (guard, Access::None)];
        tables.own.build(PLACEMENT, OWN, &parts);
        assert_eq!(tables.window.build(PLACEMENT, AT, OWN), WINDOW | 1 << 47);
        tables
    }

    /// Walks as the CPU does: the leaf entry and the GPA of the byte.
    fn walk(tables: &Tables, address: u64) -> Option<(u64, u64)> {
        let mut table = tables.at.root;
        for (level, index) in indices(address).into_iter().enumerate() {
            let entry = at(tables, table).0[index as usize];
            if entry & PRESENT == 0 {
                return None;
            }
            assert_ne!(entry & 1 << 47, 0, "tables and what is walked here are private");
            let covered = 4096_u64 << (9 * (3 - level));
            if level == 3 || entry & LARGE != 0 {
                return Some((entry, (entry & FRAME & !PLACEMENT.c_bit) + address % covered));
            }
            table = entry & FRAME & !PLACEMENT.c_bit;
        }
        None
    }

    fn at(tables: &Tables, gpa: u64) -> &Table {
        let Tables { own, window, at } = tables;
        let shared = [&own.low, &own.directory].into_iter().chain(&own.blocks).enumerate();
        let shared = shared.map(|(index, table)| (OWN + table_offset(index as u64), table));
        let mut all = shared.chain([
            (at.root, &window.root),
            (at.pointers, &window.pointers),
            (at.directory, &window.directory),
            (at.table, &window.table),
        ]);
        all.find(|(place, _)| *place == gpa).unwrap().1
    }

    #[test]
    fn own_memory_is_never_writable_and_executable() {
        let tables = built();
        for page in 0..2048 {
            let address = 0x4000_0000 + page * 4096;
            let Some((entry, gpa)) = walk(&tables, address) else {
                assert_eq!(address, 0x4030_0000, "only the guard is absent");
                continue;
            };
            assert_eq!(gpa, 0x80_0000_0000 + page * 4096);
            assert!(entry & WRITABLE == 0 || entry & NO_EXECUTE != 0);
            assert_eq!(entry & NO_EXECUTE == 0, page < 3);
            assert_eq!(entry & WRITABLE != 0, page > 3);
        }
        assert_eq!(walk(&tables, 0), None);
        assert_eq!(walk(&tables, 0x4080_0000), None);
    }

    #[test]
    fn one_page_at_a_time_is_open() {
        let mut tables = built();
        for (gpa, size) in [
            (0, PageSize::Size4K),
            (0x10_0000, PageSize::Size4K),
            (0x20_0000, PageSize::Size2M),
            (0x3f_f000, PageSize::Size4K),
            (0x1_0000_0000, PageSize::Size2M),
            (GPA_LIMIT - 4096, PageSize::Size4K),
        ] {
            let address = tables.window.open(PLACEMENT, AT, gpa, size);
            assert_eq!(address, DIRECT_MAP + gpa);
            let (entry, mapped) = walk(&tables, address + (size.bytes() - 1)).unwrap();
            assert_eq!(mapped, gpa + size.bytes() - 1);
            assert_eq!(entry & NO_EXECUTE, NO_EXECUTE);
            let neighbours = [address.wrapping_sub(1), address.wrapping_add(size.bytes())];
            for neighbour in neighbours.into_iter().filter(|address| *address >= DIRECT_MAP) {
                assert_eq!(walk(&tables, neighbour), None);
            }
            tables.window.close(gpa);
            assert_eq!(walk(&tables, address), None);
        }
    }

    /// APM volume 2, 5.4.1: A is bit 5 and D bit 6. An entry without them would have the CPU write to a table.
    #[test]
    fn no_entry_waits_for_the_cpu_to_set_accessed_or_dirty() {
        let mut tables = built();
        tables.own.set_own(PLACEMENT, 0x4020_0000, Access::Shared);
        tables.window.open(PLACEMENT, AT, 0x1234_5000, PageSize::Size4K);
        let tables = &*tables;
        let own = (0..2 + BLOCKS as u64).flat_map(|table| at(tables, OWN + table * 4096).0);
        let all = own.chain((0..4).flat_map(|table| at(tables, WINDOW + table * 4096).0));
        let present: std::vec::Vec<u64> = all.filter(|entry| entry & 1 != 0).collect();
        assert_eq!(present.len(), 1 + BLOCKS + 2047 + 1 + 4, "tables, pages but the guard, and a page that is open");
        assert!(present.iter().all(|entry| entry & 0x60 == 0x60));
    }

    /// Whoever names a byte gets its page.
    #[test]
    fn the_page_around_an_address_is_opened() {
        for (size, page) in [(PageSize::Size4K, 0x12_3456_7000), (PageSize::Size2M, 0x12_3440_0000)] {
            let mut tables = built();
            assert_eq!(tables.window.open(PLACEMENT, AT, 0x12_3456_789a, size), DIRECT_MAP + page);
            assert_eq!(walk(&tables, DIRECT_MAP + 0x12_3456_789a).unwrap().1, 0x12_3456_789a);
            tables.window.close(0x12_3456_789a);
            assert_eq!(walk(&tables, DIRECT_MAP + page), None);
        }
    }

    /// What is reserved lies behind the 8 MiB as it does there; what is deposited lies anywhere.
    #[test]
    fn memory_behind_the_linkers_is_mapped_when_it_is_there() {
        let mut tables = built();
        let (reserved, deposited) = (0x4080_0000, 0x4080_0000 + 10 * LARGE_PAGE_SIZE);
        let end = deposited + 2 * LARGE_PAGE_SIZE;
        assert_eq!([reserved, deposited, end - 4096].map(|address| walk(&tables, address)), [None; 3]);
        for (address, gpa) in [(reserved, 0x80_0080_0000), (deposited, 0x1234_5000), (end - 4096, 0x2000)] {
            assert!(tables.own.map(PLACEMENT, address, gpa));
            let (entry, found) = walk(&tables, address + 5).unwrap();
            assert_eq!((entry & 0xfff, entry & NO_EXECUTE, found), (DATA & 0xfff, NO_EXECUTE, gpa + 5));
        }
        assert!(!tables.own.map(PLACEMENT, end, 0x3000), "there is no address for it");
        assert_eq!(walk(&tables, end), None, "what is there is a processor's");
        tables.own.set_own(PLACEMENT, reserved, Access::Shared);
        assert_eq!(tables.own.blocks[4].0[0], 0x80_0080_0000 | DATA);
        tables.own.set_own(PLACEMENT, reserved, Access::None);
        assert_eq!(walk(&tables, reserved), None);
    }

    #[test]
    fn a_shared_page_has_no_c_bit() {
        let mut tables = built();
        tables.own.set_own(PLACEMENT, 0x4020_0000, Access::Shared);
        assert_eq!(tables.own.blocks[1].0[0], 0x80_0020_0000 | DATA);
    }

    /// Each processor's pages have a place of their own, and keep their own GPA, whatever is done with them.
    #[test]
    fn a_processors_pages_lie_anywhere() {
        let mut tables = built();
        let of = |apic_id: u32| -> std::vec::Vec<u64> {
            (0..MAX_LATER_PAGES as u64).map(|page| (page * 0x100 + u64::from(apic_id) * 3 + 7) * 0x1000).collect()
        };
        let mut addresses = std::vec::Vec::new();
        for apic_id in [0, 1, 2, 254, 255] {
            let address = tables.own.map_processor(PLACEMENT, apic_id, &of(apic_id)).unwrap();
            addresses.extend((0..MAX_LATER_PAGES as u64).map(|page| address + page * 4096));
        }
        let pages = [0, 1, 2, 254, 255].into_iter().flat_map(of);
        for (address, gpa) in addresses.iter().copied().zip(pages) {
            let (entry, found) = walk(&tables, address + 5).unwrap();
            assert_eq!((entry & 0xfff, entry & NO_EXECUTE, found), (DATA & 0xfff, NO_EXECUTE, gpa + 5));
            assert_eq!(tables.own.gpa_of(PLACEMENT, address + 5), Some(gpa + 5));
            assert!(!tables.own.map(PLACEMENT, address, 0x3000), "it is no address of the heap's");
        }
        let (guard, shared) = (addresses[30], addresses[31]);
        let gpa = tables.own.gpa_of(PLACEMENT, shared);
        tables.own.set_own(PLACEMENT, shared, Access::Shared);
        assert_eq!(tables.own.gpa_of(PLACEMENT, shared), gpa);
        let [.., block, page] = indices(shared);
        assert_eq!(Some(tables.own.blocks[block as usize].0[page as usize]), gpa.map(|gpa| gpa | DATA), "no C-bit");
        tables.own.set_own(PLACEMENT, guard, Access::None);
        assert_eq!((walk(&tables, guard), tables.own.gpa_of(PLACEMENT, guard)), (None, None));
        tables.own.set_own(PLACEMENT, guard, Access::Write);
        assert_eq!(walk(&tables, guard), None, "what is gone stays gone");
        for gpas in [&of(1)[..], &[0x1000]] {
            assert_eq!(tables.own.map_processor(PLACEMENT, 1, gpas), None, "others were there before");
        }
        assert_eq!(tables.own.map_processor(PLACEMENT, 256, &[0x1000]), None);
        assert_eq!(tables.own.map_processor(PLACEMENT, 3, &[0x1000; MAX_LATER_PAGES + 1]), None);
    }

    /// The places of 256 processors begin behind the heap, do not overlap, and all have a table.
    #[test]
    fn there_is_a_place_for_each_processor() {
        let mut tables = built();
        let mut next = 0x4000_0000 + HEAP_BLOCKS as u64 * LARGE_PAGE_SIZE;
        for apic_id in 0..MAX_PROCESSORS as u32 {
            let gpas = [u64::from(apic_id + 1) << 20; MAX_LATER_PAGES];
            let address = tables.own.map_processor(PLACEMENT, apic_id, &gpas).unwrap();
            assert_eq!(address, next);
            next += MAX_LATER_PAGES as u64 * 4096;
            assert_eq!(walk(&tables, next - 4096).map(|(_, gpa)| gpa), Some(gpas[0]));
        }
    }

    /// The four tables of a processor's window, no two of which touch.
    #[test]
    fn a_windows_tables_lie_anywhere() {
        let mut tables = built();
        let places = [0x1234_5000, 0x7000, 0x80_0071_1000, 0x9_8765_4000];
        tables.at = WindowPages::find(|offset| Some(places[(offset / 4096) as usize])).unwrap();
        let Tables { own, window, at } = &mut *tables;
        assert_eq!(window.build(PLACEMENT, *at, OWN), 0x1234_5000 | 1 << 47);
        assert_eq!(own.gpa_of(PLACEMENT, 0x4020_0008), Some(0x80_0020_0008));
        assert_eq!(walk(&tables, 0x4020_0008).unwrap().1, 0x80_0020_0008);
        let at = tables.at;
        for (gpa, size) in [(0x5555_5000, PageSize::Size4K), (0x5560_0000, PageSize::Size2M)] {
            let address = tables.window.open(PLACEMENT, at, gpa, size);
            assert_eq!(walk(&tables, address + 0x123).unwrap().1, gpa + 0x123);
            tables.window.close(gpa);
            assert_eq!(walk(&tables, address), None);
        }
        assert_eq!(WindowPages::find(|offset| (offset < 0x3000).then_some(offset)), None);
    }
}
