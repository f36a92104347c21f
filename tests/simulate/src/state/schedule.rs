//! A schedule: two guests at most, whose host lets them boot, commit, lose their power in the middle of a write or find
//! their disk failed; and, where it is an enemy, puts old disks back, boots copies, mixes sectors of two disks and
//! damages others.
//!
//! What must hold:
//! - Without an enemy the record that is opened is the last one that was acknowledged, or the one whose commit was
//!   interrupted; and it always opens.
//! - With one, whatever opens is exactly a record that was committed, under its epoch; a disk on which something was
//!   acknowledged is empty only if the host puts back what was there before; and what is older than an epoch that is
//!   known is refused as old.
//! - Two boots never have one boot nonce, and two records never one state digest.

use super::ledger::{Entry, Ledger};
use super::{Disk, boot, prepared, record};
use crate::drive::{Drive, Forgotten, Image};
use crate::runs::{Count, Finding};
use client::chance::Chance;
use sealed::disk::look;
use sealed::{Found, Refusal};
use std::collections::{HashMap, HashSet};

/// What a firmware could do wrong: the schedules must find each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plant {
    /// Of its disk.
    pub forgotten: Forgotten,
    /// It believes an old record though it knows of a newer one.
    pub believes_old: bool,
}

/// What happened in schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Schedules.
    pub schedules: u64,
    /// Boots that opened a record or began a TPM.
    pub boots: u64,
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Losses of power and failures, in writes and between them.
    pub cuts: u64,
    /// Of these, after which the interrupted record was there.
    pub forward: u64,
    /// Old disks that were put back, copies that were booted, sectors that were mixed or damaged.
    pub attacks: u64,
    /// Disks that were refused.
    pub refused: u64,
    /// Of these, as old.
    pub old: u64,
}

impl Count for Counts {
    fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.boots += other.boots;
        self.commits += other.commits;
        self.cuts += other.cuts;
        self.forward += other.forward;
        self.attacks += other.attacks;
        self.refused += other.refused;
        self.old += other.old;
    }
}

/// What a disk must open to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// The record that was acknowledged last, if there is one, or the one that was on its way.
    Honest { acknowledged: Option<Entry>, on_its_way: Option<Entry> },
    /// Any record, or a refusal: the host has mixed or damaged something.
    Any,
}

const NOTHING: Expected = Expected::Honest { acknowledged: None, on_its_way: None };

/// A disk that the host keeps.
#[derive(Clone)]
struct Kept {
    image: Image,
    expected: Expected,
}

struct Guest {
    disk: Disk<Drive>,
    acknowledged: Option<Entry>,
    on_its_way: Option<Entry>,
    /// a write has failed: nothing more is to be written
    broken: bool,
}

struct World<'c> {
    chance: Chance,
    plant: Plant,
    is_enemy: bool,
    /// the disk in each of the two places, while no guest has it
    places: [Kept; 2],
    guests: [Option<Guest>; 2],
    old: Vec<Kept>,
    ledger: Ledger,
    /// the highest epoch of each identity that a verifier has seen
    known: HashMap<[u8; 32], u64>,
    nonces: HashSet<[u8; 32]>,
    digests: HashSet<[u8; 32]>,
    steps: Vec<String>,
    counts: &'c mut Counts,
}

/// Runs the schedule of a seed.
///
/// # Errors
/// What it has found.
pub fn run(seed: u64, plant: Plant, counts: &mut Counts) -> Result<(), Finding> {
    let mut chance = Chance::new(seed);
    let (is_enemy, length) = (chance.one_in(2), 4 + chance.below(24));
    let empty = Kept { image: prepared(), expected: NOTHING };
    let mut world = World {
        chance,
        plant,
        is_enemy,
        places: [empty.clone(), empty],
        guests: [None, None],
        old: Vec::new(),
        ledger: Ledger::default(),
        known: HashMap::new(),
        nonces: HashSet::new(),
        digests: HashSet::new(),
        steps: Vec::new(),
        counts,
    };
    world.counts.schedules += 1;
    for _ in 0..length {
        if let Err(what) = world.step() {
            return Err(Finding { seed, what, steps: world.steps });
        }
    }
    Ok(())
}

impl World<'_> {
    fn step(&mut self) -> Result<(), String> {
        // The second place is the enemy's: an honest host has one disk.
        let place = if self.is_enemy && self.chance.one_in(3) { 1 } else { 0 };
        if self.guests[place].is_some() {
            match self.chance.below(8) {
                0 => self.lose_power(place),
                1 => return self.commit(place, true),
                2 if self.is_enemy => self.attack(place),
                _ => return self.commit(place, false),
            }
        } else if self.is_enemy && self.chance.one_in(3) {
            self.attack(place);
        } else {
            return self.boot(place);
        }
        Ok(())
    }

    fn said(&mut self, step: String) {
        self.steps.push(step);
    }

    fn boot(&mut self, place: usize) -> Result<(), String> {
        let kept = self.places[place].clone();
        let drive = Drive::new(kept.image).forgetting(self.plant.forgotten);
        // A verifier or anchors tell what they know where the host may lie.
        let known = match look(&mut drive.clone()) {
            Ok(Found::Record(head)) if self.is_enemy && self.chance.one_in(2) => {
                self.known.get(head.identity()).copied()
            }
            _ => None,
        };
        let told = known.filter(|_| !self.plant.believes_old);
        let mut disk = match boot(drive, told, &mut self.chance) {
            Ok(disk) => disk,
            Err(refusal) => return self.refused(place, kept.expected, told, refusal),
        };
        let found = record(&mut disk).map_err(|refusal| format!("what was opened is not read: {refusal:?}"))?;
        let entry = if disk.epoch() == 0 { None } else { Some(self.ledger.find(&found).ok_or("a mixed record")?) };
        self.said(format!("boot {place}: {:?} of {:?}", entry, kept.expected));
        self.judge(kept.expected, entry, disk.epoch(), known)?;
        if !self.nonces.insert(*disk.boot_nonce()) {
            return Err("two boots have one boot nonce".into());
        }
        self.counts.boots += 1;
        self.guests[place] = Some(Guest { disk, acknowledged: entry, on_its_way: None, broken: false });
        // Each boot has an epoch of its own.
        self.commit(place, false)
    }

    fn judge(&mut self, of: Expected, entry: Option<Entry>, epoch: u64, known: Option<u64>) -> Result<(), String> {
        if entry.is_some_and(|entry| entry.epoch != epoch) {
            return Err(format!("a record of another epoch than {epoch}: {entry:?}"));
        }
        if let Expected::Honest { acknowledged, on_its_way } = of {
            if entry != acknowledged && (entry != on_its_way || entry.is_none()) {
                return Err(format!("lost: {acknowledged:?} or {on_its_way:?} was there, and {entry:?} is opened"));
            }
            if on_its_way.is_some() && entry == on_its_way {
                self.counts.forward += 1;
            }
        }
        if let Some(known) = known.filter(|known| entry.is_some_and(|entry| entry.epoch < *known)) {
            return Err(format!("{known} is known, and {entry:?} is opened"));
        }
        Ok(())
    }

    fn refused(
        &mut self,
        place: usize,
        of: Expected,
        known: Option<u64>,
        refusal: Refusal<crate::drive::Off>,
    ) -> Result<(), String> {
        self.said(format!("boot {place}: {refusal:?} of {of:?}"));
        self.counts.refused += 1;
        let newest = match of {
            Expected::Honest { acknowledged, on_its_way } => on_its_way.or(acknowledged).map_or(0, |entry| entry.epoch),
            Expected::Any => 0,
        };
        match refusal {
            Refusal::Older { epoch, known: told } if Some(told) == known && epoch < told => {
                self.counts.old += 1;
                // It has not been put back to what it was: the newest is known at most.
                if self.is_enemy { Ok(()) } else { Err("an honest disk is refused as old".into()) }
            }
            _ if of == Expected::Any => Ok(()),
            other => Err(format!("a whole disk, of epoch {newest}, is refused: {other:?}")),
        }?;
        // The host has something else to offer, or nothing more happens here.
        if self.is_enemy {
            self.attack(place);
        }
        Ok(())
    }

    /// A commit; it may be that the power goes, or the disk fails, in the middle of it.
    fn commit(&mut self, place: usize, interrupted: bool) -> Result<(), String> {
        let Some(guest) = &mut self.guests[place] else { return Ok(()) };
        let epoch = guest.disk.epoch() + 1;
        let (entry, octets) = self.ledger.enter(epoch, &mut self.chance);
        if interrupted {
            guest.disk.device().fail_after(Some(self.chance.below(6)));
        }
        guest.on_its_way = guest.on_its_way.or(Some(entry));
        let done = guest.disk.commit(&octets);
        match done {
            Ok(()) if guest.broken => return Err("something is written after a write that failed".into()),
            Ok(()) => {
                guest.acknowledged = Some(entry);
                guest.on_its_way = None;
                guest.disk.device().fail_after(None);
                let digest = *guest.disk.digest();
                let known = self.known.entry(*guest.disk.identity()).or_default();
                *known = epoch.max(*known);
                self.counts.commits += 1;
                if !self.digests.insert(digest) {
                    return Err("two records have one digest".into());
                }
            }
            Err(Refusal::Broken) if guest.broken => {}
            Err(Refusal::Device(_)) if interrupted && !guest.broken => guest.broken = true,
            Err(other) => return Err(format!("a commit fails: {other:?}")),
        }
        self.said(format!("commit {place}: {entry:?}: {}", done.is_ok()));
        if interrupted && self.chance.one_in(2) {
            self.lose_power(place);
        }
        Ok(())
    }

    fn lose_power(&mut self, place: usize) {
        let Some(guest) = self.guests[place].take() else { return };
        let Guest { mut disk, acknowledged, on_its_way, .. } = guest;
        let image = disk.device().clone().lose_power(&mut self.chance);
        let kept = Kept { image, expected: Expected::Honest { acknowledged, on_its_way } };
        self.said(format!("power {place}: {:?}", kept.expected));
        self.counts.cuts += 1;
        self.old.push(kept.clone());
        self.places[place] = kept;
    }

    /// The enemy: the guest in the place has lost its power.
    fn attack(&mut self, place: usize) {
        self.lose_power(place);
        self.counts.attacks += 1;
        if self.old.is_empty() {
            return;
        }
        let other = self.chance.below(self.old.len());
        match self.chance.below(4) {
            // Rollback; or a clone, if that disk is in the other place, too.
            0 | 1 => {
                self.places[place] = self.old[other].clone();
                self.said(format!("put back {place}: {:?}", self.places[place].expected));
            }
            2 => self.mix(place, other),
            _ => self.damage(place),
        }
    }

    /// Each sector of one disk or another.
    fn mix(&mut self, place: usize, other: usize) {
        let mut image = self.places[place].image.clone();
        for (at, sector) in &self.old[other].image {
            if self.chance.one_in(2) {
                image.insert(*at, sector.clone());
            }
        }
        self.places[place] = Kept { image, expected: Expected::Any };
        self.said(format!("mix {place} with disk {other}"));
    }

    fn damage(&mut self, place: usize) {
        let image = &mut self.places[place].image;
        let sectors: Vec<_> = image.keys().copied().collect();
        let at = sectors[self.chance.below(sectors.len())];
        let mut sector = [0; sealed::SECTOR];
        match self.chance.below(3) {
            0 => {}
            1 => self.chance.fill(&mut sector),
            _ => {
                sector = *image[&at];
                sector[self.chance.below(sector.len())] ^= 1 << self.chance.below(8);
            }
        }
        image.insert(at, sector.into());
        self.places[place].expected = Expected::Any;
        self.said(format!("damage {place}: sector {at}"));
    }
}
