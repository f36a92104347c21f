//! The run as it should be.

use migration::message::Kind;
use moves::scene::{BOOT_NONCE, EPOCH, IDENTITY, NEW, OLD, Scene, terms};

#[test]
fn a_state_moves_and_one_is_alive_at_each_step_or_none() {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    let mut waiting = std::collections::VecDeque::from([first]);
    let mut kinds = Vec::new();
    while let Some(letter) = waiting.pop_front() {
        kinds.push(Kind::of(&letter.1).unwrap().0);
        waiting.extend(scene.deliver(&letter).unwrap());
        assert!(scene.alive() <= 1);
    }
    let chunks = [Kind::Chunk; 3];
    let before = [Kind::Offer, Kind::Answer, Kind::Proof, Kind::Ready, Kind::Head];
    assert_eq!(kinds, [&before[..], &chunks, &[Kind::Kept, Kind::Gone, Kind::Live]].concat());
    assert!(scene.source.has_moved() && scene.destination.answers() && !scene.source.answers());
    let (pending, state) = scene.pending.unwrap();
    assert!(state == scene.state);
    assert_eq!((pending.identity, pending.epoch, pending.boot_nonce, pending.from), (IDENTITY, EPOCH, BOOT_NONCE, OLD));
    let tombstone = scene.tombstone.unwrap();
    assert_eq!((tombstone.identity, tombstone.epoch, tombstone.to), (IDENTITY, EPOCH, NEW));
    assert_eq!(tombstone.receipt.promise(), pending.promise);
    let arrival = scene.arrival.unwrap();
    assert_eq!((arrival.beyond, arrival.from, arrival.last), (EPOCH + 2, OLD, (EPOCH, BOOT_NONCE)));
}
