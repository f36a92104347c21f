//! The outer part: what the chip's root opens alone, since what is in it says how the share is had.

use super::roots::roots;
use super::{Memory, Off, WRITER, chip, fresh, head, room};
use crate::disk::{Beginning, StateDisk, Writer, open_outer};
use crate::keys::{Root, Roots, root};
use crate::layout::MAX_OUTER;
use crate::refusal::{Mismatch, Refusal};

/// A disk with a record that has this outer part.
pub(super) fn written(roots: &Roots, outer: &[u8]) -> Memory {
    let mut room = room();
    let mut disk =
        StateDisk::create(Memory::prepared(), &Beginning::new(), &WRITER, roots, fresh(1), &mut room).unwrap();
    disk.set_outer(outer).unwrap();
    disk.commit(b"state").unwrap();
    disk.device().clone()
}

fn outer(disk: &Memory, writer: &Writer, chip: &Root, roots: u32) -> Result<Vec<u8>, Refusal<Off>> {
    let mut room = room();
    open_outer(disk.clone(), &head(disk)?, writer, chip, roots, &mut room).map(<[u8]>::to_vec)
}

const BOTH: u32 = root::CHIP | root::SHARE;

#[test]
fn it_is_read_before_there_is_a_share_and_the_state_is_not() {
    for length in [1, 496, 497, MAX_OUTER] {
        let shown = vec![7; length];
        let disk = written(&roots(1, Some(7), None), &shown);
        assert_eq!(outer(&disk, &WRITER, &chip(1, &WRITER), BOTH), Ok(shown.clone()));
        let found = head(&disk).unwrap();
        let open = |roots: &Roots| {
            let mut room = room();
            let disk = StateDisk::open(disk.clone(), &found, &WRITER, roots, roots, None, fresh(9), &mut room)?;
            Ok::<_, Refusal<Off>>(disk.outer().to_vec())
        };
        assert_eq!(open(&roots(1, Some(7), None)), Ok(shown));
        assert_eq!(open(&roots(1, None, None)), Err(Refusal::NotOurs(Mismatch::Roots)));
    }
}

#[test]
fn no_other_chip_opens_it_and_no_other_firmware() {
    let disk = written(&roots(1, Some(7), None), b"shown");
    let other = Writer { measurement: [0x4e; 48], ..WRITER };
    assert_eq!(outer(&disk, &WRITER, &chip(2, &WRITER), BOTH), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_eq!(outer(&disk, &other, &chip(1, &other), BOTH), Err(Refusal::NotOurs(Mismatch::Measurement)));
    assert_eq!(outer(&disk, &WRITER, &chip(1, &WRITER), root::CHIP), Err(Refusal::NotOurs(Mismatch::Roots)));
}

/// It goes out with each commit as it was set last, and stays over boots.
#[test]
fn it_stays_until_another_is_set() {
    let memory = written(&roots(1, None, None), b"first");
    let (found, mut room) = (head(&memory).unwrap(), room());
    let roots = roots(1, None, None);
    let mut disk = StateDisk::open(memory, &found, &WRITER, &roots, &roots, None, fresh(2), &mut room).unwrap();
    for (set, there) in [(None, &b"first"[..]), (Some(&b"second"[..]), b"second"), (Some(b""), b"")] {
        set.into_iter().for_each(|octets| disk.set_outer(octets).unwrap());
        disk.commit(b"state").unwrap();
        assert_eq!(outer(disk.device(), &WRITER, &chip(1, &WRITER), root::CHIP), Ok(there.to_vec()));
    }
    assert_eq!(disk.set_outer(&[0; MAX_OUTER + 1]), None);
}

/// Contents and outer part of two records of one boot: neither stands beside the other.
#[test]
fn it_is_of_its_record_alone() {
    use crate::layout::sha256;
    let mut room = room();
    let roots = roots(1, None, None);
    let mut disk =
        StateDisk::create(Memory::prepared(), &Beginning::new(), &WRITER, &roots, fresh(1), &mut room).unwrap();
    for shown in [b"1", b"2", b"3"] {
        disk.set_outer(shown).unwrap();
        disk.commit(b"state").unwrap();
    }
    // Epoch 3 is in slot 1, epoch 2 in slot 0.
    let mut memory = disk.device().clone();
    let older = memory.sectors[&(2048 + 9)];
    memory.sectors.insert(4096 + 9, older);
    let contents = [memory.sectors[&(4096 + 8)], older].concat();
    let head = memory.sectors.get_mut(&4096).unwrap();
    head[0x1c0..0x1e0].copy_from_slice(&sha256(&contents));
    let digest = sha256(&head[..0x1e0]);
    head[0x1e0..].copy_from_slice(&digest);
    assert_eq!(outer(&memory, &WRITER, &chip(1, &WRITER), root::CHIP), Err(Refusal::NotOurs(Mismatch::Key)));
}
