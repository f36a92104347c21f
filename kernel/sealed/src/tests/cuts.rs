//! The power goes after any sector of any write.

use super::imports::{OTHER, begun_with, open, others};
use super::roots::{roots as roots_with, written};
use super::{Memory, Off, WRITER, create, fresh, head, look, opened, recovery_key, room, roots};
use crate::disk::{Found, StateDisk, prepare};
use crate::refusal::Refusal;
use crate::{Beside, Import, import};

/// Records of a history, whose lengths change: some have one sector, some have several.
fn record(epoch: u64) -> Vec<u8> {
    vec![u8::try_from(epoch).unwrap(); [5, 1200, 480, 3000][usize::try_from(epoch % 4).unwrap()]]
}

#[test]
fn every_cut_leaves_the_record_before_or_the_new_one() {
    let (mut room, mut cuts) = (room(), 0);
    let mut disk = create(Memory::prepared(), 1, &mut room);
    for epoch in 1..40 {
        let before = disk.device().clone();
        disk.commit(&record(epoch)).unwrap();
        let sectors = disk.device().written - before.written;
        for left in 0..=sectors {
            // The same boot, with the same key: what it writes is the same up to there.
            let mut torn = before.clone();
            for (sector, octets) in changed(&before, disk.device()).into_iter().take(left) {
                torn.sectors.insert(sector, octets);
            }
            let expected = if left == sectors { Some(epoch) } else { Some(epoch - 1).filter(|epoch| *epoch != 0) };
            match expected {
                None => assert!(matches!(look(&mut torn), Ok(Found::Empty)), "{left}"),
                Some(epoch) => assert_eq!(opened(&torn, 9).unwrap(), (record(epoch), epoch), "{left}"),
            }
            cuts += 1;
        }
    }
    assert!(cuts > 150, "{cuts}");
}

/// The sectors in which two disks differ, in the order in which a commit writes them: contents, then head.
fn changed(before: &Memory, after: &Memory) -> Vec<(u64, super::Sector)> {
    let differs = |sector: &u64| before.sectors.get(sector) != after.sectors.get(sector);
    let mut sectors: Vec<_> = after.sectors.keys().copied().filter(differs).collect();
    sectors.sort_by_key(|sector| [2048, 4096].contains(sector));
    sectors.into_iter().map(|sector| (sector, after.sectors[&sector])).collect()
}

#[test]
fn after_a_write_that_failed_nothing_more_is_written() {
    for left in 0..5 {
        let mut room = room();
        let mut disk = create(Memory::prepared(), 1, &mut room);
        disk.commit(&record(3)).unwrap();
        disk.device().left = Some(left);
        assert_eq!(disk.commit(&record(3)), Err(Refusal::Device(Off)), "{left}");
        disk.device().left = None;
        assert_eq!(disk.commit(&record(3)), Err(Refusal::Broken), "{left}");
        let written = disk.device().clone();
        // The next boot goes on from what is there.
        drop(disk);
        let found = head(&written).unwrap();
        let mut disk =
            StateDisk::open(written, &found, &WRITER, &roots(1), &roots(1), None, fresh(2), &mut room).unwrap();
        disk.commit(b"on").unwrap();
        assert_eq!(opened(disk.device(), 9).unwrap(), (b"on".to_vec(), found.epoch() + 1));
    }
}

#[test]
fn a_disk_that_is_being_prepared_is_none_before_it_is_empty() {
    for left in 0..4 {
        let mut disk = super::two_records();
        disk.left = Some(left);
        let done = prepare(&mut disk);
        disk.left = None;
        match look(&mut disk) {
            Ok(Found::Empty) => assert!(done.is_ok() || left == 4, "{left}"),
            Ok(Found::Record(head)) => assert_eq!((head.epoch(), left), (2, 0)),
            Err(refusal) => assert_eq!(refusal, Refusal::Unmarked, "{left}"),
        }
    }
}

/// Between the two there is never an empty disk, on which the next boot would make a new TPM, and never one that is no
/// state disk: the operator begins again where the power went.
#[test]
fn an_import_that_is_cut_leaves_the_record_that_was_there_or_the_whole_one() {
    let from = written(&roots_with(1, Some(7), Some(3)));
    // The imported record would have either slot.
    for records in 1..=6 {
        let to = begun_with(records);
        let (exported, addressee) = (head(&from).unwrap(), head(&to).unwrap());
        let bring = |disk: &mut Memory| {
            let what = Import { from: &exported, tpm: b"state", beside: &Beside::new() };
            import(disk, &recovery_key(3), &addressee, &what, &fresh(6), &mut room())
        };
        let mut done = to.clone();
        bring(&mut done).unwrap();
        let (state, epoch) = open(&done, &OTHER, &others()).unwrap();
        assert!(state == b"state" && epoch > exported.epoch() && epoch > addressee.epoch(), "{epoch}");
        for left in 0..done.written - to.written {
            let mut torn = to.clone();
            torn.left = Some(left);
            assert!(bring(&mut torn).is_err(), "{left}");
            torn.left = None;
            let there = open(&torn, &OTHER, &others());
            assert_eq!(there, Ok((b"begun".to_vec(), addressee.epoch())), "{records} records, {left} sectors");
            bring(&mut torn).unwrap();
            assert_eq!(open(&torn, &OTHER, &others()), Ok((b"state".to_vec(), epoch)));
        }
    }
}
