//! Anchors that are away, and a host that loses, repeats and changes what they say.

use super::{Habit, Image, World, refusal, why};
use anchor::quorum::{Cadence, TooFew};
use kernel::fatal::Reason;
use kernel::state::{Place, StateSetting, Wanted, flag};

#[test]
fn with_one_of_three_away_all_goes_on() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    world.up(&[true, false, true]);
    let mut machine = world.boot(&disk).unwrap();
    machine.change(5).unwrap();
    world.up(&[false, true, true]);
    machine.change(6).unwrap();
    world.boot(&disk).unwrap();
}

#[test]
fn with_two_of_three_away_nothing_starts() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    world.boot(&disk).unwrap();
    let before = disk.copy();
    world.up(&[false, true, false]);
    let (reason, line) = refusal(world.boot(&disk));
    assert_eq!(reason, Reason::Anchors);
    assert!(line.ends_with("too few anchors (code 30): too few anchors answer: 1"), "{line}");
    assert!(*disk.0.lock().unwrap() == *before.0.lock().unwrap(), "nothing was written");
}

#[test]
fn a_commit_that_is_not_registered_is_not_acknowledged() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    world.up(&[true, false, false]);
    assert_eq!(why(machine.change(5)).0, Reason::Anchors);
}

#[test]
fn where_the_settings_say_so_it_goes_on_alone_and_evidence_says_so() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false), Image::prepared());
    world.boot(&disk).unwrap();
    world.up(&[false; 3]);
    let mut machine = world.boot(&disk).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::TOO_FEW);
    machine.change(5).unwrap();
    world.up(&[true; 3]);
    machine.change(6).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::TOO_FEW, "it is not asked at each commit whether they are back");
    world.net.lock().unwrap().now_ms += 1_000_000;
    machine.change(7).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::ANCHORED);
    drop(machine);
    assert_eq!(world.boot(&disk).unwrap().flags(), flag::KEPT | flag::ANCHORED);
}

/// Who was alone learns at the first answer that another copy has started meanwhile.
#[test]
fn whoever_was_alone_and_is_old_ends() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false), Image::prepared());
    world.boot(&disk).unwrap();
    let copy = disk.copy();
    world.up(&[false; 3]);
    let mut alone = world.boot(&copy).unwrap();
    world.up(&[true; 3]);
    let _newer = world.boot(&disk).unwrap();
    world.net.lock().unwrap().now_ms += 1_000_000;
    assert_eq!(why(alone.change(7)).0, Reason::Old);
}

/// A quorum is lost while the TPM runs, and had again.
#[test]
fn a_quorum_that_was_lost_is_had_again() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    world.up(&[true, false, false]);
    machine.change(5).unwrap();
    machine.change(6).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::TOO_FEW);
    world.up(&[true; 3]);
    world.net.lock().unwrap().now_ms += 1_000_000;
    machine.change(7).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::ANCHORED);
    world.boot(&disk).unwrap();
}

#[test]
fn a_relay_that_drops_repeats_or_garbles_what_one_anchor_says_is_borne() {
    for habit in [Habit::Drops, Habit::Repeats, Habit::Garbles] {
        let (world, disk) = (World::new(2, 3), Image::prepared());
        world.habit(habit);
        let mut machine = world.boot(&disk).unwrap_or_else(|why| panic!("{habit:?}: {why}"));
        machine.change(5).unwrap();
        world.boot(&disk).unwrap();
    }
}

/// One message of each round is lost, and all others are needed: it is asked again within the patience of the settings.
#[test]
fn a_message_that_is_lost_once_costs_no_quorum() {
    for habit in [Habit::LosesRequests, Habit::LosesReplies] {
        for (k, up) in [(2, &[true, true][..]), (2, &[true, false, true])] {
            let n = u8::try_from(up.len()).unwrap();
            for shares in [false, true] {
                let world = World::with(k, n, Cadence::Every(1), TooFew::Refuse, shares);
                let disk = Image::prepared();
                world.boot(&disk).unwrap();
                world.habit(habit);
                world.up(up);
                let mut machine = world.boot(&disk).unwrap_or_else(|why| panic!("{habit:?}, {k} of {n}: {why}"));
                machine.change(5).unwrap();
                assert_eq!(world.net.lock().unwrap().asked.1, 2, "{habit:?}: once more, and not once it has answered");
            }
        }
    }
}

/// Who does not answer is asked four times.
#[test]
fn whoever_says_nothing_is_asked_so_often_and_no_more() {
    let (world, disk) = (World::new(2, 2), Image::prepared());
    world.habit(Habit::Drops);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors);
    assert_eq!(world.net.lock().unwrap().asked.1, 4);
}

/// A TPM that operators have stopped ends, whatever the settings say of too few anchors: at its next commit that is to
/// be registered, and at a boot. With one of three it goes on.
#[test]
fn a_tpm_that_is_held_does_not_go_on_alone() {
    for too_few in [TooFew::Refuse, TooFew::SaySo] {
        let (world, disk) = (World::with(2, 3, Cadence::Every(1), too_few, false), Image::prepared());
        let mut machine = world.boot(&disk).unwrap();
        world.hold(&[true, false, false]);
        machine.change(5).unwrap();
        assert_eq!(machine.flags(), flag::KEPT | flag::ANCHORED);
        world.hold(&[true, false, true]);
        for ended in [why(machine.change(6)), refusal(world.boot(&disk))] {
            assert_eq!(ended.0, Reason::Anchors, "{too_few:?}");
            assert!(ended.1.ends_with("the anchor's operator has stopped this TPM"), "{}", ended.1);
        }
        world.hold(&[false; 3]);
        world.boot(&disk).unwrap();
    }
}

/// One that was alone, and is asked again.
#[test]
fn whoever_was_alone_and_is_held_ends() {
    let (world, disk) = (World::with(2, 3, Cadence::Every(1), TooFew::SaySo, false), Image::prepared());
    world.boot(&disk).unwrap();
    world.up(&[false; 3]);
    let mut alone = world.boot(&disk).unwrap();
    world.hold(&[true; 3]);
    world.up(&[true; 3]);
    world.net.lock().unwrap().now_ms += 1_000_000;
    assert_eq!(why(alone.change(7)).0, Reason::Anchors);
}

/// Boots that came to nothing have left a later turn with the one anchor that they reached; with that one and another a
/// boot asks for a later one still, while the third is away.
#[test]
fn a_turn_that_nobody_took_is_overtaken() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    world.boot(&disk).unwrap();
    for up in [[false, true, true], [true, false, true], [false, true, true], [true, false, true]] {
        world.up(&[false, false, true]);
        for _ in 0..4 {
            assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors);
        }
        world.up(&up);
        world.boot(&disk).unwrap();
    }
}

/// It has the patience of the settings, and no more.
#[test]
fn a_flood_is_no_answer() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    world.habit(Habit::Floods);
    assert_eq!(refusal(world.boot(&disk)).0, Reason::Anchors);
}

/// The relay says who is not there: then nobody is waited for. Of the others all are.
#[test]
fn whom_the_relay_cannot_reach_is_not_waited_for() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    world.boot(&disk).unwrap();
    world.habit(Habit::Tells);
    world.up(&[false, true, false]);
    let before_ms = world.net.lock().unwrap().now_ms;
    let (reason, line) = refusal(world.boot(&disk));
    assert!(reason == Reason::Anchors && line.ends_with("too few anchors answer: 1"), "{line}");
    assert!(world.net.lock().unwrap().now_ms < before_ms + u64::from(world.quorum.patience_ms()));
    world.up(&[false, true, true]);
    world.boot(&disk).unwrap();
}

fn setting(anchors: &[u8], share: bool) -> StateSetting<'_> {
    let disk = Some((Wanted::Required, Place::Pci(30, 0)));
    StateSetting { disk, console: None, share, recovery: None, anchors }
}

#[test]
fn settings_that_name_no_quorum_are_refused() {
    let said = |anchors: &[u8], share| why(crate::anchors::quorum(&setting(anchors, share)).map(|_| ())).1;
    assert!(said(&[1, 2, 3], false).ends_with("(code 21): anchors: not as long as they say"), "{}", said(&[1], false));
    assert!(said(&[], true).ends_with("none for the share that is a root"));
    let mut octets = [0; 1024];
    let size = World::new(2, 3).quorum.write(&mut octets).unwrap();
    assert!(said(&octets[..size], true).contains("shares are asked for and no root"));
    assert!(crate::anchors::quorum(&setting(&octets[..size], false)).unwrap().is_some());
    assert!(crate::anchors::quorum(&setting(&[], false)).unwrap().is_none());
}
