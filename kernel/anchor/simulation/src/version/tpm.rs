//! A live TPM: what the firmware does with the crate's client, one act at a time, between any two of which its power
//! may go.

use super::client::{Boot, Client, State};
use super::disk::Records;
use super::liar::Toy;
use super::mark::Mark;
use anchor::quorum::{Cadence, Quorum, TooFew};
use anchor::wire::{Head, Request};
use fastrand::Rng;

#[derive(Debug)]
pub(crate) struct Tpm<'w> {
    pub(crate) number: usize,
    nonce: [u8; 32],
    quorum: &'w Quorum,
    pub(crate) client: Client<'w, Toy>,
    /// The newest record that is on the disk whatever happens.
    pub(crate) disk: usize,
    /// One that may be, or not.
    pub(crate) written: Option<usize>,
    /// On the disk, and to be registered before all else.
    wanted: Option<usize>,
    /// Whether commits may be without a quorum now, or the boot was.
    alone: bool,
    /// Commits that were acknowledged since the last registered head.
    unregistered: u32,
    /// When it asked last, and the newest registered record when it asked for the turn.
    pub(crate) asked: u64,
    pub(crate) newest_before: Option<usize>,
}

/// What a TPM has done.
#[derive(Debug)]
pub(crate) enum Act {
    /// This goes to all anchors.
    Asks(Request),
    /// A commit without a quorum, or a boot.
    Alone,
    Works,
}

impl<'w> Tpm<'w> {
    pub(crate) fn boot(
        number: usize,
        quorum: &'w Quorum,
        keys: &'w Toy,
        records: &Records,
        disk: usize,
    ) -> Self {
        let nonce = nonce_of(number);
        let boot = Boot { identity: [7; 32], nonce, exchange: None };
        let record = records.get(disk);
        let client = Client::new(quorum, keys, boot, record.head, &record.mark);
        Self {
            number,
            nonce,
            quorum,
            client,
            disk,
            written: None,
            wanted: None,
            alone: false,
            unregistered: 0,
            asked: 0,
            newest_before: None,
        }
    }

    /// Does the next thing. `newest` is for the rules only.
    pub(crate) fn act(&mut self, records: &mut Records, rng: &mut Rng, now: u64, newest: Option<usize>) -> Act {
        match self.client.state() {
            State::Idle | State::Outrun | State::Unserved => self.prepare(rng, now, newest),
            State::Waiting => match rng.u8(..60) {
                0 => self.prepare(rng, now, newest),
                1 | 2 if self.quorum.too_few() == TooFew::SaySo => self.go_on_alone(records),
                10.. => Act::Works,
                _ => self.client.request().map_or(Act::Works, |request| Act::Asks(*request)),
            },
            State::Prepared => {
                self.asked = now;
                asks(self.client.settle(nonce(rng)))
            }
            State::Settled => match (self.written, self.wanted) {
                (Some(record), _) => self.flush(record),
                (None, Some(record)) => self.register(records.get(record).head, rng, now),
                (None, None) => {
                    let record = self.write(records);
                    self.wanted = Some(record);
                    Act::Works
                }
            },
            State::Holding => self.live(records, rng, now),
            State::Over(_) => Act::Works,
        }
    }

    fn live(&mut self, records: &mut Records, rng: &mut Rng, now: u64) -> Act {
        match (self.written, self.wanted) {
            (Some(record), _) => self.flush(record),
            (None, Some(record)) => self.register(records.get(record).head, rng, now),
            (None, None) if rng.u8(..8) == 0 => match self.client.registered() {
                // Is anybody else there?
                Some(head) => self.register(head, rng, now),
                None => Act::Works,
            },
            (None, None) => {
                let record = self.write(records);
                if self.quorum.cadence().is_due(self.unregistered) {
                    self.wanted = Some(record);
                } else {
                    self.unregistered += 1;
                }
                Act::Works
            }
        }
    }

    fn prepare(&mut self, rng: &mut Rng, now: u64, newest: Option<usize>) -> Act {
        (self.asked, self.newest_before) = (now, newest);
        asks(self.client.prepare(nonce(rng)))
    }

    fn register(&mut self, head: Head, rng: &mut Rng, now: u64) -> Act {
        self.asked = now;
        asks(self.client.register(head, nonce(rng)))
    }

    fn write(&mut self, records: &mut Records) -> usize {
        let mark: Mark = self.client.mark();
        let record = records.write(self.disk, self.nonce, mark);
        self.written = Some(record);
        record
    }

    fn flush(&mut self, record: usize) -> Act {
        (self.disk, self.written) = (record, None);
        Act::Works
    }

    fn go_on_alone(&mut self, records: &mut Records) -> Act {
        match self.written {
            Some(record) => self.flush(record),
            None => {
                self.write(records);
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
