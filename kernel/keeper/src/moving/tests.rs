//! Both sides in one process: true handshakes between mock chips, queues for the relay, records in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use migration::message::Kind;
use migration::{Arrival, Identity, Pending, Refusal, Terms, Tombstone};
use moves::chip::Boot;
use moves::scene::{CHIP_A, CHIP_B, IDENTITY, NEW, OLD, terms};
use relay::{Message, Relay, service};
use snp::guid::Guid;
use snp::message::certificates::{ARK, ASK, VCEK};
use snp::report::Report;
use tpm_core::{Clock, EkTemplate, MAX_EK_PUBLIC, Tpm};
use zerocopy::IntoBytes;

use super::{Home, Leaving, Stand, Unsure, arrive};
use crate::attest::{Certificates, ReportError, Reports};
use crate::hooks::Platform;
use crate::svsm::Tpm as _;
use crate::testing::Counted;

/// A clock that goes on when it is looked at.
struct Ticking(u64);

impl Clock for Ticking {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

type Machine = Platform<Counted, Ticking>;
type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of the way between two firmwares; whoever has the hosts has both queues.
struct End {
    incoming: Queue,
    outgoing: Queue,
}

impl Relay for End {
    type Error = ();

    fn send(&mut self, to: u16, _: u16, message: &[u8]) -> Result<(), ()> {
        assert_eq!(to, service::MIGRATION);
        self.outgoing.borrow_mut().push_back(message.to_vec());
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Message>, ()> {
        let message = |octets| Message { service: service::MIGRATION, number: 0, octets };
        Ok(self.incoming.borrow_mut().pop_front().map(message))
    }
}

fn ends() -> [End; 2] {
    let [a, b] = [Queue::default(), Queue::default()];
    [End { incoming: a.clone(), outgoing: b.clone() }, End { incoming: b, outgoing: a }]
}

/// A mock chip, as the firmware asks it.
struct Psp(Boot<'static>);

impl Reports for Psp {
    fn report(
        &mut self,
        report_data: &[u8; 64],
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError> {
        let testimony = self.0.testimony(report_data);
        if let Some(certificates) = certificates {
            let all: [(Guid, &[u8]); 3] = [(VCEK, &testimony.vcek), (ASK, &testimony.ask), (ARK, &testimony.ark)];
            let (mut table, mut data) = (Vec::new(), Vec::new());
            for (kind, der) in all {
                let at = u32::try_from(24 * 4 + data.len()).unwrap();
                table.extend(kind.as_bytes());
                table.extend(at.to_le_bytes());
                table.extend(u32::try_from(der.len()).unwrap().to_le_bytes());
                data.extend(der);
            }
            table.extend([0; 24]);
            table.extend(data);
            certificates.fill(|buffer| buffer[..table.len()].copy_from_slice(&table));
        }
        Ok(testimony.report)
    }
}

fn old() -> Psp {
    Psp(Boot::new(&CHIP_A, OLD))
}

fn new() -> Psp {
    Psp(Boot::new(&CHIP_B, NEW))
}

/// What is written.
#[derive(Default)]
struct Memory {
    tombstone: Option<Tombstone>,
    waits: Option<(Pending, Vec<u8>)>,
    lives: Option<Arrival>,
    fails: bool,
}

impl Home for Memory {
    fn now(&self) -> (Identity, u64, [u8; 32]) {
        (IDENTITY, 7, [3; 32])
    }

    fn keeps(&self) -> bool {
        true
    }

    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), Unsure> {
        self.tombstone = Some(tombstone.clone());
        if self.fails { Err(Unsure) } else { Ok(()) }
    }

    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure> {
        self.waits = Some((*pending, state.to_vec()));
        if self.fails { Err(Unsure) } else { Ok(()) }
    }

    fn live(&mut self, arrival: &Arrival, _: &Tpm) -> Result<(), Unsure> {
        self.lives = Some(*arrival);
        Ok(())
    }
}

fn machine(entropy: u8) -> Machine {
    Platform::manufacture(Counted(entropy), Ticking(0), |_| ()).ok().unwrap()
}

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const GET_RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 1];
const BEGIN: [u8; 4] = [1, Kind::Begin as u8, 0, 0];

fn response_code(machine: &mut Machine, command: &[u8]) -> u32 {
    let mut response = [0; 4087];
    let len = machine.execute(command, &mut response);
    u32::from_be_bytes(response[..len][6..10].try_into().unwrap())
}

fn ek(machine: &mut Machine) -> Vec<u8> {
    let mut out = [0; MAX_EK_PUBLIC];
    let len = machine.with(|tpm, _| tpm.endorsement_key(EkTemplate::EccP256, &mut out)).ok().unwrap();
    out[..len].to_vec()
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
        assert_eq!(response_code(&mut machine, STARTUP), 0);
        end.incoming.borrow_mut().push_back(BEGIN.to_vec());
        Self { leaving: Leaving::new(terms), end, machine, psp: old(), home: Memory::default() }
    }

    fn poll(&mut self) -> Stand {
        self.leaving.poll(&mut self.end, &mut self.machine, &mut self.psp, &mut self.home).unwrap()
    }
}

#[test]
fn a_tpm_leaves_and_arrives_and_answers_in_one_place() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let endorsement = ek(&mut source.machine);
    let (mut arrived, mut home) = (machine(100), Memory::default());
    let mut stands = Vec::new();
    let mut idle = || {
        stands.push(source.poll());
        stands.len() < 20
    };
    let arrival = arrive(&new_terms, None, &mut there, &mut arrived, &mut new(), &mut home, &mut idle).unwrap();
    assert_eq!((arrival.identity, arrival.from, arrival.last), (IDENTITY, OLD, (7, [3; 32])));
    assert_eq!(home.lives, Some(arrival));
    assert_eq!(source.poll(), Stand::Moved);
    assert_eq!(response_code(&mut source.machine, GET_RANDOM), 0x101, "TPM_RC_FAILURE");
    // Nobody starts it: it goes on.
    assert_eq!(response_code(&mut arrived, GET_RANDOM), 0);
    assert_eq!(ek(&mut arrived), endorsement);
    let (tombstone, (pending, _)) = (source.home.tombstone.unwrap(), home.waits.unwrap());
    assert_eq!(tombstone.receipt.promise(), pending.promise);
}

#[test]
fn a_destination_that_is_silent_keeps_the_tpm_for_a_while_only() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    let mut destination = migration::Destination::new(&new_terms, true, 1 << 20, None).unwrap();
    assert_eq!(source.poll(), Stand::Here);
    let mut rng = moves::Seeded::new("silent");
    for _ in 0..2 {
        let message = there.receive().unwrap().unwrap().octets;
        let next = destination.receive(&message, &mut Boot::new(&CHIP_B, NEW), &mut rng);
        let Ok(migration::destination::Next::Send(message)) = next else { panic!("an answer") };
        there.send(service::MIGRATION, 0, &message).unwrap();
        let stand = source.poll();
        assert!(matches!(stand, Stand::Here | Stand::Stayed(Refusal::GivenUp)));
    }
    assert_eq!(response_code(&mut source.machine, GET_RANDOM), 0, "it goes on here");
    assert!(source.home.tombstone.is_none());
    source.end.incoming.borrow_mut().push_back(BEGIN.to_vec());
    assert_eq!(source.poll(), Stand::Here, "and another run may begin");
}

#[test]
fn a_tombstone_of_which_nobody_knows_whether_it_is_durable() {
    let [old_terms, new_terms] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.home.fails = true;
    let (mut arrived, mut home) = (machine(100), Memory::default());
    let mut polls = 0;
    let mut idle = || {
        polls += 1;
        source.poll();
        polls < 20
    };
    let outcome = arrive(&new_terms, None, &mut there, &mut arrived, &mut new(), &mut home, &mut idle);
    assert_eq!((outcome, home.lives), (Err(Refusal::GivenUp), None));
    assert_eq!(source.poll(), Stand::Unsure);
    assert_eq!(response_code(&mut source.machine, GET_RANDOM), 0x101, "TPM_RC_FAILURE");

    // The next boot finds it: the receipt, for the destination's next boot.
    let (pending, state) = home.waits.take().unwrap();
    let tombstone = source.home.tombstone.take().unwrap();
    let receipt = migration::Source::moved(&old_terms, tombstone).receipt().unwrap();
    let [mut host, mut there] = ends();
    host.send(service::MIGRATION, 0, &receipt).unwrap();
    let mut arrived = machine(150);
    let waits = Some((pending, &state[..]));
    let outcome = arrive(&new_terms, waits, &mut there, &mut arrived, &mut new(), &mut home, &mut || false);
    assert_eq!(outcome.map(|arrival| arrival.identity), Ok(IDENTITY));
    assert_eq!(response_code(&mut arrived, GET_RANDOM), 0);
}

#[test]
fn what_is_no_message_of_a_run_changes_nothing() {
    let [old_terms, _] = terms();
    let [here, mut there] = ends();
    let mut source = Source::new(&old_terms, here);
    source.poll();
    for junk in [vec![], vec![1, 2, 3], vec![0; 100], [&BEGIN[..], &[1]].concat()] {
        there.send(service::MIGRATION, 0, &junk).unwrap();
        assert!(matches!(source.poll(), Stand::Stayed(_)));
        assert_eq!(response_code(&mut source.machine, GET_RANDOM), 0);
    }
    // Without terms nothing begins.
    let none = Terms::default();
    let [here, _] = ends();
    let mut source = Source::new(&none, here);
    assert_eq!(source.poll(), Stand::Stayed(Refusal::NoTerms));
}
