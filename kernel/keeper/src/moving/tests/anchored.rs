//! Runs to a firmware that has anchors: those of the source, others, or where the source has none.

use super::disks::{DESTINATION, Firmware, Platter, SOURCE, received, run_between};
use super::*;
use crate::Opened;
use crate::tests::World;
use anchor::quorum::{Cadence, TooFew};
use kernel::fatal::Reason;
use kernel::hooks::Keeper;
use kernel::state::flag;
use moves::scene::terms;

fn world(too_few: TooFew, shares: bool) -> World {
    World::with(2, 3, Cadence::Every(1), too_few, shares)
}

/// Source and destination, by what anchors they have.
fn firmwares(source: Option<&World>, destination: &World) -> [Firmware; 2] {
    let with = |anchors: Option<&World>, of: &Firmware| Firmware { anchors: anchors.cloned(), ..of.clone() };
    [with(source, &SOURCE), with(Some(destination), &DESTINATION)]
}

fn flags(of: &impl kernel::svsm::Tpm) -> u32 {
    of.kept().unwrap().flags
}

/// The reason for which a boot ends.
fn ended(boot: Result<Opened, kernel::fatal::Fatal>) -> Reason {
    match boot {
        Ok(_) => panic!("it starts"),
        Err(why) => why.reason,
    }
}

/// Whose anchors the source has, if any, and whether a share is a root.
fn cases() -> Vec<([Firmware; 2], World)> {
    let mut all = Vec::new();
    for shares in [false, true] {
        // Octets that are drawn are the same in each case: so a world of its own for each.
        let [here, there, last] = [(); 3].map(|()| world(TooFew::Refuse, shares));
        let others = World::from(40, 2, 3, Cadence::Every(1), TooFew::Refuse, false);
        all.extend([
            (firmwares(Some(&here), &here), here),
            (firmwares(Some(&others), &there), there.clone()),
            (firmwares(None, &last), last),
        ]);
    }
    all
}

/// A run of which the tombstone is there and the receipt was not given: it, and the disk where the state waits.
fn without_its_receipt([source, destination]: [&Firmware; 2], terms: &[Terms; 2]) -> (Tombstone, Platter) {
    let (from, to) = (Platter::prepared(), Platter::prepared());
    drop(source.lives(&from, 1));
    from.fail_after(Some(4 + 2));
    run_between([source, destination], || (), terms, [&from, &to], 2).0.unwrap_err();
    from.fail_after(None);
    (source.is_dead(&from, 3).unwrap(), to)
}

#[test]
fn a_tpm_arrives_with_its_anchors_and_every_copy_of_before_is_old() {
    let terms = terms();
    for ([source, destination], world) in &cases() {
        let (from, to) = (Platter::prepared(), Platter::prepared());
        drop(source.lives(&from, 1));
        let before = from.copy();
        let (arrival, code) = run_between([source, destination], || (), &terms, [&from, &to], 2);
        assert_eq!((arrival.is_ok(), code), (true, FAILURE));
        let (machine, home) = destination.lives(&to, 3);
        assert_eq!(flags(&machine), flag::KEPT | flag::MIGRATED | flag::ANCHORED);
        assert_eq!(world.newest(), Some(home.now().epoch));
        if source.anchors.is_some() {
            assert_eq!(ended(source.boot(&before, 4)), Reason::Old);
        }
        assert!(source.is_dead(&from, 5).is_some(), "it gives its receipt for ever");
        // And it goes on, with any two of the three.
        world.up(&[false, true, true]);
        drop(destination.lives(&to, 6));
    }
}

/// The receipt was lost, and the destination is started again, and twice from the same disk.
#[test]
fn of_two_copies_of_what_waits_one_lives() {
    let terms = terms();
    for ([source, destination], _) in &cases() {
        let (tombstone, to) = without_its_receipt([source, destination], &terms);
        let copy = to.copy();
        assert_eq!(
            received(destination, &terms, tombstone.clone(), &to).unwrap().kept().flags & flag::ANCHORED,
            flag::ANCHORED
        );
        assert_eq!(ended(destination.boot(&copy, 9)), Reason::Old);
    }
}

/// A copy of what waits that was started before one of them lived: none comes to it any more, not even from there.
#[test]
fn nothing_comes_to_a_copy_of_a_disk_that_lives() {
    let terms = terms();
    for ([source, destination], _) in &cases() {
        let (tombstone, to) = without_its_receipt([source, destination], &terms);
        let copy = to.copy();
        let (mut berth, waits) = destination.waits(&copy, 4);
        let identity = waits.unwrap().0.identity;
        assert_eq!(berth.expect(&identity, &mut Counted(60)), Ok(()));
        received(destination, &terms, tombstone, &to).ok().unwrap();
        assert_eq!(berth.expect(&identity, &mut Counted(60)), Err(Refusal::Anchors));
    }
}

/// Nobody dies for a TPM that could not start.
#[test]
fn a_state_is_not_kept_where_too_few_anchors_answer() {
    let terms = terms();
    for shares in [false, true] {
        let world = world(TooFew::Refuse, shares);
        let [source, destination] = firmwares(None, &world);
        let (from, to) = (Platter::prepared(), Platter::prepared());
        for _ in 0..2 {
            let down = || world.up(&[true, false, false]);
            let stayed = run_between([&source, &destination], down, &terms, [&from, &to], 1);
            assert_eq!(stayed, (Err(Refusal::GivenUp), SUCCESS));
            assert!(matches!(destination.boot(&to, 2), Ok(Opened::Waits(_, None))), "nothing was written");
        }
        world.up(&[true; 3]);
        assert!(run_between([&source, &destination], || (), &terms, [&from, &to], 3).0.is_ok());
    }
}

/// The settings let it go on alone; what it has come from is found when anchors answer, and a copy is told then.
#[test]
fn a_tpm_that_arrives_without_a_quorum_says_so_and_has_one_later() {
    let terms = terms();
    for is_source in [false, true] {
        let world = world(TooFew::SaySo, false);
        let firmwares @ [source, destination] = &firmwares(is_source.then_some(&world), &world);
        let (tombstone, to) = without_its_receipt([source, destination], &terms);
        world.up(&[true, false, false]);
        let alone = received(destination, &terms, tombstone, &to).unwrap();
        assert_eq!(alone.kept().flags, flag::KEPT | flag::MIGRATED | flag::TOO_FEW);
        let before = to.copy();
        world.up(&[true; 3]);
        let (machine, _) = firmwares[1].lives(&to, 7);
        assert_eq!(flags(&machine), flag::KEPT | flag::MIGRATED | flag::ANCHORED);
        assert_eq!(ended(destination.boot(&before, 8)), Reason::Old);
    }
}

/// A run whose last word was lost, and another: the source has gone on between.
#[test]
fn a_later_state_takes_the_place_of_one_that_waits_with_its_anchors() {
    let terms = terms();
    for ([source, destination], world) in &cases() {
        let (from, to) = (Platter::prepared(), Platter::prepared());
        drop(source.lives(&from, 1));
        // Not an octet of the tombstone is written.
        from.fail_after(Some(2));
        run_between([source, destination], || (), &terms, [&from, &to], 2).0.unwrap_err();
        from.fail_after(None);
        assert!(destination.waits(&to, 3).1.is_some());
        drop(source.lives(&from, 4));
        let (arrival, _) = run_between([source, destination], || (), &terms, [&from, &to], 5);
        assert!(arrival.is_ok());
        let (_, home) = destination.lives(&to, 6);
        assert_eq!(world.newest(), Some(home.now().epoch));
    }
}

/// A destination that has refused once takes the TPM in when its anchors answer: in the same boot, by the same key.
#[test]
fn whoever_was_refused_is_taken_in_later() {
    for (shares, missing) in [(false, [true, false, false]), (true, [true, false, false]), (true, [true, true, false])]
    {
        let world = world(TooFew::Refuse, shares);
        let [_, destination] = firmwares(None, &world);
        let (mut berth, _) = destination.waits(&Platter::prepared(), 1);
        let entropy = &mut Counted(60);
        world.up(&missing);
        for _ in 0..2 {
            assert_eq!(berth.expect(&IDENTITY, entropy), Err(Refusal::Anchors), "{shares} {missing:?}");
        }
        world.up(&[true; 3]);
        assert_eq!(berth.expect(&IDENTITY, entropy), Ok(()), "{shares} {missing:?}");
        // And once more, and another one, and that again.
        for identity in [IDENTITY, [9; 32], IDENTITY] {
            assert_eq!(berth.expect(&identity, entropy), Ok(()));
        }
    }
}

/// Each question of a boot has a turn of its own: one that is asked with again would be ignored.
#[test]
fn a_tpm_that_is_expected_behind_another_is_taken_in_at_once() {
    let world = world(TooFew::Refuse, false);
    let [_, destination] = firmwares(None, &world);
    let (mut berth, _) = destination.waits(&Platter::prepared(), 1);
    for identity in [IDENTITY, [9; 32], IDENTITY] {
        assert_eq!(berth.expect(&identity, &mut Counted(60)), Ok(()));
    }
}

/// What was not expected is not kept: of another TPM, or where the anchors have not answered for it.
#[test]
fn a_state_that_was_not_expected_is_not_kept() {
    let world = world(TooFew::Refuse, true);
    let [_, destination] = firmwares(None, &world);
    let pending = Pending { identity: IDENTITY, epoch: 7, boot_nonce: [3; 32], from: OLD, promise: [4; 48] };
    for expected in [None, Some([9; 32]), Some(IDENTITY)] {
        let disk = Platter::prepared();
        let (mut berth, _) = destination.waits(&disk, 1);
        let _ = expected.map(|identity| berth.expect(&identity, &mut Counted(60)));
        let is_kept = berth.keep(&pending, &[1, 2, 3]).is_ok();
        assert_eq!(is_kept, expected == Some(IDENTITY), "{expected:?}");
    }
    let (mut berth, _) = destination.waits(&Platter::prepared(), 1);
    world.up(&[true, true, false]);
    berth.expect(&IDENTITY, &mut Counted(60)).unwrap_err();
    assert!(berth.keep(&pending, &[1, 2, 3]).is_err());
}

/// Each write of either disk fails, and of two that go on one lives.
#[test]
fn every_write_fails_once_with_anchors() {
    let terms = terms();
    // The source's own with shares, others, and where it has none.
    for case in [3, 1, 5] {
        let mut ways = [0; 3];
        for at_destination in [false, true] {
            for writes in 0.. {
                let ([source, destination], _) = &cases().swap_remove(case);
                let (from, to) = (Platter::prepared(), Platter::prepared());
                drop(source.lives(&from, 7));
                let failing = if at_destination { &to } else { &from };
                failing.fail_after(Some(writes + if at_destination { 0 } else { 2 }));
                let arrived = run_between([source, destination], || (), &terms, [&from, &to], 1).0.is_ok();
                [&from, &to].iter().for_each(|disk| disk.fail_after(None));
                if arrived {
                    break;
                }
                match source.is_dead(&from, 2) {
                    None => {
                        assert!(run_between([source, destination], || (), &terms, [&from, &to], 4).0.is_ok());
                        ways[0] += 1;
                    }
                    Some(tombstone) => {
                        let is_live = matches!(destination.boot(&to, 3), Ok(Opened::Lives(_)));
                        if !is_live {
                            received(destination, &terms, tombstone, &to).ok().unwrap();
                        }
                        drop(destination.lives(&to, 6));
                        ways[if is_live { 1 } else { 2 }] += 1;
                    }
                }
            }
        }
        assert!(ways[0] > 2 && ways[2] > 1, "{ways:?}");
    }
}
