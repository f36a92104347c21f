//! Where a TPM is kept: on a disk, or nowhere.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use kernel::hooks::Keeper;
use kernel::state::{Kept, flag};
use kernel::sync::Mutex;
use migration::{Arrival, Measurement, Pending, Tombstone};
use sealed::layout::ROOM;
use sealed::{Beginning, Fresh, Roots, StateDisk, Writer};
use tpm_core::{Entropy, EntropyFailure, Tpm};

use super::{Berth, Home, NotEntombed, Now, Unsure};
use crate::{Device, Keeping, Sealed, Tell, refused};

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
            tell(&*why);
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

/// A disk where a TPM is to arrive.
pub struct DiskBerth {
    place: Place,
    tell: Tell,
}

enum Place {
    /// It is marked as empty: whose it is to be is known when a state has come.
    Vacant(Box<Vacant>),
    /// Another state than that which came last may wait there.
    Waits(Box<Sealed>),
    /// The TPM lives there.
    Lives(Box<Keeping>),
    /// Nobody knows what is there.
    Unsure,
}

/// What an empty disk becomes a TPM's with.
struct Vacant {
    disk: Device,
    writer: Writer,
    roots: Roots,
    fresh: Fresh,
}

impl DiskBerth {
    /// A disk that is marked as empty.
    pub(crate) fn vacant(disk: Device, writer: Writer, roots: Roots, fresh: Fresh, tell: Tell) -> Self {
        Self { place: Place::Vacant(Box::new(Vacant { disk, writer, roots, fresh })), tell }
    }

    /// A disk where a state waits.
    pub(crate) fn waiting(disk: Sealed, tell: Tell) -> Self {
        Self { place: Place::Waits(Box::new(disk)), tell }
    }

    /// Who keeps the TPM that has arrived. `None`: none has.
    #[must_use]
    pub fn keeper(self) -> Option<Box<Keeping>> {
        if let Place::Lives(keeping) = self.place { Some(keeping) } else { None }
    }
}

impl Berth for DiskBerth {
    fn keeps(&self) -> bool {
        true
    }

    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure> {
        let beyond = pending.arrival().map_err(|_| Unsure)?.beyond;
        let mut disk = match core::mem::replace(&mut self.place, Place::Unsure) {
            Place::Vacant(vacant) => {
                let Vacant { disk, writer, roots, fresh } = *vacant;
                let beginning = Beginning::arrived(pending.identity, beyond);
                StateDisk::create(disk, &beginning, &writer, &roots, fresh, vec![0; ROOM]).map_err(|_| Unsure)?
            }
            Place::Waits(mut disk) => {
                disk.go_on_beyond(beyond).ok_or(Unsure)?;
                *disk
            }
            Place::Lives(_) | Place::Unsure => return Err(Unsure),
        };
        migration::disk::keep(&mut disk, pending, state).map_err(|_| Unsure)?;
        self.place = Place::Waits(Box::new(disk));
        Ok(())
    }

    fn live(&mut self, arrival: &Arrival, tpm: &Tpm) -> Result<(), Unsure> {
        let Place::Waits(mut disk) = core::mem::replace(&mut self.place, Place::Unsure) else { return Err(Unsure) };
        migration::disk::settle(&mut disk, arrival).map_err(|_| Unsure)?;
        let (_, mut keeping) = Keeping::of(*disk, None, self.tell).map_err(|_| Unsure)?;
        keeping.keep(tpm).ok_or(Unsure)?;
        self.place = Place::Lives(keeping);
        Ok(())
    }
}
