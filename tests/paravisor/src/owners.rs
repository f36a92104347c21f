//! Who owns each page: an octet for each page of RAM, and a list of those that the guest has deposited. For a guest of
//! 16 TiB that is too much; for this one it is what fits on a screen.

use alloc::vec::Vec;

use kernel::mm::{Owner, Owners, OwnershipError, PAGE_SIZE, Region};

/// The map.
pub(crate) struct PageOwners {
    own: Region,
    /// From GPA 0 on.
    pages: Vec<Owner>,
    /// Ascending.
    deposited: Vec<u64>,
}

impl PageOwners {
    /// All of `ranges` is unvalidated.
    pub(crate) fn new(ranges: &[Region], own: Region) -> Self {
        let end = ranges.last().map_or(0, |last| index(last.end()));
        let mut pages = alloc::vec![Owner::Unbacked; end];
        for gpa in ranges.iter().flat_map(|range| range.pages()) {
            pages[index(gpa)] = Owner::Unvalidated;
        }
        Self { own, pages, deposited: Vec::new() }
    }

    fn change(&mut self, region: Region, from: Owner, to: Owner) -> Result<(), OwnershipError> {
        if !self.all(region, from) {
            return Err(OwnershipError::State);
        }
        region.pages().for_each(|gpa| self.pages[index(gpa)] = to);
        Ok(())
    }
}

fn index(gpa: u64) -> usize {
    usize::try_from(gpa / PAGE_SIZE).unwrap_or(usize::MAX)
}

impl Owners for PageOwners {
    fn owner(&self, gpa: u64) -> Owner {
        let ram = self.pages.get(index(gpa)).copied().unwrap_or(Owner::Unbacked);
        if self.own.contains(gpa) { Owner::Firmware } else { ram }
    }

    fn give(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Unvalidated, Owner::Guest)
    }

    fn take(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Guest, Owner::Unvalidated)
    }

    fn poison(&mut self, pages: Region) {
        pages.pages().for_each(|gpa| self.pages[index(gpa)] = Owner::Poisoned);
    }

    fn make_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        let page = Region::covering(gpa, 1).ok_or(OwnershipError::State)?;
        self.change(page, Owner::Guest, Owner::Vmsa)
    }

    fn unmake_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        let page = Region::covering(gpa, 1).ok_or(OwnershipError::State)?;
        self.change(page, Owner::Vmsa, Owner::Guest)
    }

    fn has_room_for_deposit(&self) -> bool {
        true
    }

    fn deposit(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Guest, Owner::Firmware)?;
        self.deposited.extend(region.pages());
        self.deposited.sort_unstable();
        Ok(())
    }

    fn deposited(&self) -> u64 {
        self.deposited.len() as u64
    }

    fn each_to_withdraw(&self, see: &mut dyn FnMut(u64) -> bool) {
        self.deposited.iter().rev().take_while(|gpa| see(**gpa)).for_each(drop);
    }

    fn withdraw(&mut self) -> Option<u64> {
        let gpa = self.deposited.pop()?;
        self.pages[index(gpa)] = Owner::Guest;
        Some(gpa)
    }
}
