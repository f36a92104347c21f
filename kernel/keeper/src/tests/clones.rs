//! Old copies of a disk, and two copies at once.

use super::{Image, Machine, World, chip, refusal, why};
use crate::moving::NotEntombed;
use anchor::quorum::{Cadence, TooFew};
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Keeper;
use sealed::disk::{look, read_contents, recover};
use sealed::layout::ROOM;
use sealed::{Found, Fresh, Head, Import, RecoveryKey};
use snp::report::Report;
use zerocopy::FromZeros;

#[test]
fn an_old_copy_of_the_disk_does_not_start_and_both_epochs_are_named() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let (old, at) = (disk.copy(), machine.epoch());
    machine.change(5).unwrap();
    let (reason, line) = refusal(world.boot(&old));
    assert_eq!(reason, Reason::Old);
    let said = format!("(code 29): the state is old: the anchors know epoch {}; here it is {at}", at + 1);
    assert!(line.ends_with(&said), "{line}");
    assert!(world.boot(&disk).is_ok(), "the newest still starts");
}

/// An old copy, whatever is done when too few answer.
#[test]
fn an_old_copy_does_not_start_where_a_tpm_may_go_on_alone() {
    let world = World::with(2, 3, Cadence::Boot, TooFew::SaySo, false);
    let disk = Image::prepared();
    drop(world.boot(&disk).unwrap());
    let old = disk.copy();
    drop(world.boot(&disk).unwrap());
    assert_eq!(refusal(world.boot(&old)).0, Reason::Old);
}

#[test]
fn of_two_copies_the_later_one_lives_and_the_other_ends_at_its_next_commit() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    drop(world.boot(&disk).unwrap());
    let copy = disk.copy();
    let mut first = world.boot(&disk).unwrap();
    // The copy is of the record before the first's boot.
    assert_eq!(refusal(world.boot(&copy)).0, Reason::Old);
    let copy = disk.copy();
    let mut second = world.boot(&copy).unwrap();
    let (reason, line) = why(first.change(6));
    assert_eq!(reason, Reason::Old);
    assert!(line.contains("another copy has started"), "{line}");
    second.change(7).unwrap();
}

/// A cut between the disk and the anchors, at a boot and at a commit: the newest record starts.
#[test]
fn a_cut_between_disk_and_anchors_locks_nobody_out() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    world.up(&[false; 3]);
    assert_eq!(why(machine.change(5)).0, Reason::Anchors);
    let written = machine.epoch();
    drop(machine);
    world.up(&[true; 3]);
    let machine = world.boot(&disk).unwrap();
    assert!(machine.epoch() > written, "what was written counts");
}

/// One anchor may have what the others have not heard of.
#[test]
fn what_one_anchor_has_accepted_alone_locks_nobody_out() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    world.up(&[true, false, false]);
    assert_eq!(why(machine.change(5)).0, Reason::Anchors);
    drop(machine);
    for up in [[false, true, true], [true, true, false], [true, false, true]] {
        world.up(&up);
        world.boot(&disk).unwrap();
    }
}

fn newest(disk: &Image) -> Head {
    match look(disk.clone()).unwrap() {
        Found::Record(head) => head,
        Found::Empty => panic!("no record"),
    }
}

/// Brings the state of a disk to the firmware that has begun another, by the recovery key.
fn bring(disk: &Image, there: &Image, key: &RecoveryKey) {
    let (from, addressee, mut room) = (newest(disk), newest(there), vec![0; ROOM]);
    read_contents(disk.clone(), &from, &mut room).unwrap();
    let opened = recover::<virtio::Fault>(&from, key, &mut room).unwrap();
    let tpm = room[opened.tpm.clone()].to_vec();
    let what = Import { from: &from, tpm: &tpm, beside: &opened.beside };
    let mut octet = 0x80;
    let fresh = Fresh::draw(|out| {
        octet += 1;
        out.fill(octet);
        Ok::<(), ()>(())
    });
    sealed::import(there.clone(), key, &addressee, &what, &fresh.unwrap(), &mut room).unwrap();
}

/// The operator brings a state to another chip: that starts, and its record is put back in vain.
#[test]
fn a_record_that_the_operator_has_sealed_starts_once() {
    let (world, disk, key) = (World::new(2, 3), Image::prepared(), RecoveryKey::new(&[3; 32]).unwrap());
    let point = key.public().octets();
    drop(world.boot_on(&disk, &mut chip(1), Some(&point)).unwrap());
    let there = Image::prepared();
    let boot = |disk: &Image| -> Result<Machine, Fatal> { world.boot_on(disk, &mut chip(2), Some(&point)) };
    drop(boot(&there).unwrap());
    let from = newest(&disk);
    bring(&disk, &there, &key);
    let brought = there.copy();
    let machine = boot(&there).unwrap();
    assert_eq!(machine.keeping.kept().identity, *from.identity());
    assert_eq!(refusal(boot(&brought)).0, Reason::Old);
    assert!(boot(&there).is_ok());
}

/// What can be seen from outside is the reason, also where a key has to be had before anchors are asked.
#[test]
fn a_record_that_the_operator_has_sealed_for_another_firmware_is_refused_by_name() {
    let (world, disk, key) = (World::new(2, 3), Image::prepared(), RecoveryKey::new(&[3; 32]).unwrap());
    let point = key.public().octets();
    drop(world.boot_on(&disk, &mut chip(1), Some(&point)).unwrap());
    let there = Image::prepared();
    drop(world.boot_on(&there, &mut chip(2), Some(&point)).unwrap());
    bring(&disk, &there, &key);
    let asked = world.net.lock().unwrap().steps.len();
    let mut measured = Report::new_zeroed();
    measured.measurement = [9; 48];
    let mut debugged = Report::new_zeroed();
    debugged.policy.set(1 << 19);
    for (report, said) in [(measured, "another launch measurement"), (debugged, "another guest policy")] {
        // The secure processor gives it another key, too.
        let (reason, line) = refusal(world.boot_of(&there, &mut chip(4), Some(&point), &report));
        assert!(reason == Reason::NotOurs && line.contains(said), "{line}");
    }
    assert_eq!(world.net.lock().unwrap().steps.len(), asked, "nobody was asked");
    world.boot_on(&there, &mut chip(2), Some(&point)).unwrap();
}

/// What anchors are not told of they do not know: that is what fewer questions cost.
#[test]
fn the_host_can_put_back_the_commits_that_were_not_registered_and_no_more() {
    let cases = [
        (Cadence::Every(1), 1, false),
        (Cadence::Every(3), 2, true),
        (Cadence::Every(3), 3, false),
        (Cadence::Boot, 9, true),
    ];
    for (cadence, commits, starts) in cases {
        let (world, disk) = (World::with(2, 3, cadence, TooFew::Refuse, false), Image::prepared());
        drop(world.boot(&disk).unwrap());
        let before = disk.copy();
        let mut machine = world.boot(&disk).unwrap();
        let mut tries = 10;
        let mut change = || {
            tries += 1;
            machine.change(tries).unwrap();
        };
        let registered = || world.net.lock().unwrap().steps.len();
        // To the commit that is registered, if there is one behind the boot's.
        let begun = registered();
        while cadence != Cadence::Boot && registered() == begun {
            change();
        }
        let old = disk.copy();
        (0..commits).for_each(|_| change());
        assert_eq!(refusal(world.boot(&before)).0, Reason::Old, "{cadence:?}: before the boot");
        assert_eq!(world.boot(&old).is_ok(), starts, "{cadence:?}: {commits} commits");
        if !starts {
            continue;
        }
        assert_eq!(refusal(world.boot(&disk)).0, Reason::Old, "what was acknowledged is lost");
    }
}

/// A tombstone is registered: no copy of what was before starts again.
#[test]
fn a_tpm_that_has_moved_leaves_a_tombstone_with_the_anchors() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let alive = disk.copy();
    machine.keeping.entomb(super::bury).unwrap();
    assert_eq!(refusal(world.boot(&alive)).0, Reason::Old);
    let (reason, line) = refusal(world.boot(&disk));
    assert_eq!((reason, line.contains("has moved")), (Reason::NotOurs, true), "{line}");
}

#[test]
fn a_tombstone_that_is_not_registered_is_not_told_and_is_registered_by_the_next_boot() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let alive = disk.copy();
    // Behind the disk's write, when a quorum has been there before it.
    let entombed = machine.keeping.entomb(|disk| {
        world.up(&[false; 3]);
        super::bury(disk)
    });
    let (which, fatal) = entombed.unwrap_err();
    assert_eq!((which, fatal.reason), (NotEntombed::Unsure, Reason::Anchors));
    assert_eq!(why(machine.keeping.register_tombstone()).0, Reason::Anchors);
    drop(machine);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors, "it does not say that it has moved");
    world.up(&[true; 3]);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::NotOurs);
    assert_eq!(refusal(world.boot(&alive)).0, Reason::Old);
}

/// Without a quorum that answers now a TPM does not leave, and lives on: one that was alone since the boot, one that
/// has lost the quorum since and one that does not know yet that it has, with either policy.
#[test]
fn nothing_is_entombed_that_cannot_be_registered() {
    let alone = |world: &World, disk: &Image| {
        world.up(&[false; 3]);
        world.boot(disk).unwrap()
    };
    let lost = |world: &World, disk: &Image| {
        let mut machine = world.boot(disk).unwrap();
        world.up(&[false; 3]);
        machine.change(5).unwrap();
        machine
    };
    let unaware = |world: &World, disk: &Image| {
        let machine = world.boot(disk).unwrap();
        world.up(&[true, false, false]);
        machine
    };
    type Case = fn(&World, &Image) -> Machine;
    let cases: [(TooFew, Case); 4] =
        [(TooFew::SaySo, alone), (TooFew::SaySo, lost), (TooFew::SaySo, unaware), (TooFew::Refuse, unaware)];
    for (number, (too_few, case)) in cases.into_iter().enumerate() {
        let (world, disk) = (World::with(2, 3, Cadence::Every(1), too_few, false), Image::prepared());
        drop(world.boot(&disk).unwrap());
        let mut machine = case(&world, &disk);
        let before = disk.copy();
        let (which, fatal) = machine.keeping.entomb(super::bury).unwrap_err();
        assert_eq!((which, fatal.reason), (NotEntombed::NotBegun, Reason::Anchors), "case {number}");
        assert!(*disk.0.lock().unwrap() == *before.0.lock().unwrap(), "nothing was written");
        world.up(&[true; 3]);
        machine.change(6).unwrap();
        machine.keeping.entomb(super::bury).unwrap();
        assert_eq!(refusal(world.boot(&disk)).0, Reason::NotOurs, "and it moves when they are back");
    }
}

/// A copy that was superseded does not go on because it cannot leave.
#[test]
fn a_copy_that_another_has_superseded_neither_leaves_nor_goes_on() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false), Image::prepared());
    let mut first = world.boot(&disk).unwrap();
    let _second = world.boot(&disk.copy()).unwrap();
    let before = disk.copy();
    let (which, fatal) = first.keeping.entomb(super::bury).unwrap_err();
    assert_eq!((which, fatal.reason), (NotEntombed::Unsure, Reason::Old));
    assert!(*disk.0.lock().unwrap() == *before.0.lock().unwrap(), "nothing was written");
}

/// A record that was written alone since the boot does not say that anchors may know it. If a move had it registered,
/// and came to nothing, it would be refused at the next boot.
#[test]
fn a_record_that_was_written_alone_is_never_registered() {
    let world = World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false);
    let disk = Image::prepared();
    drop(world.boot(&disk).unwrap());
    world.up(&[false; 3]);
    let mut machine = world.boot(&disk).unwrap();
    machine.change(5).unwrap();
    world.up(&[true; 3]);
    // It is time to ask again; what is set is what was there, so that nothing is written.
    world.net.lock().unwrap().now_ms += 1_000_000;
    let epoch = machine.epoch();
    machine.change(5).unwrap();
    assert_eq!(machine.epoch(), epoch);
    // The power goes before the tombstone is written.
    let cut = machine.keeping.entomb(|_| Err(Fatal::plain(Reason::Disk)()));
    assert_eq!(cut.unwrap_err().1.reason, Reason::Disk);
    drop(machine);
    assert!(world.boot(&disk).is_ok());
}
