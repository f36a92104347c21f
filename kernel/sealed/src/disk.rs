//! The disk: looked at, opened, written.
//!
//! A record is written in two steps: its contents, behind the head of the record before the last, and when they are
//! there whatever happens, its head. So the heads alone say which record counts (the one of the higher epoch), its
//! contents were whole when its head was written, and whatever is wrong with it is damage: nothing older takes its
//! place.

use crate::contents::Beside;
use crate::device::{BlockDevice, SECTOR};
use crate::keys::{ContentsKey, Fresh, Holder, OpeningKey, OuterKey, RecoveryKey, Root, Roots, WrapKey};
use crate::layout::{CONTENTS_AT, Head, Kind, Label, MAX_OUTER, MIN_SECTORS, ROOM, Sector, first_sector, slot_of};
use crate::refusal::{Mismatch, Part, Refusal};
use core::ops::Range;
use zerocopy::byteorder::little_endian::{U32, U64};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing, zeroize_bytes};

/// What the report of this boot says of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// MEASUREMENT.
    pub measurement: [u8; 48],
    /// POLICY.
    pub policy: u64,
    /// COMMITTED_TCB.
    pub tcb: u64,
}

/// What is on a disk, as far as it can be seen from outside.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no heap, and one of them")]
pub enum Found {
    /// Nothing: it is marked as empty, and a state may be made.
    Empty,
    /// A record. What its head says is to be believed when it has been opened, and not before.
    Record(Head),
}

/// Makes a disk an empty one. Whatever state was on it is lost: to ask is for whoever calls.
///
/// # Errors
/// `Device`, `TooSmall`.
pub fn prepare<D: BlockDevice>(mut device: D) -> Result<(), Refusal<D::Error>> {
    has_room(&device)?;
    // Until both marks are there it is no disk of ours.
    put(&mut device, 0, &[0; SECTOR])?;
    for slot in [0, 1] {
        device.write(first_sector(slot), &Head::empty()).map_err(Refusal::Device)?;
    }
    device.flush().map_err(Refusal::Device)?;
    put(&mut device, 0, &Label::sector())
}

/// Looks at a disk: at its label, and at the heads of its records.
///
/// # Errors
/// `Device`, `TooSmall`, `Unmarked`, `Version`, and `Damaged` for a label or a head.
pub fn look<D: BlockDevice>(mut device: D) -> Result<Found, Refusal<D::Error>> {
    has_room(&device)?;
    Label::check(&sector(&mut device, 0)?)?;
    let mut newest: Option<Head> = None;
    for slot in [0, 1] {
        let head = Head::parse(slot, &sector(&mut device, first_sector(slot))?)?;
        let epoch = newest.as_ref().map_or(0, Head::epoch);
        newest = head.filter(|head| head.epoch() > epoch).or(newest);
    }
    Ok(newest.map_or(Found::Empty, Found::Record))
}

/// Reads a record's contents into `room`, and says whether they are those that its head names.
///
/// # Errors
/// `Device`, `Room`, and `Damaged` for the contents.
pub fn read_contents<D: BlockDevice>(mut device: D, head: &Head, room: &mut [u8]) -> Result<(), Refusal<D::Error>> {
    let slot = slot_of(head.epoch());
    let sectors = room.get_mut(..head.sealed_octets()).ok_or(Refusal::Room)?;
    device.read(first_sector(slot) + CONTENTS_AT, sectors).map_err(Refusal::Device)?;
    if head.has_contents(sectors) { Ok(()) } else { Err(Part::Contents(slot).into()) }
}

/// A record that was exported: its head, if that and the contents' sectors are as whole as those of a disk.
///
/// # Errors
/// `Damaged`, `Version`; `Contents` if there is none: an empty slot is nothing to export.
pub fn exported<E>(sector: &Sector, contents: &[u8]) -> Result<Head, Refusal<E>> {
    // The slot follows from the epoch, which is 8 octets from 0x10 on.
    let slot = sector.get(0x10).map_or(0, |epoch| epoch & 1);
    let head = Head::parse(slot, sector)?.ok_or(Refusal::Contents)?;
    if contents.len() != head.sealed_octets() || !head.has_contents(contents) {
        return Err(Part::Contents(slot).into());
    }
    Ok(head)
}

/// Puts a record on an empty disk as it was on another, with its contents' sectors at the front of `room`.
///
/// # Errors
/// Those of [`look`]; `NotEmpty`, `Room`.
pub fn put_exported<D: BlockDevice>(mut device: D, head: &Head, room: &[u8]) -> Result<(), Refusal<D::Error>> {
    match look(&mut device)? {
        Found::Record(_) => Err(Refusal::NotEmpty),
        Found::Empty => {
            let contents = room.get(..head.sealed_octets()).ok_or(Refusal::Room)?;
            put_record(&mut device, &mut head.clone(), contents)
        }
    }
}

/// A record that was opened: where the TPM's part is in the buffer, and what is beside it.
pub struct Opened {
    /// The TPM's record, for [`tpm_core::store`]. The buffer is to be wiped.
    pub tpm: Range<usize>,
    /// What the firmware keeps beside it.
    pub beside: Beside,
}

/// Opens a record that [`read_contents`] has read into `room`, by the operator's recovery key.
///
/// # Errors
/// `NotOurs`, `Damaged`, `Contents`.
pub fn recover<E>(head: &Head, key: &RecoveryKey, room: &mut [u8]) -> Result<Opened, Refusal<E>> {
    open_by(head, &Holder::Operator(key), room)
}

fn open_by<E>(head: &Head, holder: &Holder<'_>, room: &mut [u8]) -> Result<Opened, Refusal<E>> {
    let key = OpeningKey::of(head, holder).ok_or(Mismatch::Key)?;
    let sealed = room.get_mut(..head.octets()).ok_or(Refusal::Room)?;
    let length = key.open(head, sealed).ok_or(Part::Authentication(slot_of(head.epoch())))?;
    let contents = room.get(..length).ok_or(Refusal::Room)?;
    let (beside, tpm) = Beside::read(contents).ok_or(Refusal::Contents)?;
    Ok(Opened { tpm, beside })
}

/// What is beside the sealed contents. Not printed, copied or compared; wiped when it goes.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Outer {
    octets: [u8; MAX_OUTER],
    length: usize,
}

impl Default for Outer {
    fn default() -> Self {
        Self { octets: [0; MAX_OUTER], length: 0 }
    }
}

impl Outer {
    fn of(octets: &[u8]) -> Option<Self> {
        let mut outer = Self { length: octets.len(), ..Self::default() };
        outer.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(outer)
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

/// Opens the outer part of the record that [`look`] has found, with the chip's root under the record's TCB: what is
/// needed to get the share, before there is one. It is a slice of `room`, which has [`ROOM`] octets and is to be wiped.
/// Empty: the record has none. `roots` are those that the settings ask for, as in [`Head::roots`].
///
/// # Errors
/// `Device`, `Room`, `Damaged`; `NotOurs`.
pub fn open_outer<'r, D: BlockDevice>(
    device: D,
    found: &Head,
    writer: &Writer,
    chip: &Root,
    roots: u32,
    room: &'r mut [u8],
) -> Result<&'r [u8], Refusal<D::Error>> {
    read_contents(device, found, room)?;
    compare(found, writer, roots)?;
    let outer = OuterKey::new(chip, &found.own.salt).open(found, room).ok_or(Mismatch::Key)?;
    room.get(outer).ok_or(Refusal::Room)
}

/// A scalar of P-384 that follows from a record which the operator has sealed for this firmware: the same each time
/// that this record is opened, and another one for each other. `wanted` are the roots that the settings ask for, as in
/// [`Head::roots`].
///
/// # Errors
/// `NotOurs` if it is not for this firmware, or these roots do not open it; `Key`.
pub fn scalar_of_imported<E>(
    found: &Head,
    writer: &Writer,
    roots: &Roots,
    wanted: u32,
) -> Result<Zeroizing<[u8; 48]>, Refusal<E>> {
    compare(found, writer, wanted)?;
    let key = OpeningKey::of(found, &Holder::Addressee(roots)).ok_or(Mismatch::Key)?;
    key.scalar(b"Quoin state 2: imported").map_err(|_| Refusal::Key)
}

/// Where a TPM begins on an empty disk.
pub struct Beginning {
    identity: Option<[u8; 32]>,
    epoch: u64,
}

impl Beginning {
    /// A new one: its identity is drawn.
    #[must_use]
    pub const fn new() -> Self {
        Self { identity: None, epoch: 0 }
    }

    /// One that has come from elsewhere: it keeps its identity, and goes on behind the last epoch that was written
    /// there.
    #[must_use]
    pub const fn arrived(identity: [u8; 32], last_epoch: u64) -> Self {
        Self { identity: Some(identity), epoch: last_epoch }
    }
}

impl Default for Beginning {
    fn default() -> Self {
        Self::new()
    }
}

/// [`ROOM`] octets in which records are opened and sealed: a slice of the firmware's memory, or a vector.
pub trait Room: AsRef<[u8]> + AsMut<[u8]> {}
impl<R: AsRef<[u8]> + AsMut<[u8]>> Room for R {}

/// A disk with the state of a TPM on it, which this boot writes.
pub struct StateDisk<R: Room, D> {
    device: D,
    /// in which records are sealed
    room: R,
    /// what is the same in all records of this boot, and the last of them
    head: Head,
    key: ContentsKey,
    /// where in `room` the TPM's record is that was read
    read: Range<usize>,
    /// how many octets of `room` are not sealed
    plain: usize,
    beside: Beside,
    outer: Outer,
    /// a write was begun and has not come to its end
    broken: bool,
}

impl<R: Room, D: BlockDevice> StateDisk<R, D> {
    /// A disk that is marked as empty, for a TPM that begins there. Nothing is written before the first
    /// [`StateDisk::commit`]. `room` has [`ROOM`] octets.
    ///
    /// # Errors
    /// Those of [`look`]; `NotEmpty`, `Room`, `Key`.
    pub fn create(
        mut device: D,
        beginning: &Beginning,
        writer: &Writer,
        roots: &Roots,
        fresh: Fresh,
        room: R,
    ) -> Result<Self, Refusal<D::Error>> {
        match look(&mut device)? {
            Found::Record(_) => Err(Refusal::NotEmpty),
            Found::Empty => {
                let identity = beginning.identity.unwrap_or(fresh.identity);
                let (head, key) = begin(&identity, beginning.epoch, writer, roots, &fresh)?;
                Self::with(device, room, head, key)
            }
        }
    }

    /// The state that [`look`] has found. `opening` has the chip's root under the record's TCB, `sealing` that under
    /// this boot's; `known` is an epoch that the record must not be older than, if somebody knows one. `room` has
    /// [`ROOM`] octets. The next thing to do is [`StateDisk::commit`], since every boot has an epoch of its own.
    ///
    /// # Errors
    /// `Device`, `Room`, `Damaged`, `Contents`, `Key`; `NotOurs`; `Older`.
    #[expect(clippy::too_many_arguments, reason = "each is of another origin, and all are needed at once")]
    pub fn open(
        mut device: D,
        found: &Head,
        writer: &Writer,
        opening: &Roots,
        sealing: &Roots,
        known: Option<u64>,
        fresh: Fresh,
        mut room: R,
    ) -> Result<Self, Refusal<D::Error>> {
        read_contents(&mut device, found, room.as_mut())?;
        compare(found, writer, opening.bits())?;
        let (mut head, key) = begin(found.identity(), found.epoch(), writer, sealing, &fresh)?;
        head.set_kind(if found.kind() == Some(Kind::Moved) { Kind::Moved } else { Kind::State });
        head.set_digest(found.digest());
        let mut disk = Self::with(device, room, head, key)?;
        // From here on what is opened is wiped when the disk goes.
        disk.plain = found.sealed_octets();
        let holder = match found.kind() {
            Some(Kind::Imported) => Holder::Addressee(opening),
            _ => Holder::Firmware(opening),
        };
        let opened = open_by(found, &holder, disk.room.as_mut())?;
        if let Some(known) = known.filter(|known| found.epoch() < *known) {
            return Err(Refusal::Older { epoch: found.epoch(), known });
        }
        disk.read = opened.tpm;
        disk.beside = opened.beside;
        let outer = OuterKey::new(&opening.chip, &found.own.salt).open(found, disk.room.as_mut());
        let outer = outer.ok_or(Part::Authentication(slot_of(found.epoch())))?;
        disk.outer = disk.room.as_ref().get(outer).and_then(Outer::of).ok_or(Refusal::Room)?;
        Ok(disk)
    }

    fn with(device: D, room: R, head: Head, key: ContentsKey) -> Result<Self, Refusal<D::Error>> {
        if room.as_ref().len() < ROOM {
            return Err(Refusal::Room);
        }
        let (beside, outer) = (Beside::new(), Outer::default());
        Ok(Self { device, room, head, key, read: 0..0, plain: 0, beside, outer, broken: false })
    }

    /// The TPM identity.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        self.head.identity()
    }

    /// The epoch of the last record that was read or written.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.head.epoch()
    }

    /// This boot's nonce.
    #[must_use]
    pub fn boot_nonce(&self) -> &[u8; 32] {
        self.head.boot_nonce()
    }

    /// The state digest of the last record that was read or written; zeros before the first.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        self.head.digest()
    }

    /// Whether the TPM has moved away: there is then nothing to be started.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.head.kind() == Some(Kind::Moved)
    }

    /// The next record is of an epoch beyond this one, too. `None`: there is none. What is there stays whole until that
    /// is: the next one goes into the other slot.
    pub fn go_on_beyond(&mut self, epoch: u64) -> Option<()> {
        let now = self.head.epoch();
        if epoch > now {
            let in_the_same_slot = epoch.checked_add((epoch ^ now) & 1)?;
            self.head.epoch = U64::new(in_the_same_slot);
        }
        Some(())
    }

    /// What is kept beside the TPM; what is set goes out with the next commit.
    pub fn beside(&mut self) -> &mut Beside {
        &mut self.beside
    }

    /// What the chip's root opens alone, and readers of the share need; empty if there is none.
    #[must_use]
    pub fn outer(&self) -> &[u8] {
        self.outer.octets()
    }

    /// Makes this the outer part, from the next commit on. `None`: it has more than [`MAX_OUTER`] octets, and nothing
    /// has changed.
    #[must_use]
    pub fn set_outer(&mut self, octets: &[u8]) -> Option<()> {
        self.outer = Outer::of(octets)?;
        Some(())
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// The TPM's record as it was read; empty for a new one, and after the first commit.
    pub(crate) fn tpm(&self) -> &[u8] {
        self.room.as_ref().get(self.read.clone()).unwrap_or_default()
    }

    /// Writes the TPM's record, under the next epoch. When this returns it is there whatever happens. After an error
    /// the disk holds the record before or this one, and nothing more is written to it.
    ///
    /// # Errors
    /// `Device`, `Room`, `Exhausted`; `Moved` once the TPM has; `Broken` after an error of the device's.
    pub fn commit(&mut self, tpm: &[u8]) -> Result<(), Refusal<D::Error>> {
        if self.is_moved() {
            return Err(Refusal::Moved);
        }
        self.write(Kind::State, tpm)
    }

    /// Writes that the TPM has moved, in place of both of its records, and what `tpm` has of it. This cannot be undone
    /// here; whoever has a copy of the disk can put that back, and only anchors would notice.
    ///
    /// # Errors
    /// Those of [`StateDisk::commit`].
    pub fn commit_moved(&mut self, tpm: &[u8]) -> Result<(), Refusal<D::Error>> {
        self.write(Kind::Moved, tpm)?;
        self.write(Kind::Moved, tpm)
    }

    fn write(&mut self, kind: Kind, tpm: &[u8]) -> Result<(), Refusal<D::Error>> {
        if self.broken {
            return Err(Refusal::Broken);
        }
        let mut head = self.head.clone();
        let epoch = head.epoch().checked_add(1).ok_or(Refusal::Exhausted)?;
        head.set_kind(kind);
        head.epoch = U64::new(epoch);
        let sectors = self.seal(&mut head, tpm)?;
        let contents = self.room.as_ref().get(..sectors).ok_or(Refusal::Room)?;
        self.broken = true;
        put_record(&mut self.device, &mut head, contents)?;
        self.broken = false;
        self.head = head;
        Ok(())
    }

    /// Seals the sections in `room`; how many octets of whole sectors they are, zeros at their end.
    fn seal(&mut self, head: &mut Head, tpm: &[u8]) -> Result<usize, Refusal<D::Error>> {
        self.wipe();
        // What fails here may have written anything.
        self.plain = self.room.as_ref().len();
        let sectors = self.key.seal_sections(head, &self.beside, self.outer.octets(), tpm, self.room.as_mut())?;
        self.plain = 0;
        Ok(sectors)
    }
}

impl<R: Room, D> StateDisk<R, D> {
    /// Wipes what is not sealed.
    fn wipe(&mut self) {
        self.read = 0..0;
        zeroize_bytes(self.room.as_mut().get_mut(..self.plain).unwrap_or_default());
        self.plain = 0;
    }
}

/// What was read may still be there.
impl<R: Room, D> Drop for StateDisk<R, D> {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// What all records of a boot have in common, and their key.
fn begin<E>(
    identity: &[u8; 32],
    epoch: u64,
    writer: &Writer,
    roots: &Roots,
    fresh: &Fresh,
) -> Result<(Head, ContentsKey), Refusal<E>> {
    let mut head = Head::new(Kind::State);
    head.identity = *identity;
    head.epoch = U64::new(epoch);
    head.boot_nonce = fresh.boot_nonce;
    head.measurement = writer.measurement;
    head.policy = U64::new(writer.policy);
    head.tcb = U64::new(writer.tcb);
    head.roots = U32::new(roots.bits());
    let key = ContentsKey::new(fresh).with_outer(OuterKey::new(&roots.chip, &fresh.own_salt));
    let own = WrapKey::own(roots, &fresh.own_salt);
    head.own = own.wrap(fresh.own_salt, &head, &key).ok_or(Refusal::Key)?;
    if let Some(operator) = &roots.recovery {
        let salt = fresh.recovery_salt;
        let (wrapping, firmware) = WrapKey::recovery(roots, operator, &salt).map_err(|_| Refusal::Key)?;
        head.recovery = wrapping.wrap(salt, &head, &key).ok_or(Refusal::Key)?;
        head.recovery_point = firmware;
    }
    Ok((head, key))
}

/// Says in what a record differs from ours where that can be seen. It is a better reason than a key that does not fit;
/// that nothing else is opened is the key's doing.
fn compare<E>(head: &Head, writer: &Writer, roots: u32) -> Result<(), Refusal<E>> {
    let committed = |theirs: u64, ours: u64| {
        theirs.to_le_bytes().into_iter().zip(ours.to_le_bytes()).all(|(theirs, ours)| theirs <= ours)
    };
    let mismatch = if *head.measurement() != writer.measurement {
        Mismatch::Measurement
    } else if head.policy() != writer.policy {
        Mismatch::Policy
    } else if head.roots() != roots {
        Mismatch::Roots
    } else if !committed(head.tcb(), writer.tcb) {
        Mismatch::Tcb
    } else {
        return Ok(());
    };
    Err(mismatch.into())
}

fn has_room<D: BlockDevice>(device: &D) -> Result<(), Refusal<D::Error>> {
    let sectors = device.sectors();
    if sectors < MIN_SECTORS { Err(Refusal::TooSmall { sectors, needed: MIN_SECTORS }) } else { Ok(()) }
}

fn sector<D: BlockDevice>(device: &mut D, at: u64) -> Result<Sector, Refusal<D::Error>> {
    let mut sector = [0; SECTOR];
    device.read(at, &mut sector).map_err(Refusal::Device)?;
    Ok(sector)
}

/// Writes contents and then the head, each with a flush behind it.
pub(crate) fn put_record<D: BlockDevice>(
    device: &mut D,
    head: &mut Head,
    contents: &[u8],
) -> Result<(), Refusal<D::Error>> {
    let at = first_sector(slot_of(head.epoch()));
    let sector = head.finish(contents);
    device.write(at + CONTENTS_AT, contents).map_err(Refusal::Device)?;
    device.flush().map_err(Refusal::Device)?;
    put(device, at, &sector)
}

fn put<D: BlockDevice>(device: &mut D, at: u64, sector: &Sector) -> Result<(), Refusal<D::Error>> {
    device.write(at, sector).map_err(Refusal::Device)?;
    device.flush().map_err(Refusal::Device)
}
