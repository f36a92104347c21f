//! What the host does: with disks, power, and runs of migration.

use super::client::Verdict;
use super::disk::Kind;
use super::moving::TOMBSTONES;
use super::tpm::{Part, Tpm};
use super::world::World;

/// Copies that run at once, at most, and where a state comes one more.
const COPIES: usize = 3;

impl World<'_> {
    pub(crate) fn boot(&mut self) {
        if self.is_honest {
            let slot = if self.rng.u8(..4) == 0 { 1 - self.home } else { self.home };
            if let Some(record) = self.disks[slot].filter(|_| self.runs_on(slot).is_none()) {
                self.start(record, slot);
            }
        } else if self.live.len() < COPIES {
            let (all, last) = (self.records.len(), self.records.len().min(3));
            let record = match self.rng.u8(..8) {
                0..4 => all - 1 - self.rng.usize(..last),
                4..6 => self.rng.choice(self.records.of_moves()).unwrap_or(0),
                _ => self.rng.usize(..all),
            };
            self.start(record, 0);
        }
    }

    /// Who runs on an honest host's disk.
    fn runs_on(&self, slot: usize) -> Option<usize> {
        self.live.iter().position(|tpm| tpm.slot == slot)
    }

    fn start(&mut self, record: usize, slot: usize) {
        let keys = &self.keys[self.records.get(record).subject];
        let tpm = Tpm::boot(self.boots, slot, self.quorum, keys, record, self.records.get(record));
        self.say(|| format!("TPM {} boots from record {record}: {:?}", tpm.number, tpm.part));
        self.boots += 1;
        self.live.push(tpm);
    }

    pub(crate) fn cut_the_power(&mut self) {
        if !self.live.is_empty() {
            self.counts.cuts += 1;
            let at = self.rng.usize(..self.live.len());
            self.end_of(at);
        }
    }

    /// A TPM that runs no more: what was not flushed is there or not.
    fn end_of(&mut self, at: usize) {
        let tpm = self.live.swap_remove(at);
        let disk = tpm.written.filter(|_| self.rng.bool()).or(tpm.disk);
        self.disks[tpm.slot] = disk;
        self.say(|| format!("TPM {} ends, record {disk:?} is on its disk", tpm.number));
    }

    /// A live TPM's state is sent to another firmware: to one where an earlier state of it waits, or with an empty
    /// disk.
    pub(crate) fn begin_a_run(&mut self) {
        if self.live.is_empty() || self.live.len() > COPIES || self.subjects + 1 >= self.keys.len() {
            return;
        }
        let source = self.rng.usize(..self.live.len());
        let Some(state) = self.live[source].can_leave() else { return };
        let to = 1 - self.live[source].slot;
        let until = self.records.get(state).head.epoch.get() + u64::from(TOMBSTONES);
        let run = self.runs.begin(state, until, to);
        self.live[source].leave(run);
        self.say(|| format!("run {run}: TPM {} sends the state of record {state}", self.live[source].number));
        // Not to a copy of what waited under a key by which a TPM has started: a host would have it lost so.
        let waits = |tpm: &Tpm<'_>| {
            let is_unused = !self.records.has_lived(tpm.subject);
            matches!(tpm.part, Part::Waits(..)) && (!self.is_honest || tpm.slot == to) && is_unused
        };
        let there = self.live.iter().position(waits);
        if let Some(there) = there.filter(|_| self.rng.bool()) {
            self.live[there].comes(run);
            return;
        }
        if self.is_honest {
            // Its disk is prepared anew.
            if let Some(there) = self.runs_on(to) {
                self.live.swap_remove(there);
            }
            self.disks[to] = None;
        }
        self.subjects += 1;
        let keys = &self.keys[self.subjects];
        self.live.push(Tpm::receiving(self.boots, to, self.quorum, keys, self.subjects, run));
        self.boots += 1;
    }

    /// The source is dead, and the receipt known.
    pub(crate) fn has_moved(&mut self, run: usize, tombstone: Option<usize>) {
        let moved = self.runs.get_mut(run);
        if moved.tombstone.is_none() {
            moved.tombstone = tombstone;
            self.home = moved.to;
            self.counts.tombstones += 1;
            self.say(|| format!("run {run}: the receipt is known"));
        }
    }

    /// A TPM has started with this record.
    pub(crate) fn started(&mut self, record: usize) {
        self.counts.starts += 1;
        if let Some(run) = self.records.get(record).came_by.map(|run| self.runs.get_mut(run))
            && !run.has_started
        {
            run.has_started = true;
            self.counts.arrivals += 1;
            let had_come = self.records.get(run.state).came_by.is_some();
            self.counts.onward += u64::from(had_come);
        }
    }

    pub(crate) fn over(&mut self, at: usize, verdict: Verdict) -> Result<(), &'static str> {
        let disk = self.live[at].disk;
        self.end_of(at);
        let waited = disk.is_none_or(|disk| matches!(self.records.get(disk).kind, Kind::Waits(_)));
        match verdict {
            _ if self.is_honest => return Err("the only copy, of the only disk, is refused"),
            _ if waited => self.counts.waiting_refused += 1,
            Verdict::Superseded(_) => self.counts.superseded += 1,
            Verdict::Old(_) | Verdict::Unknown => self.counts.old += 1,
        }
        Ok(())
    }

    /// All is well again, and nobody runs: then one can start.
    pub(crate) fn end(&mut self, has_quorum: bool) -> Result<(), &'static str> {
        while !self.live.is_empty() {
            self.cut_the_power();
        }
        self.all_is_well();
        match has_quorum {
            false => Ok(()),
            true if self.is_honest => self.end_of_an_honest_host(),
            true => self.one_of_all_starts(),
        }
    }

    /// The TPM starts from one of the two disks, and not from the other.
    fn end_of_an_honest_host(&mut self) -> Result<(), &'static str> {
        // Where a tombstone is, it starts not; it says so, and the TPM is on the other disk.
        for _ in 0..2 {
            if self.starts_from(self.home)? {
                let other = 1 - self.home;
                return if self.starts_from(other)? { Err("the TPM starts from both disks") } else { Ok(()) };
            }
        }
        Err("the owner cannot start from the only disk")
    }

    fn one_of_all_starts(&mut self) -> Result<(), &'static str> {
        for record in (0..self.records.len()).rev() {
            self.disks[0] = Some(record);
            if self.starts_from(0)? {
                return Ok(());
            }
        }
        Err("a quorum is there, and no record can start")
    }

    fn starts_from(&mut self, slot: usize) -> Result<bool, &'static str> {
        let starts = self.counts.starts;
        let Some(record) = self.disks[slot] else { return Ok(false) };
        self.start(record, slot);
        for _ in 0..80 {
            self.now += 1;
            self.a_tpm_acts()?;
            self.deliver_all()?;
            let Some(tpm) = self.live.first() else { return Ok(false) };
            if self.counts.starts > starts || tpm.rests(&self.runs) {
                break;
            }
        }
        self.live.clear();
        Ok(self.counts.starts > starts)
    }
}
