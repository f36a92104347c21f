//! Why a disk is not used: each reason is one of its own, since what an operator does about them differs.

use core::fmt;

/// Why nothing is read from a disk, or written to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal<E> {
    /// The device reads or writes nothing.
    Device(E),
    /// The disk has too few sectors.
    TooSmall {
        /// that it has
        sectors: u64,
        /// that are needed
        needed: u64,
    },
    /// Nobody has prepared the disk: it does not begin with a label of ours.
    Unmarked,
    /// The label or a record is of a version that this build does not know.
    Version(u32),
    /// Something on the disk is not what was written.
    Damaged(Part),
    /// The record is whole, and not for this firmware on this chip with these roots.
    NotOurs(Mismatch),
    /// The record is older than one that is known to have been written.
    Older {
        /// the record's epoch
        epoch: u64,
        /// the epoch that is known
        known: u64,
    },
    /// The TPM has moved to another firmware, and lives there.
    Moved,
    /// There is a state on the disk, and a new one is not put in its place.
    NotEmpty,
    /// The record was opened, and what is in it is no state of this version.
    Contents,
    /// The buffer, or the disk's slot, has no room for the record.
    Room,
    /// A write failed before, and nobody knows what the disk holds.
    Broken,
    /// All epochs, or all nonces of this boot, have been used.
    Exhausted,
    /// A key is none: a recovery key that is no point of its curve, or a root that gives no key.
    Key,
}

/// What is damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The label.
    Label,
    /// The head of the record in this slot.
    Head(u8),
    /// The contents of the record in this slot.
    Contents(u8),
    /// The record in this slot has the digests that it says, and was not written by who has its key.
    Authentication(u8),
}

/// In what a record differs from what this firmware writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// It was written by a firmware with another launch measurement.
    Measurement,
    /// It was written under another guest policy: debugging, for instance, was allowed.
    Policy,
    /// It was written under a TCB that this chip has not committed.
    Tcb,
    /// It is sealed to other roots than the settings ask for.
    Roots,
    /// Everything that can be seen fits, and the key does not: another chip, another share of the anchors, another
    /// recovery key, or a forgery.
    Key,
}

impl<E> From<Part> for Refusal<E> {
    fn from(part: Part) -> Self {
        Self::Damaged(part)
    }
}

impl<E> From<Mismatch> for Refusal<E> {
    fn from(mismatch: Mismatch) -> Self {
        Self::NotOurs(mismatch)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label => f.write_str("the label"),
            Self::Head(slot) => write!(f, "the head of the record in slot {slot}"),
            Self::Contents(slot) => write!(f, "the contents of the record in slot {slot}"),
            Self::Authentication(slot) => write!(f, "the record in slot {slot}, whose authentication fails"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measurement => "a firmware with another launch measurement has written it",
            Self::Policy => "it was written under another guest policy",
            Self::Tcb => "it was written under a TCB that this chip has not committed",
            Self::Roots => "it is sealed to other roots than are asked for",
            Self::Key => "no key here opens it: another chip, another share, or a forgery",
        })
    }
}

impl<E: fmt::Display> fmt::Display for Refusal<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "the disk: {error}"),
            Self::TooSmall { sectors, needed } => write!(f, "the disk has {sectors} sectors and needs {needed}"),
            Self::Unmarked => f.write_str("the disk was not prepared for a state"),
            Self::Version(version) => write!(f, "the disk is of version {version}, which is unknown here"),
            Self::Damaged(part) => write!(f, "the disk is damaged: {part}"),
            Self::NotOurs(mismatch) => write!(f, "the state is not ours: {mismatch}"),
            Self::Older { epoch, known } => write!(f, "the state is old: its epoch is {epoch}, and {known} is known"),
            Self::Moved => f.write_str("the TPM has moved"),
            Self::NotEmpty => f.write_str("there is a state on the disk"),
            Self::Contents => f.write_str("what is in the record is no state of this version"),
            Self::Room => f.write_str("there is no room for the record"),
            Self::Broken => f.write_str("a write has failed before, and nobody knows what the disk holds"),
            Self::Exhausted => f.write_str("no epoch or nonce is left"),
            Self::Key => f.write_str("a key is none"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Refusal<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            _ => None,
        }
    }
}
