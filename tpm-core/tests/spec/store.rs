//! The state on a disk: the power may go at any point of a write, and what is damaged is refused.
//!
//! A history of 2,000 commands is saved to a simulated disk after every one of them. Each write is cut after every
//! octet, and in every way in which a disk may have reordered its sectors: what is there then must be the state before
//! or the one after, and nothing else.

use crate::harness::Fixture;
use crate::harness::keys::{handle_of, hmac_key};
use crate::harness::nv::{self, INDEX, a};
use crate::harness::twin::import;
use client::codes::{ENDORSEMENT, LOCKOUT_HIERARCHY, OWNER, PLATFORM};
use client::platform::export;
use client::session::{Kind, Session};
use client::tpm2b;
use core::cell::Cell;
use std::rc::Rc;
use tpm_core::cc;
use tpm_core::store::{Disk, MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{MAX_STATE_SIZE, StateError, StateForm, Tpm};

/// Slots in memory.
#[derive(Clone, Default)]
struct Memory<const SLOTS: usize> {
    slots: [Vec<u8>; 2],
    /// the slot that was written last, and what was in it before
    before: Option<(usize, Vec<u8>)>,
    full: Rc<Cell<bool>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Full;

impl<const SLOTS: usize> Disk for Memory<SLOTS> {
    type Error = Full;
    const SLOTS: usize = SLOTS;

    fn read(&mut self, slot: usize, out: &mut [u8]) -> Result<usize, Full> {
        out[..self.slots[slot].len()].copy_from_slice(&self.slots[slot]);
        Ok(self.slots[slot].len())
    }

    fn write(&mut self, slot: usize, record: &[u8]) -> Result<(), Full> {
        let before = core::mem::replace(&mut self.slots[slot], record.to_vec());
        self.before = Some((slot, before));
        if self.full.get() { Err(Full) } else { Ok(()) }
    }
}

/// A disk on which a write may be interrupted.
type Torn = Memory<2>;
/// A disk that replaces a record as one.
type Atomic = Memory<1>;

/// A TPM, and its disk.
struct Kept<const SLOTS: usize> {
    tpm: Fixture,
    store: Store<Memory<SLOTS>>,
    buffer: Vec<u8>,
}

impl<const SLOTS: usize> Kept<SLOTS> {
    fn new() -> Self {
        let (tpm, mut buffer) = (Fixture::unstarted(), vec![0; MAX_RECORD_SIZE]);
        let (store, found) = Store::open(Memory::default(), &mut buffer).unwrap();
        assert!(found.is_none());
        let mut kept = Self { tpm, store, buffer };
        assert!(kept.save(), "a new TPM is there before its first response");
        kept
    }

    fn save(&mut self) -> bool {
        let saved = self.store.save(&self.tpm.tpm, &mut self.buffer).unwrap();
        assert!(self.buffer.iter().all(|octet| *octet == 0), "nothing of the state is left in the buffer");
        saved
    }

    /// The power goes, and comes back: only what is on the disk is left.
    fn lose_power(&mut self) {
        let (store, state) = Store::open(self.store.disk().clone(), &mut self.buffer).unwrap();
        self.tpm.tpm = import(state.unwrap(), self.tpm.clock.0).unwrap();
        self.store = store;
        self.buffer.fill(0);
    }
}

fn lasting(tpm: &Tpm) -> [u8; 32] {
    tpm.lasting_digest(&mut vec![0; MAX_STATE_SIZE]).unwrap()
}

/// What chooses commands: xorshift, and the authValue that was set last.
pub(crate) struct Chance {
    state: u64,
    endorsement_auth: Vec<u8>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, endorsement_auth: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    pub(crate) fn below(&mut self, n: u64) -> u32 {
        u32::try_from(self.next() % n).unwrap()
    }
}

/// What there is at each of eight indices.
const TYPES: [u32; 8] = [
    a::AUTH,
    a::AUTH | a::COUNTER,
    a::AUTH | a::BITS | a::CLEAR_STCLEAR,
    nv::PIN | a::PIN_FAIL,
    a::AUTHREAD | a::AUTHWRITE,
    a::AUTH | a::COUNTER | a::ORDERLY,
    a::AUTH | a::WRITE_STCLEAR,
    a::AUTH | a::EXTEND,
];

/// Some time, and a command of a history. Whether the power was lost, and TPM2_Startup is to come.
fn step(tpm: &mut Fixture, random: &mut Chance) -> bool {
    tpm.clock.0 += u64::from(random.below(4000));
    change(tpm, random)
}

/// A command of a history that changes all that lasts; some fail. Whether it was the last before the loss of power.
pub(crate) fn change(tpm: &mut Fixture, random: &mut Chance) -> bool {
    let (index, octet) = (INDEX + random.below(8), u8::try_from(random.below(256)).unwrap());
    let persistent = 0x8100_0000 + random.below(4);
    let digest = [&tpm2b(&[octet; 32])[..], &[0, 0xb]].concat();
    let tries = [3, 50, 100_u32].map(u32::to_be_bytes).concat();
    let _ = match random.below(32) {
        0..=3 => nv::define(tpm, index, TYPES[(index - INDEX) as usize], 8),
        4..=7 => nv::write(tpm, index & !3, index & !3, &[octet; 8], 0),
        8..=11 => nv::act(tpm, cc::NV_INCREMENT, index & !2 | 1, index & !2 | 1),
        12 => nv::set_bits(tpm, INDEX + 2, INDEX + 2, random.next()),
        13 => nv::act(tpm, cc::NV_WRITE_LOCK, INDEX + 6, INDEX + 6),
        14 => nv::act(tpm, cc::NV_UNDEFINE_SPACE, OWNER, index),
        15 | 16 => tpm.with(cc::NV_READ, &[index, index], &[b"wrong"], &[0, 8, 0, 0]),
        17 => tpm.with(cc::NV_READ, &[index, index], &[b"pw"], &[0, 8, 0, 0]),
        18 => nv::write(tpm, OWNER, INDEX + 3, &[0, 0, 0, 1, 0, 0, 0, 5], 0),
        19 => tpm.with(
            cc::SET_PRIMARY_POLICY,
            &[[OWNER, PLATFORM, LOCKOUT_HIERARCHY][usize::from(octet % 3)]],
            &[b""],
            &digest,
        ),
        20 => tpm.with(cc::DICTIONARY_ATTACK_PARAMETERS, &[LOCKOUT_HIERARCHY], &[b""], &tries),
        21 => tpm.with(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], &[b""], &[]),
        // authValue of the endorsement hierarchy.
        22 => {
            let new = vec![octet; usize::from(octet % 32)];
            let done = tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[ENDORSEMENT], &[&random.endorsement_auth], &tpm2b(&new));
            if done.is_ok() {
                // Zeros at the end do not count.
                random.endorsement_auth = if octet == 0 { Vec::new() } else { new };
            }
            done
        }
        23 => tpm.with(cc::CLEAR_CONTROL, &[PLATFORM], &[b""], &[octet & 1]),
        24 if octet < 60 => {
            let done = tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]);
            if done.is_ok() {
                random.endorsement_auth.clear();
            }
            done
        }
        24 if octet < 70 => tpm.with(cc::CHANGE_PPS, &[PLATFORM], &[b""], &[]),
        25 => {
            let key = tpm.create_primary(OWNER, &hmac_key()).unwrap();
            let parameter = persistent.to_be_bytes();
            let _ = tpm.with(cc::EVICT_CONTROL, &[OWNER, handle_of(&key)], &[b""], &parameter);
            tpm.flush(handle_of(&key))
        }
        26 => tpm.with(cc::EVICT_CONTROL, &[OWNER, persistent], &[b""], &persistent.to_be_bytes()),
        27 => tpm.with(
            cc::SET_COMMAND_CODE_AUDIT_STATUS,
            &[OWNER],
            &[b""],
            &[0, 0x10, 0, 0, 0, 1, 0, 0, 1, octet, 0, 0, 0, 0],
        ),
        28 => tpm.with(cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[octet; 32]].concat()),
        29 => tpm.with(cc::CLOCK_SET, &[OWNER], &[b""], &(tpm.clock.0 + random.next() % (1 << 23)).to_be_bytes()),
        30 => policy_write(tpm, octet),
        _ => {
            match octet % 4 {
                0 => drop(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0])),
                1 => drop(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1])),
                _ => {}
            }
            return true;
        }
    };

    false
}

/// Writes an index by a policy, which it is defined with unless it is there.
fn policy_write(tpm: &mut Fixture, octet: u8) -> Result<Vec<u8>, u32> {
    const BY_POLICY: u32 = INDEX + 9;
    let mut session = Session::plain(tpm, Kind::Policy);
    tpm.run(cc::POLICY_COMMAND_CODE, &[session.handle], &[], &cc::NV_WRITE.to_be_bytes())?;
    let policy = tpm.run(cc::POLICY_GET_DIGEST, &[session.handle], &[], &[])?;
    let attributes = a::POLICYWRITE | a::AUTHREAD | a::NO_DA;
    let _ = nv::define_as(tpm, OWNER, b"pw", &nv::public(BY_POLICY, attributes, &policy[2..], 4));
    let parameters = [&tpm2b(&[octet; 4])[..], &[0, 0]].concat();
    let written = tpm.exec(cc::NV_WRITE, &[BY_POLICY, BY_POLICY], vec![session.with(0).raw(b"").into()], &parameters);
    tpm.flush(session.handle)?;
    written
}

/// 2,000 commands, each followed by a save; `each` sees every write: the disk before, the disk after.
fn history(mut each: impl FnMut(&Torn, &Torn)) -> Kept<2> {
    let (mut kept, mut random) = (Kept::<2>::new(), Chance::new(0x1234_5678_9abc_def0));
    kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    for _ in 0..2000 {
        let before = kept.store.disk().clone();
        let lost = step(&mut kept.tpm, &mut random);
        if kept.save() {
            each(&before, kept.store.disk());
        }
        if lost {
            let mut twin = Fixture::unstarted();
            twin.tpm = import(&export(&kept.tpm.tpm, StateForm::PoweredOff), kept.tpm.clock.0).unwrap();
            twin.clock.0 = kept.tpm.clock.0;
            kept.lose_power();
            for tpm in [&mut twin, &mut kept.tpm] {
                tpm.run(cc::STARTUP, &[], &[], &[0, 1]).or_else(|_| tpm.run(cc::STARTUP, &[], &[], &[0, 0])).unwrap();
            }
            assert!(lasting(&twin.tpm) == lasting(&kept.tpm.tpm), "nothing that lasts was lost");
            kept.save();
        }
    }
    kept
}

/// What is found on a disk: the generation, and the state.
type Found<'a, D> = Result<Option<(u64, &'a [u8])>, StoreError<<D as Disk>::Error>>;

fn found<'a, D: Disk>(disk: &mut D, buffer: &'a mut [u8]) -> Found<'a, D> {
    Store::open(disk, buffer).map(|(store, state)| state.map(|state| (store.generation(), state)))
}

/// The ways in which a write may have been interrupted.
struct Interrupted<'a> {
    slot: usize,
    old: &'a [u8],
    new: &'a [u8],
}

impl<'a> Interrupted<'a> {
    fn of(before: &'a Torn, after: &'a Torn) -> Self {
        let slot = after.before.as_ref().unwrap().0;
        assert!(before.slots[1 - slot] == after.slots[1 - slot], "the other slot stays as it is");
        Self { slot, old: &before.slots[slot], new: &after.slots[slot] }
    }

    /// The slot after so many octets.
    fn cut(&self, length: usize) -> Vec<u8> {
        [&self.new[..length], self.old.get(length..).unwrap_or_default()].concat()
    }

    /// The slot of which only some sectors were written, and its length perhaps not set.
    fn sectors(&self, which: u64, longest: bool) -> Vec<u8> {
        const SECTOR: usize = 512;
        let length = if longest { self.old.len().max(self.new.len()) } else { self.new.len() };
        let mut slot = self.old.to_vec();
        slot.resize(length, 0);
        for (n, to) in slot.chunks_mut(SECTOR).enumerate().filter(|(n, _)| which >> (n % 64) & 1 == 1) {
            let from = self.new.get(n * SECTOR..).unwrap_or_default();
            let length = from.len().min(to.len());
            to[..length].copy_from_slice(&from[..length]);
            to[length..].fill(0);
        }
        slot
    }
}

#[test]
fn a_write_that_is_cut_anywhere_leaves_the_old_state_or_the_new_one() {
    let (mut commits, mut loads, mut imports, mut octets) = (0, 0, 0, 0);
    let mut buffer = vec![0; MAX_RECORD_SIZE];
    let mut chance = Chance::new(99);
    let kept = history(|before, after| {
        commits += 1;
        let write = Interrupted::of(before, after);
        octets += write.new.len();
        let whole = |disk: &Torn| {
            let mut buffer = vec![0; MAX_RECORD_SIZE];
            found(&mut disk.clone(), &mut buffer)
                .unwrap()
                .map(|(generation, state)| (generation, state.to_vec()))
                .unwrap()
        };
        let (old, new) = (whole(before), whole(after));
        assert_eq!(new.0, old.0 + 1);
        assert!(old.1 != new.1);
        let mut disk = after.clone();
        let mut check = |slot: Vec<u8>| {
            // What is yet to be written may be what is there.
            let whole = slot.strip_prefix(write.new).is_some_and(|beyond| beyond.iter().all(|octet| *octet == 0));
            disk.slots[write.slot] = slot;
            loads += 1;
            let (generation, state) = found(&mut disk, &mut buffer).unwrap().unwrap();
            let wanted = if whole { &new } else { &old };
            assert!((generation, state) == (wanted.0, &wanted.1[..]));
        };
        for length in 0..=write.new.len() {
            check(write.cut(length));
        }
        let sectors = write.new.len().max(write.old.len()).div_ceil(512);
        for n in 0..64.min(1 << sectors) - 1 {
            let which = if sectors <= 6 { n } else { chance.next() & !(1 << chance.below(sectors as u64)) };
            check(write.sectors(which, n % 2 == 0));
        }
        if commits % 10 == 0 {
            imports += 1;
            for (slot, wanted) in [(write.cut(write.new.len() / 2), &old), (write.new.to_vec(), &new)] {
                disk.slots[write.slot] = slot;
                let state = found(&mut disk, &mut buffer).unwrap().unwrap().1;
                assert!(export(&import(state, 0).unwrap(), StateForm::PoweredOff) == wanted.1);
            }
        }
    });
    println!(
        "{commits} commits of {} octets on average; {loads} loads, {imports} imports, generation {}",
        octets / commits,
        kept.store.generation()
    );
    assert!(commits > 800 && loads > 1_000_000 && imports > 80);
}

/// A record on a disk that replaces as one, as many octets of state as a TPM with some indices and objects has.
fn atomic() -> Atomic {
    let mut kept = Kept::<1>::new();
    kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    let mut chance = Chance::new(7);
    for _ in 0..100 {
        if step(&mut kept.tpm, &mut chance) {
            kept.tpm.restart(None, 0);
        }
        kept.save();
    }
    kept.store.disk().clone()
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_record_is_refused() {
    let (mut disk, mut buffer) = (atomic(), vec![0; MAX_RECORD_SIZE]);
    let whole = disk.slots[0].clone();
    let (generation, state) = found(&mut disk, &mut buffer).unwrap().unwrap();
    assert!(generation > 20 && import(state, 0).is_ok());
    for length in 1..whole.len() {
        disk.slots[0] = whole[..length].to_vec();
        assert_eq!(found(&mut disk, &mut buffer), Err(StoreError::Damaged), "{length} octets");
    }
    disk.slots[0] = whole.clone();
    for bit in 0..8 * whole.len() {
        disk.slots[0][bit / 8] ^= 1 << (bit % 8);
        assert_eq!(found(&mut disk, &mut buffer), Err(StoreError::Damaged), "bit {bit}");
        disk.slots[0][bit / 8] ^= 1 << (bit % 8);
    }
    for (beyond, refused) in [(&[0; 700][..], false), (&[0, 0, 1], true)] {
        disk.slots[0] = [&whole, beyond].concat();
        assert_eq!(found(&mut disk, &mut buffer).is_err(), refused);
    }
    disk.slots[0].clear();
    assert_eq!(found(&mut disk, &mut buffer), Ok(None));
}

#[test]
fn with_two_slots_the_newest_whole_record_in_its_own_place_counts() {
    let (mut kept, mut buffer) = (Kept::<2>::new(), vec![0; MAX_RECORD_SIZE]);
    kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    assert!(kept.save());
    let disk = kept.store.disk().clone();
    let mut find = |slots: [&[u8]; 2]| {
        let mut disk = Torn { slots: slots.map(<[u8]>::to_vec), ..Torn::default() };
        found(&mut disk, &mut buffer).map(|found| found.map(|(generation, _)| generation))
    };
    let [second, first] = &disk.slots;
    assert_eq!(find([second, first]), Ok(Some(2)));
    assert_eq!(find([&second[1..], first]), Ok(Some(1)));
    assert_eq!(find([second, &first[1..]]), Ok(Some(2)));
    assert_eq!(find([b"", first]), Ok(Some(1)));
    assert_eq!(find([b"", b""]), Ok(None));
    assert_eq!(find([b"x", b""]), Err(StoreError::Damaged));
    assert_eq!(find([&second[1..], &first[1..]]), Err(StoreError::Damaged));
    assert_eq!(find([first, second]), Err(StoreError::Damaged), "each in the place of the other");
    assert_eq!(find([first, first]), Ok(Some(1)));
}

#[test]
fn a_disk_that_fails_is_told_and_the_same_is_written_again() {
    let mut kept = Kept::<2>::new();
    kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    kept.store.disk().full.set(true);
    for _ in 0..3 {
        assert_eq!(kept.store.save(&kept.tpm.tpm, &mut kept.buffer), Err(StoreError::Disk(Full)));
        assert_eq!(kept.store.disk().before.as_ref().unwrap().0, 0, "the state before is left alone");
    }
    kept.store.disk().full.set(false);
    assert!(kept.save() && !kept.save());
    assert_eq!(kept.store.generation(), 2);
    nv::define(&mut kept.tpm, INDEX, a::AUTH, 8).unwrap();
    let room = kept.store.save(&kept.tpm.tpm, &mut [0; 100]);
    assert!(matches!(room, Err(StoreError::State(StateError::Room(_)))));
}

/// A save that looked at the state would say that there is no room for it.
#[test]
fn after_a_command_that_changes_nothing_a_save_looks_at_nothing() {
    let mut kept = Kept::<1>::new();
    kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    nv::define(&mut kept.tpm, INDEX, a::AUTH, 8).unwrap();
    nv::write(&mut kept.tpm, INDEX, INDEX, &[1; 8], 0).unwrap();
    assert!(kept.save());
    let look = |kept: &mut Kept<1>, command: fn(&mut Fixture) -> Result<Vec<u8>, u32>| {
        kept.tpm.clock.0 += 10;
        command(&mut kept.tpm).unwrap();
        kept.store.save(&kept.tpm.tpm, &mut [])
    };
    assert_eq!(look(&mut kept, |tpm| tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8])), Ok(false), "TPM2_GetRandom");
    assert_eq!(look(&mut kept, extend), Ok(false));
    assert_eq!(look(&mut kept, |tpm| nv::read(tpm, INDEX, INDEX, 8, 0)), Ok(false));
    let changed = look(&mut kept, |tpm| nv::write(tpm, INDEX, INDEX, &[2; 8], 0));
    assert!(matches!(changed, Err(StoreError::State(StateError::Room(_)))), "the control");
}

#[test]
fn only_what_lasts_is_saved_and_all_of_it_before_an_orderly_end() {
    let mut kept = Kept::<2>::new();
    let run = |kept: &mut Kept<2>, saved: bool, command: fn(&mut Fixture) -> Result<Vec<u8>, u32>| {
        let outcome = command(&mut kept.tpm);
        assert_eq!(kept.save(), saved);
        outcome
    };
    run(&mut kept, true, |tpm| tpm.run(cc::STARTUP, &[], &[], &[0, 0])).unwrap();
    run(&mut kept, false, |tpm| tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8])).unwrap();
    run(&mut kept, false, extend).unwrap();
    run(&mut kept, false, |tpm| Ok(Session::plain(tpm, Kind::Policy).nonce_tpm)).unwrap();
    kept.tpm.clock.0 += 60_000;
    run(&mut kept, false, |tpm| tpm.run(cc::READ_CLOCK, &[], &[], &[])).unwrap();
    kept.tpm.clock.0 += 1 << 22;
    run(&mut kept, true, |tpm| tpm.run(cc::READ_CLOCK, &[], &[], &[])).unwrap();
    // NV, a guess, the first use of an authValue under protection.
    run(&mut kept, true, |tpm| nv::define(tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8)).unwrap();
    run(&mut kept, false, |tpm| nv::define(tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8)).unwrap_err();
    run(&mut kept, true, |tpm| nv::write(tpm, INDEX, INDEX, &[1; 8], 0)).unwrap();
    run(&mut kept, false, |tpm| nv::write(tpm, INDEX, INDEX, &[1; 8], 0)).unwrap();
    run(&mut kept, true, |tpm| tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"wrong"], &[0, 8, 0, 0])).unwrap_err();
    // After TPM2_Shutdown(STATE) all counts; what voids it, too.
    run(&mut kept, true, |tpm| tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1])).unwrap();
    kept.tpm.clock.0 += 10;
    run(&mut kept, true, |tpm| tpm.run(cc::READ_CLOCK, &[], &[], &[])).unwrap();
    run(&mut kept, true, extend).unwrap();
    run(&mut kept, false, extend).unwrap();
}

/// Part 1, 33.3.3: after an orderly shutdown Clock is recorded at the normal rate; the first command that uses it
/// changes a flag, which is written. Nothing else is.
#[test]
fn after_a_shutdown_one_write_tells_that_the_clock_was_used() {
    for su in [0, 1] {
        let mut kept = Kept::<1>::new();
        kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
        kept.tpm.clock.0 += 100;
        kept.tpm.run(cc::SHUTDOWN, &[], &[], &[0, su]).unwrap();
        assert!(kept.save());
        for (commands, writes) in
            [(&[(cc::GET_RANDOM, &[0, 8][..])][..], 0), (&[(cc::GET_RANDOM, &[0, 8]), (cc::READ_CLOCK, &[])], 1)]
        {
            let before = kept.store.generation();
            for _ in 0..200 {
                for (code, params) in commands {
                    kept.tpm.clock.0 += 7;
                    kept.tpm.run(*code, &[], &[], params).unwrap();
                    kept.save();
                }
            }
            assert_eq!(kept.store.generation() - before, writes, "TPM_SU {su}");
        }
        kept.tpm.clock.0 += 7;
        kept.tpm.run(cc::SHUTDOWN, &[], &[], &[0, su]).unwrap();
        assert!(kept.save(), "another TPM2_Shutdown saves Clock");
        let shown = u64::from_be_bytes(kept.tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap()[8..16].try_into().unwrap());
        kept.save();
        kept.lose_power();
        kept.tpm.run(cc::STARTUP, &[], &[], &[0, su]).unwrap();
        let read = kept.tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap();
        assert_eq!(u64::from_be_bytes(read[8..16].try_into().unwrap()), shown, "Clock as TPM2_Shutdown saved it");
        assert_eq!(read[24], 0, "Safe is CLEAR: Clock was used after that");
    }
}

/// Part 1, 33.3.3: without such a command Clock is safe, though time has passed after TPM2_Shutdown.
#[test]
fn what_nobody_has_seen_leaves_the_clock_safe() {
    for (between, safe) in [((cc::GET_RANDOM, &[0, 8][..]), 1), ((cc::READ_CLOCK, &[]), 0)] {
        let mut kept = Kept::<1>::new();
        kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
        kept.tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0]).unwrap();
        kept.save();
        kept.tpm.clock.0 += 500;
        kept.tpm.run(between.0, &[], &[], between.1).unwrap();
        kept.save();
        kept.lose_power();
        kept.tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
        assert_eq!(kept.tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap()[24], safe);
    }
}

fn extend(tpm: &mut Fixture) -> Result<Vec<u8>, u32> {
    tpm.with(cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat())
}
