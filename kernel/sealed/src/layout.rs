//! Where things are on the disk, version 2; numbers are little-endian, offsets in octets. docs/persistence.md has it as
//! tables.

use crate::device::SECTOR;
use crate::refusal::{Part, Refusal};
use core::mem::{offset_of, size_of};
use core::ops::Range;
use tpm_core::store::MAX_RECORD_SIZE;
use tpm_crypto::hash::{HashAlg, digest};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of everything here.
pub const VERSION: u16 = 2;
/// The sector of each slot's head. Slots begin at whole mebibytes, so that no block of any disk is in two of them.
pub const SLOTS: [u64; 2] = [2048, 4096];
/// From a slot's head to its contents, in sectors: the head has a block of 4 KiB of its own.
pub(crate) const CONTENTS_AT: u64 = 8;
/// Sectors of a slot.
const SLOT_SECTORS: u64 = 2048;
/// Sectors that a disk must have.
pub const MIN_SECTORS: u64 = SLOTS[1] + SLOT_SECTORS;
/// Octets of an authentication tag.
pub(crate) const TAG: usize = 16;

/// Octets that sections beside the TPM's may have altogether, their headers included.
pub(crate) const MAX_BESIDE: usize = crate::contents::MAX_SECTIONS * (crate::contents::HEADER + crate::contents::MAX);
/// Octets of the longest contents.
const MAX_CONTENTS: usize = crate::contents::HEADER + MAX_RECORD_SIZE + MAX_BESIDE;
/// Octets of the longest outer part.
pub const MAX_OUTER: usize = 3 * SECTOR - TAG;
/// Octets of the buffer that a record is sealed in: the longest contents and the longest outer part with their tags,
/// each in whole sectors.
pub const ROOM: usize = (MAX_CONTENTS + TAG).next_multiple_of(SECTOR) + MAX_OUTER + TAG;
const _: () = assert!(ROOM as u64 / SECTOR as u64 + CONTENTS_AT <= SLOT_SECTORS);

/// The octets of a sector.
pub type Sector = [u8; SECTOR];
/// A digest.
pub type Sha256 = [u8; 32];

/// SHA-256, of which all digests on the disk are.
#[must_use]
pub fn sha256(octets: &[u8]) -> Sha256 {
    let digest = digest(HashAlg::Sha256, &[octets]);
    digest.as_slice().first_chunk().copied().unwrap_or_default()
}

/// The first sector. It is written once, by who prepares the disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Label {
    magic: [u8; 8],
    version: U32,
    reserved_0c: U32,
    /// [`SLOTS`]
    slots: [U64; 2],
    slot_sectors: U64,
    reserved_28: [u8; 0x1b8],
    /// of all before it
    digest: Sha256,
}

const _: () = assert!(size_of::<Label>() == SECTOR);
const _: () = assert!(offset_of!(Label, slots) == 0x10);
const _: () = assert!(offset_of!(Label, digest) == 0x1e0);

impl Label {
    const MAGIC: [u8; 8] = *b"QUOINDSK";

    pub(crate) fn sector() -> Sector {
        let mut label = Self::new_zeroed();
        label.magic = Self::MAGIC;
        label.version = U32::new(VERSION.into());
        label.slots = SLOTS.map(U64::new);
        label.slot_sectors = U64::new(SLOT_SECTORS);
        sealed_sector(label.as_bytes())
    }

    /// Whether this is the label of a disk of this version: there is only one such.
    pub(crate) fn check<E>(sector: &Sector) -> Result<(), Refusal<E>> {
        let label = Self::read_from_bytes(sector).map_err(|_| Part::Label)?;
        if label.magic != Self::MAGIC {
            return Err(Refusal::Unmarked);
        }
        if !is_sealed(sector) {
            return Err(Part::Label.into());
        }
        if label.version.get() != VERSION.into() {
            return Err(Refusal::Version(label.version.get()));
        }
        if *sector == Self::sector() { Ok(()) } else { Err(Part::Label.into()) }
    }
}

/// A sector with the digest of the rest at its end.
fn sealed_sector(octets: &[u8]) -> Sector {
    let mut sector = [0; SECTOR];
    let (body, at_end) = sector.split_at_mut(SECTOR - size_of::<Sha256>());
    body.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    at_end.copy_from_slice(&sha256(body));
    sector
}

fn is_sealed(sector: &Sector) -> bool {
    let (body, at_end) = sector.split_at(SECTOR - size_of::<Sha256>());
    sha256(body) == at_end
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// Nothing yet: a state may be made.
    Empty = 0,
    /// The state of a TPM that lives here.
    State = 1,
    /// What is left of a TPM that has moved to another firmware.
    Moved = 2,
    /// A state that the operator has sealed for this firmware with the recovery key.
    Imported = 3,
}

/// The key of the contents, under another key.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Wrap {
    pub(crate) salt: [u8; 32],
    pub(crate) key: [u8; 32],
    pub(crate) tag: [u8; TAG],
}

/// The head of a record: all that is to be seen without a key. It is one sector, and the last to be written: a record
/// is there when its head is.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Head {
    magic: [u8; 8],
    version: U16,
    kind: U16,
    /// Octets of the contents with their tag
    pub(crate) octets: U32,
    pub(crate) epoch: U64,
    pub(crate) identity: [u8; 32],
    pub(crate) boot_nonce: [u8; 32],
    pub(crate) measurement: [u8; 48],
    pub(crate) policy: U64,
    pub(crate) tcb: U64,
    pub(crate) roots: U32,
    reserved_9c: U32,
    /// How many records the contents' key had sealed before
    pub(crate) nonce: U64,
    /// Octets of the outer part with its tag; 0 if there is none
    pub(crate) outer: U32,
    reserved_ac: U32,
    pub(crate) own: Wrap,
    pub(crate) recovery: Wrap,
    /// The firmware's public key for recovery, x ‖ y on P-384, or zeros
    pub(crate) recovery_point: [u8; 96],
    reserved_1b0: [u8; 16],
    /// Of the contents' sectors
    contents: Sha256,
    /// Of all before it: the state digest
    digest: Sha256,
}

const _: () = assert!(size_of::<Head>() == SECTOR);
const _: () = assert!(size_of::<Wrap>() == 80);
const _: () = assert!(offset_of!(Head, identity) == 0x18);
const _: () = assert!(offset_of!(Head, measurement) == 0x58);
const _: () = assert!(offset_of!(Head, roots) == 0x98);
const _: () = assert!(offset_of!(Head, outer) == 0xa8);
const _: () = assert!(offset_of!(Head, own) == 0xb0);
const _: () = assert!(offset_of!(Head, recovery) == 0x100);
const _: () = assert!(offset_of!(Head, recovery_point) == 0x150);
const _: () = assert!(offset_of!(Head, contents) == Head::AUTHENTICATED);

impl Head {
    const MAGIC: [u8; 8] = *b"QUOINREC";
    /// What is authenticated with the contents is before this.
    const AUTHENTICATED: usize = 0x1c0;
    /// What is authenticated with the wrapped key: who has written, for which roots.
    const OF_WRITER: core::ops::Range<usize> = 0x18..0xa0;

    pub(crate) fn new(kind: Kind) -> Self {
        let mut head = Self::new_zeroed();
        head.magic = Self::MAGIC;
        head.version = U16::new(VERSION);
        head.kind = U16::new(kind as u16);
        head
    }

    /// The mark of an empty slot.
    pub(crate) fn empty() -> Sector {
        sealed_sector(Self::new(Kind::Empty).as_bytes())
    }

    /// The sector, when the contents lie sealed in `sectors`.
    pub(crate) fn finish(&mut self, sectors: &[u8]) -> Sector {
        self.contents = sha256(sectors);
        let sector = sealed_sector(self.as_bytes());
        self.digest = sector.last_chunk().copied().unwrap_or_default();
        sector
    }

    /// The head in the first sector of a slot; none of an empty one.
    pub(crate) fn parse<E>(slot: u8, sector: &Sector) -> Result<Option<Self>, Refusal<E>> {
        let damaged = Refusal::Damaged(Part::Head(slot));
        let Ok(head) = Self::read_from_bytes(sector) else { return Err(damaged) };
        if head.magic != Self::MAGIC || !is_sealed(sector) {
            return Err(damaged);
        }
        if head.version.get() != VERSION {
            return Err(Refusal::Version(head.version.get().into()));
        }
        if *sector == Self::empty() {
            return Ok(None);
        }
        if head.is_possible(slot) { Ok(Some(head)) } else { Err(damaged) }
    }

    /// Whether we could have written it, into this slot.
    fn is_possible(&self, slot: u8) -> bool {
        let reserved = (self.reserved_9c.get(), self.reserved_ac.get(), self.reserved_1b0) == (0, 0, [0; 16]);
        let outer = self.outer_octets();
        let least = TAG + crate::contents::HEADER;
        self.kind().is_some_and(|kind| kind != Kind::Empty)
            && slot_of(self.epoch()) == slot
            && self.epoch() != 0
            && (least..=MAX_CONTENTS + TAG).contains(&self.octets())
            && (outer == 0 || (TAG + 1..=MAX_OUTER + TAG).contains(&outer))
            && reserved
    }

    /// Whether these are the contents' sectors, with zeros behind the contents and behind the outer part.
    pub(crate) fn has_contents(&self, sectors: &[u8]) -> bool {
        let Range { start, end } = self.outer_range();
        let are_zeros =
            |range| sectors.get::<Range<usize>>(range).is_some_and(|rest| rest.iter().all(|octet| *octet == 0));
        are_zeros(self.octets()..start) && are_zeros(end..sectors.len()) && self.contents == sha256(sectors)
    }

    fn outer_octets(&self) -> usize {
        usize::try_from(self.outer.get()).unwrap_or(usize::MAX)
    }

    /// Where the outer part is in the contents' sectors, with its tag.
    pub(crate) fn outer_range(&self) -> Range<usize> {
        let start = self.octets().next_multiple_of(SECTOR);
        start..start.saturating_add(self.outer_octets())
    }

    pub(crate) fn authenticated(&self) -> &[u8] {
        self.as_bytes().get(..Self::AUTHENTICATED).unwrap_or_default()
    }

    pub(crate) fn of_writer(&self) -> &[u8] {
        self.as_bytes().get(Self::OF_WRITER).unwrap_or_default()
    }

    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.kind = U16::new(kind as u16);
    }

    /// What is read goes on from this digest.
    pub(crate) fn set_digest(&mut self, digest: &Sha256) {
        self.digest = *digest;
    }

    /// What the record is, if it is known here.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        [Kind::Empty, Kind::State, Kind::Moved, Kind::Imported].into_iter().find(|kind| *kind as u16 == self.kind.get())
    }

    /// Octets of the sealed contents.
    #[must_use]
    pub fn octets(&self) -> usize {
        usize::try_from(self.octets.get()).unwrap_or(usize::MAX)
    }

    /// Octets of the sectors that are sealed: the contents', and the outer part's behind them.
    #[must_use]
    pub fn sealed_octets(&self) -> usize {
        self.outer_range().end.next_multiple_of(SECTOR)
    }

    /// The epoch: 1 for the first record of an identity, and one more for each after it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// The TPM identity.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// The nonce of the boot that has written it.
    #[must_use]
    pub fn boot_nonce(&self) -> &[u8; 32] {
        &self.boot_nonce
    }

    /// The launch measurement of the firmware that has written it.
    #[must_use]
    pub fn measurement(&self) -> &[u8; 48] {
        &self.measurement
    }

    /// The guest policy under which it was written.
    #[must_use]
    pub fn policy(&self) -> u64 {
        self.policy.get()
    }

    /// The committed TCB under which it was written: the chip's key is to be asked for with this.
    #[must_use]
    pub fn tcb(&self) -> u64 {
        self.tcb.get()
    }

    /// The roots that it is sealed to.
    #[must_use]
    pub fn roots(&self) -> u32 {
        self.roots.get()
    }

    /// The state digest: SHA-256 of the sealed record, of whose contents the digest is in the head.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The sector as it lies on the disk.
    #[must_use]
    pub fn as_sector(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Wraps are no secrets, and nothing to read.
impl core::fmt::Debug for Head {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Head").field("kind", &self.kind()).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

/// The slot of an epoch's record: never that of the record before it.
pub(crate) const fn slot_of(epoch: u64) -> u8 {
    if epoch.is_multiple_of(2) { 0 } else { 1 }
}

/// The first sector of a slot.
pub(crate) const fn first_sector(slot: u8) -> u64 {
    if slot == 0 { SLOTS[0] } else { SLOTS[1] }
}
