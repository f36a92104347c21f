//! Every bit of everything that is written, flipped: refused, and named.

use super::{Memory, Off, opened, two_records};
use crate::device::SECTOR;
use crate::layout::{Sector, sha256};
use crate::refusal::{Mismatch, Part, Refusal};

const BITS: usize = 8 * SECTOR;

/// The refusals for each bit of a sector, each once, in the order in which they are met.
fn refusals(sector: u64, mend: impl Fn(&mut Memory)) -> Vec<Refusal<Off>> {
    let (whole, mut met) = (two_records(), Vec::new());
    for bit in 0..BITS {
        let mut disk = whole.clone();
        disk.flip(sector, bit);
        mend(&mut disk);
        let refusal = opened(&disk, 9).expect_err(&format!("sector {sector}, bit {bit}"));
        if !met.contains(&refusal) {
            met.push(refusal);
        }
    }
    met
}

#[test]
fn of_the_label() {
    assert_eq!(refusals(0, |_| {}), [Refusal::Unmarked, Refusal::Damaged(Part::Label)]);
}

#[test]
fn of_the_head_that_counts() {
    assert_eq!(refusals(2048, |_| {}), [Refusal::Damaged(Part::Head(0))]);
}

/// It may have been the newer one: nobody can tell any more.
#[test]
fn of_the_other_head() {
    assert_eq!(refusals(4096, |_| {}), [Refusal::Damaged(Part::Head(1))]);
}

/// With the zeros behind them, to the end of the sector.
#[test]
fn of_the_contents_that_count() {
    assert_eq!(refusals(2048 + 8, |_| {}), [Refusal::Damaged(Part::Contents(0))]);
}

fn mend_sector(sector: &mut Sector) {
    let digest = sha256(&sector[..0x1e0]);
    sector[0x1e0..].copy_from_slice(&digest);
}

/// By somebody who knows how digests are made, and no key.
#[test]
fn of_the_contents_with_all_digests_made_anew() {
    let mend = |disk: &mut Memory| {
        let contents = sha256(&disk.sectors[&(2048 + 8)]);
        let head = disk.sectors.get_mut(&2048).unwrap();
        head[0x1c0..0x1e0].copy_from_slice(&contents);
        mend_sector(head);
    };
    // What is behind the contents is zero in what we write, and nothing is read there.
    let (whole, length) = (two_records(), 8 + "second".len() + 16);
    for bit in 0..BITS {
        let mut disk = whole.clone();
        disk.flip(2048 + 8, bit);
        mend(&mut disk);
        let expected = if bit < 8 * length { Part::Authentication(0) } else { Part::Contents(0) };
        assert_eq!(opened(&disk, 9), Err(Refusal::Damaged(expected)), "{bit}");
    }
}

#[test]
fn of_the_head_with_its_digest_made_anew() {
    let whole = two_records();
    for bit in 0..8 * 0x1e0 {
        let mut disk = whole.clone();
        disk.flip(2048, bit);
        mend_sector(disk.sectors.get_mut(&2048).unwrap());
        let refusal = opened(&disk, 9).expect_err(&format!("bit {bit}"));
        let damaged = |part| Refusal::Damaged(part);
        let possible: &[Refusal<Off>] = match bit / 8 {
            // Magic; kind; an epoch of the other slot, or 0.
            0..8 | 0x0a..0x0c | 0x10 => {
                &[damaged(Part::Head(0)), damaged(Part::Authentication(0)), Refusal::NotOurs(Mismatch::Key)]
            }
            0x08..0x0a => &[Refusal::Version((2 ^ (1 << (bit % 16))) as u32)],
            0x0c..0x10 => &[damaged(Part::Head(0)), damaged(Part::Contents(0)), damaged(Part::Authentication(0))],
            0x11..0x18 => &[damaged(Part::Authentication(0))],
            // Identity and boot nonce are in the wrap's authentication.
            0x18..0x58 => &[Refusal::NotOurs(Mismatch::Key)],
            0x58..0x88 => &[Refusal::NotOurs(Mismatch::Measurement)],
            0x88..0x90 => &[Refusal::NotOurs(Mismatch::Policy)],
            0x90..0x98 => &[Refusal::NotOurs(Mismatch::Tcb), Refusal::NotOurs(Mismatch::Key)],
            0x98..0x9c => &[Refusal::NotOurs(Mismatch::Roots)],
            0x9c..0xa0 | 0xac..0xb0 | 0x1b0..0x1c0 => &[damaged(Part::Head(0))],
            // An outer part that is too short or too long; one that is not there.
            0xa8..0xac => &[damaged(Part::Head(0)), damaged(Part::Contents(0))],
            0xa0..0xa8 => &[damaged(Part::Authentication(0))],
            0xb0..0x100 => &[Refusal::NotOurs(Mismatch::Key)],
            0x100..0x1b0 => &[damaged(Part::Authentication(0))],
            _ => &[damaged(Part::Contents(0))],
        };
        assert!(possible.contains(&refusal), "octet {:#x}: {refusal:?}", bit / 8);
    }
}

/// The outer part lies behind the contents, in sectors of its own: each bit of it, with digests made anew.
#[test]
fn of_the_outer_part() {
    let (whole, length) = (super::outer::written(&super::roots(1), b"what anchors are shown"), 22 + 16);
    for bit in 0..BITS {
        let mut disk = whole.clone();
        disk.flip(4096 + 9, bit);
        let refused = opened(&disk, 9);
        assert_eq!(refused, Err(Refusal::Damaged(Part::Contents(1))), "{bit}");
        let contents = [disk.sectors[&(4096 + 8)], disk.sectors[&(4096 + 9)]].concat();
        let head = disk.sectors.get_mut(&4096).unwrap();
        head[0x1c0..0x1e0].copy_from_slice(&sha256(&contents));
        mend_sector(head);
        let expected = if bit < 8 * length { Part::Authentication(1) } else { Part::Contents(1) };
        assert_eq!(opened(&disk, 9), Err(Refusal::Damaged(expected)), "{bit}");
    }
}
