//! A live TPM: what the firmware does with the crate's client, one act at a time, between any two of which its power
//! may go.

use super::client::{Boot, Client, State};
use super::disk::{Kind, Record, Records};
use super::liar::Toy;
use super::mark::Mark;
use super::moving::{Arriving, Leaving};
use super::runs::Runs;
use anchor::quorum::{Cadence, Quorum, TooFew};
use anchor::wire::{Head, Request};
use fastrand::Rng;

#[derive(Debug)]
pub(crate) struct Tpm<'w> {
    pub(crate) number: usize,
    /// On which of an honest host's two disks it is.
    pub(crate) slot: usize,
    /// By which key anchors know it.
    pub(crate) subject: usize,
    pub(crate) nonce: [u8; 32],
    pub(crate) quorum: &'w Quorum,
    pub(crate) client: Client<'w, Toy>,
    pub(crate) part: Part,
    /// The newest record that is on the disk whatever happens; none where a state is to come.
    pub(crate) disk: Option<usize>,
    /// One that may be, or not.
    pub(crate) written: Option<usize>,
    /// On the disk, and to be registered before all else.
    pub(crate) wanted: Option<usize>,
    /// Whether commits may be without a quorum now, or the boot was.
    pub(crate) alone: bool,
    /// Commits that were acknowledged since the last registered head.
    unregistered: u32,
    /// When it asked last, and the newest registered record when it asked for the turn.
    pub(crate) asked: u64,
    pub(crate) newest_before: Option<usize>,
}

/// What the firmware is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It has a TPM, or is about to.
    Lives,
    /// It has stopped, and its state goes elsewhere by this run.
    Leaves(usize, Leaving),
    /// It has the tombstone of this run.
    Buried(usize),
    /// It waits for the receipt of this run.
    Waits(usize, Arriving),
}

/// What a TPM has done.
#[derive(Debug)]
pub(crate) enum Act {
    /// This goes to all anchors.
    Asks(Request),
    /// A commit without a quorum, or a boot.
    Alone,
    /// It goes on where it was, since nothing comes of a run.
    GivesUp,
    /// It is dead, and says so: the receipt.
    IsDead(usize),
    Works,
}

/// What is around a TPM.
pub(crate) struct Around<'a> {
    pub(crate) records: &'a mut Records,
    pub(crate) runs: &'a mut Runs,
    pub(crate) rng: &'a mut Rng,
    pub(crate) now: u64,
    /// The newest registered record, for the rules only.
    pub(crate) newest: Option<usize>,
}

impl<'w> Tpm<'w> {
    /// A boot from this record.
    pub(crate) fn boot(
        number: usize,
        slot: usize,
        quorum: &'w Quorum,
        keys: &'w Toy,
        disk: usize,
        at: &Record,
    ) -> Self {
        let mut tpm = Self::new(number, slot, quorum, keys, at.head, &at.mark);
        (tpm.disk, tpm.subject) = (Some(disk), at.subject);
        tpm.part = match at.kind {
            Kind::Lives => Part::Lives,
            Kind::Moved(run) => Part::Buried(run),
            Kind::Waits(run) => Part::Waits(run, Arriving::AGAIN),
        };
        tpm
    }

    pub(crate) fn new(number: usize, slot: usize, quorum: &'w Quorum, keys: &'w Toy, own: Head, mark: &Mark) -> Self {
        let nonce = nonce_of(number);
        let boot = Boot { identity: [7; 32], nonce, exchange: None };
        Self {
            number,
            slot,
            subject: 0,
            nonce,
            quorum,
            client: Client::new(quorum, keys, boot, own, mark),
            part: Part::Lives,
            disk: None,
            written: None,
            wanted: None,
            alone: false,
            unregistered: 0,
            asked: 0,
            newest_before: None,
        }
    }

    /// Does the next thing.
    pub(crate) fn act(&mut self, around: &mut Around<'_>) -> Act {
        match self.part {
            Part::Lives => self.lives(around),
            Part::Leaves(run, step) => self.leaves(run, step, around),
            Part::Buried(run) => self.is_buried(run, around),
            Part::Waits(run, step) => self.waits(run, step, around),
        }
    }

    fn lives(&mut self, around: &mut Around<'_>) -> Act {
        if self.loses_patience(around) {
            return self.go_on_alone(around);
        }
        if let Some(act) = self.takes_its_turn(around) {
            return act;
        }
        match (self.written, self.wanted, self.client.state()) {
            (Some(record), _, _) => self.flush(record),
            (None, Some(record), _) => self.register(around.records.get(record).head, around),
            (None, None, State::Settled) => {
                self.wanted = self.write(around);
                Act::Works
            }
            _ => self.lives_on(around),
        }
    }

    fn lives_on(&mut self, around: &mut Around<'_>) -> Act {
        if around.rng.u8(..8) == 0 {
            return match self.client.registered() {
                // Is anybody else there?
                Some(head) => self.register(head, around),
                None => Act::Works,
            };
        }
        let record = self.write(around);
        if self.quorum.cadence().is_due(self.unregistered) {
            self.wanted = record;
        } else {
            self.unregistered += 1;
        }
        Act::Works
    }

    /// Whether it goes on without a quorum, where it may.
    pub(crate) fn loses_patience(&self, around: &mut Around<'_>) -> bool {
        self.client.state() == State::Waiting && self.quorum.too_few() == TooFew::SaySo && around.rng.u8(..30) == 0
    }

    /// What is to be done before it has settled; nothing, if it has.
    pub(crate) fn takes_its_turn(&mut self, around: &mut Around<'_>) -> Option<Act> {
        match self.client.state() {
            State::Idle | State::Outrun | State::Unserved => Some(self.prepare(around)),
            State::Waiting => Some(match around.rng.u8(..60) {
                0 => self.prepare(around),
                10.. => Act::Works,
                _ => self.client.request().map_or(Act::Works, |request| Act::Asks(*request)),
            }),
            State::Prepared => {
                self.asked = around.now;
                Some(asks(self.client.settle(nonce(around.rng))))
            }
            State::Over(_) => Some(Act::Works),
            State::Settled | State::Holding => None,
        }
    }

    pub(crate) fn prepare(&mut self, around: &mut Around<'_>) -> Act {
        (self.asked, self.newest_before) = (around.now, around.newest);
        asks(self.client.prepare(nonce(around.rng)))
    }

    pub(crate) fn register(&mut self, head: Head, around: &mut Around<'_>) -> Act {
        self.asked = around.now;
        asks(self.client.register(head, nonce(around.rng)))
    }

    /// Writes a record where the last one was, if there is one.
    fn write(&mut self, around: &mut Around<'_>) -> Option<usize> {
        self.write_as(Kind::Lives, around)
    }

    pub(crate) fn write_as(&mut self, kind: Kind, around: &mut Around<'_>) -> Option<usize> {
        let mark: Mark = self.client.mark();
        self.written = self.disk.map(|disk| {
            let tombstone = match around.records.get(disk).kind {
                Kind::Waits(run) => around.runs.get(run).tombstone,
                _ => None,
            };
            around.records.write(disk, self.nonce, mark, kind, tombstone)
        });
        self.written
    }

    pub(crate) fn flush(&mut self, record: usize) -> Act {
        (self.disk, self.written) = (Some(record), None);
        Act::Works
    }

    fn go_on_alone(&mut self, around: &mut Around<'_>) -> Act {
        match self.written {
            Some(record) => self.flush(record),
            None => {
                self.write(around);
                self.alone = true;
                Act::Alone
            }
        }
    }

    /// It has just learned that this record is registered.
    pub(crate) fn learns(&mut self, record: usize) {
        if self.wanted == Some(record) {
            self.wanted = None;
        }
        (self.unregistered, self.alone) = (0, false);
        self.has_an_answer();
    }
}

fn asks(request: Option<&Request>) -> Act {
    request.map_or(Act::Works, |request| Act::Asks(*request))
}

fn nonce(rng: &mut Rng) -> [u8; 32] {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&rng.u64(..).to_le_bytes());
    nonce
}

/// No two boots have the same, and they are in no order.
fn nonce_of(number: usize) -> [u8; 32] {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&(number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    nonce
}

/// The policies that schedules have.
pub(crate) fn policy(rng: &mut Rng) -> (Cadence, TooFew) {
    let cadence = match rng.u8(..4) {
        0 => Cadence::Boot,
        1 => Cadence::Every(3),
        _ => Cadence::Every(1),
    };
    (cadence, if rng.bool() { TooFew::Refuse } else { TooFew::SaySo })
}
