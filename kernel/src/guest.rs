//! What a guest claims about memory, and what remains of it after the check.
//!
//! A [`Claim`] is an address and a length out of a register or a structure of the guest's; nothing can be done with it
//! but to check it. A [`Checked`] borrows the ownership map that it was checked against, so the map cannot change,
//! and its lock is held, until the last access is done. Memory is copied in and copied out; there is no
//! way to a reference.

use crate::mm::{Inaccessible, Owner, Owners, PAGE_SIZE, Pages, Region};

/// The bytes `gpa .. gpa + len` as a guest names them, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    gpa: u64,
    len: u64,
}

/// The claim is not to `len` bytes of memory that the guest may use, or the host has taken that memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

snp::error_words! { Refused {
    Self => "the memory is not the guest's",
} }

impl From<Inaccessible> for Refused {
    fn from(_: Inaccessible) -> Self {
        Self
    }
}

impl Claim {
    /// What the guest says.
    #[must_use]
    pub const fn new(gpa: u64, len: u64) -> Claim {
        Claim { gpa, len }
    }

    /// The one place that decides: not null, not empty, no wrap at 2^64, and every page that is touched is the guest's.
    pub fn check<'a>(self, map: &'a dyn Owners) -> Result<Checked<'a>, Refused> {
        if self.gpa == 0 || self.len == 0 {
            return Err(Refused);
        }
        let region = Region::covering(self.gpa, self.len).ok_or(Refused)?;
        if map.all(region, Owner::Guest) { Ok(Checked { claim: self, region, map }) } else { Err(Refused) }
    }

    /// As [`Claim::check`], for bytes that must lie in one page.
    pub fn check_in_one_page<'a>(self, map: &'a dyn Owners) -> Result<Checked<'a>, Refused> {
        if self.gpa % PAGE_SIZE + self.len.min(PAGE_SIZE + 1) > PAGE_SIZE { Err(Refused) } else { self.check(map) }
    }

    /// As [`Claim::check`], for bytes that begin a page.
    pub fn check_aligned<'a>(self, map: &'a dyn Owners) -> Result<Checked<'a>, Refused> {
        if self.gpa.is_multiple_of(PAGE_SIZE) { self.check(map) } else { Err(Refused) }
    }
}

/// Memory of the guest's, for as long as the map is borrowed.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    claim: Claim,
    region: Region,
    map: &'a dyn Owners,
}

impl Checked<'_> {
    /// First byte.
    #[must_use]
    pub fn gpa(&self) -> u64 {
        self.claim.gpa
    }

    /// The pages that it touches.
    #[must_use]
    pub const fn region(&self) -> Region {
        self.region
    }

    /// Copies the first bytes in; `out` is no longer than the claim, or nothing is copied. Where a page is
    /// inaccessible, `out` is of no use.
    pub fn read(&self, pages: &mut dyn Pages, out: &mut [u8]) -> Result<(), Refused> {
        self.fits(out.len())?;
        let mut gpa = self.claim.gpa;
        let mut rest = out;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(in_this_page(gpa, rest.len()));
            pages.read(gpa, now)?;
            gpa += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Copies out to the first bytes; `bytes` is no longer than the claim, or nothing is copied. Where a page is
    /// inaccessible, the bytes before it have been written.
    pub fn write(&self, pages: &mut dyn Pages, bytes: &[u8]) -> Result<(), Refused> {
        self.fits(bytes.len())?;
        let mut gpa = self.claim.gpa;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(in_this_page(gpa, rest.len()));
            pages.write(gpa, now)?;
            gpa += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// The map that the claim was checked against, to check another.
    #[must_use]
    pub fn map(&self) -> &dyn Owners {
        self.map
    }

    fn fits(&self, len: usize) -> Result<(), Refused> {
        if len as u64 <= self.claim.len { Ok(()) } else { Err(Refused) }
    }
}

fn in_this_page(gpa: u64, len: usize) -> usize {
    let left = PAGE_SIZE - gpa % PAGE_SIZE;
    usize::try_from(left).map_or(len, |left| left.min(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::ownership::Ownership;
    use crate::testing::{FakeMachine, GIVEN, GIVEN_END};

    fn map() -> Ownership {
        FakeMachine::new().booted()
    }

    #[test]
    fn a_claim_holds_up_to_the_last_byte_and_not_beyond() {
        let map = map();
        assert!(Claim::new(GIVEN_END - 4096, 4096).check(&map).is_ok());
        assert!(Claim::new(GIVEN_END - 4095, 4096).check(&map).is_err());
        assert!(Claim::new(GIVEN_END - 1, 1).check(&map).is_ok());
        assert!(Claim::new(GIVEN_END, 1).check(&map).is_err());
        assert!(Claim::new(GIVEN - 1, 2).check(&map).is_err());
        assert!(Claim::new(GIVEN, 0).check(&map).is_err(), "an empty claim is to nothing");
    }

    #[test]
    fn wraps_are_refused() {
        let map = map();
        for len in [1, 2, 4095, 4096, u64::MAX] {
            for back in [0, 1, 7, 8, 4095, 4096] {
                assert!(Claim::new(u64::MAX - back, len).check(&map).is_err());
            }
        }
        assert!(Claim::new(GIVEN, u64::MAX).check(&map).is_err());
        assert!(Claim::new(GIVEN, u64::MAX - GIVEN + 1).check(&map).is_err());
    }

    #[test]
    fn one_page_means_one_page() {
        let map = map();
        assert!(Claim::new(GIVEN + 4096 - 8, 8).check_in_one_page(&map).is_ok());
        assert!(Claim::new(GIVEN + 4096 - 7, 8).check_in_one_page(&map).is_err());
        assert!(Claim::new(GIVEN + 8, u64::MAX).check_in_one_page(&map).is_err());
        assert!(Claim::new(GIVEN + 8, 8).check_aligned(&map).is_err());
    }

    #[test]
    fn a_copy_crosses_pages_and_stops_at_the_claim() {
        let mut machine = FakeMachine::new();
        let map = machine.booted();
        let checked = Claim::new(GIVEN + 4090, 12).check(&map).unwrap();
        checked.write(&mut machine, b"twelve bytes").unwrap();
        let mut back = [0; 12];
        checked.read(&mut machine, &mut back).unwrap();
        assert_eq!(&back, b"twelve bytes");
        assert_eq!(checked.write(&mut machine, &[0; 13]), Err(Refused));
        assert_eq!(checked.read(&mut machine, &mut [0; 13]), Err(Refused));
    }
}
