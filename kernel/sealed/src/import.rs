//! A state that the operator brings, by the recovery key, to a firmware that could not open it: on another chip, or
//! after the chip's keys have changed.
//!
//! The firmware's point is in the head of a record of its own, whose digest is attested: who imports has verified that.
//! The record is sealed with what only the operator and that firmware can derive, so the firmware knows that it is the
//! operator who brings it, and the host can neither read it nor bring one of its own.

use crate::contents::Beside;
use crate::device::BlockDevice;
use crate::disk::{Found, look, put_record};
use crate::keys::{ContentsKey, Fresh, RecoveryKey, WrapKey, root};
use crate::layout::{Head, Kind, slot_of};
use crate::refusal::{Mismatch, Refusal};
use zerocopy::byteorder::little_endian::U64;

/// What is brought.
pub struct Import<'a> {
    /// The head of the record from which it comes: its identity stays, and its epoch goes on.
    pub from: &'a Head,
    /// The TPM's record.
    pub tpm: &'a [u8],
    /// What is beside it.
    pub beside: &'a Beside,
}

/// Puts a state on a disk, for the firmware that has written `addressee`; the epoch that it has there. It is beyond
/// that of the record on the disk, and in the other slot: until the new record is whole the disk has the one that was
/// there, and never none, since a firmware that finds none makes a new TPM. `room` has [`crate::layout::ROOM`] octets.
///
/// # Errors
/// `NotOurs` if that firmware is not one whose settings have this recovery key, or wants an anchors' share; `Key`,
/// `Room`, `Exhausted`; those of [`look`].
pub fn import<D: BlockDevice>(
    mut device: D,
    key: &RecoveryKey,
    addressee: &Head,
    import: &Import<'_>,
    fresh: &Fresh,
    room: &mut [u8],
) -> Result<u64, Refusal<D::Error>> {
    // What gets the share from anchors is in a firmware's own records only.
    if addressee.roots() & (root::RECOVERY | root::SHARE) != root::RECOVERY {
        return Err(Mismatch::Roots.into());
    }
    let mut head = Head::new(Kind::Imported);
    head.identity = *import.from.identity();
    let there = match look(&mut device)? {
        Found::Record(head) => Some(head.epoch()),
        Found::Empty => None,
    };
    let epoch = beyond(import.from.epoch(), there).ok_or(Refusal::Exhausted)?;
    head.epoch = U64::new(epoch);
    head.boot_nonce = fresh.boot_nonce;
    head.measurement = *addressee.measurement();
    (head.policy, head.tcb, head.roots) = (addressee.policy, addressee.tcb, addressee.roots);
    head.recovery_point = addressee.recovery_point;
    let mut contents = ContentsKey::new(fresh);
    let salt = fresh.recovery_salt;
    let wrapping = WrapKey::operators(key, &head.recovery_point, &salt).map_err(|_| Refusal::Key)?;
    head.recovery = wrapping.wrap(salt, &head, &contents).ok_or(Refusal::Key)?;
    let sectors = contents.seal_sections(&mut head, import.beside, &[], import.tpm, room)?;
    put_record(&mut device, &mut head, room.get(..sectors).ok_or(Refusal::Room)?)?;
    Ok(epoch)
}

/// The first epoch beyond both, in the other slot than that of the record on the disk.
fn beyond(from: u64, there: Option<u64>) -> Option<u64> {
    let next = from.max(there.unwrap_or(0)).checked_add(1)?;
    let is_in_the_same_slot = there.is_some_and(|there| slot_of(next) == slot_of(there));
    next.checked_add(is_in_the_same_slot.into())
}
