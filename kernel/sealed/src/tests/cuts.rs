//! The power goes after any sector of any write.

use super::{Memory, Off, WRITER, create, fresh, head, look, opened, room, roots};
use crate::disk::{Found, StateDisk, prepare};
use crate::refusal::Refusal;

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
