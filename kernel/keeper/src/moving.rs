//! How the TPM leaves this firmware, and how it arrives: crate `migration` between the relay, the TPM, the secure
//! processor, and whoever keeps the state (docs/migration.md).
//!
//! Leaving goes on in steps while the guest runs ([`Leaving::poll`], between two commands), until the destination is
//! ready; from then on that does not return before the TPM has moved or goes on here, so no command comes between.
//! Arriving is a part of the boot ([`arrive`]): without a TPM there is no guest. A boot that finds a tombstone has none
//! either ([`give_receipts`]).
//!
//! | module | is |
//! |---|---|
//! | `leaving`, `arriving` | the two sides |
//! | `movable` | the TPM as a guest calls it, which looks for messages before a command |
//! | `homes` | where a TPM is kept: on a disk, or nowhere |
//! | `berth` | the disk where one arrives, and its anchors |

mod arriving;
mod berth;
mod homes;
mod leaving;
mod movable;

use kernel::attest::{Certificates, Reports};
use migration::{Arrival, Identity, Pending, Refusal, Testimony, Tombstone, Witness};
use snp::message::certificates::{ARK, ASK, CertificateTable, VCEK};
use tpm_core::{Entropy, Tpm};

pub use arriving::{Arrivals, arrive, give_receipts, start_anew};
pub use berth::DiskBerth;
pub(crate) use berth::Vacant;
pub(crate) use homes::short;
pub use homes::{Nowhere, Shared};
pub use leaving::{Leaving, Stand};
pub use movable::{Movable, Way};

/// Nobody knows what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsure;

/// Why there is no tombstone that could be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEntombed {
    /// Its writing was not begun: the TPM goes on here.
    NotBegun,
    /// The next boot may find it or not; or the TPM must not go on anyhow.
    Unsure,
}

/// What the state is that could leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The TPM's.
    pub identity: Identity,
    /// Its epoch.
    pub epoch: u64,
    /// This boot's nonce.
    pub boot_nonce: [u8; 32],
}

/// Who keeps a TPM that may leave.
pub trait Home {
    /// What it is now.
    fn now(&self) -> Now;
    /// Whether it outlives the virtual machine here.
    fn keeps(&self) -> bool;
    /// Makes the tombstone durable, in the place of the state.
    ///
    /// # Errors
    /// [`NotEntombed`].
    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), NotEntombed>;
}

/// Who keeps a TPM that arrives.
pub trait Berth {
    /// Whether it outlives the virtual machine here.
    fn keeps(&self) -> bool;
    /// This TPM is about to come: its source goes on until this is done. What is needed to keep it is got now.
    ///
    /// # Errors
    /// Why it cannot be kept here. Nothing was written.
    fn expect(&mut self, identity: &Identity, entropy: &mut dyn Entropy) -> Result<(), Refusal>;
    /// Makes a state durable that waits for its receipt, in the place of what waits here.
    ///
    /// # Errors
    /// [`Unsure`].
    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure>;
    /// Makes it durable as the TPM that lives here.
    ///
    /// # Errors
    /// [`Unsure`].
    fn live(&mut self, arrival: &Arrival, tpm: &Tpm) -> Result<(), Unsure>;
}

/// The secure processor, as a witness.
struct Psp<'a>(&'a mut dyn Reports);

impl Witness for Psp<'_> {
    fn testify(&mut self, report_data: &[u8; 64]) -> Option<Testimony> {
        let mut certificates = Certificates::new();
        let report = self.0.report_of_chip(report_data, &mut certificates).ok()?;
        let table = CertificateTable::parse(certificates.bytes()).ok()?;
        let [vcek, ask, ark] = [VCEK, ASK, ARK].map(|kind| table.find(kind).map(<[u8]>::to_vec));
        Some(Testimony { report, vcek: vcek?, ask: ask?, ark: ark? })
    }
}

/// The firmware's entropy, for ephemeral keys and receipts.
struct Random<'a>(&'a mut dyn Entropy);

impl tpm_crypto::Rng for Random<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), tpm_crypto::Error> {
        self.0.fill(out).map_err(|_| tpm_crypto::Error::Reseed)
    }
}

/// Sends a message of the migration's. `None`: the relay does not take it.
type Say<'a> = dyn FnMut(&[u8]) -> Option<()> + 'a;

#[cfg(test)]
mod tests;
