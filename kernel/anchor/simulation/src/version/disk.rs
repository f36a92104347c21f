//! Records on disks, and who made them of what.

use super::mark::Mark;
use anchor::wire::Head;

/// A sealed record. It can be told from every other, and nobody but a TPM of its identity can make one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) mark: Mark,
    parent: Option<usize>,
}

/// All records that were ever written: the host has kept each.
#[derive(Debug)]
pub(crate) struct Records(Vec<Record>);

impl Records {
    /// Of a new TPM: a record of epoch 1 that no anchor knows.
    pub(crate) fn new(mark: Mark) -> Self {
        Self(vec![Record { head: Head::new(1, [0xff; 32], digest(0)), mark, parent: None }])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, record: usize) -> &Record {
        &self.0[record]
    }

    /// A record that a boot writes where `parent` was.
    pub(crate) fn write(&mut self, parent: usize, boot: [u8; 32], mark: Mark) -> usize {
        let (number, epoch) = (self.0.len(), self.0[parent].head.epoch.get() + 1);
        self.0.push(Record { head: Head::new(epoch, boot, digest(number)), mark, parent: Some(parent) });
        number
    }

    pub(crate) fn of(&self, head: &Head) -> Option<usize> {
        self.0.iter().position(|record| record.head == *head)
    }

    /// Whether `record` is `earlier`, or was made of it.
    pub(crate) fn descends(&self, record: usize, earlier: usize) -> bool {
        let mut at = Some(record);
        while let Some(record) = at.filter(|record| *record > earlier) {
            at = self.0[record].parent;
        }
        at == Some(earlier)
    }
}

fn digest(number: usize) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(number as u64).to_le_bytes());
    digest
}
