//! All records that anybody has written, by what is in them.

use client::chance::Chance;

/// A record: which one, and of which epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) number: usize,
    pub(super) epoch: u64,
}

/// The records.
#[derive(Default)]
pub(super) struct Ledger(Vec<(u64, usize)>);

impl Ledger {
    /// A new record of an epoch, and its octets: some have one sector, some more.
    pub(super) fn enter(&mut self, epoch: u64, chance: &mut Chance) -> (Entry, Vec<u8>) {
        let (number, length) = (self.0.len(), chance.below(1500));
        self.0.push((epoch, length));
        (Entry { number, epoch }, octets(number, epoch, length))
    }

    /// The record that these octets are, if they are exactly one.
    pub(super) fn find(&self, record: &[u8]) -> Option<Entry> {
        let number = usize::try_from(u64::from_le_bytes(*record.first_chunk()?)).ok()?;
        let (epoch, length) = *self.0.get(number)?;
        (octets(number, epoch, length) == record).then_some(Entry { number, epoch })
    }
}

/// number₈ ‖ epoch₈ ‖ what follows from both.
fn octets(number: usize, epoch: u64, length: usize) -> Vec<u8> {
    let number = number as u64;
    let mut filler = vec![0; length];
    Chance::new(number ^ epoch << 32).fill(&mut filler);
    [&number.to_le_bytes()[..], &epoch.to_le_bytes(), &filler].concat()
}
