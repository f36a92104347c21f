//! A disk with a cache: what was not flushed may be there after a loss of power, or not, sector by sector.

use client::chance::Chance;
use sealed::layout::MIN_SECTORS;
use sealed::{BlockDevice, SECTOR};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A sector's octets.
pub type Sector = [u8; SECTOR];

/// What is on a disk for good. Sectors that are not in it are zero.
pub type Image = BTreeMap<u64, Rc<Sector>>;

/// The disk says no more: its power is gone, or it has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Off;

/// What a firmware could forget of what a disk needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Forgotten {
    /// Nothing.
    #[default]
    Nothing,
    /// The flush between contents and head.
    FirstFlush,
    /// The flush before the answer.
    LastFlush,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Drive {
    durable: Image,
    /// in the order in which they were written
    cached: Vec<(u64, Sector)>,
    /// after how many sectors it says no more
    left: Option<usize>,
    forgotten: Forgotten,
    flushes: usize,
}

impl Drive {
    /// A disk with this on it.
    #[must_use]
    pub fn new(durable: Image) -> Self {
        Self { durable, ..Self::default() }
    }

    /// The firmware forgets something.
    #[must_use]
    pub const fn forgetting(mut self, forgotten: Forgotten) -> Self {
        self.forgotten = forgotten;
        self
    }

    /// After so many sectors it says no more, or never.
    pub const fn fail_after(&mut self, sectors: Option<usize>) {
        self.left = sectors;
    }

    /// What is there for good.
    #[must_use]
    pub const fn durable(&self) -> &Image {
        &self.durable
    }

    /// The power goes: any of what is cached is there afterwards.
    #[must_use]
    pub fn lose_power(mut self, chance: &mut Chance) -> Image {
        let how = chance.below(4);
        let first = chance.below(self.cached.len() + 1);
        for (n, (at, sector)) in self.cached.into_iter().enumerate() {
            let stays = match how {
                0 => false,
                1 => n < first,
                2 => n >= first,
                _ => chance.one_in(2),
            };
            if stays {
                self.durable.insert(at, Rc::new(sector));
            }
        }
        self.durable
    }
}

impl BlockDevice for Drive {
    type Error = Off;

    fn sectors(&self) -> u64 {
        MIN_SECTORS
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Off> {
        for (at, chunk) in (first..).zip(out.chunks_mut(SECTOR)) {
            let cached = self.cached.iter().rev().find(|(sector, _)| *sector == at).map(|(_, octets)| octets);
            chunk.copy_from_slice(cached.or_else(|| self.durable.get(&at).map(Rc::as_ref)).unwrap_or(&[0; SECTOR]));
        }
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Off> {
        for (at, chunk) in (first..).zip(octets.chunks(SECTOR)) {
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(1).ok_or(Off)?;
            }
            let mut sector = [0; SECTOR];
            sector.copy_from_slice(chunk);
            self.cached.push((at, sector));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Off> {
        self.flushes += 1;
        let forgotten = match self.forgotten {
            Forgotten::Nothing => false,
            Forgotten::FirstFlush => self.flushes % 2 == 1,
            Forgotten::LastFlush => self.flushes.is_multiple_of(2),
        };
        if forgotten {
            return Ok(());
        }
        if self.left == Some(0) {
            return Err(Off);
        }
        self.durable.extend(self.cached.drain(..).map(|(at, sector)| (at, Rc::new(sector))));
        Ok(())
    }
}
