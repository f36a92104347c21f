//! Runs, whole and not: records in memory.

use super::*;
use crate::moving::{Movable, Nowhere, Shared, Way, give_receipts};
use kernel::hooks::Keeper;
use kernel::state::flag;
use kernel::svsm;
use moves::scene::terms;

/// What is written.
#[derive(Default)]
struct Memory {
    tombstone: Option<Tombstone>,
    waits: Option<(Pending, Vec<u8>)>,
    lives: Option<Arrival>,
    fails: bool,
    /// Which TPM is to come.
    expected: Option<Identity>,
    /// None can, for this reason.
    cannot: Option<Refusal>,
    /// No tombstone is begun.
    refuses: bool,
}

impl Memory {
    fn written(&self) -> Result<(), Unsure> {
        if self.fails { Err(Unsure) } else { Ok(()) }
    }
}

impl Home for Memory {
    fn now(&self) -> Now {
        Now { identity: IDENTITY, epoch: 7, boot_nonce: [3; 32] }
    }

    fn keeps(&self) -> bool {
        true
    }

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), NotEntombed> {
        if self.refuses {
            return Err(NotEntombed::NotBegun);
        }
        self.tombstone = Some(tombstone.clone());
        self.written().map_err(|Unsure| NotEntombed::Unsure)
    }
}

impl Berth for Memory {
    fn keeps(&self) -> bool {
        true
    }

    fn expect(&mut self, identity: &Identity, _: &mut dyn Entropy) -> Result<(), Refusal> {
        self.expected = Some(*identity);
        self.cannot.map_or(Ok(()), Err)
    }

    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure> {
        assert_eq!(self.expected, Some(pending.identity));
        self.waits = Some((*pending, state.to_vec()));
        self.written()
    }

    fn live(&mut self, arrival: &Arrival, _: &Tpm) -> Result<(), Unsure> {
        self.lives = Some(*arrival);
        self.written()
    }
}

/// The side that the TPM leaves.
struct Source<'t> {
    leaving: Leaving<'t>,
    end: End,
    clock: Ticking,
    machine: Machine,
    home: Memory,
}

impl<'t> Source<'t> {
    fn new(terms: &'t Terms, end: End) -> Self {
        let clock = Ticking::default();
        let mut machine = machine(0, &clock);
        assert_eq!(code(&mut machine, STARTUP), SUCCESS);
        end.incoming.lock().unwrap().push_back(BEGIN.to_vec());
        Self { leaving: Leaving::new(terms), end, clock, machine, home: Memory::default() }
    }

    fn poll(&mut self) -> Stand {
        self.leaving.poll(&mut self.end, &mut self.machine, &mut old(), &mut self.home)
    }

    /// Moves to a destination, as far as that comes.
    fn to(&mut self, terms: &Terms, end: &mut End, platform: &mut Machine, berth: &mut Memory) -> (Outcome, Stand) {
        let step = Arc::clone(&self.clock.step);
        beside(
            &step,
            || self.poll(),
            |idle| arrive(terms, None, end, Arrivals { platform, reports: &mut new(), berth }, idle),
        )
    }
}

type Outcome = Result<Arrival, Refusal>;

#[test]
fn a_tpm_leaves_and_arrives_and_answers_in_one_place() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let endorsement = ek(&mut source.machine);
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    assert_eq!(code(&mut arrived, GET_RANDOM), FAILURE, "nobody is there");
    let (arrival, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
    let arrival = arrival.unwrap();
    assert_eq!((arrival.identity, arrival.from, arrival.last), (IDENTITY, OLD, (7, [3; 32])));
    assert_eq!((berth.lives, stand), (Some(arrival), Stand::Moved));
    assert_eq!(code(&mut source.machine, GET_RANDOM), FAILURE);
    assert!(source.machine.with(|tpm, _| tpm.endorsement_seed_id()).is_none(), "its secrets are not there any more");
    // Nobody starts it: it goes on.
    assert_eq!(code(&mut arrived, GET_RANDOM), SUCCESS);
    assert_eq!(code(&mut arrived, STARTUP), INITIALIZE);
    assert_eq!(ek(&mut arrived), endorsement);
    let (tombstone, (pending, _)) = (source.home.tombstone.unwrap(), berth.waits.unwrap());
    assert_eq!(tombstone.receipt.promise(), pending.promise);
}

#[test]
fn where_the_guest_is_measured_the_tpm_starts_anew() {
    let mut machine = machine(0, &Ticking::default());
    assert_eq!(code(&mut machine, STARTUP), SUCCESS);
    let endorsement = ek(&mut machine);
    super::super::start_anew(&mut machine).unwrap();
    assert_eq!((code(&mut machine, GET_RANDOM), ek(&mut machine)), (INITIALIZE, endorsement));
}

#[test]
fn a_destination_that_is_silent_keeps_the_tpm_for_a_while_only() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.clock.step.store(1, Ordering::Relaxed);
    let mut destination = migration::Destination::new(&new_terms, true, 1 << 20, None).unwrap();
    assert_eq!(source.poll(), Stand::Here);
    let mut rng = moves::Seeded::new("silent");
    let mut stands = Vec::new();
    for _ in 0..2 {
        let message = there.receive().unwrap().unwrap().octets;
        let next = destination.receive(&message, &mut Boot::new(&CHIP_B, NEW), &mut rng);
        let Ok(migration::destination::Next::Send(message)) = next else { panic!("an answer") };
        there.send(service::MIGRATION, 0, &message).unwrap();
        stands.push(source.poll());
    }
    assert_eq!(stands, [Stand::Here, Stand::Stayed(Refusal::GivenUp)]);
    assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS, "it goes on here");
    assert!(source.home.tombstone.is_none());
    source.end.incoming.lock().unwrap().push_back(BEGIN.to_vec());
    assert_eq!(source.poll(), Stand::Here, "and another run may begin");
}

/// What comes meanwhile, and is no progress of the run, does not prolong it: a destination asks each second where an
/// older state waits, or what it has kept of this one; so does another; and the hosts may send anything.
#[test]
fn a_word_that_is_lost_keeps_the_tpm_for_a_while_only_whatever_else_comes() {
    let [old_terms, new_terms] = terms();
    let ask = [&[1, Kind::Ask as u8, 0, 0][..], &[9; 48]].concat();
    for (lost, every) in [(Kind::Kept, 7), (Kind::Kept, 1), (Kind::Chunk, 7)] {
        let [mut here, mut there] = ends();
        here.noise = Some((ask.clone(), every));
        here.loses = Box::new(move |kind| kind == lost);
        there.loses = Box::new(move |kind| kind == lost);
        let mut source = Source::new(&old_terms, here);
        source.clock.step.store(100, Ordering::Relaxed);
        let (mut arrived, mut berth) = (vacant(100), Memory::default());
        let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
        assert_eq!((outcome, berth.lives, stand), (Err(Refusal::GivenUp), None, Stand::Stayed(Refusal::GivenUp)));
        assert_eq!(berth.waits.is_some(), lost == Kind::Kept, "{lost:?}");
        assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS, "it goes on here");
        assert!(source.home.tombstone.is_none());
    }
}

/// A destination that asks says once more what was lost: one word that is lost costs nothing.
#[test]
fn each_word_behind_the_state_may_be_lost_once() {
    let [old_terms, new_terms] = terms();
    for lost in [Kind::Kept, Kind::Gone] {
        let [mut here, mut there] = ends();
        let first = move || {
            let mut is_first = true;
            move |kind| kind == lost && core::mem::replace(&mut is_first, false)
        };
        (here.loses, there.loses) = (Box::new(first()), Box::new(first()));
        let mut source = Source::new(&old_terms, here);
        let step = Arc::clone(&source.clock.step);
        let (mut arrived, mut berth) = (vacant(100), Memory::default());
        let (outcome, stand) = beside(
            &step,
            || source.poll(),
            |idle| {
                let mut looks = 0;
                let mut idle = || {
                    looks += 1;
                    // Two of these are a second each; behind the twentieth nobody waits any more.
                    idle().filter(|_| looks < 20_000).map(|_| looks % 1000 == 0)
                };
                let with = Arrivals { platform: &mut arrived, reports: &mut new(), berth: &mut berth };
                arrive(&new_terms, None, &mut there, with, &mut idle)
            },
        );
        assert_eq!((outcome.map(|_| ()), stand), (Ok(()), Stand::Moved), "{lost:?}");
        assert_eq!(code(&mut arrived, GET_RANDOM), SUCCESS);
        assert_eq!(code(&mut source.machine, GET_RANDOM), FAILURE);
    }
}

/// Words of a run that was given up are for nobody: they neither end the next run nor are they answered.
#[test]
fn a_state_that_waits_is_asked_for_in_vain_and_ends_no_run() {
    let [old_terms, _] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.end.incoming.lock().unwrap().clear();
    let words =
        [[&[1, Kind::Ask as u8, 0, 0][..], &[9; 48]].concat(), [&[1, Kind::Kept as u8, 0, 0][..], &[9; 64]].concat()];
    for is_running in [false, true] {
        for word in &words {
            there.send(service::MIGRATION, 0, word).unwrap();
            assert_eq!((source.poll(), there.receive().unwrap()), (Stand::Here, None), "{is_running}");
        }
        source.end.incoming.lock().unwrap().push_back(BEGIN.to_vec());
        assert_eq!(source.poll(), Stand::Here);
        assert_eq!(there.receive().unwrap().unwrap().octets[1], Kind::Offer as u8);
    }
}

/// The same behind the tombstone: with no word of life it stands still for a while only, and is dead.
#[test]
fn whoever_asks_a_dead_source_does_not_hold_its_guest() {
    let [old_terms, new_terms] = terms();
    let ask = [&[1, Kind::Ask as u8, 0, 0][..], &[9; 48]].concat();
    for every in [7, 1] {
        let [here, mut there] = ends();
        let mut source = Source::new(&old_terms, here);
        source.end.noise = Some((ask.clone(), every));
        let step = Arc::clone(&source.clock.step);
        // Time goes on when what was to come in time has come.
        source.end.loses = Box::new(move |kind| {
            step.fetch_max(if kind == Kind::Gone { 100 } else { 0 }, Ordering::Relaxed);
            kind == Kind::Gone
        });
        let (mut arrived, mut berth) = (vacant(100), Memory::default());
        let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
        assert_eq!((outcome, berth.lives, stand), (Err(Refusal::GivenUp), None, Stand::Moved));
        assert_eq!(code(&mut source.machine, GET_RANDOM), FAILURE);
    }
}

/// Offer and proof get through, and no more.
#[test]
fn a_relay_that_breaks_while_the_state_is_on_its_way_keeps_nothing() {
    let [old_terms, new_terms] = terms();
    for takes in [3, 4] {
        let [mut here, mut there] = ends();
        here.takes = takes;
        let mut source = Source::new(&old_terms, here);
        let (mut arrived, mut berth) = (vacant(100), Memory::default());
        let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
        assert_eq!((outcome, berth.lives, stand), (Err(Refusal::GivenUp), None, Stand::Stayed(Refusal::GivenUp)));
        assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS);
        assert!(source.home.tombstone.is_none());
    }
}

#[test]
fn a_tombstone_of_which_nobody_knows_whether_it_is_durable() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.home.fails = true;
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
    assert_eq!((outcome, berth.lives, stand), (Err(Refusal::GivenUp), None, Stand::Unsure));
    assert_eq!((source.poll(), code(&mut source.machine, GET_RANDOM)), (Stand::Unsure, FAILURE));

    // Each side's next boot: the source's finds the tombstone, and the destination's asks.
    let (pending, state) = berth.waits.take().unwrap();
    let tombstone = source.home.tombstone.take().unwrap();
    let [mut here, mut there] = ends();
    let mut arrived = vacant(150);
    let waits = Some((pending, Wiped::of(state)));
    let mut idle = || {
        give_receipts(&old_terms, tombstone.clone(), &mut here, &mut || None);
        Some(false)
    };
    let with = Arrivals { platform: &mut arrived, reports: &mut new(), berth: &mut berth };
    let outcome = arrive(&new_terms, waits, &mut there, with, &mut idle);
    assert_eq!(outcome.map(|arrival| arrival.identity), Ok(IDENTITY));
    assert_eq!(code(&mut arrived, GET_RANDOM), SUCCESS);
}

/// Whoever keeps the TPM says, before the tombstone, that it cannot leave: it goes on, and leaves another time.
#[test]
fn a_tombstone_that_was_not_begun_ends_the_run_only() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.home.refuses = true;
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
    assert_eq!((outcome, berth.lives, stand), (Err(Refusal::GivenUp), None, Stand::Stayed(Refusal::GivenUp)));
    assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS, "it goes on here");

    source.home.refuses = false;
    source.clock.step.store(0, Ordering::Relaxed);
    source.end.incoming.lock().unwrap().push_back(BEGIN.to_vec());
    let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut Memory::default());
    assert_eq!((outcome.map(|arrival| arrival.identity), stand), (Ok(IDENTITY), Stand::Moved));
}

/// It says nothing that would kill the source.
#[test]
fn a_destination_that_does_not_know_what_it_has_written_ends() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let (mut arrived, mut berth) = (vacant(100), Memory { fails: true, ..Memory::default() });
    let (outcome, stand) = source.to(&new_terms, &mut there, &mut arrived, &mut berth);
    assert_eq!((outcome, berth.lives, stand), (Err(Refusal::Disk), None, Stand::Stayed(Refusal::GivenUp)));
    assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS);
}

#[test]
fn what_is_no_message_of_a_run_changes_nothing() {
    let [old_terms, _] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.poll();
    there.receive().unwrap().unwrap();
    for junk in [vec![], vec![1, 2, 3], vec![0; 100], [&BEGIN[..], &[1]].concat()] {
        there.send(service::MIGRATION, 0, &junk).unwrap();
        assert!(matches!(source.poll(), Stand::Stayed(_)));
        assert_eq!(there.receive().unwrap().unwrap().octets[1], Kind::Refused as u8);
        assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS);
    }
    // Without terms nothing begins.
    let none = Terms::default();
    let [here, _there] = ends();
    let mut source = Source::new(&none, here);
    assert_eq!(source.poll(), Stand::Stayed(Refusal::NoTerms));
}

/// Two sides that answered each other's refusals would never end.
#[test]
fn a_refusal_is_not_answered() {
    let [old_terms, new_terms] = terms();
    let refusal = migration::message::refused(Refusal::Shape).unwrap();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.poll();
    there.receive().unwrap().unwrap();
    there.send(service::MIGRATION, 0, &refusal).unwrap();
    assert_eq!(source.poll(), Stand::Stayed(Refusal::Shape));
    assert!(there.receive().unwrap().is_none());

    let [mut here, mut there] = ends();
    here.send(service::MIGRATION, 0, &refusal).unwrap();
    let with = Arrivals { platform: &mut vacant(100), reports: &mut new(), berth: &mut Memory::default() };
    let outcome = arrive(&new_terms, None, &mut there, with, &mut || None);
    assert_eq!((outcome, here.receive().unwrap()), (Err(Refusal::GivenUp), None));
}

/// What a guest has of it: commands look for messages, not each of them; what has gone is not attested.
#[test]
fn a_guests_commands_look_at_the_relay() {
    let [old_terms, new_terms] = terms();
    let old_terms: &'static Terms = Box::leak(Box::new(old_terms));
    let [here, mut there] = ends();
    here.incoming.lock().unwrap().push_back(BEGIN.to_vec());
    let (keeper, home) = Shared::new(Nowhere::draw(&mut Counted(7)).unwrap());
    let identity = keeper.kept().identity;
    let clock = Ticking::default();
    let mut source = machine(0, &clock);
    source.keep_by(Box::new(keeper)).unwrap();
    let way = Way::new(Leaving::new(old_terms), here, Box::new(home), |_| ());
    let mut source = Movable::new(source, Some(way));
    assert!(svsm::Tpm::kept(&source).is_some_and(|kept| kept.flags == 0), "it has a name, and is not kept");
    let command = |source: &mut Movable<_, _, _>, command: &[u8]| {
        svsm::Tpm::prepare(source, command, &kernel::sync::Mutex::new(old())).unwrap();
        code(source, command)
    };
    assert_eq!(command(&mut source, STARTUP), SUCCESS);
    assert_eq!(there.incoming.lock().unwrap().len(), 1, "the offer");
    // The time for another look has not come.
    there.outgoing.lock().unwrap().push_back(vec![]);
    assert_eq!(command(&mut source, GET_RANDOM), SUCCESS);
    assert_eq!(there.outgoing.lock().unwrap().pop_back(), Some(vec![]), "nobody has taken it");

    let (mut arrived, mut nowhere) = (vacant(100), Nowhere::draw(&mut Counted(9)).unwrap());
    let mut codes = Vec::new();
    let poll = || {
        // The time for a look comes, and stands still meanwhile.
        clock.now.fetch_add(20, Ordering::Relaxed);
        let code = command(&mut source, GET_RANDOM);
        codes.push(code);
        if code == FAILURE { Stand::Moved } else { Stand::Here }
    };
    let (arrival, _) = beside(&clock.step, poll, |idle| {
        let with = Arrivals { platform: &mut arrived, reports: &mut new(), berth: &mut nowhere };
        arrive(&new_terms, None, &mut there, with, idle)
    });
    assert_eq!(arrival.unwrap().identity, identity);
    let answered = codes.iter().position(|code| *code == FAILURE).unwrap();
    assert!(codes[..answered].iter().all(|code| *code == SUCCESS) && answered > 0);
    assert_eq!(command(&mut source, GET_RANDOM), FAILURE);
    assert!(svsm::Tpm::kept(&source).is_none() && svsm::Tpm::keys(&mut source).is_none());
    let kept = nowhere.kept();
    assert_eq!((kept.identity, kept.flags, &kept.origin[..]), (identity, flag::MIGRATED, &OLD[..32]));
}

/// One that calls for nothing does not hold its TPM here: the host lets VMPL0 look.
#[test]
fn the_tpm_of_a_guest_that_is_idle_leaves() {
    let [old_terms, new_terms] = terms();
    let old_terms: &'static Terms = Box::leak(Box::new(old_terms));
    let [here, mut there] = ends();
    here.incoming.lock().unwrap().push_back(BEGIN.to_vec());
    let (keeper, home) = Shared::new(Nowhere::draw(&mut Counted(7)).unwrap());
    let clock = Ticking::default();
    let mut source = machine(0, &clock);
    source.keep_by(Box::new(keeper)).unwrap();
    let way = Way::new(Leaving::new(old_terms), here, Box::new(home), |_| ());
    let mut source = Movable::new(source, Some(way));
    let (mut arrived, mut nowhere) = (vacant(100), Nowhere::draw(&mut Counted(9)).unwrap());
    let poll = || {
        clock.now.fetch_add(20, Ordering::Relaxed);
        svsm::Tpm::idle(&mut source, &kernel::sync::Mutex::new(old()));
        if svsm::Tpm::kept(&source).is_none() { Stand::Moved } else { Stand::Here }
    };
    let (arrival, _) = beside(&clock.step, poll, |idle| {
        let with = Arrivals { platform: &mut arrived, reports: &mut new(), berth: &mut nowhere };
        arrive(&new_terms, None, &mut there, with, idle)
    });
    assert!(arrival.is_ok());
    assert_eq!(code(&mut source, GET_RANDOM), FAILURE);
}
