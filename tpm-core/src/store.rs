//! Keeps the state of a TPM on a disk through every loss of power. What a disk is, the platform says ([`Disk`]);
//! nothing here does I/O or allocates.
//!
//! A disk holds records, each in a slot:
//!
//! > "QUOINST1" ‖ generation₈ ‖ length of the state₄ ‖ state ‖ SHA-256 of all before it
//!
//! Behind a record there is nothing, or zeros. The record of generation `g` is in slot `g` mod [`Disk::SLOTS`], so a
//! new record never overwrites the one before it where there are two slots: that is for disks on which a write that is
//! interrupted leaves anything behind. A disk that replaces a record as one (a file system, by renaming) has one slot,
//! and there every record that is no record was damaged: it is refused, and nothing older takes its place.
//!
//! The digest finds damage, not malice, and the generation does not tell an old copy of the whole disk: a platform that
//! does not trust the disk encrypts and authenticates what is written to it, and keeps the generation elsewhere.

use crate::crypto::hash::{HashAlg, digest};
use crate::data::tpm::Tpm;
use crate::operation::state::{Generation, MAX_STATE_SIZE, StateError, StateForm};
use core::fmt;
use zeroize::Zeroize;

const MAGIC: &[u8; 8] = b"QUOINST1";
const HEADER: usize = MAGIC.len() + 8 + 4;
const DIGEST: usize = 32;

/// Octets of the largest record: the buffer that a [`Store`] is given has so many.
pub const MAX_RECORD_SIZE: usize = HEADER + MAX_STATE_SIZE + DIGEST;

/// Where records are kept.
pub trait Disk {
    /// What can go wrong with it.
    type Error;
    /// How many slots there are: 1 if [`Disk::write`] is atomic, so that after an interruption at any point the slot
    /// holds what was in it or the new record, and 2 if it may then hold anything.
    const SLOTS: usize;
    /// Reads a slot to the front of `out`; how many octets there are. None of a slot that was never written.
    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, Self::Error>;
    /// Makes a record the contents of a slot, with nothing or zeros behind it. When this returns it is there whatever
    /// happens.
    fn write(&mut self, slot: usize, record: &[u8]) -> Result<(), Self::Error>;
}

/// A disk that someone else has.
impl<D: Disk + ?Sized> Disk for &mut D {
    type Error = D::Error;
    const SLOTS: usize = D::SLOTS;

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, D::Error> {
        (**self).read(slot, out)
    }

    fn write(&mut self, slot: usize, record: &[u8]) -> Result<(), D::Error> {
        (**self).write(slot, record)
    }
}

/// Why nothing can be loaded or saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError<E> {
    /// The disk cannot be read or written.
    Disk(E),
    /// Something was written, and no slot holds a record.
    Damaged,
    /// There is no room for the state in the buffer.
    State(StateError),
}

impl<E: fmt::Display> fmt::Display for StoreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "the disk: {error}"),
            Self::Damaged => f.write_str("what was written is damaged"),
            Self::State(error) => write!(f, "the state: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for StoreError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            Self::Damaged => None,
            Self::State(error) => Some(error),
        }
    }
}

impl<E> From<StateError> for StoreError<E> {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// What a disk has, and the state of the newest record there, if there is one.
pub type Loaded<'a, D, T> = Result<(T, Option<&'a [u8]>), StoreError<<D as Disk>::Error>>;

/// The state that is on the disk.
#[derive(Debug)]
struct Saved {
    /// of the TPM: while it is in this one there is nothing to be saved
    generation: Generation,
    /// [`Tpm::lasting_digest`]: what was changed may have become what it was
    lasting: [u8; DIGEST],
}

/// A disk with a TPM's state on it.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
    /// of the newest record; 0 if there is none
    generation: u64,
    /// what was saved last, if anything was
    saved: Option<Saved>,
}

impl<D: Disk> Store<D> {
    /// The disk, and the state of the newest record on it, for [`Tpm::import`]. None if nothing was ever written there:
    /// whether a new TPM may then be made is not for the disk to say. `buffer` has room for [`MAX_RECORD_SIZE`] octets;
    /// the state is in it, so wipe it when it has been imported.
    ///
    /// # Errors
    /// `Disk` and `Damaged`.
    pub fn open(mut disk: D, buffer: &mut [u8]) -> Loaded<'_, D, Self> {
        let (generation, state) = load(&mut disk, buffer)?;
        Ok((Self { disk, generation, saved: None }, state))
    }

    /// Writes what must survive the loss of power, if it is not what was written last; whether it was written. When
    /// this returns it is there whatever happens. To be called between a command's execution and its response: after
    /// one that changed nothing that lasts it looks at nothing and does not touch `buffer`.
    ///
    /// # Errors
    /// `Disk`: what is on the disk may be the state before or this one. `State` if the buffer is too small.
    pub fn save(&mut self, tpm: &Tpm, buffer: &mut [u8]) -> Result<bool, StoreError<D::Error>> {
        let now = tpm.generation();
        if self.saved.as_ref().is_some_and(|saved| saved.generation == now) {
            return Ok(false);
        }
        let lasting = tpm.lasting_digest(buffer)?;
        if let Some(saved) = self.saved.as_mut().filter(|saved| saved.lasting == lasting) {
            saved.generation = now;
            return Ok(false);
        }
        self.saved = None;
        let generation = self.generation.saturating_add(1);
        let length = seal(generation, tpm, buffer)?;
        let record = buffer.get_mut(..length).unwrap_or_default();
        let written = self.disk.write(slot::<D>(generation), record);
        record.zeroize();
        written.map_err(StoreError::Disk)?;
        self.generation = generation;
        self.saved = Some(Saved { generation: now, lasting });
        Ok(true)
    }

    /// How many states were written to the disk so far.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, for what is not of records.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }
}

/// Where the record of a generation is.
fn slot<D: Disk>(generation: u64) -> usize {
    let slots = u64::try_from(D::SLOTS).unwrap_or(1).max(1);
    usize::try_from(generation % slots).unwrap_or(0)
}

/// The generation and the state of the newest record on a disk; 0 and none if nothing was ever written there.
fn load<'a, D: Disk>(disk: &mut D, buffer: &'a mut [u8]) -> Loaded<'a, D, u64> {
    let (mut below, mut empty) = (u64::MAX, true);
    loop {
        // The newest of what claims to be a record and has not been looked at.
        let mut newest = None;
        for at in 0..D::SLOTS {
            let length = disk.read(at, buffer).map_err(StoreError::Disk)?;
            empty &= length == 0;
            let claimed = buffer.get(..length).and_then(header).map(|(generation, ..)| generation);
            // A record in the slot of others was put there by someone else.
            newest = newest.max(claimed.filter(|generation| *generation < below && slot::<D>(*generation) == at));
        }
        let Some(generation) = newest else { return if empty { Ok((0, None)) } else { Err(StoreError::Damaged) } };
        let length = disk.read(slot::<D>(generation), buffer).map_err(StoreError::Disk)?;
        if buffer.get(..length).is_some_and(is_whole) {
            return Ok((generation, buffer.get(..length).and_then(header).map(|(_, state, _)| state)));
        }
        below = generation;
    }
}

/// Makes the record of a TPM's state; its length.
fn seal(generation: u64, tpm: &Tpm, buffer: &mut [u8]) -> Result<usize, StateError> {
    let (header, rest) = buffer.split_at_mut_checked(HEADER).ok_or(StateError::Room(MAX_STATE_SIZE))?;
    let length = tpm.export(StateForm::PoweredOff, rest)?;
    let words = [&MAGIC[..], &generation.to_be_bytes(), &u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()];
    for (to, from) in header.iter_mut().zip(words.iter().copied().flatten()) {
        *to = *from;
    }
    let end = HEADER + length;
    let digest = digest(HashAlg::Sha256, &[buffer.get(..end).unwrap_or_default()]);
    buffer.get_mut(end..end + DIGEST).ok_or(StateError::Room(MAX_STATE_SIZE))?.copy_from_slice(digest.as_slice());
    Ok(end + DIGEST)
}

/// The generation and the state of a record, if that is what this is, and what follows them.
fn header(slot: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (magic, rest) = slot.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (state, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (magic == MAGIC).then_some((u64::from_be_bytes(*generation), state, rest))
}

/// Whether a record is whole, with nothing but zeros behind it.
fn is_whole(slot: &[u8]) -> bool {
    let Some((_, state, rest)) = header(slot) else { return false };
    let Some((recorded, beyond)) = rest.split_first_chunk::<DIGEST>() else { return false };
    let sealed = slot.get(..HEADER + state.len()).unwrap_or_default();
    beyond.iter().all(|octet| *octet == 0) && digest(HashAlg::Sha256, &[sealed]).as_slice() == recorded
}
