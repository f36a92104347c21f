//! A history of commands in the machine, whose writes to the disk are kept in their order: cut after every sector of
//! every write, and, as a disk with a cache may be, with any of the sectors since the last flush. Each is opened on the
//! host; some are booted.
//!
//! After each command the machine's TPM is looked at. What it shows then, a TPM on the host shows of what the disk held
//! when the command was answered: so what was answered is there, and nothing of what comes later.

use super::inside::{self, Model, Octets, Record};
use super::number::checked;
use super::{begun, start_with};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use client::chance::Chance;
use client::history::{self, startup};
use core::fmt;
use host::boot::Built;
use host::nbd::{Served, Step};
use host::psp::Identity;
use host::relay::Relay;
use sealed::layout::MIN_SECTORS;
use sealed::{SECTOR, Writer};
use std::collections::BTreeSet;

/// Commands and boots of the suite.
pub(super) const SHORT: (u32, usize) = (40, 3);
/// How often sectors since the last flush are taken by chance.
const SHUFFLES: usize = 3;

/// What was done.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Done {
    commands: u32,
    boots: u32,
    writes: u32,
    cuts: usize,
    shuffles: u32,
    looks: u32,
    booted: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, boots, writes, cuts, shuffles, looks, booted } = self;
        write!(
            f,
            "{commands} commands, {boots} boots, {writes} records: {cuts} cuts and {shuffles} times any sectors since the last flush, old or new; what {looks} commands were answered is there; {booted} cuts booted"
        )
    }
}

/// As a case of the suite.
pub(super) fn short(built: &Built, seed: u64) -> Totals {
    let (commands, boots) = SHORT;
    let done = run(built, commands, boots, seed).map(|done| println!("     {done}"));
    case(&format!("a history of {commands} commands, cut after every sector of every write: old or new"), done)
}

/// A history of so many commands; so many of its cuts are booted.
pub(super) fn run(built: &Built, commands: u32, boots: usize, seed: u64) -> Result<Done> {
    let mut chance = Chance::new(seed);
    let history = record(built, commands, &mut chance).with_context(|| format!("the history of seed {seed}"))?;
    let mut done = Done { commands, boots: history.boots, ..Done::default() };
    let cuts = history.cuts();
    let chosen: BTreeSet<usize> = (0..boots).map(|_| chance.below(cuts.max(1))).collect();
    let writer = inside::writer(built);
    let key = inside::chip_key(&Identity::development(), 0, &writer);
    let judge = Judge::new(writer, key, &history);
    let sample = judge.all(&chosen, &mut chance, &mut done).with_context(|| format!("seed {seed}"))?;
    ensure!(done.cuts == cuts && done.looks > 0 && done.writes > 0, "{done}");
    for (cut, octets, record) in sample {
        boot(built, octets, &record).with_context(|| format!("cut {cut} of seed {seed}, booted"))?;
        done.booted += 1;
    }
    Ok(done)
}

/// What the machine's TPM has shown when so many steps were done on the disk.
struct Mark {
    steps: usize,
    shown: Vec<Vec<u8>>,
}

/// What was done.
struct History {
    empty: Vec<u8>,
    steps: Vec<Step>,
    marks: Vec<Mark>,
    boots: u32,
}

impl History {
    fn cuts(&self) -> usize {
        let sectors = |step: &Step| match step {
            Step::Written(_, octets) => octets.len() / SECTOR,
            Step::Flushed => 0,
        };
        self.steps.iter().map(sectors).sum()
    }
}

/// A disk that was prepared, and nothing more.
pub(super) fn empty() -> Result<Vec<u8>> {
    let mut disk = Octets(vec![0; usize::try_from(MIN_SECTORS)? * SECTOR]);
    sealed::disk::prepare(&mut disk)?;
    Ok(disk.0)
}

fn record(built: &Built, commands: u32, chance: &mut Chance) -> Result<History> {
    let mut history = History { empty: empty()?, steps: Vec::new(), marks: Vec::new(), boots: 0 };
    let disk = Served::new(history.empty.clone())?;
    let (mut sent, mut epoch) = (0, 0);
    while sent < commands {
        let qemu = start_with(built, disk.options(), &Identity::development())?;
        let (_qemu, mut relay) = begun(built, qemu, epoch)?;
        history.boots += 1;
        checked(&mut relay, &startup())?;
        let mut lost = false;
        while !lost {
            history.marks.push(Mark { steps: disk.steps(), shown: shown(&mut relay)? });
            if sent >= commands {
                break;
            }
            let mut failed = None;
            lost = history::step(chance, |command| {
                sent += 1;
                relay.tpm(command).unwrap_or_else(|why| {
                    failed = Some(why);
                    Vec::new()
                })
            });
            failed.map_or(Ok(()), Err)?;
        }
        // The power goes after an answer, and nothing is under way.
        let writer = inside::writer(built);
        let key = inside::chip_key(&Identity::development(), 0, &writer);
        epoch = inside::open(&mut Octets(disk.octets()), &writer, key)?.epoch;
    }
    history.steps = disk.steps_from(0);
    Ok(history)
}

fn shown(relay: &mut impl Relay) -> Result<Vec<Vec<u8>>> {
    history::look().iter().map(|command| relay.tpm(command)).collect()
}

/// A cut: its number, the disk's octets, what they hold.
type Cut = (usize, Vec<u8>, Record);

struct Judge<'a> {
    history: &'a History,
    writer: Writer,
    key: [u8; 32],
    /// with all sectors up to the cut
    disk: Octets,
    record: Record,
    /// with all that was flushed, and what has been written since
    durable: (Octets, Record),
    since: Vec<(usize, Vec<u8>)>,
}

impl<'a> Judge<'a> {
    fn new(writer: Writer, key: [u8; 32], history: &'a History) -> Self {
        let disk = Octets(history.empty.clone());
        let record = Record { epoch: 0, identity: [0; 32], state: None };
        Self { history, writer, key, durable: (disk.clone(), record.clone()), disk, record, since: Vec::new() }
    }

    /// All cuts; those of these numbers are given back.
    fn all(mut self, chosen: &BTreeSet<usize>, chance: &mut Chance, done: &mut Done) -> Result<Vec<Cut>> {
        let mut sample = Vec::new();
        let mut marks = self.history.marks.iter().peekable();
        for (number, step) in (1..).zip(&self.history.steps) {
            match step {
                Step::Written(at, octets) => {
                    for (n, sector) in octets.chunks(SECTOR).enumerate() {
                        let at = usize::try_from(*at)? + n * SECTOR;
                        self.sector(at, sector, done).with_context(|| format!("step {number}, sector {n}"))?;
                        if chosen.contains(&done.cuts) {
                            sample.push((done.cuts, self.disk.0.clone(), self.record.clone()));
                        }
                        done.cuts += 1;
                    }
                }
                Step::Flushed => self.flushed(chance, done).with_context(|| format!("step {number}, any sectors"))?,
            }
            while let Some(mark) = marks.next_if(|mark| mark.steps == number) {
                let shows = Model::of(&self.record)?.looks();
                ensure!(shows == mark.shown, "step {number}: the disk has not what was answered");
                // What was answered was flushed.
                ensure!(self.since.is_empty(), "step {number}: it was answered before it was flushed");
                done.looks += 1;
            }
        }
        ensure!(marks.next().is_none(), "a command was answered after the last step");
        Ok(sample)
    }

    /// A sector more: the record is the one before, or the next.
    fn sector(&mut self, at: usize, octets: &[u8], done: &mut Done) -> Result<()> {
        self.disk.0.get_mut(at..at + octets.len()).context("beyond the disk")?.copy_from_slice(octets);
        self.since.push((at, octets.to_vec()));
        let found = inside::open(&mut self.disk, &self.writer, self.key)?;
        if found != self.record {
            ensure!(found.epoch == self.record.epoch + 1, "epoch {} after {}", found.epoch, self.record.epoch);
            ensure!(self.record.state.is_none() || found.identity == self.record.identity, "another identity");
            self.record = found;
            done.writes += 1;
        }
        Ok(())
    }

    /// A flush: before it, any of the sectors may have been there.
    fn flushed(&mut self, chance: &mut Chance, done: &mut Done) -> Result<()> {
        let (durable, before) = &mut self.durable;
        for _ in 0..SHUFFLES.min(self.since.len()) {
            let mut disk = durable.clone();
            for (at, octets) in &self.since {
                if chance.one_in(2) {
                    disk.0.get_mut(*at..at + octets.len()).context("beyond the disk")?.copy_from_slice(octets);
                }
            }
            let found = inside::open(&mut disk, &self.writer, self.key)?;
            ensure!(found == *before || found == self.record, "neither the record before nor the new one");
            done.shuffles += 1;
        }
        durable.0.clone_from(&self.disk.0);
        before.clone_from(&self.record);
        self.since.clear();
        Ok(())
    }
}

/// The machine finds the same there as the host.
fn boot(built: &Built, octets: Vec<u8>, record: &Record) -> Result<()> {
    let disk = Served::new(octets)?;
    let qemu = start_with(built, disk.options(), &Identity::development())?;
    let (_qemu, mut relay) = begun(built, qemu, record.epoch)?;
    checked(&mut relay, &startup())?;
    ensure!(shown(&mut relay)? == Model::of(record)?.looks(), "the machine finds another TPM than the host");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::inside::{Beyond, Octets};
    use super::{Done, History, Judge, Mark, empty};
    use anyhow::Result;
    use client::chance::Chance;
    use client::history;
    use client::platform::{CountedEntropy, ManualClock};
    use host::nbd::Step;
    use sealed::layout::ROOM;
    use sealed::{Beginning, BlockDevice, Fresh, Root, Roots, SECTOR, StateDisk, Writer};
    use std::collections::BTreeSet;
    use tpm_core::store::{MAX_RECORD_SIZE, Store};
    use tpm_core::{Hooks, Locality, Tpm};

    const WRITER: Writer = Writer { measurement: [1; 48], policy: 0x3_0000, tcb: 1 };
    const KEY: [u8; 32] = [2; 32];

    /// A disk that keeps its steps.
    struct Steps(Octets, Vec<Step>);

    impl BlockDevice for Steps {
        type Error = Beyond;

        fn sectors(&self) -> u64 {
            self.0.sectors()
        }

        fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Beyond> {
            self.0.read(first, out)
        }

        fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Beyond> {
            self.1.push(Step::Written(first * SECTOR as u64, octets.to_vec()));
            self.0.write(first, octets)
        }

        fn flush(&mut self) -> Result<(), Beyond> {
            self.1.push(Step::Flushed);
            Ok(())
        }
    }

    /// What the firmware does, done on the host.
    fn recorded(commands: u32) -> History {
        let mut chance = Chance::new(1);
        let roots = Roots { chip: Root::new(KEY), share: None, recovery: None };
        let fresh = Fresh::draw(|out| {
            chance.fill(out);
            Ok::<(), Beyond>(())
        });
        let disk = Steps(Octets(empty().unwrap()), Vec::new());
        let disk = StateDisk::create(disk, &Beginning::new(), &WRITER, &roots, fresh.unwrap(), vec![0; ROOM]).unwrap();
        let mut buffer = vec![0; MAX_RECORD_SIZE];
        let mut store = Store::open(disk, &mut buffer).unwrap().0;
        let (mut tpm, mut entropy, mut clock) = (Box::new(Tpm::blank()), CountedEntropy::default(), ManualClock(0));
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).unwrap();
        let mut run = |tpm: &mut Tpm, command: &[u8]| {
            let mut response = vec![0; 4096];
            let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
            let length = tpm.execute(hooks, Locality::ZERO, command, &mut response);
            response.truncate(length);
            response
        };
        let mut marks = Vec::new();
        store.save(&tpm, &mut buffer).unwrap();
        run(&mut tpm, &history::startup());
        for _ in 0..commands {
            store.save(&tpm, &mut buffer).unwrap();
            let shown = history::look().iter().map(|command| run(&mut tpm, command)).collect();
            marks.push(Mark { steps: store.disk_mut().device().1.len(), shown });
            // The power stays.
            history::step(&mut chance, |command| run(&mut tpm, command));
        }
        store.save(&tpm, &mut buffer).unwrap();
        let steps = core::mem::take(&mut store.disk_mut().device().1);
        History { empty: empty().unwrap(), steps, marks, boots: 1 }
    }

    fn judged(history: &History) -> Result<Done> {
        let mut done = Done::default();
        Judge::new(WRITER, KEY, history).all(&BTreeSet::new(), &mut Chance::new(2), &mut done)?;
        Ok(done)
    }

    /// The steps of a record are: contents, flush, head, flush.
    fn is_head(step: &Step) -> bool {
        matches!(step, Step::Written(_, octets) if octets.len() == SECTOR)
    }

    #[test]
    fn a_firmware_that_writes_in_its_order_passes() {
        let history = recorded(60);
        let done = judged(&history).unwrap();
        assert_eq!(done.cuts, history.cuts());
        assert!(done.writes > 20 && done.looks == 60 && done.shuffles > 100, "{done}");
    }

    #[test]
    fn what_a_firmware_could_do_wrong_is_found() {
        let wrong = |change: fn(&mut History)| {
            let mut history = recorded(60);
            change(&mut history);
            format!("{:#}", judged(&history).unwrap_err())
        };
        // Each has as many steps as before, so that marks are where they were.
        let head_first = wrong(|history| history.steps.chunks_exact_mut(4).for_each(|record| record.swap(0, 2)));
        assert!(head_first.contains("the disk is damaged: the contents"), "{head_first}");
        let one_flush = wrong(|history| history.steps.chunks_exact_mut(4).for_each(|record| record.swap(1, 2)));
        assert!(one_flush.contains("any sectors: the disk is damaged"), "{one_flush}");
        let too_early = wrong(|history| history.marks.iter_mut().for_each(|mark| mark.steps -= 1));
        assert!(too_early.contains("it was answered before it was flushed"), "{too_early}");
        let not_there = wrong(|history| history.marks.iter_mut().for_each(|mark| mark.steps -= 4));
        assert!(not_there.contains("the disk has not what was answered"), "{not_there}");
        let lost = wrong(|history| {
            let head = history.steps.iter().rposition(is_head).unwrap();
            let Step::Written(_, octets) = &mut history.steps[head] else { panic!("no head") };
            octets[0x10] ^= 1;
        });
        assert!(lost.contains("the disk is damaged: the head"), "{lost}");
    }
}
