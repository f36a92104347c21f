//! The disk in memory, and what is written to it, read, and refused.

mod cuts;
mod flips;
mod imports;
pub(crate) mod nonces;
mod outer;
mod refusals;
mod roots;

use crate::device::{BlockDevice, SECTOR};
use crate::disk::{Beginning, Found, StateDisk, Writer, look, prepare};
use crate::keys::{Fresh, RecoveryKey, Root, Roots};
use crate::layout::{Head, MAX_OUTER, MIN_SECTORS, ROOM, Sector, VERSION};
use crate::refusal::Refusal;
use std::collections::BTreeMap;
use tpm_core::store::Disk;

/// The device says no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Off;

/// A disk in memory; what was never written is zeros.
#[derive(Clone)]
struct Memory {
    sectors: BTreeMap<u64, Sector>,
    size: u64,
    /// after how many sectors the power goes
    left: Option<usize>,
    /// how many sectors were written
    written: usize,
}

impl Memory {
    fn blank() -> Self {
        Self { sectors: BTreeMap::new(), size: MIN_SECTORS, left: None, written: 0 }
    }

    fn prepared() -> Self {
        let mut disk = Self::blank();
        prepare(&mut disk).unwrap();
        disk
    }

    fn flip(&mut self, sector: u64, bit: usize) {
        self.sectors.entry(sector).or_insert([0; SECTOR])[bit / 8] ^= 1 << (bit % 8);
    }
}

impl BlockDevice for Memory {
    type Error = Off;

    fn sectors(&self) -> u64 {
        self.size
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Off> {
        for (at, chunk) in (first..).zip(out.chunks_mut(SECTOR)) {
            chunk.copy_from_slice(self.sectors.get(&at).unwrap_or(&[0; SECTOR]));
        }
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Off> {
        for (at, chunk) in (first..).zip(octets.chunks(SECTOR)) {
            match &mut self.left {
                Some(0) => return Err(Off),
                Some(left) => *left -= 1,
                None => {}
            }
            self.sectors.insert(at, chunk.try_into().unwrap());
            self.written += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Off> {
        if self.left == Some(0) { Err(Off) } else { Ok(()) }
    }
}

const WRITER: Writer = Writer { measurement: [0x4d; 48], policy: 0x3_0000, tcb: 0x0400_0000_0000_0003 };

/// A chip's key, as the secure processor would give it for this TCB.
fn chip(number: u8, writer: &Writer) -> Root {
    let mut octets = [number; 32];
    octets[..8].copy_from_slice(&writer.tcb.to_le_bytes());
    octets[8] = writer.measurement[0];
    octets[9..17].copy_from_slice(&writer.policy.to_le_bytes());
    Root::new(octets)
}

fn roots(number: u8) -> Roots {
    Roots { chip: chip(number, &WRITER), share: None, recovery: None }
}

fn recovery_key(octet: u8) -> RecoveryKey {
    RecoveryKey::new(&[octet; 32]).unwrap()
}

fn fresh(seed: u8) -> Fresh {
    let mut next = [seed, 0];
    Fresh::draw(|out| {
        next[1] += 1;
        out.fill(next[0]);
        out[0] = next[1];
        Ok::<(), Off>(())
    })
    .unwrap()
}

/// A room for records.
fn room() -> Vec<u8> {
    vec![0; ROOM]
}

fn create(disk: Memory, seed: u8, room: &mut [u8]) -> StateDisk<&mut [u8], Memory> {
    StateDisk::create(disk, &Beginning::new(), &WRITER, &roots(1), fresh(seed), room).unwrap()
}

fn head(disk: &Memory) -> Result<Head, Refusal<Off>> {
    match look(disk.clone())? {
        Found::Record(head) => Ok(head),
        Found::Empty => panic!("no record"),
    }
}

/// Opens a disk as firmware on chip 1; the record in it, and its epoch.
fn opened(disk: &Memory, seed: u8) -> Result<(Vec<u8>, u64), Refusal<Off>> {
    opened_with(disk, &WRITER, &roots(1), None, seed)
}

fn opened_with(
    disk: &Memory,
    writer: &Writer,
    roots: &Roots,
    known: Option<u64>,
    seed: u8,
) -> Result<(Vec<u8>, u64), Refusal<Off>> {
    let (head, mut room, mut out) = (head(disk)?, room(), room());
    let mut disk = StateDisk::open(disk.clone(), &head, writer, roots, roots, known, fresh(seed), &mut room)?;
    let length = Disk::read(&mut disk, 0, &mut out)?;
    Ok((out[..length].to_vec(), disk.epoch()))
}

/// A disk with a record of epoch 1, `first`, and one of epoch 2, `second`.
fn two_records() -> Memory {
    let mut room = room();
    let mut disk = create(Memory::prepared(), 1, &mut room);
    disk.commit(b"first").unwrap();
    disk.commit(b"second").unwrap();
    disk.device().clone()
}

#[test]
fn what_was_committed_is_opened_by_the_next_boot() {
    let mut first = room();
    let mut disk = create(Memory::prepared(), 1, &mut first);
    assert_eq!(disk.epoch(), 0);
    assert_eq!(disk.digest(), &[0; 32]);
    let identity = *disk.identity();
    let mut memory = disk.device().clone();
    for (epoch, record) in [(1, &b"a"[..]), (2, &[7; 5000]), (3, b"")] {
        disk.commit(record).unwrap();
        memory = disk.device().clone();
        assert_eq!(disk.epoch(), epoch);
        assert_eq!(opened(&memory, 9).unwrap(), (record.to_vec(), epoch));
        let head = head(&memory).unwrap();
        assert_eq!((head.digest(), head.identity(), head.boot_nonce()), (disk.digest(), &identity, disk.boot_nonce()));
        assert_eq!((head.measurement(), head.policy(), head.tcb()), (&WRITER.measurement, WRITER.policy, WRITER.tcb));
    }
    drop(disk);
    let found = head(&memory).unwrap();
    let mut room = room();
    let mut disk = StateDisk::open(memory, &found, &WRITER, &roots(1), &roots(1), None, fresh(2), &mut room).unwrap();
    assert_eq!((disk.epoch(), *disk.identity(), *disk.digest()), (3, identity, *found.digest()));
    assert_ne!(disk.boot_nonce(), found.boot_nonce(), "each boot has its own");
    disk.commit(b"next").unwrap();
    assert_eq!(opened(disk.device(), 3).unwrap(), (b"next".to_vec(), 4));
}

#[test]
fn the_largest_record_has_room_and_a_larger_one_is_refused() {
    use crate::contents::Section;
    use tpm_core::store::MAX_RECORD_SIZE;
    let mut room = room();
    let mut disk = create(Memory::prepared(), 1, &mut room);
    for section in [Section::Handover, Section::Origin, Section::Other] {
        disk.beside().set(section, &[1; 512]).unwrap();
    }
    disk.set_outer(&[2; MAX_OUTER]).unwrap();
    let record = vec![3; MAX_RECORD_SIZE];
    disk.commit(&record).unwrap();
    assert_eq!(opened(disk.device(), 2).unwrap(), (record, 1));
    assert_eq!(disk.commit(&vec![3; ROOM]), Err(Refusal::Room));
    assert_eq!(opened(disk.device(), 2).unwrap().1, 1);
    disk.commit(b"small").unwrap();
    assert_eq!(opened(disk.device(), 2).unwrap(), (b"small".to_vec(), 2));
}

#[test]
fn nothing_that_was_opened_stays_in_the_buffer() {
    let memory = two_records();
    let found = head(&memory).unwrap();
    let mut room = room();
    let known = Some(3);
    for known in [None, known] {
        drop(StateDisk::open(memory.clone(), &found, &WRITER, &roots(1), &roots(1), known, fresh(2), &mut room));
        assert!(room.iter().all(|octet| *octet == 0), "{known:?}");
    }
    let mut disk = StateDisk::open(memory, &found, &WRITER, &roots(1), &roots(1), None, fresh(2), &mut room).unwrap();
    disk.commit(b"").unwrap();
    drop(disk);
    assert!(!room.windows(6).any(|octets| octets == b"second"));
}

#[test]
fn a_tpm_that_has_moved_is_not_started_again() {
    let memory = two_records();
    let found = head(&memory).unwrap();
    let mut room = room();
    let mut disk = StateDisk::open(memory, &found, &WRITER, &roots(1), &roots(1), None, fresh(2), &mut room).unwrap();
    disk.beside().set(crate::Section::Handover, b"whither").unwrap();
    disk.commit_moved(b"").unwrap();
    assert!(disk.is_moved());
    assert_eq!(disk.commit(b"alive"), Err(Refusal::Moved));
    let memory = disk.device().clone();
    assert_eq!(opened(&memory, 3), Err(Refusal::Moved));
    let found = head(&memory).unwrap();
    assert_eq!((found.kind(), found.epoch()), (Some(crate::Kind::Moved), 4));
    drop(disk);
    let mut disk = StateDisk::open(memory, &found, &WRITER, &roots(1), &roots(1), None, fresh(3), &mut room).unwrap();
    assert_eq!(disk.beside().get(crate::Section::Handover), Some(&b"whither"[..]));
    assert_eq!(disk.commit(b"alive"), Err(Refusal::Moved));
}

#[test]
fn a_tpm_that_arrives_keeps_its_identity_and_goes_on_behind_its_epoch() {
    let (mut room, beginning) = (room(), Beginning::arrived([0xee; 32], 41));
    let mut disk = StateDisk::create(Memory::prepared(), &beginning, &WRITER, &roots(1), fresh(1), &mut room).unwrap();
    disk.commit(b"arrived").unwrap();
    assert_eq!((disk.identity(), disk.epoch()), (&[0xee; 32], 42));
    assert_eq!(opened(disk.device(), 2).unwrap(), (b"arrived".to_vec(), 42));
}

#[test]
fn the_version_is_in_both_places() {
    let memory = two_records();
    assert_eq!(memory.sectors[&0][8..12], u32::from(VERSION).to_le_bytes());
    assert_eq!(memory.sectors[&2048][8..10], VERSION.to_le_bytes());
}
