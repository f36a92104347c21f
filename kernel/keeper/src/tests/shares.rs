//! The share as a root of the state's key, beside the chip's.

use super::{Drawn, Image, World, chip, refusal, why};
use crate::anchors::{Anchored, Post, Subject};
use crate::outer::Outer;
use anchor::quorum::{Cadence, TooFew};
use kernel::fatal::Reason;
use sealed::disk::{look, open_outer};
use sealed::keys::chip_request;
use sealed::layout::ROOM;
use sealed::{Found, Fresh, Root, Roots, StateDisk, Writer};
use tpm_core::Entropy;

fn world() -> World {
    World::with(2, 3, Cadence::Every(1), TooFew::Refuse, true)
}

#[test]
fn a_state_with_shares_begins_with_all_anchors_and_opens_with_a_quorum() {
    let (world, disk) = (world(), Image::prepared());
    world.up(&[true, true, false]);
    let (reason, line) = refusal(world.boot(&disk));
    assert!(reason == Reason::Anchors && line.ends_with("not 3 give their share"), "{line}");
    world.up(&[true; 3]);
    let mut machine = world.boot(&disk).unwrap();
    machine.change(5).unwrap();
    let epoch = machine.epoch();
    drop(machine);
    for up in [[true, true, false], [true, false, true], [false, true, true]] {
        world.up(&up);
        assert!(world.boot(&disk).unwrap().epoch() > epoch);
    }
    world.up(&[true, false, false]);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors);
}

/// Whatever the settings say of too few anchors: without the share there is no key.
#[test]
fn without_anchors_the_chip_does_not_open_it() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, true), Image::prepared());
    world.boot(&disk).unwrap();
    world.up(&[false; 3]);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors);
}

/// Whoever has the chip's secret can make a record that is sealed to it alone.
#[test]
fn a_record_for_the_chip_alone_is_not_taken() {
    let (alone, disk) = (World::new(2, 3), Image::prepared());
    alone.boot(&disk).unwrap();
    let with_shares = World { net: alone.net, quorum: world().quorum };
    let (reason, line) = refusal(with_shares.boot(&disk));
    assert!(reason == Reason::NotOurs && line.contains("other roots"), "{line}");
}

/// What the share does not do by itself: the chip's root opens the client key, and anchors give shares to whoever signs
/// with that. No firmware is needed.
#[test]
fn whoever_has_the_chips_secret_and_reaches_the_anchors_opens_the_state() {
    let (world, disk) = (world(), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let theirs = disk.copy();
    // They are not reached, or their operators hold the TPM: then it is a lock.
    world.up(&[false, false, true]);
    assert!(share_by_the_chip(&world, &theirs).is_none());
    world.up(&[true; 3]);
    let share = share_by_the_chip(&world, &theirs).unwrap();
    assert!(opens(&theirs, Some(&share)), "it opens the state");
    assert!(!opens(&theirs, None), "and the chip alone does not");
    // It was read, and nothing registered: the TPM takes the next turn.
    machine.change(5).unwrap();
    // By the disk as it is now they start a TPM. The true one is superseded.
    let theirs = disk.copy();
    world.boot(&theirs).unwrap();
    assert_eq!(why(machine.change(6)).0, Reason::Old);
}

/// The chip's root of the firmware whose report is all zeros.
fn root() -> Root {
    Root::new(*chip(1)(&chip_request(0)).unwrap().as_bytes())
}

const WRITER: Writer = Writer { measurement: [0; 48], policy: 0, tcb: 0 };

fn found(disk: &Image) -> sealed::Head {
    match look(disk.clone()).unwrap() {
        Found::Record(head) => head,
        Found::Empty => panic!("no record"),
    }
}

fn fresh() -> Fresh {
    Fresh::draw(|out| Drawn(99, 99).fill(out)).unwrap()
}

/// Asks the anchors as the firmware does, with nothing but the chip's root and the disk.
fn share_by_the_chip(world: &World, disk: &Image) -> Option<[u8; 32]> {
    let mut room = vec![0; ROOM];
    let bits = sealed::keys::root::CHIP | sealed::keys::root::SHARE;
    let octets = open_outer(disk.clone(), &found(disk), &WRITER, &root(), bits, &mut room).unwrap();
    let (head, outer) = (found(disk), Outer::parse(octets, 3).unwrap());
    let own = anchor::Head::new(head.epoch(), *head.boot_nonce(), *head.digest());
    let subject = Subject { identity: *head.identity(), boot_nonce: [0x66; 32], own, outer };
    let post: Box<dyn Post> = Box::new(world.wire());
    let entropy = &mut Drawn(77, 5);
    let keys = crate::anchors::keys(&subject.outer.scalar).ok().unwrap();
    let mut asked = Anchored::new(Box::leak(Box::new(world.quorum.clone())), keys, subject, entropy).unwrap();
    asked.go_by(Some(post));
    asked.open(entropy).ok()?.map(|secret| *secret)
}

fn opens(disk: &Image, share: Option<&[u8; 32]>) -> bool {
    // Of a share that is not theirs the record names one all the same.
    let roots = || Roots { chip: root(), share: Some(Root::new(*share.unwrap_or(&[0; 32]))), recovery: None };
    let room = vec![0; ROOM];
    StateDisk::open(disk.clone(), &found(disk), &WRITER, &roots(), &roots(), None, fresh(), room).is_ok()
}

/// The other way round: who has all anchors and another chip.
#[test]
fn without_the_chip_the_anchors_do_not_open_it() {
    let (world, disk) = (world(), Image::prepared());
    world.boot(&disk).unwrap();
    let (reason, line) = refusal(world.boot_on(&disk, &mut chip(2), None));
    assert!(reason == Reason::NotOurs && line.contains("no key here opens it"), "{line}");
}

/// An anchor that gives another share than it did is told from those that do not.
#[test]
fn a_wrong_share_is_not_taken() {
    let (world, disk) = (world(), Image::prepared());
    world.boot(&disk).unwrap();
    world.net.lock().unwrap().anchors[0].share = [0xee; 32];
    world.up(&[true, false, true]);
    let (reason, line) = refusal(world.boot(&disk));
    assert!(reason == Reason::Anchors && line.ends_with("not 2 give their share"), "{line}");
    world.up(&[false, true, true]);
    world.boot(&disk).unwrap();
}

/// Over the years each anchor loses its database, and draws new shares. A boot that hears it beside a quorum stores
/// what that wants: then it is as good as before.
#[test]
fn a_share_that_was_lost_is_made_up_for_at_the_next_boot() {
    let (world, disk) = (world(), Image::prepared());
    world.boot(&disk).unwrap();
    for round in 0..2 {
        for lost in 0..3_u8 {
            world.up(&[true; 3]);
            world.net.lock().unwrap().anchors[usize::from(lost)].share = [0x50 + 0x10 * round + lost; 32];
            world.boot(&disk).unwrap();
            for up in [[true, true, false], [true, false, true], [false, true, true]] {
                world.up(&up);
                world.boot(&disk).unwrap_or_else(|why| panic!("{round}, {lost}, {up:?}: {why}"));
            }
        }
    }
}

/// An old copy is refused before it is opened.
#[test]
fn an_old_copy_gets_no_share() {
    let (world, disk) = (world(), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let old = disk.copy();
    machine.change(5).unwrap();
    assert_eq!(refusal(world.boot(&old)).0, Reason::Old);
}
