//! Where a TPM is kept: on a disk, or nowhere.

use alloc::boxed::Box;
use alloc::sync::Arc;

use kernel::hooks::Keeper;
use kernel::state::{Kept, flag};
use kernel::sync::Mutex;
use migration::{Arrival, Identity, Measurement, Pending, Refusal, Tombstone};
use tpm_core::{Entropy, EntropyFailure, Tpm};

use super::{Berth, Home, NotEntombed, Now, Unsure};
use crate::{Keeping, refused};

/// One keeper for both: the TPM, which is kept after each command, and the migration, which ends that.
pub struct Shared<K>(Arc<Mutex<K>>);

impl<K> Shared<K> {
    /// Both ends of it.
    pub fn new(keeper: K) -> (Self, Self) {
        let keeper = Arc::new(Mutex::new(keeper));
        (Self(Arc::clone(&keeper)), Self(keeper))
    }
}

impl<K: Keeper> Keeper for Shared<K> {
    fn keep(&mut self, tpm: &Tpm) -> Option<()> {
        self.0.lock().keep(tpm)
    }

    fn kept(&self) -> Kept {
        self.0.lock().kept()
    }
}

impl<K: Home> Home for Shared<K> {
    fn now(&self) -> Now {
        self.0.lock().now()
    }

    fn keeps(&self) -> bool {
        self.0.lock().keeps()
    }

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), NotEntombed> {
        self.0.lock().entomb(tombstone)
    }
}

impl<K: Home + ?Sized> Home for Box<K> {
    fn now(&self) -> Now {
        (**self).now()
    }

    fn keeps(&self) -> bool {
        (**self).keeps()
    }

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), NotEntombed> {
        (**self).entomb(tombstone)
    }
}

impl Home for Keeping {
    fn now(&self) -> Now {
        let Kept { identity, epoch, boot_nonce, .. } = self.kept();
        Now { identity, epoch, boot_nonce }
    }

    fn keeps(&self) -> bool {
        true
    }

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), NotEntombed> {
        let tell = self.tell;
        self.entomb(|disk| migration::disk::entomb(disk, tombstone).map_err(refused)).map_err(|(which, why)| {
            match which {
                NotEntombed::NotBegun => tell(&format_args!("the TPM cannot leave: {why}")),
                NotEntombed::Unsure => tell(&format_args!("the TPM fails, since it cannot be kept: {why}")),
            }
            which
        })
    }
}

/// A TPM that ends with its virtual machine, and may leave before that: who it is. It has one epoch where it was made,
/// and one wherever it has come to.
pub struct Nowhere(Kept);

impl Nowhere {
    /// A new one.
    ///
    /// # Errors
    /// There is no entropy.
    pub fn draw(entropy: &mut dyn Entropy) -> Result<Self, EntropyFailure> {
        let [mut identity, mut boot_nonce] = [[0; 32]; 2];
        entropy.fill(&mut identity)?;
        entropy.fill(&mut boot_nonce)?;
        Ok(Self(Kept { identity, epoch: 1, boot_nonce, digest: [0; 32], flags: 0, origin: [0; 32] }))
    }
}

impl Keeper for Nowhere {
    fn keep(&mut self, _: &Tpm) -> Option<()> {
        Some(())
    }

    fn kept(&self) -> Kept {
        self.0
    }
}

impl Home for Nowhere {
    fn now(&self) -> Now {
        let Kept { identity, epoch, boot_nonce, .. } = self.0;
        Now { identity, epoch, boot_nonce }
    }

    fn keeps(&self) -> bool {
        false
    }

    fn entomb(&mut self, _: &Tombstone) -> Result<(), NotEntombed> {
        Ok(())
    }
}

impl Berth for Nowhere {
    fn keeps(&self) -> bool {
        false
    }

    fn expect(&mut self, _: &Identity, _: &mut dyn Entropy) -> Result<(), Refusal> {
        Ok(())
    }

    fn keep(&mut self, _: &Pending, _: &[u8]) -> Result<(), Unsure> {
        Ok(())
    }

    fn live(&mut self, arrival: &Arrival, _: &Tpm) -> Result<(), Unsure> {
        self.0.identity = arrival.identity;
        self.0.epoch = arrival.beyond.saturating_add(1);
        self.0.flags |= flag::MIGRATED;
        self.0.origin = short(&arrival.from);
        Ok(())
    }
}

/// As much of a measurement as is attested.
pub(crate) fn short(measurement: &Measurement) -> [u8; 32] {
    measurement.first_chunk().copied().unwrap_or_default()
}
