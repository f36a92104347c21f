//! A disk that answers anything: octets of chance, sectors of other places and times, records with a bit flipped and
//! digests made anew, errors, another size at each question.
//!
//! Whatever it says, nothing panics, and what opens is exactly a record that was committed.

use super::ledger::Ledger;
use super::{boot, fresh, prepared, record, roots};
use crate::drive::{Drive, Image, Off, Sector};
use crate::runs::{Count, Finding};
use client::chance::Chance;
use sealed::layout::{MIN_SECTORS, SLOTS};
use sealed::{BlockDevice, SECTOR};

/// What was asked, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers of the device.
    pub answers: u64,
    /// Boots.
    pub boots: u64,
    /// Boots that opened a record.
    pub opened: u64,
    /// Boots that found the disk empty.
    pub empty: u64,
}

impl Count for Counts {
    fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.boots += other.boots;
        self.opened += other.opened;
        self.empty += other.empty;
    }
}

/// The device.
struct Liar<'a> {
    /// what it could say
    images: &'a [Image],
    /// at which of these it is
    at: usize,
    chance: Chance,
    /// one answer in so many is a lie
    one_in: usize,
    answers: u64,
}

impl Liar<'_> {
    fn sector(&mut self, at: u64) -> Sector {
        let true_sector = |image: &Image, at| image.get(&at).map_or([0; SECTOR], |sector| **sector);
        let mut sector = true_sector(&self.images[self.at], at);
        if !self.chance.one_in(self.one_in) {
            return sector;
        }
        match self.chance.below(7) {
            0 => self.chance.fill(&mut sector),
            1 => sector = [0; SECTOR],
            2 => sector = true_sector(&self.images[self.chance.below(self.images.len())], at),
            3 => {
                let places = [0, SLOTS[0], SLOTS[1], SLOTS[0] + 8, SLOTS[1] + 8];
                sector = true_sector(&self.images[self.at], places[self.chance.below(places.len())]);
            }
            4 => sector[self.chance.below(SECTOR)] ^= 1 << self.chance.below(8),
            // The digest is made anew: what follows the head's reading is reached.
            5 => {
                sector[self.chance.below(0x1e0)] ^= 1 << self.chance.below(8);
                mend(&mut sector);
            }
            _ => {
                let (from, to) = (self.chance.below(0x1e0), self.chance.below(0x1e0));
                self.chance.fill(&mut sector[from.min(to)..from.max(to)]);
                mend(&mut sector);
            }
        }
        sector
    }
}

fn mend(sector: &mut Sector) {
    let digest = sealed::layout::sha256(&sector[..0x1e0]);
    sector[0x1e0..].copy_from_slice(&digest);
}

impl BlockDevice for Liar<'_> {
    type Error = Off;

    fn sectors(&self) -> u64 {
        if self.at % 7 == 6 { self.chance.clone().draw() } else { MIN_SECTORS }
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Off> {
        self.answers += 1;
        if self.chance.one_in(64) {
            self.chance.fill(out);
            return if self.chance.one_in(2) { Err(Off) } else { Ok(()) };
        }
        for (at, chunk) in (first..).zip(out.chunks_mut(SECTOR)).take(64) {
            chunk.copy_from_slice(&self.sector(at));
        }
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Off> {
        Err(Off)
    }

    fn flush(&mut self) -> Result<(), Off> {
        Err(Off)
    }
}

/// Boots that ask a device of this seed.
const BOOTS: u64 = 100;

/// Boots again and again from a device that lies.
///
/// # Errors
/// What it has found.
pub fn run(seed: u64, counts: &mut Counts) -> Result<(), Finding> {
    let mut chance = Chance::new(seed);
    let (ledger, images) = history(&mut chance);
    let one_in = 1 + chance.below(6);
    let mut device = Liar { images: &images, at: 0, chance: chance.clone(), one_in, answers: 0 };
    for _ in 0..BOOTS {
        device.at = chance.below(images.len());
        counts.boots += 1;
        let Ok(mut disk) = boot(&mut device, None, &mut chance) else { continue };
        if disk.epoch() == 0 {
            counts.empty += 1;
            continue;
        }
        counts.opened += 1;
        let whole = record(&mut disk).ok().and_then(|record| ledger.find(&record));
        if whole.is_none_or(|entry| entry.epoch != disk.epoch()) {
            let what = format!("what was opened is no record of epoch {}: {whole:?}", disk.epoch());
            return Err(Finding { seed, what, steps: Vec::new() });
        }
    }
    counts.answers += device.answers;
    Ok(())
}

/// Some boots and commits: the disk after each of them.
fn history(chance: &mut Chance) -> (Ledger, Vec<Image>) {
    let (mut ledger, mut images) = (Ledger::default(), vec![prepared()]);
    for _ in 0..3 {
        let image = images.last().cloned().unwrap_or_default();
        let Ok(mut disk) = boot(Drive::new(image), None, chance) else { continue };
        for _ in 0..1 + chance.below(3) {
            let (_, octets) = ledger.enter(disk.epoch() + 1, chance);
            if disk.commit(&octets).is_ok() {
                images.push(disk.device().durable().clone());
            }
        }
    }
    // A record of another chip's, with the same outside.
    let mut others = roots();
    others.chip = sealed::Root::new([0x53; 32]);
    let (beginning, room) = (sealed::Beginning::new(), vec![0; sealed::layout::ROOM]);
    let other = Drive::new(prepared());
    if let Ok(mut disk) = sealed::StateDisk::create(other, &beginning, &super::WRITER, &others, fresh(chance), room) {
        let _ = disk.commit(b"forged");
        images.push(disk.device().durable().clone());
    }
    (ledger, images)
}
