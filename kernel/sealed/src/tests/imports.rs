//! A state that the operator brings to another chip, and who cannot.

use super::roots::{recovered, roots, written};
use super::{Memory, Off, WRITER, chip, fresh, head, opened_with, recovery_key, room};
use crate::disk::{Beginning, StateDisk, Writer, read_contents, recover, scalar_of_imported};
use crate::keys::{RecoveryKey, Roots};
use crate::layout::Kind;
use crate::refusal::{Mismatch, Refusal};
use crate::{Import, import};

/// The firmware on another chip, with another measurement.
pub(super) const OTHER: Writer = Writer { measurement: [0x99; 48], ..WRITER };

pub(super) fn others() -> Roots {
    Roots { chip: chip(2, &OTHER), ..roots(1, None, Some(3)) }
}

/// A disk that the other firmware has begun a TPM on.
fn begun() -> Memory {
    begun_with(1)
}

/// The same, with so many records.
pub(super) fn begun_with(records: usize) -> Memory {
    let mut room = room();
    let (empty, beginning) = (Memory::prepared(), Beginning::new());
    let mut disk = StateDisk::create(empty, &beginning, &OTHER, &others(), fresh(5), &mut room).unwrap();
    (0..records).for_each(|_| disk.commit(b"begun").unwrap());
    disk.device().clone()
}

/// Brings the state of one disk to another with a key.
fn brought(from: &Memory, to: &Memory, key: &RecoveryKey) -> Result<Memory, Refusal<Off>> {
    let (exported, addressee) = (head(from)?, head(to)?);
    let (mut read, mut sealed, mut disk) = (room(), room(), to.clone());
    read_contents(from.clone(), &exported, &mut read)?;
    let opened = recover(&exported, &recovery_key(3), &mut read)?;
    let what = Import { from: &exported, tpm: &read[opened.tpm], beside: &opened.beside };
    import(&mut disk, key, &addressee, &what, &fresh(6), &mut sealed)?;
    Ok(disk)
}

pub(super) fn open(disk: &Memory, writer: &Writer, roots: &Roots) -> Result<(Vec<u8>, u64), Refusal<Off>> {
    opened_with(disk, writer, roots, None, 9)
}

#[test]
fn a_state_comes_to_another_chip_by_the_recovery_key() {
    let from = written(&roots(1, Some(7), Some(3)));
    let disk = brought(&from, &begun(), &recovery_key(3)).unwrap();
    let imported = head(&disk).unwrap();
    assert_eq!((imported.kind(), imported.epoch()), (Some(Kind::Imported), 2));
    assert_eq!(imported.identity(), head(&from).unwrap().identity());
    assert_eq!(open(&disk, &OTHER, &others()), Ok((b"state".to_vec(), 2)));
    // What that firmware writes then is its own.
    let mut room = room();
    let found = head(&disk).unwrap();
    let mut disk = StateDisk::open(disk, &found, &OTHER, &others(), &others(), None, fresh(8), &mut room).unwrap();
    disk.commit(b"on").unwrap();
    let disk = disk.device().clone();
    assert_eq!(head(&disk).unwrap().kind(), Some(Kind::State));
    assert_eq!(open(&disk, &OTHER, &others()), Ok((b"on".to_vec(), 3)));
    assert_eq!(recovered(&disk, &recovery_key(3)), Ok(b"on".to_vec()));
}

/// A host with a key of its own brings a state whose secrets it knows.
#[test]
fn not_ours_of_an_import_by_another_key() {
    let disk = brought(&written(&roots(1, Some(7), Some(3))), &begun(), &recovery_key(4)).unwrap();
    assert_eq!(open(&disk, &OTHER, &others()), Err(Refusal::NotOurs(Mismatch::Key)));
}

#[test]
fn not_ours_of_an_import_for_another_firmware_or_chip() {
    let disk = brought(&written(&roots(1, Some(7), Some(3))), &begun(), &recovery_key(3)).unwrap();
    let first = roots(1, Some(7), Some(3));
    assert_eq!(open(&disk, &WRITER, &first), Err(Refusal::NotOurs(Mismatch::Measurement)));
    assert_eq!(open(&disk, &OTHER, &roots(1, None, Some(3))), Err(Refusal::NotOurs(Mismatch::Key)));
}

#[test]
fn not_ours_of_an_import_where_the_settings_have_no_recovery_key() {
    let from = written(&roots(1, Some(7), Some(3)));
    let without = written(&roots(1, Some(7), None));
    assert_eq!(brought(&from, &without, &recovery_key(3)).err(), Some(Refusal::NotOurs(Mismatch::Roots)));
}

/// What gets a firmware its share is in records of its own.
#[test]
fn not_ours_of_an_import_for_a_firmware_that_wants_a_share() {
    let from = written(&roots(1, Some(7), Some(3)));
    let with_share = written(&roots(2, Some(7), Some(3)));
    assert_eq!(brought(&from, &with_share, &recovery_key(3)).err(), Some(Refusal::NotOurs(Mismatch::Roots)));
}

#[test]
fn a_scalar_follows_from_an_imported_record_and_from_no_other() {
    let from = written(&roots(1, None, Some(3)));
    let disk = brought(&from, &begun(), &recovery_key(3)).unwrap();
    let scalar = |disk: &Memory, writer: &Writer, roots: &Roots| {
        scalar_of_imported::<Off>(&head(disk).unwrap(), writer, roots, roots.bits()).map(|it| *it)
    };
    let first = roots(1, None, Some(3));
    assert_eq!(scalar(&disk, &OTHER, &others()).unwrap(), scalar(&disk, &OTHER, &others()).unwrap());
    assert_eq!(scalar(&disk, &OTHER, &first), Err(Refusal::NotOurs(Mismatch::Key)));
    assert_ne!(scalar(&disk, &OTHER, &others()).ok(), scalar(&from, &WRITER, &first).ok());
    // What can be seen comes first.
    assert_eq!(scalar(&disk, &WRITER, &first), Err(Refusal::NotOurs(Mismatch::Measurement)));
    let with_share = roots(2, Some(7), Some(3));
    assert_eq!(scalar(&disk, &OTHER, &with_share), Err(Refusal::NotOurs(Mismatch::Roots)));
}

/// A record of the firmware's own is no import, and an import no record of its own.
#[test]
fn damaged_of_a_record_whose_kind_was_changed() {
    let mend = |mut disk: Memory, kind: Kind| {
        let at = head(&disk).unwrap();
        let sector = disk.sectors.get_mut(&crate::layout::first_sector(crate::layout::slot_of(at.epoch()))).unwrap();
        sector[0x0a] = kind as u8;
        let digest = crate::layout::sha256(&sector[..0x1e0]);
        sector[0x1e0..].copy_from_slice(&digest);
        disk
    };
    let own = mend(written(&roots(1, Some(7), Some(3))), Kind::Imported);
    let refusal = open(&own, &WRITER, &roots(1, Some(7), Some(3)));
    assert_eq!(refusal, Err(Refusal::Damaged(crate::Part::Authentication(1))));
    let imported = brought(&written(&roots(1, Some(7), Some(3))), &begun(), &recovery_key(3)).unwrap();
    assert_eq!(open(&mend(imported, Kind::State), &OTHER, &others()), Err(Refusal::NotOurs(Mismatch::Key)));
}
