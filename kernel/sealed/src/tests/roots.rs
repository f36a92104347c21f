//! What a record is sealed to.

use super::{Memory, Off, WRITER, chip, fresh, head, opened_with, recovery_key, room};
use crate::disk::{Beginning, StateDisk, read_contents, recover};
use crate::keys::{RecoveryKey, RecoveryPoint, Root, Roots, root};
use crate::refusal::{Mismatch, Refusal};

pub(super) fn roots(number: u8, share: Option<u8>, recovery: Option<u8>) -> Roots {
    let recovery = recovery.map(|octet| recovery_key(octet).public().clone());
    Roots { chip: chip(number, &WRITER), share: share.map(|octet| Root::new([octet; 32])), recovery }
}

pub(super) fn written(roots: &Roots) -> Memory {
    let mut room = room();
    let mut disk =
        StateDisk::create(Memory::prepared(), &Beginning::new(), &WRITER, roots, fresh(1), &mut room).unwrap();
    disk.commit(b"state").unwrap();
    disk.device().clone()
}

pub(super) fn recovered(disk: &Memory, key: &RecoveryKey) -> Result<Vec<u8>, Refusal<Off>> {
    let (found, mut room) = (head(disk)?, room());
    read_contents(disk.clone(), &found, &mut room)?;
    let opened = recover::<Off>(&found, key, &mut room)?;
    Ok(room[opened.tpm].to_vec())
}

/// Where the settings ask for a share, neither the chip's key nor the share opens it alone.
#[test]
fn two_roots_are_needed_where_two_are_asked_for() {
    let disk = written(&roots(1, Some(7), None));
    assert_eq!(head(&disk).unwrap().roots(), root::CHIP | root::SHARE);
    let open = |roots: &Roots| opened_with(&disk, &WRITER, roots, None, 9).map(|(record, _)| record);
    assert_eq!(open(&roots(1, Some(7), None)), Ok(b"state".to_vec()));
    assert_eq!(open(&roots(1, Some(8), None)), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_eq!(open(&roots(2, Some(7), None)), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_eq!(open(&roots(1, None, None)), Err(Refusal::NotOurs(Mismatch::Roots)));
}

/// Whoever has the chip's secret can make a record for it alone: it is not taken where two roots are asked for.
#[test]
fn a_record_for_one_root_is_refused_where_two_are_asked_for() {
    let disk = written(&roots(1, None, None));
    let refusal = opened_with(&disk, &WRITER, &roots(1, Some(7), None), None, 9);
    assert_eq!(refusal, Err(Refusal::NotOurs(Mismatch::Roots)));
}

#[test]
fn the_recovery_key_opens_what_names_it_and_nothing_else() {
    let disk = written(&roots(1, Some(7), Some(3)));
    assert_eq!(head(&disk).unwrap().roots(), root::CHIP | root::SHARE | root::RECOVERY);
    assert_eq!(recovered(&disk, &recovery_key(3)), Ok(b"state".to_vec()));
    assert_eq!(recovered(&disk, &recovery_key(4)), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_eq!(recovered(&written(&roots(1, Some(7), None)), &recovery_key(3)), Err(Refusal::NotOurs(Mismatch::Key)));
    assert!(opened_with(&disk, &WRITER, &roots(1, Some(7), Some(3)), None, 9).is_ok());
}

/// The firmware's half of the agreement is made of both roots: a chip's secret alone does not open the recovery wrap.
#[test]
fn the_recovery_wrap_needs_both_roots_too() {
    let points: Vec<_> = [(1, Some(7)), (1, Some(8)), (1, None), (2, Some(7))]
        .into_iter()
        .map(|(chip, share)| head(&written(&roots(chip, share, Some(3)))).unwrap().recovery_point)
        .collect();
    for (n, point) in points.iter().enumerate() {
        assert!(!points[..n].contains(point), "{n}");
    }
}

#[test]
fn key_of_a_point_that_is_not_on_the_curve() {
    assert_eq!(RecoveryPoint::new(&[0; 96]), None);
    let mut octets = recovery_key(3).public().octets();
    assert!(RecoveryPoint::new(&octets).is_some());
    octets[95] ^= 1;
    assert_eq!(RecoveryPoint::new(&octets), None);
}

#[test]
fn the_chips_key_is_asked_for_by_measurement_policy_and_tcb() {
    use crate::keys::{FIELDS, chip_request};
    assert_eq!(FIELDS, 1 | 1 << 3 | 1 << 5);
    let request = chip_request(0x0102_0304_0506_0708);
    assert_eq!(request.root_key.get(), 0);
    assert_eq!((request.field_select.get(), request.vmpl.get(), request.guest_svn.get()), (0x29, 0, 0));
    assert_eq!(request.tcb_version.get(), 0x0102_0304_0506_0708);
}
