//! The records of both sides on a disk of crate `sealed`.
//!
//! | the disk | the TPM's section | *Handover* | *Origin* |
//! |---|---|---|---|
//! | has a TPM | its record | | where it came from, if it did |
//! | has one that waits | its whole state, in which [`tpm_core::store`] finds no record | [`Pending`] | |
//! | has a tombstone (kind: moved) | empty | [`Tombstone`] | |

use sealed::disk::{Room, StateDisk};
use sealed::{BlockDevice, Section};
use tpm_core::store::Disk;
use zeroize::Zeroizing;

use crate::MEASUREMENT;
use crate::octets::Octets;
use crate::record::{Arrival, Pending, Tombstone};

/// What is on a disk that was opened.
pub enum Resting {
    /// A TPM, or nothing yet.
    Lives,
    /// A state that waits for its receipt.
    Waits(Pending),
    /// Nothing but where the TPM went.
    Moved(Tombstone),
}

/// Where a TPM came from, and how far it was there: what is attested of it, and what anchors have of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The measurement of the firmware that it came from.
    pub from: [u8; MEASUREMENT],
    /// The last epoch there, and the boot nonce.
    pub last: (u64, [u8; 32]),
}

/// Why a record is none.
type Refusal<D> = sealed::Refusal<<D as BlockDevice>::Error>;

/// Looks at what was opened.
///
/// # Errors
/// `Contents` for a record that is none of these.
pub fn resting<R: Room, D: BlockDevice>(disk: &mut StateDisk<R, D>) -> Result<Resting, Refusal<D>> {
    let is_moved = disk.is_moved();
    match (disk.beside().get(Section::Handover), is_moved) {
        (None, false) => Ok(Resting::Lives),
        (None, true) => Err(sealed::Refusal::Contents),
        (Some(octets), false) => Pending::parse(octets).map(Resting::Waits).map_err(|_| sealed::Refusal::Contents),
        (Some(octets), true) => Tombstone::parse(octets).map(Resting::Moved).map_err(|_| sealed::Refusal::Contents),
    }
}

/// The state that waits, in `out`: its length.
///
/// # Errors
/// `Room`.
pub fn waiting<R: Room, D: BlockDevice>(disk: &mut StateDisk<R, D>, out: &mut [u8]) -> Result<usize, Refusal<D>> {
    Disk::read(disk, 0, out)
}

/// Makes the tombstone what is on the disk: [`crate::source::Next::Entomb`].
///
/// # Errors
/// Those of [`StateDisk::commit_moved`]: nobody knows then what the disk holds ([`crate::Source::unsure`]).
pub fn entomb<R: Room, D: BlockDevice>(disk: &mut StateDisk<R, D>, tombstone: &Tombstone) -> Result<(), Refusal<D>> {
    // The receipt is a secret until this is durable.
    let octets = Zeroizing::new(tombstone.octets());
    disk.beside().set(Section::Handover, &*octets).ok_or(sealed::Refusal::Room)?;
    disk.beside().remove(Section::Origin);
    disk.commit_moved(&[])
}

/// Keeps a state that waits: [`crate::destination::Next::Keep`].
///
/// # Errors
/// Those of [`StateDisk::commit`]: nobody knows then what the disk holds ([`crate::Destination::unsure`]).
pub fn keep<R: Room, D: BlockDevice>(
    disk: &mut StateDisk<R, D>,
    pending: &Pending,
    state: &[u8],
) -> Result<(), Refusal<D>> {
    disk.beside().set(Section::Handover, &pending.octets()).ok_or(sealed::Refusal::Room)?;
    disk.commit(state)
}

/// What waits is one that lives, and where it came from, with the next commit: that of the TPM's record, as
/// [`tpm_core::store`] makes it ([`crate::destination::Next::Awake`]).
///
/// # Errors
/// `Room`.
pub fn settle<R: Room, D: BlockDevice>(disk: &mut StateDisk<R, D>, arrival: &Arrival) -> Result<(), Refusal<D>> {
    let Arrival { from, last: (epoch, boot_nonce), .. } = arrival;
    let mut origin = [0; MEASUREMENT + 8 + 32];
    let parts = [&from[..], &epoch.to_le_bytes(), boot_nonce];
    origin.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    disk.beside().remove(Section::Handover);
    disk.beside().set(Section::Origin, &origin).ok_or(sealed::Refusal::Room)
}

/// Where the TPM on the disk came from, if it did.
///
/// # Errors
/// `Contents` for a record that is none.
pub fn origin<R: Room, D: BlockDevice>(disk: &mut StateDisk<R, D>) -> Result<Option<Origin>, Refusal<D>> {
    let Some(octets) = disk.beside().get(Section::Origin) else { return Ok(None) };
    let read = |octets| {
        let mut r = Octets(octets);
        let origin = Origin { from: r.array()?, last: (r.u64()?, r.array()?) };
        r.end().map(|()| origin)
    };
    read(octets).map(Some).map_err(|_: crate::Refusal| sealed::Refusal::Contents)
}
