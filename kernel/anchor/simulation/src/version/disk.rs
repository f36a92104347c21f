//! Records on disks, and who made them of what.

use super::mark::Mark;
use anchor::wire::Head;

/// What a boot finds that finds a record. A run's number is with what it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TPM.
    Lives,
    /// One that waits for its receipt.
    Waits(usize),
    /// A tombstone.
    Moved(usize),
}

/// A sealed record. It can be told from every other, and nobody but a TPM of its identity can make one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) mark: Mark,
    pub(crate) kind: Kind,
    /// Under which client key anchors know it.
    pub(crate) subject: usize,
    /// The last run by which the state has come.
    pub(crate) came_by: Option<usize>,
    /// The record whose state it goes on from.
    before: Option<usize>,
    /// What it is made of: that, or the tombstone that stands for it.
    parent: Option<usize>,
}

/// All records that were ever written: the host has kept each.
#[derive(Debug)]
pub(crate) struct Records(Vec<Record>);

impl Records {
    /// Of a new TPM: a record of epoch 1 that no anchor knows.
    pub(crate) fn new(mark: Mark) -> Self {
        let head = Head::new(1, [0xff; 32], digest(0));
        Self(vec![Record { head, mark, kind: Kind::Lives, subject: 0, came_by: None, before: None, parent: None }])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, record: usize) -> &Record {
        &self.0[record]
    }

    /// A record that a boot writes where `disk` was: of the same TPM, which has come the same way. The first of one
    /// that has come is made of the tombstone by which it has, if that stands for its state.
    pub(crate) fn write(
        &mut self,
        disk: usize,
        boot: [u8; 32],
        mark: Mark,
        kind: Kind,
        tombstone: Option<usize>,
    ) -> usize {
        let Record { head, subject, came_by, .. } = self.0[disk];
        let parent = tombstone.filter(|tombstone| self.stands_for(*tombstone, came_by, disk)).or(Some(disk));
        let make = |head| Record { head, mark, kind, subject, came_by, before: Some(disk), parent };
        self.push(head.epoch.get() + 1, boot, make)
    }

    /// One that waits, of an epoch beyond this one. Its state is that of the record `state`.
    pub(crate) fn write_waiting(
        &mut self,
        beyond: u64,
        boot: [u8; 32],
        mark: Mark,
        subject: usize,
        run: usize,
        state: usize,
    ) -> usize {
        let (kind, came_by) = (Kind::Waits(run), Some(run));
        let make = |head| Record { head, mark, kind, subject, came_by, before: Some(state), parent: Some(state) };
        self.push(beyond + 1, boot, make)
    }

    fn push(&mut self, epoch: u64, boot: [u8; 32], make: impl FnOnce(Head) -> Record) -> usize {
        let number = self.0.len();
        self.0.push(make(Head::new(epoch, boot, digest(number))));
        number
    }

    /// Whether this is a tombstone of this run's, and nothing was between it and the state that `here` goes on from.
    fn stands_for(&self, tombstone: usize, run: Option<usize>, here: usize) -> bool {
        let is_of_run = |record: &usize| run.is_some_and(|run| self.0[*record].kind == Kind::Moved(run));
        let mut state = Some(tombstone);
        while let Some(record) = state.filter(is_of_run) {
            state = self.0[record].before;
        }
        is_of_run(&tombstone) && state.is_some_and(|state| self.goes_back(here, state, |record| record.before))
    }

    /// Whether a TPM has started under this key, or was about to.
    pub(crate) fn has_lived(&self, subject: usize) -> bool {
        self.0.iter().any(|record| record.subject == subject && record.kind == Kind::Lives)
    }

    /// Those that wait, and tombstones.
    pub(crate) fn of_moves(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|record| self.0[*record].kind != Kind::Lives).collect()
    }

    pub(crate) fn of(&self, head: &Head) -> Option<usize> {
        self.0.iter().position(|record| record.head == *head)
    }

    /// Whether `record` is `earlier`, or was made of it.
    pub(crate) fn descends(&self, record: usize, earlier: usize) -> bool {
        self.goes_back(record, earlier, |record| record.parent)
    }

    fn goes_back(&self, record: usize, earlier: usize, back: impl Fn(&Record) -> Option<usize>) -> bool {
        let mut at = Some(record);
        while let Some(record) = at.filter(|record| *record > earlier) {
            at = back(&self.0[record]);
        }
        at == Some(earlier)
    }
}

fn digest(number: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(number as u64).to_le_bytes());
    digest
}
