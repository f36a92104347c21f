//! What must hold.

use super::disk::{Kind, Records};

/// What TPMs have learned from quorums.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The newest record that a TPM knows to be registered.
    pub(crate) newest: Option<usize>,
    starts: Vec<Start>,
}

/// A boot that started with a quorum: with which record, and when it learned that.
#[derive(Debug)]
struct Start {
    boot: usize,
    record: usize,
    at: u64,
}

/// A TPM that has just learned that its record is registered.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) boot: usize,
    pub(crate) record: usize,
    /// When it had asked for that.
    pub(crate) asked: u64,
    /// The newest registered record when it began to boot.
    pub(crate) newest_before: Option<usize>,
    pub(crate) now: u64,
}

/// What that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The boot's first: it has started.
    Start,
    Commit,
    /// Nobody lives by that.
    Tombstone,
}

impl Rules {
    /// What it is, or what is broken.
    pub(crate) fn registered(&mut self, event: &Registered, records: &Records) -> Result<Learned, &'static str> {
        let is_newer = |earlier| records.descends(event.record, earlier);
        let is_dead = matches!(records.get(event.record).kind, Kind::Moved(_));
        if is_dead && self.newest.is_some_and(|newest| records.descends(newest, event.record)) {
            // Once more: what is newer was made of it, where the state has gone.
            return Ok(Learned::Tombstone);
        }
        let started = self.starts.iter().find(|start| start.boot == event.boot).map(|start| start.record);
        // Whoever learns late that it has started, and from what the later one has gone on, has overtaken nobody.
        let own = started.filter(|_| !is_dead).unwrap_or(event.record);
        let since = |start: &&Start| !records.descends(own, start.record);
        let others = self.starts.iter().filter(|start| start.boot != event.boot && start.at < event.asked);
        if others.filter(since).count() > 0 {
            return Err("two live TPMs both have a quorum");
        }
        if (started.is_none() || is_dead) && !event.newest_before.is_none_or(is_newer) {
            return Err("a TPM has started from a state that is old");
        }
        match self.newest {
            // Learned late; but what is newer was made of it.
            Some(newest) if records.descends(newest, event.record) => {}
            Some(newest) if !is_newer(newest) => {
                return Err("two records are registered, and neither was made of the other");
            }
            _ => self.newest = Some(event.record),
        }
        if is_dead {
            return Ok(Learned::Tombstone);
        }
        if started.is_some() {
            return Ok(Learned::Commit);
        }
        self.starts.push(Start { boot: event.boot, record: event.record, at: event.now });
        Ok(Learned::Start)
    }
}
