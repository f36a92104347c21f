//! A page's way to the guest: validate, zero, grant. And back: revoke, zero, invalidate.
//!
//! The order is the point. A page is zeroed after it is validated and before VMPL2 may read it, so what the host or an
//! earlier owner left is never seen; and the guest loses its rights before the page is taken.

use super::{
    Attributes, GUEST_VMPL, Inaccessible, LARGE_PAGE_SIZE, Owners, OwnershipError, PageSize, Pages, Permissions,
    Pvalidated, Region, RmpError, Vmpl,
};

/// Why the guest's memory cannot be made ready at boot. Each ends the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// PVALIDATE failed at this GPA.
    Pvalidate(u64, RmpError),
    /// The page at this GPA was valid already: the host shows one page at two addresses, or repeats one.
    Unchanged(u64),
    /// RMPADJUST failed at this GPA.
    Rmpadjust(u64, RmpError),
    /// The ownership map refused this GPA.
    Map(u64, OwnershipError),
    /// The host took the page at this GPA.
    Inaccessible(u64),
}

snp::error_words! { BootError {
    Self::Pvalidate(gpa, why) => "PVALIDATE failed at {gpa:#x}: {why}",
    Self::Unchanged(gpa) => "the page at {gpa:#x} was valid already",
    Self::Rmpadjust(gpa, why) => "RMPADJUST failed at {gpa:#x}: {why}",
    Self::Map(gpa, why) => "the map refuses {gpa:#x}: {why}",
    Self::Inaccessible(gpa) => "the host has taken the page at {gpa:#x}",
} }

/// Validates, zeroes and grants to the guest every page of `region`, 2 MiB at a time where the host backs it so.
pub fn give_region(pages: &mut dyn Pages, map: &mut dyn Owners, region: Region) -> Result<(), BootError> {
    for block in region.blocks() {
        if block.len() != LARGE_PAGE_SIZE || !give_large(pages, block)? {
            give_small(pages, block)?;
        }
        map.give(block).map_err(|error| BootError::Map(block.start(), error))?;
    }
    Ok(())
}

/// Validates and zeroes every page of `region` for the firmware itself.
pub fn take_region(pages: &mut dyn Pages, region: Region) -> Result<(), BootError> {
    for block in region.blocks() {
        changed(pages.pvalidate_row(block, true))?;
        pages.zero_row(block).map_err(BootError::Inaccessible)?;
    }
    Ok(())
}

/// Grants pages that were measured into the image and are valid already; what they hold is the guest's.
pub fn grant_region(pages: &mut dyn Pages, map: &mut dyn Owners, region: Region) -> Result<(), BootError> {
    for block in region.blocks() {
        grant_small(pages, block)?;
        map.give(block).map_err(|error| BootError::Map(block.start(), error))?;
    }
    Ok(())
}

/// Pages that the firmware has used and zeroed become as those that were never validated.
pub fn invalidate(pages: &mut dyn Pages, region: Region) -> Result<(), BootError> {
    region.blocks().try_for_each(|block| changed(pages.pvalidate_row(block, false)))
}

fn changed((gpa, answer): (u64, Result<Pvalidated, RmpError>)) -> Result<(), BootError> {
    match answer {
        Err(failure) => Err(BootError::Pvalidate(gpa, failure)),
        Ok(Pvalidated::Unchanged) => Err(BootError::Unchanged(gpa)),
        Ok(Pvalidated::Changed) => Ok(()),
    }
}

/// `false` if the host backs the block with small pages.
fn give_large(pages: &mut dyn Pages, block: Region) -> Result<bool, BootError> {
    let gpa = block.start();
    match pages.pvalidate(gpa, PageSize::Size2M, true) {
        Err(RmpError::SizeMismatch) => return Ok(false),
        answer => changed((gpa, answer))?,
    }
    pages.zero(gpa, PageSize::Size2M).map_err(|Inaccessible| BootError::Inaccessible(gpa))?;
    match grant(pages, gpa, PageSize::Size2M) {
        Err(RmpError::SizeMismatch) => grant_small(pages, block)?,
        granted => granted.map_err(|failure| BootError::Rmpadjust(gpa, failure))?,
    }
    Ok(true)
}

/// All pages of a block are validated before the first is zeroed, and all are zero before the first is the guest's.
fn give_small(pages: &mut dyn Pages, block: Region) -> Result<(), BootError> {
    changed(pages.pvalidate_row(block, true))?;
    pages.zero_row(block).map_err(BootError::Inaccessible)?;
    grant_small(pages, block)
}

fn grant_small(pages: &mut dyn Pages, block: Region) -> Result<(), BootError> {
    let granted = pages.rmpadjust_row(block, Attributes::page(GUEST_VMPL, Permissions::ALL));
    granted.map_err(|(gpa, failure)| BootError::Rmpadjust(gpa, failure))
}

/// Gives VMPL2 every right to a page.
pub fn grant(pages: &mut dyn Pages, gpa: u64, size: PageSize) -> Result<(), RmpError> {
    pages.rmpadjust(gpa, size, Attributes::page(GUEST_VMPL, Permissions::ALL))
}

/// Takes every right to a page from every VMPL below the firmware's, also those that the CPU remembers.
pub fn revoke(pages: &mut dyn Pages, gpa: u64, size: PageSize) -> Result<(), RmpError> {
    let revoked = rescind(pages, gpa, size);
    pages.flush();
    revoked
}

/// [`revoke`] but for what the CPU remembers: the caller has it forget.
pub fn rescind(pages: &mut dyn Pages, gpa: u64, size: PageSize) -> Result<(), RmpError> {
    let [_, below @ ..] = Vmpl::ALL;
    below.into_iter().try_for_each(|vmpl| pages.rmpadjust(gpa, size, Attributes::page(vmpl, Permissions::NONE)))
}

#[cfg(test)]
mod tests {
    use super::super::ownership::{Owner, Ownership};
    use super::*;
    use crate::testing::{FakeMachine, GIVEN, RAM_END};

    fn unvalidated() -> (FakeMachine, Ownership) {
        let machine = FakeMachine::unvalidated();
        let map = machine.ownership();
        (machine, map)
    }

    #[test]
    fn every_page_is_validated_zeroed_and_granted_in_this_order() {
        let (mut machine, mut map) = unvalidated();
        let region = Region::new(0x1f_f000, 0x40_1000).unwrap();
        give_region(&mut machine, &mut map, region).unwrap();
        assert!(map.all(region, Owner::Guest));
        for page in region.pages() {
            machine.assert_granted_zeroed(page);
        }
        assert_eq!(map.owner(0x1f_e000), Owner::Unvalidated);
        assert_eq!(map.owner(0x40_1000), Owner::Unvalidated);
    }

    #[test]
    fn a_host_with_small_pages_only_is_served_in_small_pages() {
        let (mut machine, mut map) = unvalidated();
        machine.small_pages_only = true;
        let region = Region::new(0x20_0000, RAM_END).unwrap();
        give_region(&mut machine, &mut map, region).unwrap();
        assert!(map.all(region, Owner::Guest));
        machine.assert_granted_zeroed(0x3f_f000);
    }

    #[test]
    fn a_page_that_is_valid_already_ends_the_boot() {
        let (mut machine, mut map) = unvalidated();
        machine.small_pages_only = true;
        assert_eq!(machine.pvalidate(0x30_0000, PageSize::Size4K, true), Ok(Pvalidated::Changed));
        let region = Region::new(0x20_0000, 0x40_0000).unwrap();
        assert_eq!(give_region(&mut machine, &mut map, region), Err(BootError::Unchanged(0x30_0000)));
    }

    #[test]
    fn what_the_firmware_takes_is_validated_zeroed_and_nobody_elses() {
        let (mut machine, _) = unvalidated();
        let region = Region::new(0x1f_f000, 0x20_1000).unwrap();
        assert_eq!(take_region(&mut machine, region), Ok(()));
        region.pages().for_each(|page| machine.assert_deposited(page));
        assert_eq!(take_region(&mut machine, region), Err(BootError::Unchanged(0x1f_f000)));
    }

    #[test]
    fn a_page_of_the_firmwares_is_given_back_once() {
        let (mut machine, _) = unvalidated();
        let page = Region::new(0x30_0000, 0x30_1000).unwrap();
        assert_eq!(machine.pvalidate(page.start(), PageSize::Size4K, true), Ok(Pvalidated::Changed));
        assert_eq!(invalidate(&mut machine, page), Ok(()));
        assert_eq!(invalidate(&mut machine, page), Err(BootError::Unchanged(0x30_0000)));
    }

    #[test]
    fn measured_pages_keep_their_contents() {
        let (mut machine, mut map) = unvalidated();
        machine.launch(0x10_0000, b"payload");
        grant_region(&mut machine, &mut map, Region::new(0x10_0000, 0x10_1000).unwrap()).unwrap();
        let mut bytes = [0; 7];
        machine.read(0x10_0000, &mut bytes).unwrap();
        assert_eq!((&bytes, map.owner(GIVEN)), (b"payload", Owner::Guest));
    }
}
