//! Runs, whole and not: records in memory.

use super::*;
use crate::moving::{Movable, Nowhere, Shared, Way, give_receipts};
use kernel::hooks::Keeper;
use kernel::svsm;
use kernel::sync::Mutex;
use moves::scene::terms;

/// What is written.
#[derive(Default)]
struct Memory {
    tombstone: Option<Tombstone>,
    waits: Option<(Pending, Vec<u8>)>,
    lives: Option<Arrival>,
    fails: bool,
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

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), Unsure> {
        self.tombstone = Some(tombstone.clone());
        self.written()
    }
}

impl Berth for Memory {
    fn keeps(&self) -> bool {
        true
    }

    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure> {
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
    machine: Machine,
    psp: Psp,
    home: Memory,
}

impl<'t> Source<'t> {
    fn new(terms: &'t Terms, end: End) -> Self {
        let mut machine = machine(0);
        assert_eq!(code(&mut machine, STARTUP), SUCCESS);
        end.incoming.borrow_mut().push_back(BEGIN.to_vec());
        Self { leaving: Leaving::new(terms), end, machine, psp: old(), home: Memory::default() }
    }

    fn poll(&mut self) -> Stand {
        self.leaving.poll(&mut self.end, &mut self.machine, &mut self.psp, &mut self.home)
    }
}

/// Waits at the other end as long as `idle` says.
fn arriving(
    terms: &Terms,
    end: &mut End,
    platform: &mut Machine,
    berth: &mut Memory,
    waits: Option<(Pending, Zeroizing<Vec<u8>>)>,
    idle: &mut dyn FnMut() -> Option<bool>,
) -> Result<Arrival, Refusal> {
    arrive(terms, waits, end, Arrivals { platform, reports: &mut new(), berth }, idle)
}

/// So many times.
fn times(most: usize, mut each: impl FnMut()) -> impl FnMut() -> Option<bool> {
    let mut done = 0;
    move || {
        each();
        done += 1;
        (done < most).then_some(false)
    }
}

#[test]
fn a_tpm_leaves_and_arrives_and_answers_in_one_place() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let endorsement = ek(&mut source.machine);
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    assert_eq!(code(&mut arrived, GET_RANDOM), FAILURE, "nobody is there");
    let mut stands = Vec::new();
    let mut idle = times(20, || stands.push(source.poll()));
    let arrival = arriving(&new_terms, &mut there, &mut arrived, &mut berth, None, &mut idle).unwrap();
    drop(idle);
    assert_eq!((arrival.identity, arrival.from, arrival.last), (IDENTITY, OLD, (7, [3; 32])));
    assert_eq!((berth.lives, stands.last()), (Some(arrival), Some(&Stand::Moved)));
    assert_eq!(code(&mut source.machine, GET_RANDOM), FAILURE);
    // Nobody starts it: it goes on.
    assert_eq!(code(&mut arrived, GET_RANDOM), SUCCESS);
    assert_eq!(code(&mut arrived, STARTUP), INITIALIZE);
    assert_eq!(ek(&mut arrived), endorsement);
    let (tombstone, (pending, _)) = (source.home.tombstone.unwrap(), berth.waits.unwrap());
    assert_eq!(tombstone.receipt.promise(), pending.promise);
}

#[test]
fn where_the_guest_is_measured_the_tpm_starts_anew() {
    let mut machine = machine(0);
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
    source.end.incoming.borrow_mut().push_back(BEGIN.to_vec());
    assert_eq!(source.poll(), Stand::Here, "and another run may begin");
}

#[test]
fn a_relay_that_breaks_while_the_state_is_on_its_way_keeps_nothing() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    let mut polls = 0;
    let mut idle = times(20, || {
        polls += 1;
        // At the third look the destination is ready, and the state would be sent.
        source.end.is_broken = polls == 3;
        source.poll();
    });
    let outcome = arriving(&new_terms, &mut there, &mut arrived, &mut berth, None, &mut idle);
    drop(idle);
    assert_eq!((outcome, berth.lives), (Err(Refusal::GivenUp), None));
    assert_eq!(code(&mut source.machine, GET_RANDOM), SUCCESS);
    assert!(source.home.tombstone.is_none());
}

#[test]
fn a_tombstone_of_which_nobody_knows_whether_it_is_durable() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.home.fails = true;
    let (mut arrived, mut berth) = (vacant(100), Memory::default());
    let mut idle = times(20, || _ = source.poll());
    let outcome = arriving(&new_terms, &mut there, &mut arrived, &mut berth, None, &mut idle);
    drop(idle);
    assert_eq!((outcome, berth.lives), (Err(Refusal::GivenUp), None));
    assert_eq!(source.poll(), Stand::Unsure);
    assert_eq!(code(&mut source.machine, GET_RANDOM), FAILURE);

    // Each side's next boot: the source's finds the tombstone, and the destination's asks.
    let (pending, state) = berth.waits.take().unwrap();
    let tombstone = source.home.tombstone.take().unwrap();
    let [mut here, mut there] = ends();
    let mut arrived = vacant(150);
    let waits = Some((pending, Zeroizing::new(state)));
    let mut idle = times(3, || {
        give_receipts(&old_terms, tombstone.clone(), &mut here, &mut || None);
    });
    let outcome = arriving(&new_terms, &mut there, &mut arrived, &mut berth, waits, &mut idle);
    assert_eq!(outcome.map(|arrival| arrival.identity), Ok(IDENTITY));
    assert_eq!(code(&mut arrived, GET_RANDOM), SUCCESS);
}

/// Each write of the destination's: nobody knows what is there, and nothing is said that would kill the source.
#[test]
fn a_destination_that_does_not_know_what_it_has_written_ends() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let (mut arrived, mut berth) = (vacant(100), Memory { fails: true, ..Memory::default() });
    let mut idle = times(20, || _ = source.poll());
    let outcome = arriving(&new_terms, &mut there, &mut arrived, &mut berth, None, &mut idle);
    drop(idle);
    assert_eq!((outcome, berth.lives), (Err(Refusal::Disk), None));
    assert_eq!(source.poll(), Stand::Here);
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
    let idle = &mut || None;
    let outcome = arriving(&new_terms, &mut there, &mut vacant(100), &mut Memory::default(), None, idle);
    assert_eq!((outcome, here.receive().unwrap()), (Err(Refusal::GivenUp), None));
}

/// What a guest has of it: commands look for messages, not each of them; what has gone is not attested.
#[test]
fn a_guests_commands_look_at_the_relay() {
    let [old_terms, new_terms] = terms();
    let old_terms: &'static Terms = Box::leak(Box::new(old_terms));
    let [here, mut there] = ends();
    here.incoming.borrow_mut().push_back(BEGIN.to_vec());
    let (keeper, home) = Shared::new(Nowhere::draw(&mut Counted(7)).unwrap());
    let identity = keeper.kept().identity;
    let mut source = machine(0);
    source.keep_by(Box::new(keeper)).unwrap();
    let way = Way::new(Leaving::new(old_terms), here, Box::new(home), |_| ());
    let mut source = Movable::new(source, Some(way));
    let reports: Mutex<Psp> = Mutex::new(old());
    assert!(svsm::Tpm::kept(&source).is_some_and(|kept| kept.flags == 0), "it has a name, and is not kept");
    let mut command = |source: &mut Movable<_, _, _>, command: &[u8]| {
        svsm::Tpm::prepare(source, command, &reports).unwrap();
        code(source, command)
    };
    assert_eq!(command(&mut source, STARTUP), SUCCESS);
    assert_eq!(there.incoming.borrow().len(), 1, "the offer");

    let (mut arrived, mut nowhere) = (vacant(100), Nowhere::draw(&mut Counted(9)).unwrap());
    let (mut codes, mut done) = (Vec::new(), 0);
    let with = Arrivals { platform: &mut arrived, reports: &mut new(), berth: &mut nowhere };
    let arrival = arrive(&new_terms, None, &mut there, with, &mut || {
        codes.push(command(&mut source, GET_RANDOM));
        done += 1;
        (done < 1000).then_some(false)
    });
    assert_eq!(arrival.unwrap().identity, identity);
    let answered = codes.iter().position(|code| *code == FAILURE).unwrap();
    assert!(codes[..answered].iter().all(|code| *code == SUCCESS) && answered > 1);
    assert_eq!(command(&mut source, GET_RANDOM), FAILURE);
    assert!(svsm::Tpm::kept(&source).is_none() && svsm::Tpm::keys(&mut source).is_none());
    let kept = nowhere.kept();
    assert_eq!((kept.identity, kept.flags, &kept.origin[..]), (identity, 8, &OLD[..32]));
}
