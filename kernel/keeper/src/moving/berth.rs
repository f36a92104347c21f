//! The disk where a TPM arrives, and its anchors.
//!
//! Anchors are asked before a state is asked for: a source dies for a TPM that can start here. They know it by a client
//! key of its own, which is drawn then, and is on the disk beside what waits: so each copy of that disk which is put
//! back later is known to them, and nobody who has the source's key speaks for this TPM. What the source had is known
//! to the source's anchors, by its tombstone.

use alloc::boxed::Box;
use alloc::vec;

use anchor::{Head, P384, Quorum};
use kernel::fatal::{Fatal, Reason};
use migration::{Arrival, Identity, Pending, Refusal};
use sealed::layout::ROOM;
use sealed::{Beginning, Fresh, Root, Roots, StateDisk, Writer};
use tpm_core::{Entropy, Tpm};
use zeroize::Zeroizing;

use super::{Berth, Unsure};
use crate::anchors::{self, Anchored, Post, Subject};
use crate::{Device, Keeping, Sealed, Tell, refused};

/// A disk where a TPM is to arrive.
pub struct DiskBerth {
    place: Place,
    tell: Tell,
    why: Option<Fatal>,
}

enum Place {
    /// It is marked as empty: whose it is to be is known when a state has come.
    Vacant(Box<Vacant>),
    /// Another state than that which came last may wait there.
    Waits(Box<Sealed>, Option<Box<Anchored>>),
    /// The TPM lives there.
    Lives(Box<Keeping>),
    /// Nobody knows what is there.
    Unsure,
}

/// What an empty disk becomes a TPM's with.
pub(crate) struct Vacant {
    pub(crate) disk: Device,
    pub(crate) writer: Writer,
    pub(crate) roots: Roots,
    pub(crate) fresh: Fresh,
    /// The anchors that the settings name, and the way to them, until they are asked.
    pub(crate) quorum: Option<&'static Quorum>,
    pub(crate) post: Option<Box<dyn Post>>,
    /// By which they are asked in this boot, for whatever TPM.
    pub(crate) key: Option<(Zeroizing<[u8; 48]>, &'static P384)>,
    /// The last term in which they were asked for another TPM than now.
    pub(crate) term: u64,
    pub(crate) asked: Option<Asked>,
}

/// Anchors that were asked.
pub(crate) struct Asked {
    anchors: Box<Anchored>,
    /// For this TPM.
    identity: Identity,
    /// It may be kept here.
    is_expected: bool,
}

impl DiskBerth {
    /// A disk that is marked as empty.
    pub(crate) fn vacant(vacant: Vacant, tell: Tell) -> Self {
        Self { place: Place::Vacant(Box::new(vacant)), tell, why: None }
    }

    /// A disk where a state waits.
    pub(crate) fn waiting(disk: Sealed, anchors: Option<Box<Anchored>>, tell: Tell) -> Self {
        Self { place: Place::Waits(Box::new(disk), anchors), tell, why: None }
    }

    /// Who keeps the TPM that has arrived. `None`: none has.
    #[must_use]
    pub fn keeper(self) -> Option<Box<Keeping>> {
        if let Place::Lives(keeping) = self.place { Some(keeping) } else { None }
    }

    /// Why the TPM that was to live here does not, where that is known.
    pub const fn why(&mut self) -> Option<Fatal> {
        self.why.take()
    }
}

impl Vacant {
    /// Asks the anchors, where there are any, as at the first boot of a TPM; and for the share, where that is a root.
    fn ask(&mut self, identity: &Identity, entropy: &mut dyn Entropy) -> Result<(), Fatal> {
        let Some(quorum) = self.quorum else { return Ok(()) };
        let mut asked = match self.asked.take() {
            // In a later term.
            Some(asked) if asked.identity == *identity => asked,
            other => {
                if let Some(other) = other {
                    (self.post, self.term) = other.anchors.leave();
                }
                let mut anchors = self.begin(quorum, identity, entropy)?;
                anchors.go_by(self.post.take());
                self.roots.share = None;
                Asked { anchors, identity: *identity, is_expected: false }
            }
        };
        let secret = asked.anchors.open(entropy);
        asked.is_expected = secret.is_ok();
        self.asked = Some(asked);
        // What was got already is not got twice.
        if let Some(secret) = secret? {
            self.roots.share = Some(Root::new(*secret));
        }
        Ok(())
    }

    fn begin(
        &mut self,
        quorum: &'static Quorum,
        identity: &Identity,
        entropy: &mut dyn Entropy,
    ) -> Result<Box<Anchored>, Fatal> {
        let (scalar, keys) = match &self.key {
            Some(key) => key.clone(),
            None => {
                let scalar = anchors::scalar(entropy)?;
                let keys = anchors::keys(&scalar)?;
                self.key.insert((scalar, keys)).clone()
            }
        };
        let (mut outer, boot_nonce) = (anchors::beginning(quorum, scalar), *self.fresh.boot_nonce());
        // No two questions of a boot have one ballot, also where it asks for a TPM again.
        outer.mark.term = self.term.into();
        let subject = Subject { identity: *identity, boot_nonce, own: Head::GENESIS, outer };
        Anchored::new(quorum, keys, subject, entropy)
    }

    /// The disk of this TPM.
    fn taken(self, pending: &Pending, beyond: u64) -> Result<(Box<Sealed>, Option<Box<Anchored>>), Unsure> {
        let Self { disk, writer, roots, fresh, quorum, asked, .. } = self;
        let asked = asked.filter(|asked| asked.is_expected && asked.identity == pending.identity);
        if quorum.is_some() != asked.is_some() {
            return Err(Unsure);
        }
        let beginning = Beginning::arrived(pending.identity, beyond);
        let disk = StateDisk::create(disk, &beginning, &writer, &roots, fresh, vec![0; ROOM]);
        disk.map(|disk| (Box::new(disk), asked.map(|asked| asked.anchors))).map_err(|_| Unsure)
    }
}

impl Berth for DiskBerth {
    fn keeps(&self) -> bool {
        true
    }

    fn expect(&mut self, identity: &Identity, entropy: &mut dyn Entropy) -> Result<(), Refusal> {
        let asked = match &mut self.place {
            Place::Vacant(vacant) => vacant.ask(identity, entropy),
            // A TPM may have started from a copy of this disk meanwhile: none starts from this one then.
            Place::Waits(_, Some(anchors)) => anchors.settle(),
            Place::Waits(..) | Place::Lives(_) | Place::Unsure => Ok(()),
        };
        asked.map_err(|why| {
            (self.tell)(&format_args!("no TPM is taken in: {why}"));
            if why.reason == Reason::Entropy { Refusal::Entropy } else { Refusal::Anchors }
        })
    }

    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure> {
        let beyond = pending.arrival().map_err(|_| Unsure)?.beyond;
        let (mut disk, mut anchors) = match core::mem::replace(&mut self.place, Place::Unsure) {
            Place::Vacant(vacant) => vacant.taken(pending, beyond)?,
            Place::Waits(mut disk, anchors) => {
                disk.go_on_beyond(beyond).ok_or(Unsure)?;
                (disk, anchors)
            }
            Place::Lives(_) | Place::Unsure => return Err(Unsure),
        };
        if let Some(anchors) = &mut anchors {
            anchors.mark(&mut disk).map_err(|_| Unsure)?;
        }
        migration::disk::keep(&mut disk, pending, state).map_err(|_| Unsure)?;
        self.place = Place::Waits(disk, anchors);
        Ok(())
    }

    fn live(&mut self, arrival: &Arrival, tpm: &Tpm) -> Result<(), Unsure> {
        let Place::Waits(disk, anchors) = core::mem::replace(&mut self.place, Place::Unsure) else {
            return Err(Unsure);
        };
        let keeping = lives(*disk, anchors, arrival, tpm, self.tell).map_err(|why| {
            self.why = Some(why);
            Unsure
        })?;
        self.place = Place::Lives(keeping);
        Ok(())
    }
}

fn lives(
    mut disk: Sealed,
    anchors: Option<Box<Anchored>>,
    arrival: &Arrival,
    tpm: &Tpm,
    tell: Tell,
) -> Result<Box<Keeping>, Fatal> {
    migration::disk::settle(&mut disk, arrival).map_err(refused)?;
    let (_, mut keeping) = Keeping::of(disk, anchors, tell).map_err(crate::not_stored)?;
    keeping.begin(tpm)?;
    Ok(keeping)
}
