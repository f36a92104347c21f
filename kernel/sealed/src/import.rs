//! A state that the operator brings, by the recovery key, to a firmware that could not open it: on another chip, or
//! after the chip's keys have changed.
//!
//! The firmware's point is in the head of a record of its own, whose digest is attested: who imports has verified that.
//! The record is sealed with what only the operator and that firmware can derive, so the firmware knows that it is the
//! operator who brings it, and the host can neither read it nor bring one of its own.

use crate::contents::Beside;
use crate::device::BlockDevice;
use crate::disk::{prepare, put_record};
use crate::keys::{ContentsKey, Fresh, RecoveryKey, WrapKey, root};
use crate::layout::{Head, Kind};
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

/// Puts a state on a disk, in place of whatever is there, for the firmware that has written `addressee`. `room` has
/// [`crate::layout::ROOM`] octets.
///
/// # Errors
/// `NotOurs` if that firmware is not one whose settings have this recovery key, or wants an anchors' share; `Key`,
/// `Room`, `Exhausted`; those of [`prepare`].
pub fn import<D: BlockDevice>(
    mut device: D,
    key: &RecoveryKey,
    addressee: &Head,
    import: &Import<'_>,
    fresh: &Fresh,
    room: &mut [u8],
) -> Result<(), Refusal<D::Error>> {
    // What gets the share from anchors is in a firmware's own records only.
    if addressee.roots() & (root::RECOVERY | root::SHARE) != root::RECOVERY {
        return Err(Mismatch::Roots.into());
    }
    let mut head = Head::new(Kind::Imported);
    head.identity = *import.from.identity();
    head.epoch = U64::new(import.from.epoch().checked_add(1).ok_or(Refusal::Exhausted)?);
    head.boot_nonce = fresh.boot_nonce;
    head.measurement = *addressee.measurement();
    (head.policy, head.tcb, head.roots) = (addressee.policy, addressee.tcb, addressee.roots);
    head.recovery_point = addressee.recovery_point;
    let mut contents = ContentsKey::new(fresh);
    let salt = fresh.recovery_salt;
    let wrapping = WrapKey::operators(key, &head.recovery_point, &salt).map_err(|_| Refusal::Key)?;
    head.recovery = wrapping.wrap(salt, &head, &contents).ok_or(Refusal::Key)?;
    let sectors = contents.seal_sections(&mut head, import.beside, &[], import.tpm, room)?;
    prepare(&mut device)?;
    put_record(&mut device, &mut head, room.get(..sectors).ok_or(Refusal::Room)?)
}
