//! A TPM on a disk of the firmware's: a history of 300 commands, cut after every sector of every write.

use client::chance::Chance;
use client::command::{command, command_code, response_code, with_passwords};
use client::platform::{CountedEntropy, ManualClock, export};
use client::{cc, history};
use sealed::layout::{MIN_SECTORS, ROOM};
use sealed::{Beginning, BlockDevice, Found, Fresh, Root, Roots, SECTOR, StateDisk, Writer};
use std::collections::BTreeMap;
use tpm_core::store::{MAX_RECORD_SIZE, Store};
use tpm_core::{Hooks, Locality, StateForm, Tpm};

const WRITER: Writer = Writer { measurement: [1; 48], policy: 0x3_0000, tcb: 1 };

fn roots() -> Roots {
    Roots { chip: Root::new([2; 32]), share: None, recovery: None }
}

/// A disk that knows in which order its sectors were written.
#[derive(Clone, Default)]
struct Journal {
    sectors: BTreeMap<u64, Vec<u8>>,
    written: Vec<(u64, Vec<u8>)>,
}

impl BlockDevice for Journal {
    type Error = ();

    fn sectors(&self) -> u64 {
        MIN_SECTORS
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), ()> {
        for (at, chunk) in (first..).zip(out.chunks_mut(SECTOR)) {
            chunk.copy_from_slice(self.sectors.get(&at).map_or(&[0; SECTOR], |octets| octets));
        }
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), ()> {
        for (at, chunk) in (first..).zip(octets.chunks(SECTOR)) {
            self.sectors.insert(at, chunk.to_vec());
            self.written.push((at, chunk.to_vec()));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ()> {
        Ok(())
    }
}

fn fresh(chance: &mut Chance) -> Fresh {
    Fresh::draw(|out| {
        chance.fill(out);
        Ok::<(), ()>(())
    })
    .unwrap()
}

fn open(mut disk: Journal, chance: &mut Chance) -> StateDisk<Vec<u8>, Journal> {
    let (drawn, room) = (fresh(chance), vec![0; ROOM]);
    match sealed::disk::look(&mut disk).unwrap() {
        Found::Empty => StateDisk::create(disk, &Beginning::new(), &WRITER, &roots(), drawn, room).unwrap(),
        Found::Record(head) => StateDisk::open(disk, &head, &WRITER, &roots(), &roots(), None, drawn, room).unwrap(),
    }
}

/// The epoch and the state that a boot from this disk finds.
fn found(disk: Journal, chance: &mut Chance, buffer: &mut [u8]) -> (u64, Option<Vec<u8>>) {
    let (store, state) = Store::open(open(disk, chance), buffer).unwrap();
    (store.disk().epoch(), state.map(<[u8]>::to_vec))
}

/// A TPM whose state is kept.
struct Kept {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
    store: Store<StateDisk<Vec<u8>, Journal>>,
    buffer: Vec<u8>,
}

impl Kept {
    fn boot(disk: Journal, mut entropy: CountedEntropy, mut clock: ManualClock, chance: &mut Chance) -> Self {
        let mut buffer = vec![0; MAX_RECORD_SIZE];
        let (store, state) = Store::open(open(disk, chance), &mut buffer).unwrap();
        let mut tpm = Box::new(Tpm::blank());
        let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
        match state {
            None => tpm.manufacture(hooks).unwrap(),
            Some(state) => tpm.import(state, hooks).unwrap(),
        }
        Self { tpm, entropy, clock, store, buffer }
    }

    fn run(&mut self, request: &[u8]) -> Vec<u8> {
        let mut response = vec![0; 4096];
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let length = self.tpm.execute(hooks, Locality::ZERO, request, &mut response);
        response.truncate(length);
        response
    }

    /// Commands that change what lasts, if they can be done. `true`: the power goes after them.
    fn step(&mut self, chance: &mut Chance) -> bool {
        self.clock.0 += chance.below(4000) as u64;
        history::step(chance, |request| {
            let response = self.run(request);
            assert!(command_code(request) != cc::CREATE_PRIMARY || response_code(&response) == 0);
            response
        })
    }
}

/// What is found after a write that is cut after each of its sectors.
struct Cuts {
    cuts: usize,
    writes: usize,
    imports: usize,
}

impl Cuts {
    fn look(&mut self, before: &Journal, after: &Journal, chance: &mut Chance, buffer: &mut [u8]) {
        let (old, new) = (found(before.clone(), chance, buffer), found(after.clone(), chance, buffer));
        assert_eq!(new.0, old.0 + 1);
        let written = &after.written[before.written.len()..];
        let mut torn = before.clone();
        for (n, (sector, octets)) in written.iter().enumerate() {
            assert_eq!(found(torn.clone(), chance, buffer), old, "after {n} sectors of {}", written.len());
            torn.sectors.insert(*sector, octets.clone());
            self.cuts += 1;
        }
        assert_eq!(found(torn, chance, buffer), new);
        self.writes += 1;
        if self.writes.is_multiple_of(10) {
            let state = new.1.unwrap();
            let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
            let mut tpm = Box::new(Tpm::blank());
            tpm.import(&state, &mut Hooks { entropy: &mut entropy, clock: &mut clock }).unwrap();
            assert!(export(&tpm, StateForm::PoweredOff) == state);
            self.imports += 1;
        }
    }
}

#[test]
fn three_hundred_commands_cut_after_every_sector_of_every_write() {
    let (mut chance, mut buffer) = (Chance::new(15), vec![0; MAX_RECORD_SIZE]);
    let mut cuts = Cuts { cuts: 0, writes: 0, imports: 0 };
    let mut disk = Journal::default();
    sealed::disk::prepare(&mut disk).unwrap();
    let mut kept = Kept::boot(disk, CountedEntropy::default(), ManualClock(0), &mut chance);
    let (identity, mut boots) = (*kept.store.disk().identity(), 1);
    let mut starting = true;
    for _ in 0..300 {
        let before = kept.store.disk_mut().device().clone();
        let lost = if starting {
            let started = kept.run(&history::startup());
            assert_eq!(response_code(&started), 0);
            false
        } else {
            kept.step(&mut chance)
        };
        starting = lost;
        if kept.store.save(&kept.tpm, &mut kept.buffer).unwrap() {
            let after = kept.store.disk_mut().device().clone();
            cuts.look(&before, &after, &mut chance, &mut buffer);
        }
        if lost {
            // Nothing is left but the disk.
            let disk = kept.store.disk_mut().device().clone();
            let (entropy, clock) = (kept.entropy.clone(), kept.clock.clone());
            kept = Kept::boot(disk, entropy, clock, &mut chance);
            assert_eq!(kept.store.disk().identity(), &identity);
            boots += 1;
        }
    }
    let Cuts { cuts, writes, imports } = cuts;
    println!("{writes} writes, {cuts} cuts, {imports} imports, {boots} boots, epoch {}", kept.store.disk().epoch());
    assert!(writes > 100 && cuts > 500 && imports > 10 && boots > 5, "{writes} {cuts} {imports} {boots}");
    assert_eq!(kept.store.disk().epoch(), writes as u64, "each write has an epoch, and each boot has a write");
}

/// PCR_Extend and what else changes nothing that lasts does not reach the disk.
#[test]
fn a_command_that_changes_nothing_that_lasts_writes_nothing() {
    let mut chance = Chance::new(16);
    let mut disk = Journal::default();
    sealed::disk::prepare(&mut disk).unwrap();
    let mut kept = Kept::boot(disk, CountedEntropy::default(), ManualClock(0), &mut chance);
    kept.run(&history::startup());
    assert!(kept.store.save(&kept.tpm, &mut kept.buffer).unwrap());
    let written = kept.store.disk_mut().device().written.len();
    let digest = [&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat();
    assert_eq!(response_code(&kept.run(&with_passwords(cc::PCR_EXTEND, &[10], &[b""], &digest))), 0);
    assert_eq!(response_code(&kept.run(&command(cc::GET_RANDOM, &[], &[], &[0, 8]))), 0);
    assert!(!kept.store.save(&kept.tpm, &mut kept.buffer).unwrap());
    assert_eq!(kept.store.disk_mut().device().written.len(), written);
}
