//! The disk where a TPM arrives, and its anchors.
//!
//! Anchors are asked before a state is kept there: a source dies for a TPM that can start here. Which key they know it
//! by is on the disk beside what waits, so that a copy of that disk, put back later, is known to them. Where they are
//! those of the source that is the source's key, and what goes on from here is what its tombstone has left with them;
//! where they are others it is a new one, and they begin with this TPM.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use anchor::{Head, Left, Mark, P384, Quorum};
use kernel::fatal::{Fatal, Reason};
use migration::{AnchorKey, Arrival, Pending, Refusal};
use sealed::layout::ROOM;
use sealed::{Beginning, Fresh, Root, Roots, StateDisk, Writer};
use tpm_core::{Entropy, Tpm};
use zeroize::Zeroizing;

use super::{Berth, NotKept, Unsure};
use crate::anchors::{self, Anchored, Post, Subject};
use crate::outer::Outer;
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
    /// The anchors that the settings name, and the way to them.
    pub(crate) quorum: Option<&'static Quorum>,
    pub(crate) post: Option<Box<dyn Post>>,
    /// Keys by which they were asked so far.
    pub(crate) keys: Keys,
}

/// Key pairs stay in memory for good: each is made once, however often anchors are asked with it.
#[derive(Default)]
pub(crate) struct Keys {
    /// Of a TPM that comes to anchors which do not know it.
    own: Option<Scalar>,
    made: Vec<(Scalar, &'static P384)>,
}

type Scalar = Zeroizing<[u8; 48]>;

impl Keys {
    fn own(&mut self, entropy: &mut dyn Entropy) -> Result<Scalar, Fatal> {
        match &self.own {
            Some(own) => Ok(own.clone()),
            None => Ok(self.own.insert(anchors::scalar(entropy)?).clone()),
        }
    }

    fn of(&mut self, scalar: &Scalar) -> Result<&'static P384, Fatal> {
        if let Some((_, keys)) = self.made.iter().find(|(made, _)| made == scalar) {
            return Ok(keys);
        }
        let keys = anchors::keys(scalar).ok_or_else(Fatal::plain(Reason::Damaged))?;
        self.made.push((scalar.clone(), keys));
        Ok(keys)
    }
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

    /// What anchors say of it is no fault of the migration's: it is told here.
    fn refuses(&self, why: &Fatal) -> NotKept {
        (self.tell)(why);
        NotKept::Refused(if why.reason == Reason::Entropy { Refusal::Entropy } else { Refusal::Anchors })
    }
}

impl Vacant {
    /// Asks the anchors, where there are any, for the TPM that comes: they have to answer, as at any boot.
    fn ask(
        &mut self,
        pending: &Pending,
        key: Option<&AnchorKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Box<Anchored>>, Fatal> {
        let Some(quorum) = self.quorum else { return Ok(None) };
        let outer = match key.filter(|key| key.quorum == quorum.id()) {
            Some(key) => {
                let (mark, scalar) = (Mark::coming(quorum, &left(pending)?), Zeroizing::new(key.scalar));
                Outer { mark, scalar, shares: vec![] }
            }
            None => anchors::beginning(quorum, self.keys.own(entropy)?),
        };
        let keys = self.keys.of(&outer.scalar)?;
        let boot_nonce = *self.fresh.boot_nonce();
        let subject = Subject { identity: pending.identity, boot_nonce, own: Head::GENESIS, outer };
        let mut asked = Anchored::new(quorum, keys, subject, entropy)?;
        asked.go_by(self.post.take());
        match asked.open(entropy) {
            Ok(secret) => {
                self.roots.share = secret.map(|secret| Root::new(*secret));
                Ok(Some(asked))
            }
            Err(why) => {
                self.post = asked.leave();
                Err(why)
            }
        }
    }

    /// The disk of this TPM.
    fn taken(self, pending: &Pending, beyond: u64) -> Result<Box<Sealed>, Unsure> {
        let Self { disk, writer, roots, fresh, .. } = self;
        let beginning = Beginning::arrived(pending.identity, beyond);
        let disk = StateDisk::create(disk, &beginning, &writer, &roots, fresh, vec![0; ROOM]);
        disk.map(Box::new).map_err(|_| Unsure)
    }
}

/// What the source of this state leaves with its anchors.
fn left(pending: &Pending) -> Result<Left, Fatal> {
    let arrival = pending.arrival().map_err(|why| Fatal::new(Reason::State, format_args!("{why}")))?;
    Ok(Left { behind: pending.epoch, until: arrival.beyond, boot: pending.boot_nonce })
}

/// The anchors go on with another state of the same TPM, whose source is alive.
fn comes_again(anchors: &mut Anchored, pending: &Pending, key: Option<&AnchorKey>) -> Result<(), NotKept> {
    match (key.filter(|key| key.quorum == anchors.key().quorum), anchors.waits()) {
        (Some(key), true) if key.scalar == anchors.key().scalar => {
            anchors.comes(left(pending).map_err(|_| NotKept::Refused(Refusal::Epoch))?);
            Ok(())
        }
        (None, false) => Ok(()),
        // What waits here is with other anchors than this, or under another key: the disk is to be prepared anew.
        _ => Err(NotKept::Refused(Refusal::Occupied)),
    }
}

impl Berth for DiskBerth {
    fn keeps(&self) -> bool {
        true
    }

    fn keep(
        &mut self,
        pending: &Pending,
        key: Option<&AnchorKey>,
        state: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<(), NotKept> {
        let beyond = pending.arrival().map_err(NotKept::Refused)?.beyond;
        let (mut disk, mut anchors) = match core::mem::replace(&mut self.place, Place::Unsure) {
            Place::Vacant(mut vacant) => match vacant.ask(pending, key, entropy) {
                Ok(anchors) => (vacant.taken(pending, beyond).map_err(|_| NotKept::Unsure)?, anchors),
                Err(why) => {
                    self.place = Place::Vacant(vacant);
                    return Err(self.refuses(&why));
                }
            },
            Place::Waits(mut disk, mut anchors) => {
                let asked = match &mut anchors {
                    None => Ok(()),
                    Some(anchors) => comes_again(anchors, pending, key)
                        .and_then(|()| anchors.settle().map_err(|why| self.refuses(&why))),
                };
                if asked.is_err() {
                    self.place = Place::Waits(disk, anchors);
                    return asked;
                }
                disk.go_on_beyond(beyond).ok_or(NotKept::Unsure)?;
                (disk, anchors)
            }
            Place::Lives(_) | Place::Unsure => return Err(NotKept::Unsure),
        };
        if let Some(anchors) = &mut anchors {
            anchors.mark(&mut disk).map_err(|_| NotKept::Unsure)?;
        }
        migration::disk::keep(&mut disk, pending, state).map_err(|_| NotKept::Unsure)?;
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
    mut anchors: Option<Box<Anchored>>,
    arrival: &Arrival,
    tpm: &Tpm,
    tell: Tell,
) -> Result<Box<Keeping>, Fatal> {
    if let Some(anchors) = &mut anchors {
        anchors.arrive()?;
    }
    migration::disk::settle(&mut disk, arrival).map_err(refused)?;
    let (_, mut keeping) = Keeping::of(disk, anchors, tell).map_err(crate::not_stored)?;
    keeping.begin(tpm)?;
    Ok(keeping)
}
