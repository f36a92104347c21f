//! Each reason not to use a disk, by itself.

use super::{Memory, Off, WRITER, chip, create, fresh, head, opened, opened_with, room, roots, two_records};
use crate::device::BlockDevice;
use crate::disk::{Beginning, Found, StateDisk, Writer, look, prepare};
use crate::keys::Roots;
use crate::layout::{MIN_SECTORS, sha256};
use crate::refusal::{Mismatch, Part, Refusal};

/// A device that reads nothing.
struct Deaf;

impl BlockDevice for Deaf {
    type Error = Off;

    fn sectors(&self) -> u64 {
        u64::MAX
    }

    fn read(&mut self, _: u64, _: &mut [u8]) -> Result<(), Off> {
        Err(Off)
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Off> {
        Err(Off)
    }

    fn flush(&mut self) -> Result<(), Off> {
        Err(Off)
    }
}

#[test]
fn device_it_reads_nothing() {
    assert_eq!(look(Deaf).unwrap_err(), Refusal::Device(Off));
    assert_eq!(prepare(Deaf).unwrap_err(), Refusal::Device(Off));
}

#[test]
fn too_small_of_a_disk_without_room_for_two_records() {
    let mut disk = Memory::prepared();
    disk.size = MIN_SECTORS - 1;
    let small = Refusal::TooSmall { sectors: MIN_SECTORS - 1, needed: MIN_SECTORS };
    assert_eq!(look(&mut disk).unwrap_err(), small);
    assert_eq!(prepare(&mut disk).unwrap_err(), small);
}

#[test]
fn unmarked_of_a_disk_that_nobody_has_prepared() {
    assert_eq!(look(Memory::blank()).unwrap_err(), Refusal::Unmarked);
    let mut others = Memory::blank();
    others.sectors.insert(0, [0x55; 512]);
    assert_eq!(look(others).unwrap_err(), Refusal::Unmarked);
}

#[test]
fn version_of_another_one() {
    for (sector, at) in [(0, 8), (4096, 8)] {
        let mut disk = two_records();
        let octets = disk.sectors.get_mut(&sector).unwrap();
        octets[at] = 1;
        let digest = sha256(&octets[..0x1e0]);
        octets[0x1e0..].copy_from_slice(&digest);
        assert_eq!(look(disk).unwrap_err(), Refusal::Version(1), "{sector}");
    }
}

/// Slots of zeros are not empty ones: a hole in a file makes no new TPM.
#[test]
fn damaged_of_slots_that_are_zero() {
    for (slot, sector) in [(0, 2048), (1, 4096)] {
        let mut disk = Memory::prepared();
        disk.sectors.remove(&sector);
        assert_eq!(look(disk).unwrap_err(), Refusal::Damaged(Part::Head(slot)));
    }
}

/// A record is read from the slot of its epoch only.
#[test]
fn damaged_of_a_record_in_the_slot_of_others() {
    let mut disk = two_records();
    let older = disk.sectors[&4096];
    disk.sectors.insert(2048, older);
    assert_eq!(look(disk).unwrap_err(), Refusal::Damaged(Part::Head(0)));
}

/// The contents of one record under the head of another.
#[test]
fn damaged_of_a_mixture() {
    let mut disk = two_records();
    let older = disk.sectors[&(4096 + 8)];
    disk.sectors.insert(2048 + 8, older);
    assert_eq!(opened(&disk, 9), Err(Refusal::Damaged(Part::Contents(0))));
}

#[test]
fn not_ours_of_another_firmware() {
    let other = Writer { measurement: [0x4e; 48], ..WRITER };
    let roots = Roots { chip: chip(1, &other), share: None, recovery: None };
    let refusal = Refusal::NotOurs(Mismatch::Measurement);
    assert_eq!(opened_with(&two_records(), &other, &roots, None, 9), Err(refusal));
}

#[test]
fn not_ours_of_another_policy() {
    let debug = Writer { policy: WRITER.policy | 1 << 19, ..WRITER };
    let roots = Roots { chip: chip(1, &debug), share: None, recovery: None };
    assert_eq!(opened_with(&two_records(), &debug, &roots, None, 9), Err(Refusal::NotOurs(Mismatch::Policy)));
}

/// A firmware that lies about what it is gets another key from the secure processor.
#[test]
fn not_ours_of_a_firmware_that_says_it_were_the_writer() {
    let other = Writer { measurement: [0x4e; 48], ..WRITER };
    let roots = Roots { chip: chip(1, &other), share: None, recovery: None };
    assert_eq!(opened_with(&two_records(), &WRITER, &roots, None, 9), Err(Refusal::NotOurs(Mismatch::Key)));
}

#[test]
fn not_ours_of_another_chip() {
    assert_eq!(opened_with(&two_records(), &WRITER, &roots(2), None, 9), Err(Refusal::NotOurs(Mismatch::Key)));
}

/// Each part of the TCB counts for itself.
#[test]
fn not_ours_of_a_tcb_that_is_not_committed() {
    let mut found = Vec::new();
    for tcb in [0x0400_0000_0000_0002, 0x0300_0000_0000_0003, 0x0500_0000_0000_0004, WRITER.tcb] {
        let writer = Writer { tcb, ..WRITER };
        found.push(opened_with(&two_records(), &writer, &roots(1), None, 9).map(|_| ()));
    }
    let refused = Err(Refusal::NotOurs(Mismatch::Tcb));
    assert_eq!(found, [refused, refused, Ok(()), Ok(())]);
}

/// A key of an older TCB, which somebody may have, is of no use once a newer one is committed and a record was written.
#[test]
fn a_new_tcb_has_another_key() {
    let newer = Writer { tcb: WRITER.tcb + 1, ..WRITER };
    let sealing = Roots { chip: chip(1, &newer), share: None, recovery: None };
    let (disk, mut room) = (two_records(), room());
    let found = head(&disk).unwrap();
    let mut disk = StateDisk::open(disk, &found, &newer, &roots(1), &sealing, None, fresh(2), &mut room).unwrap();
    disk.commit(b"healed").unwrap();
    assert_eq!(head(disk.device()).unwrap().tcb(), newer.tcb);
    assert_eq!(opened_with(disk.device(), &newer, &roots(1), None, 9), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_eq!(opened_with(disk.device(), &newer, &sealing, None, 9).unwrap(), (b"healed".to_vec(), 3));
}

#[test]
fn older_of_a_record_before_one_that_is_known() {
    assert_eq!(opened_with(&two_records(), &WRITER, &roots(1), Some(2), 9).unwrap().1, 2);
    let older = Refusal::Older { epoch: 2, known: 3 };
    assert_eq!(opened_with(&two_records(), &WRITER, &roots(1), Some(3), 9), Err(older));
}

#[test]
fn not_empty_of_a_disk_with_a_state() {
    let mut room = room();
    let made = StateDisk::create(two_records(), &Beginning::new(), &WRITER, &roots(1), fresh(2), &mut room);
    assert_eq!(made.err(), Some(Refusal::NotEmpty));
}

#[test]
fn room_of_a_buffer_that_is_too_short() {
    let mut short = vec![0; crate::layout::ROOM - 1];
    let made = StateDisk::create(Memory::prepared(), &Beginning::new(), &WRITER, &roots(1), fresh(2), &mut short);
    assert_eq!(made.err(), Some(Refusal::Room));
}

#[test]
fn exhausted_of_the_last_epoch() {
    let (mut room, last) = (room(), Beginning::arrived([1; 32], u64::MAX - 1));
    let mut disk = StateDisk::create(Memory::prepared(), &last, &WRITER, &roots(1), fresh(1), &mut room).unwrap();
    disk.commit(b"last").unwrap();
    assert_eq!(disk.commit(b"one more"), Err(Refusal::Exhausted));
    assert_eq!(opened(disk.device(), 2).unwrap(), (b"last".to_vec(), u64::MAX));
}

/// Looking writes nothing, and neither does a refusal.
#[test]
fn a_disk_that_is_refused_is_left_as_it_is() {
    let (disk, mut room) = (two_records(), room());
    let found = head(&disk).unwrap();
    let written = disk.written;
    let mut device = disk;
    assert!(matches!(look(&mut device), Ok(Found::Record(_))));
    let open = StateDisk::open(&mut device, &found, &WRITER, &roots(2), &roots(2), None, fresh(2), &mut room);
    assert!(open.is_err());
    drop(open);
    let made = create_error(&mut device);
    assert_eq!(made, Some(Refusal::NotEmpty));
    assert_eq!(device.written, written);
}

fn create_error(device: &mut Memory) -> Option<Refusal<Off>> {
    StateDisk::create(device, &Beginning::new(), &WRITER, &roots(1), fresh(2), &mut room()).err()
}

#[test]
fn reasons_are_told_in_words() {
    let (mut room, disk) = (room(), Memory::prepared());
    drop(create(disk, 1, &mut room));
    let texts: std::collections::BTreeSet<_> = [
        Refusal::Device(0),
        Refusal::TooSmall { sectors: 1, needed: 2 },
        Refusal::Unmarked,
        Refusal::Version(9),
        Refusal::Damaged(Part::Label),
        Refusal::Damaged(Part::Head(0)),
        Refusal::Damaged(Part::Contents(0)),
        Refusal::Damaged(Part::Authentication(0)),
        Refusal::NotOurs(Mismatch::Measurement),
        Refusal::NotOurs(Mismatch::Policy),
        Refusal::NotOurs(Mismatch::Tcb),
        Refusal::NotOurs(Mismatch::Roots),
        Refusal::NotOurs(Mismatch::Key),
        Refusal::Older { epoch: 1, known: 2 },
        Refusal::Moved,
        Refusal::NotEmpty,
        Refusal::Contents,
        Refusal::Room,
        Refusal::Broken,
        Refusal::Exhausted,
        Refusal::Key,
    ]
    .map(|refusal: Refusal<u8>| refusal.to_string())
    .into();
    assert_eq!(texts.len(), 21);
}
