//! A TPM whose state goes to another firmware: what both do with their clients (docs/migration.md, "Who does what
//! when").

use super::client::State;
use super::disk::Kind;
use super::liar::Toy;
use super::mark::Mark;
use super::runs::Runs;
use super::tpm::{Act, Around, Part, Tpm};
use anchor::quorum::Quorum;
use anchor::wire::Head;

/// Tombstones that are written, one after the other: over both places of the disk.
pub(crate) const TOMBSTONES: u8 = 2;

/// How far a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The state is sent, and *kept* is waited for.
    Sent,
    /// A quorum is to answer: to its last head once more,
    Registers,
    /// or to the round that is missing, where the TPM is alone.
    Settles,
    /// So many tombstones are written.
    Entombs(u8),
}

/// How far a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arriving {
    /// Whether this boot has asked the anchors since that state came.
    has_asked: bool,
    /// Whether it has said *kept*; a later boot does not.
    has_said: bool,
}

impl Arriving {
    pub(crate) const FIRST: Self = Self { has_asked: false, has_said: false };
    /// A boot that finds it on the disk.
    pub(crate) const AGAIN: Self = Self { has_asked: false, has_said: true };
}

impl<'w> Tpm<'w> {
    /// A boot with an empty disk, to which a state comes; `keys` are new, so that anchors know nothing of it.
    pub(crate) fn receiving(
        number: usize,
        slot: usize,
        quorum: &'w Quorum,
        keys: &'w Toy,
        subject: usize,
        run: usize,
    ) -> Self {
        let mut tpm = Self::new(number, slot, quorum, keys, Head::GENESIS, &Mark::new(quorum));
        (tpm.part, tpm.subject) = (Part::Waits(run, Arriving::FIRST), subject);
        tpm
    }

    /// The record whose state can be sent now, if it can: the last one, between two commands.
    pub(crate) fn can_leave(&self) -> Option<usize> {
        let is_there = self.client.state() == State::Holding && self.wanted.is_none() || self.alone;
        self.disk.filter(|_| self.part == Part::Lives && self.written.is_none() && is_there)
    }

    pub(crate) fn leave(&mut self, run: usize) {
        self.part = Part::Leaves(run, Leaving::Sent);
    }

    /// Another state of the same TPM takes the place of that which waits.
    pub(crate) fn comes(&mut self, run: usize) {
        self.part = Part::Waits(run, Arriving::FIRST);
    }

    /// Whether nothing more is to come of it by itself.
    pub(crate) fn rests(&self, runs: &Runs) -> bool {
        match self.part {
            Part::Buried(run) => runs.get(run).tombstone.is_some(),
            Part::Waits(run, _) => runs.get(run).tombstone.is_none(),
            _ => false,
        }
    }

    pub(crate) fn leaves(&mut self, run: usize, step: Leaving, around: &mut Around<'_>) -> Act {
        if !matches!(step, Leaving::Entombs(_)) && around.rng.u8(..80) == 0 {
            self.part = Part::Lives;
            return Act::GivesUp;
        }
        match step {
            Leaving::Sent if around.runs.get(run).is_kept => self.asks_for_a_quorum(run, around),
            Leaving::Sent => Act::Works,
            Leaving::Settles => match self.takes_its_turn(around) {
                Some(act) => act,
                None => self.entombs(run, 0, around),
            },
            Leaving::Registers => match self.takes_its_turn(around) {
                Some(act) => act,
                None => self.registers_once_more(around),
            },
            Leaving::Entombs(count) => self.entombs(run, count, around),
        }
    }

    /// A quorum has to answer from now on, whatever was answered before: to the head that is on the disk, once more.
    /// One that was written before this boot had settled is never registered; then the newest is accepted anew.
    fn asks_for_a_quorum(&mut self, run: usize, around: &mut Around<'_>) -> Act {
        let named = self.disk.filter(|disk| around.records.get(*disk).mark.names_own());
        let step = if named.is_some() { Leaving::Registers } else { Leaving::Settles };
        self.part = Part::Leaves(run, step);
        match (self.client.state(), named) {
            (State::Settled | State::Holding, Some(_)) => self.registers_once_more(around),
            _ => self.prepare(around),
        }
    }

    /// From here on no older one is: a record that is written before this has an answer names it.
    fn registers_once_more(&mut self, around: &mut Around<'_>) -> Act {
        self.wanted = self.disk;
        self.disk.map_or(Act::Works, |disk| self.register(around.records.get(disk).head, around))
    }

    /// An anchors' answer to that.
    pub(crate) fn has_an_answer(&mut self) {
        if let Part::Leaves(run, Leaving::Registers) = self.part {
            self.part = Part::Leaves(run, Leaving::Entombs(0));
        }
    }

    fn entombs(&mut self, run: usize, count: u8, around: &mut Around<'_>) -> Act {
        if let Some(record) = self.written {
            return self.flush(record);
        }
        if count < TOMBSTONES {
            self.write_as(Kind::Moved(run), around);
            self.part = Part::Leaves(run, Leaving::Entombs(count + 1));
        } else {
            self.part = Part::Buried(run);
        }
        Act::Works
    }

    /// The tombstone is on the disk: it is registered, and then the receipt is for whoever asks.
    pub(crate) fn is_buried(&mut self, run: usize, around: &mut Around<'_>) -> Act {
        let Some(own) = self.disk.map(|disk| around.records.get(disk).head) else { return Act::Works };
        if self.client.state() == State::Holding && self.client.registered() == Some(own) {
            return Act::IsDead(run);
        }
        match self.takes_its_turn(around) {
            Some(act) => act,
            None => self.register(own, around),
        }
    }

    pub(crate) fn waits(&mut self, run: usize, step: Arriving, around: &mut Around<'_>) -> Act {
        if !step.has_asked {
            self.part = Part::Waits(run, Arriving { has_asked: true, ..step });
            return self.prepare(around);
        }
        // Where the settings let it, without an answer.
        self.alone |= self.loses_patience(around);
        if !self.alone
            && let Some(act) = self.takes_its_turn(around)
        {
            return act;
        }
        if let Some(record) = self.written {
            return self.flush(record);
        }
        if !self.has_kept(run, around) {
            let (beyond, state) = self.place_of(run, around);
            let mark = self.client.mark();
            let record = around.records.write_waiting(beyond, self.nonce, mark, self.subject, run, state);
            self.written = Some(record);
            return Act::Works;
        }
        if !step.has_said {
            self.part = Part::Waits(run, Arriving { has_said: true, ..step });
            around.runs.get_mut(run).is_kept = true;
            return Act::Works;
        }
        if around.runs.get(run).tombstone.is_some() && around.rng.bool() {
            // The receipt is there.
            (self.part, self.alone) = (Part::Lives, false);
            return Act::Works;
        }
        if around.rng.u8(..64) == 0 { self.prepare(around) } else { Act::Works }
    }

    /// Whether this boot has made durable what this run has brought.
    fn has_kept(&self, run: usize, around: &Around<'_>) -> bool {
        self.disk
            .map(|disk| around.records.get(disk))
            .is_some_and(|record| record.kind == Kind::Waits(run) && record.head.boot == self.nonce)
    }

    /// The epoch that a record of this run's has to be beyond, and the record whose state it has.
    fn place_of(&self, run: usize, around: &Around<'_>) -> (u64, usize) {
        let here = self.disk.map_or(0, |disk| around.records.get(disk).head.epoch.get());
        let run = around.runs.get(run);
        (here.max(run.until), run.state)
    }
}
