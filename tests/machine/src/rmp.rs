//! The reverse map: who owns each 4 KiB page of the guest's memory, whether it is validated, and which VMPL may do what
//! with it.

use crate::bits::us;
use crate::phys::{PAGE, Pool, RESERVE_END, RESERVE_START};
use crate::pvh::{LEGACY_HOLE, LEGACY_HOLE_END};
use heapless::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the firmware lives (docs/boot.md), above every real machine's memory map.
pub(crate) const FIRMWARE: u64 = 512 << 30;
/// Bytes of it that no file is without.
pub(crate) const FIRMWARE_OWN: u64 = 8 << 20;
/// Bytes that there are for it: these, and what a file may reserve behind them.
pub(crate) const FIRMWARE_SIZE: u64 = 28 << 20;
/// Where the launch may place pages although no memory is there: a firmware that ends at 4 GiB.
pub(crate) const PLACED: u64 = PLACED_END - 0x100_0000;
/// And its end.
pub(crate) const PLACED_END: u64 = 4 << 30;
/// Pages of 4 KiB in a page of 2 MiB.
pub(crate) const HUGE_PAGES: u64 = 512;

/// The page belongs to the guest (private), not to the hypervisor (shared).
pub(crate) const ASSIGNED: u16 = 1;
/// PVALIDATE has been done.
pub(crate) const VALIDATED: u16 = 2;
/// Part of a 2 MiB page.
pub(crate) const HUGE: u16 = 4;
/// Has the VMSA attribute.
pub(crate) const VMSA: u16 = 8;
/// PVALIDATE found it validated already (CF=1): the host may have mapped one page twice.
pub(crate) const UNCHANGED: u16 = 16;
/// A shared page that the guest has reached since its state last changed.
pub(crate) const TOUCHED: u16 = 32;

/// PVALIDATE was to rescind it and found that it was not validated (CF=1): the host has swapped it.
pub(crate) const SWAPPED: u16 = 64;

/// A page of the guest's that was reached without C-bit ([`crate::memory::Memory::alias`]) since it became private.
pub(crate) const LENT: u16 = 128;

/// Permission bits of RMPADJUST.
pub(crate) const READ: u8 = 1;
/// Write.
pub(crate) const WRITE: u8 = 2;
/// Execute at CPL 3.
pub(crate) const EXEC_USER: u8 = 4;
/// Execute at CPL 0–2.
pub(crate) const EXEC_SUPERVISOR: u8 = 8;
/// All.
pub(crate) const FULL: u8 = 15;

/// What the reverse map has of a page.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) flags: u16,
    /// Per VMPL; VMPL0 has all of them.
    pub(crate) permissions: [u8; 4],
}

impl Entry {
    /// Are all of `flags` set?
    pub(crate) const fn is(self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// What each VMPL may do on the private side.
    pub(crate) const fn rights(self) -> [u8; 4] {
        if self.is(ASSIGNED | VALIDATED) && !self.is(UNCHANGED) { self.permissions } else { [0; 4] }
    }

    /// Owner, validated or not, without any grant.
    pub(crate) const fn new(flags: u16) -> Self {
        Self { flags, permissions: [FULL, 0, 0, 0] }
    }
}

/// The guest's physical memory and the reverse map over it.
pub(crate) struct Rmp {
    ranges: Vec<(u64, u64), 16>,
    /// The largest of them, which is asked first.
    largest: (u64, u64),
    firmware: u64,
    /// Where the RAM behind the legacy hole is, if there is any.
    legacy: Option<u64>,
    /// Where the RAM below 4 GiB is that the launch has placed a firmware in, if there is any: (GPA, machine's
    /// address).
    placed: Option<(u64, u64)>,
    entries: &'static mut [Entry],
    low_pages: u64,
}

impl Rmp {
    /// `ranges`: usable RAM as the machine's memory map has it; `ram`: the end of what the guest gets.
    pub(crate) fn new(pool: &mut Pool, ranges: &[(u64, u64)], ram: u64) -> Self {
        let mut usable = Vec::new();
        for &(start, end) in ranges {
            for (start, end) in [(start, end.min(RESERVE_START)), (start.max(RESERVE_END), end)] {
                let (start, end) = (start.next_multiple_of(PAGE), end.min(ram) & !(PAGE - 1));
                if start < end {
                    // More than 16 ranges: the rest is not used.
                    let _ = usable.push((start, end));
                }
            }
        }
        let low_pages = usable.iter().map(|range: &(u64, u64)| range.1).max().unwrap_or(0) / PAGE;
        let count = us(low_pages + (FIRMWARE_SIZE + PLACED_END - PLACED) / PAGE);
        let bytes = pool.slice(count * size_of::<Entry>());
        let Ok(entries) = <[Entry]>::mut_from_bytes(bytes) else { crate::log::fault!("reverse map misaligned") };
        entries.fill(Entry::new(0));
        let largest = usable.iter().copied().max_by_key(|(start, end)| end - start).unwrap_or_default();
        Self { ranges: usable, largest, firmware: 0, legacy: None, placed: None, entries, low_pages }
    }

    /// Tells where the memory at [`FIRMWARE`] is in the machine's memory.
    pub(crate) fn back_firmware(&mut self, hpa: u64) {
        self.firmware = hpa;
    }

    /// Tells where the RAM behind the legacy hole is in the machine's memory.
    pub(crate) fn back_legacy_hole(&mut self, hpa: u64) {
        self.legacy = Some(hpa);
    }

    /// Tells where the RAM from `gpa` to 4 GiB is in the machine's memory.
    pub(crate) fn back_placed(&mut self, gpa: u64, hpa: u64) {
        self.placed = Some((gpa, hpa));
    }

    /// The ranges of RAM, without the firmware's.
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// The machine's address of what is behind `gpa` (without C-bit). `None`: no RAM.
    #[inline]
    pub(crate) fn hpa(&self, gpa: u64) -> Option<u64> {
        if self.is_in_largest(gpa) { Some(gpa) } else { self.hpa_elsewhere(gpa) }
    }

    #[inline(never)]
    fn hpa_elsewhere(&self, gpa: u64) -> Option<u64> {
        if (FIRMWARE..FIRMWARE + FIRMWARE_SIZE).contains(&gpa) {
            return Some(self.firmware + (gpa - FIRMWARE));
        }
        if (LEGACY_HOLE..LEGACY_HOLE_END).contains(&gpa) {
            return self.legacy.map(|hpa| hpa + (gpa - LEGACY_HOLE));
        }
        if self.ranges.iter().any(|&(start, end)| (start..end).contains(&gpa)) {
            return Some(gpa);
        }
        let (start, hpa) = self.placed?;
        (start..PLACED_END).contains(&gpa).then(|| hpa + (gpa - start))
    }

    const fn is_in_largest(&self, gpa: u64) -> bool {
        self.largest.0 <= gpa && gpa < self.largest.1
    }

    #[inline]
    fn index(&self, gpa: u64) -> Option<usize> {
        if self.is_in_largest(gpa) { Some(us(gpa / PAGE)) } else { self.index_elsewhere(gpa) }
    }

    #[inline(never)]
    fn index_elsewhere(&self, gpa: u64) -> Option<usize> {
        self.hpa(gpa)?;
        Some(us(match gpa {
            FIRMWARE.. => self.low_pages + (gpa - FIRMWARE) / PAGE,
            PLACED..PLACED_END => self.low_pages + (FIRMWARE_SIZE + gpa - PLACED) / PAGE,
            _ => gpa / PAGE,
        }))
    }

    /// The entry of the page at `gpa`. `None`: no RAM.
    #[inline]
    pub(crate) fn entry(&self, gpa: u64) -> Option<Entry> {
        self.entries.get(self.index(gpa)?).copied()
    }

    /// Changes the entry. Only `Memory` calls this: the nested page tables must follow.
    pub(crate) fn set(&mut self, gpa: u64, entry: Entry) {
        if let Some(slot) = self.index(gpa).and_then(|index| self.entries.get_mut(index)) {
            *slot = entry;
        }
    }

    /// Every page of RAM: (GPA, entry).
    pub(crate) fn pages(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let firmware = core::iter::once((FIRMWARE, FIRMWARE + FIRMWARE_SIZE));
        let placed = self.placed.map(|(start, _)| (start, PLACED_END));
        let ranges = self.ranges.iter().copied().chain(firmware).chain(placed);
        ranges.flat_map(|(start, end)| (start..end).step_by(us(PAGE))).filter_map(|gpa| Some((gpa, self.entry(gpa)?)))
    }
}
