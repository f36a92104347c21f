//! What each side keeps where it cannot be lost: the source its tombstone, the destination what it waits with. The
//! caller seals both, as it seals a state.

use tpm_crypto::hash::{HashAlg, digest};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::octets::Octets;
use crate::refusal::Refusal;
use crate::{Identity, Measurement};

/// What only the source knows until it is dead on its disk, and everybody may know then: with it, and with nothing
/// else, the state that the destination waits with becomes alive.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Receipt(pub [u8; 32]);

/// Epochs that a tombstone takes: it is written in both places of the disk.
const ENTOMBED: u64 = 2;

/// SHA-384 of a receipt, behind a label. It names the run.
pub type Promise = [u8; 48];

impl Receipt {
    /// Its promise.
    #[must_use]
    pub fn promise(&self) -> Promise {
        let mut out = [0; 48];
        let hash = digest(HashAlg::Sha384, &[b"Quoin migration 1: receipt", &self.0]);
        out.iter_mut().zip(hash.as_slice()).for_each(|(to, from)| *to = *from);
        out
    }
}

/// What is left of a TPM that has moved.
#[derive(Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Whose it is.
    pub identity: Identity,
    /// The state's last epoch here.
    pub epoch: u64,
    /// Where the state went.
    pub to: Measurement,
    /// On which chip.
    pub chip: [u8; 64],
    /// What makes it alive there.
    pub receipt: Receipt,
}

impl Tombstone {
    /// Octets of one.
    pub const SIZE: usize = 32 + 8 + 48 + 64 + 32;

    /// The octets, in the order of the fields; integers are little-endian.
    #[must_use]
    pub fn octets(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let parts = [&self.identity[..], &self.epoch.to_le_bytes(), &self.to, &self.chip, &self.receipt.0];
        out.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// `Shape` for any other length.
    pub fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(octets);
        let (identity, epoch, to, chip) = (r.array()?, r.u64()?, r.array()?, r.array()?);
        let tombstone = Self { identity, epoch, to, chip, receipt: Receipt(r.array()?) };
        r.end().map(|()| tombstone)
    }
}

/// What a destination knows of the state that it waits with; the state itself stands behind it on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is.
    pub identity: Identity,
    /// The source's last epoch.
    pub epoch: u64,
    /// The source's boot nonce, which anchors have beside that epoch.
    pub boot_nonce: [u8; 32],
    /// The source's measurement.
    pub from: Measurement,
    /// Whose receipt makes it alive.
    pub promise: Promise,
}

impl Pending {
    /// Octets of one.
    pub const SIZE: usize = 32 + 8 + 32 + 48 + 48;

    /// The octets, in the order of the fields; integers are little-endian.
    #[must_use]
    pub fn octets(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let parts = [&self.identity[..], &self.epoch.to_le_bytes(), &self.boot_nonce, &self.from, &self.promise];
        out.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// `Shape` for any other length.
    pub fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(octets);
        let (identity, epoch, boot_nonce) = (r.array()?, r.u64()?, r.array()?);
        let pending = Self { identity, epoch, boot_nonce, from: r.array()?, promise: r.array()? };
        r.end().map(|()| pending)
    }

    /// What it is once it is alive.
    ///
    /// # Errors
    /// `Epoch`.
    pub fn arrival(&self) -> Result<Arrival, Refusal> {
        let beyond = self.epoch.checked_add(ENTOMBED).filter(|beyond| *beyond < u64::MAX - ENTOMBED);
        let beyond = beyond.ok_or(Refusal::Epoch)?;
        Ok(Arrival { identity: self.identity, beyond, from: self.from, last: (self.epoch, self.boot_nonce) })
    }
}

/// A TPM that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose it is.
    pub identity: Identity,
    /// Its first epoch here is beyond this one, which is the last that the source's disk can have.
    pub beyond: u64,
    /// Where it came from.
    pub from: Measurement,
    /// The last epoch and boot nonce there.
    pub last: (u64, [u8; 32]),
}
