//! Messages of which a bit is another, or the end is missing. All are refused: by their receiver at once, or, of what
//! only the reports and the channel are over, by the other side at its next message.

use crate::Seeded;
use crate::scene::{EPOCH, IDENTITY, Letter, Scene, To, terms};
use migration::message::Kind;
use migration::source::{Bearer, Source};
use migration::{Refusal, Terms};
use std::collections::VecDeque;

/// A run with a short state.
fn short(terms: &[Terms; 2]) -> (Scene<'_>, Letter) {
    let (mut scene, first) = Scene::new(terms, None);
    scene.state.truncate(100);
    (scene, first)
}

/// The run up to a message, and the message. A handshake is not played from the beginning where that changes nothing:
/// the random numbers are the same in every run.
fn up_to<'t>(terms: &'t [Terms; 2], recorded: &[Letter], number: usize) -> Scene<'t> {
    let (mut scene, first) = short(terms);
    match number {
        // The source has made its offer.
        0 | 1 => (),
        // The destination is the side that matters.
        2 => _ = scene.deliver(&first).expect("an answer"),
        _ => {
            let mut waiting: VecDeque<Letter> = [first].into();
            for _ in 0..number {
                let letter = waiting.pop_front().expect("a letter");
                waiting.extend(scene.deliver(&letter).expect("it is as it was"));
            }
            assert!(waiting[0] == recorded[number], "a run is the same each time");
        }
    }
    scene
}

/// What becomes of a message that was changed: refused by its receiver, or by the other side when the receiver answers.
fn outcome(scene: &mut Scene<'_>, changed: &Letter) -> Result<(), Refusal> {
    let said = scene.deliver(changed)?;
    said.into_iter().try_for_each(|letter| scene.deliver(&letter).map(|_| ()))
}

/// Judges one changed message.
///
/// # Panics
/// If it is not refused, or moves anything.
fn judge(terms: &[Terms; 2], recorded: &[Letter], number: usize, changed: Letter, place: &str) {
    let kind = Kind::of(&recorded[number].1).expect("a kind").0;
    let mut scene = up_to(terms, recorded, number);
    let (to, changed_kind) = (changed.0, Kind::of(&changed.1).ok().map(|(kind, _)| kind));
    let outcome = outcome(&mut scene, &changed);
    let alive = [scene.source.answers(), scene.destination.answers()];
    if changed_kind == Some(Kind::Ask) && to == To::Source && kind != Kind::Live {
        // A question before there is an answer: it ends nothing, and what it stands for has not come.
        assert!(outcome.is_ok() && alive == [kind != Kind::Kept, false] && scene.tombstone.is_none(), "{place}");
        return;
    }
    match kind {
        // A word that nothing depends on.
        Kind::Live => assert_eq!(alive, [false, true], "{place}"),
        // The source is dead, and gives it again.
        Kind::Gone => assert!(outcome.is_err() && alive == [false, false], "{place}"),
        // The source has stopped, and lives when it has given up.
        Kind::Head | Kind::Chunk => {
            assert!(outcome.is_err() && alive == [false, false] && scene.source.give_up(), "{place}");
        }
        _ => assert!(outcome.is_err() && alive == [true, false], "{place}"),
    }
    assert_eq!(scene.tombstone.is_some(), matches!(kind, Kind::Gone | Kind::Live), "{place}");
}

fn recorded(terms: &[Terms; 2]) -> Vec<Letter> {
    let (mut scene, first) = short(terms);
    scene.play(first).expect("it goes well")
}

/// Flips those bits of every message that are asked for; how many of each kind.
///
/// # Panics
/// If one of them is not refused, or moves anything.
pub fn bits(asked: impl Fn(usize) -> bool) -> Vec<(Kind, usize)> {
    let terms = terms();
    let recorded = recorded(&terms);
    let mut all = Vec::new();
    for (number, (to, message)) in recorded.iter().enumerate() {
        let kind = Kind::of(message).expect("a kind").0;
        let mut count = 0;
        for bit in (0..8 * message.len()).filter(|bit| asked(*bit)) {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            judge(&terms, &recorded, number, (*to, changed), &format!("{kind:?}, bit {bit}"));
            count += 1;
        }
        all.push((kind, count));
    }
    all
}

/// Cuts every message, the short ones at every octet, the others at every `step`th and the last; how many cuts.
///
/// # Panics
/// If one of them is not refused, or moves anything.
pub fn cuts(step: usize) -> usize {
    let terms = terms();
    let recorded = recorded(&terms);
    let mut count = 0;
    for (number, (to, message)) in recorded.iter().enumerate() {
        let step = if message.len() > 500 { step } else { 1 };
        for cut in (0..message.len()).step_by(step).chain([message.len() - 1]) {
            judge(&terms, &recorded, number, (*to, message[..cut].to_vec()), &format!("{number}, cut at {cut}"));
            count += 1;
        }
    }
    count
}

/// Messages of random octets, and true ones of which some octets are others, to both sides in every phase: nothing
/// moves, and nothing panics. How many there were.
///
/// # Panics
/// If anything moves.
pub fn garbage(seed: u64, rounds: u32) -> u64 {
    let terms = terms();
    let recorded = recorded(&terms);
    let mut rng = Seeded::new(&format!("garbage {seed}"));
    let mut count = 0;
    for round in 0..rounds {
        let number = round as usize % recorded.len();
        let mut scene = up_to(&terms, &recorded, number);
        for _ in 0..8 {
            let [which, how, at, len, ..] = crate::octets::<8>(&mut rng);
            let (to, true_one) = &recorded[usize::from(which) % recorded.len()];
            let mut message = true_one.clone();
            let junk = crate::octets::<64>(&mut rng);
            match how % 4 {
                0 => {
                    message.truncate(4);
                    message.extend(&junk[..usize::from(len) % 64]);
                }
                1 => message.truncate(message.len() * usize::from(at) / 256),
                2 => {
                    let at = message.len() * usize::from(at) / 256;
                    message.iter_mut().skip(at).zip(junk).for_each(|(to, from)| *to ^= from);
                }
                _ => message = junk[..usize::from(len) % 64].to_vec(),
            }
            if message == *true_one {
                continue;
            }
            let (tombstone, alive) = (scene.tombstone.is_some(), scene.destination.answers());
            _ = scene.deliver(&(*to, message));
            assert_eq!((tombstone, alive), (scene.tombstone.is_some(), scene.destination.answers()));
            count += 1;
        }
    }
    count
}

/// An offer with other random numbers than all others.
pub fn offer<'t>(terms: &'t Terms, rng: &mut Seeded) -> (Source<'t>, Letter) {
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant: None };
    let (source, offer) = Source::offer(terms, &bearer, rng).expect("an offer");
    (source, (To::Destination, offer))
}
