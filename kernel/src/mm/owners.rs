//! What the services ask of whoever keeps the ownership of pages: [`Ownership`](super::ownership::Ownership) is one
//! implementation, for memory maps of many TiB. A paravisor has another, over what it knows of its guest.

use super::Region;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// RAM, validated and granted to VMPL2.
    Guest,
    /// RAM that is not validated: the guest may ask for its validation, nobody may touch it.
    Unvalidated,
    /// A register state of a guest's vCPU.
    Vmsa,
    /// The firmware's: its own, or deposited by the guest.
    Firmware,
    /// RAM of which the CPU and this map did not say the same: the host has swapped it. Nobody's, for ever.
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

snp::error_words! { OwnershipError {
    Self::State => "the page is no RAM, or not in the state for that",
    Self::NoRoom => "there is no room for one more page of another state",
} }

/// Who owns each page. There is one map, behind the guest's lock; code that decides something by it keeps the lock
/// until the last access is done. It says what is so, and what is about to be: it changes no page.
///
/// Who has no use for memory of the guest's, and room for every change, implements what has no default.
pub trait Owners {
    /// Who owns the page that the byte at `gpa` lies in.
    fn owner(&self, gpa: u64) -> Owner;

    /// Whether each page of `region` is owned by `owner`.
    fn all(&self, region: Region, owner: Owner) -> bool {
        region.pages().all(|gpa| self.owner(gpa) == owner)
    }

    /// Every page of `region`, which is unvalidated and all in one 2 MiB block, becomes the guest's.
    fn give(&mut self, region: Region) -> Result<(), OwnershipError>;

    /// Every page of `region`, which is the guest's and all in one 2 MiB block, becomes unvalidated.
    fn take(&mut self, region: Region) -> Result<(), OwnershipError>;

    /// The pages are nobody's from here on. This cannot fail: where there is no room to remember it, their like is
    /// refused altogether.
    fn poison(&mut self, pages: Region);

    /// The guest's page at `gpa` becomes a VMSA.
    fn make_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError>;

    /// The VMSA at `gpa` becomes an ordinary page of the guest's again.
    fn unmake_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError>;

    /// Whether there is room for one more VMSA.
    fn has_room_for_vmsa(&self) -> bool {
        true
    }

    /// Whether `region`, all in one 2 MiB block, could change hands: asked before the hardware is told, so that the map
    /// cannot fail after it.
    fn can_change(&self, _region: Region) -> bool {
        true
    }

    /// Whether the guest can be asked for memory with which a change becomes possible that is not.
    fn can_grow(&self) -> bool {
        false
    }

    /// Makes room for more, of [`PAGES_TO_GROW`](super::ownership::PAGES_TO_GROW) pages that the heap has got. `false`:
    /// it has not.
    fn grow(&mut self) -> bool {
        false
    }

    /// Whether one more part of memory can be deposited.
    fn has_room_for_deposit(&self) -> bool {
        false
    }

    /// The guest's `region` becomes the firmware's.
    fn deposit(&mut self, _region: Region) -> Result<(), OwnershipError> {
        Err(OwnershipError::NoRoom)
    }

    /// Pages that the guest has deposited, and that can be given back.
    fn deposited(&self) -> u64 {
        0
    }

    /// Names the pages that [`Owners::withdraw`] gives back, in its order, until `see` wants no more.
    fn each_to_withdraw(&self, _see: &mut dyn FnMut(u64) -> bool) {}

    /// A page that was deposited is the guest's again.
    fn withdraw(&mut self) -> Option<u64> {
        None
    }

    /// Whether [`Owners::use_deposited`] can be called so often, if there are so many pages.
    fn can_use_deposited(&self, _pages: u32) -> bool {
        false
    }

    /// A page that was deposited is the firmware's for good. `None`: there is none.
    fn use_deposited(&mut self) -> Option<u64> {
        None
    }
}
