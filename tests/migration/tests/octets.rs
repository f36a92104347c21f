//! Every bit, every cut: of messages, settings, grants and records. All is refused, and nothing panics.

use migration::source::Source;
use migration::{Grant, Pending, Refusal, Terms, Tombstone};
use moves::Seeded;
use moves::bits::{self, bits, cuts};
use moves::chip::Boot;
use moves::disks::{Disk, Fault, Machine, Tpm, Write};
use moves::scene::{CHIP_A, CHIP_B, IDENTITY, Letter, NEW, OLD, Owner, To, terms};
use std::collections::VecDeque;

/// One bit of every fourth octet; `cargo xtask simulate migration --bits` has them all.
#[test]
fn a_bit_of_every_fourth_octet_of_every_message() {
    // And every bit of the first octets, which say what a message is.
    let flips = bits(|bit| bit < 64 || bit / 8 % 4 == 1 && bit % 8 == bit / 32 % 8);
    assert!(flips.iter().map(|(_, count)| count).sum::<usize>() > 2_500, "{flips:?}");
}

/// Of the long ones every tenth; the verb has them all.
#[test]
fn a_cut_at_the_octets_of_every_message() {
    let cuts = cuts(10);
    assert!(cuts > 1_200, "{cuts}");
}

const TPM: Tpm = Tpm { identity: IDENTITY, epoch: 5, commands: 77 };

/// Two machines with disks, true handshakes, and the messages one after another.
struct Pair<'t> {
    terms: &'t [Terms; 2],
    machines: [Machine<'t>; 2],
    rng: Seeded,
}

impl<'t> Pair<'t> {
    fn new(terms: &'t [Terms; 2], kept: [bool; 2]) -> Self {
        let fault = Fault::None;
        let mut source = if kept[0] {
            Machine::new(&terms[0], true, Disk::Live(TPM), fault)
        } else {
            Machine::with_tpm(&terms[0], TPM, fault)
        };
        if kept[0] {
            source.boot();
        }
        let mut destination = Machine::new(&terms[1], kept[1], Disk::Empty, fault);
        destination.boot();
        Self { terms, machines: [source, destination], rng: Seeded::new("pair") }
    }

    /// Moves the state; the messages behind the first `count` are lost. How many there were.
    fn run(&mut self, count: usize) -> usize {
        let mut waiting: VecDeque<Letter> = VecDeque::new();
        waiting.extend(self.machines[1].ask().into_iter().map(|question| (To::Source, question)));
        if !waiting.is_empty() {
            // What waits is asked for.
        } else if let Some(bearer) = self.machines[0].bearer() {
            let (source, offer) = Source::offer(&self.terms[0], &bearer, &mut self.rng).unwrap();
            self.machines[0].start(source);
            waiting.push_back((To::Destination, offer));
        }
        let mut done = 0;
        while let Some((to, message)) = waiting.pop_front().filter(|_| done < count) {
            done += 1;
            let (which, boot) = match to {
                To::Source => (0, &mut Boot::new(&CHIP_A, OLD)),
                To::Destination => (1, &mut Boot::new(&CHIP_B, NEW)),
            };
            let said = self.machines[which].receive(&message, Write::Good, boot, &mut self.rng);
            let back = if which == 0 { To::Destination } else { To::Source };
            waiting.extend(said.into_iter().map(|message| (back, message)));
            assert!(self.alive() <= 1);
        }
        done
    }

    fn alive(&self) -> usize {
        self.machines.iter().filter(|machine| machine.answering().is_some()).count()
    }
}

/// After each message all others are lost; then both machines run on, or one of them or both lose their power. One run
/// more brings the destination to life, with all that the source has answered.
#[test]
fn a_cut_after_every_message_and_one_is_brought_up() {
    let terms = terms();
    let all = Pair::new(&terms, [true, true]).run(usize::MAX);
    assert_eq!(all, 9, "a state of one chunk");
    for kept in [[true, true], [false, true], [false, false]] {
        for count in 0..=all {
            for restarts in [[false, false], [true, false], [false, true], [true, true]] {
                // A TPM that is not kept ends with its power, migration or not.
                if restarts.into_iter().zip(kept).any(|(restarts, kept)| restarts && !kept) {
                    continue;
                }
                let mut pair = Pair::new(&terms, kept);
                pair.run(count);
                pair.machines[0].give_up();
                for (machine, restarts) in pair.machines.iter_mut().zip(restarts) {
                    if restarts {
                        machine.cut();
                        assert!(machine.answering().is_none());
                        machine.boot();
                    }
                }
                assert!(pair.alive() <= 1);
                let place = format!("cut after {count}, kept {kept:?}, restarts {restarts:?}");
                // The source that lives can go on instead.
                let commands = pair.machines[0].command().unwrap_or(TPM.commands);
                pair.run(usize::MAX);
                if pair.machines[1].answering().is_none() {
                    pair.machines[0].give_up();
                    // What waited was of a run that was given up: a new run takes its place.
                    assert!(pair.machines[0].answering().is_some(), "{place}");
                    let bearer = pair.machines[0].bearer().unwrap();
                    let (source, offer) = Source::offer(&terms[0], &bearer, &mut pair.rng).unwrap();
                    pair.machines[0].start(source);
                    pair.finish((To::Destination, offer));
                }
                assert!(pair.machines[0].answering().is_none(), "{place}");
                let tpm = pair.machines[1].answering().unwrap_or_else(|| panic!("{place}"));
                assert_eq!(tpm.commands, commands, "{place}");
            }
        }
    }
}

impl Pair<'_> {
    fn finish(&mut self, first: Letter) {
        let mut waiting: VecDeque<Letter> = [first].into();
        while let Some((to, message)) = waiting.pop_front() {
            let (which, boot) = match to {
                To::Source => (0, &mut Boot::new(&CHIP_A, OLD)),
                To::Destination => (1, &mut Boot::new(&CHIP_B, NEW)),
            };
            let said = self.machines[which].receive(&message, Write::Good, boot, &mut self.rng);
            let back = if which == 0 { To::Destination } else { To::Source };
            waiting.extend(said.into_iter().map(|message| (back, message)));
            assert!(self.alive() <= 1);
        }
    }
}

fn setting() -> Terms {
    let owner = Owner::new("owner").public;
    Terms {
        development_root: true,
        itself: true,
        receives: true,
        floors: [[1; 8], [2; 8], [3; 8]],
        owner: Some(owner),
        successors: vec![[4; 48], [5; 48]],
        predecessors: vec![[6; 48]],
        roots: Vec::new(),
    }
}

#[test]
fn the_setting_is_what_the_table_says() {
    let octets = setting().octets().unwrap();
    assert_eq!(octets[..8], [1, 0, 7, 0, 2, 0, 1, 0]);
    assert_eq!(octets[8..32], [[1; 8], [2; 8], [3; 8]].concat());
    assert_eq!(octets[32..128], Owner::new("owner").public);
    assert_eq!(octets[128..], [[4; 48], [5; 48], [6; 48]].concat());
    assert_eq!(Terms::parse(&octets), Ok(setting()));
    let none = Terms::default();
    assert_eq!(none.octets().unwrap(), [&[1_u8, 0][..], &[0; 126]].concat());
    assert_eq!(Terms::parse(&none.octets().unwrap()), Ok(none));
}

/// What is read is written again as it was: there are not two settings for one meaning.
#[test]
fn every_bit_and_every_length_of_a_setting() {
    let octets = setting().octets().unwrap();
    for bit in 0..8 * octets.len() {
        let mut octets = octets.clone();
        octets[bit / 8] ^= 1 << (bit % 8);
        match Terms::parse(&octets) {
            Ok(terms) => assert!(terms != setting() && terms.octets() == Ok(octets), "bit {bit}"),
            Err(refusal) => {
                let expected = [Refusal::Shape, Refusal::Version, Refusal::Key];
                assert!(expected.contains(&refusal), "bit {bit}: {refusal}");
            }
        }
    }
    for cut in 0..octets.len() {
        assert!(Terms::parse(&octets[..cut]).is_err());
    }
    let with = |at: usize, octet: u8| {
        let mut octets = octets.clone();
        octets[at] = octet;
        Terms::parse(&octets).unwrap_err()
    };
    assert_eq!((with(0, 2), with(2, 8), with(32, 0xff)), (Refusal::Version, Refusal::Shape, Refusal::Key));
    let zero = Terms { successors: vec![[0; 48]], ..Terms::default() };
    assert_eq!(Terms::parse(&zero.octets().unwrap()), Err(Refusal::Shape), "a measurement of zeros");
    let most = Terms { successors: vec![[1; 48]; 64], ..Terms::default() };
    assert_eq!(Terms::parse(&most.octets().unwrap()), Ok(most.clone()));
    let many = Terms { predecessors: vec![[1; 48]], ..most };
    assert_eq!(many.octets(), Err(Refusal::Shape));
}

#[test]
fn records_and_grants_have_one_length() {
    let grant = Owner::new("owner").grant(|_| ());
    let octets = grant.octets();
    assert_eq!((octets.len(), Grant::parse(&octets)), (232, Ok(grant)));
    let pending = Pending { identity: [1; 32], epoch: 2, boot_nonce: [3; 32], from: [4; 48], promise: [5; 48] };
    let expected = [&[1; 32][..], &2_u64.to_le_bytes(), &[3; 32], &[4; 48], &[5; 48]].concat();
    assert_eq!((&pending.octets()[..], Pending::parse(&expected)), (&expected[..], Ok(pending)));
    let receipt = migration::Receipt([5; 32]);
    let tombstone = Tombstone { identity: [1; 32], epoch: 2, to: [3; 48], chip: [4; 64], receipt };
    let expected = [&[1; 32][..], &2_u64.to_le_bytes(), &[3; 48], &[4; 64], &[5; 32]].concat();
    assert!(tombstone.octets()[..] == expected && Tombstone::parse(&expected) == Ok(tombstone));
    for len in (0..400).filter(|len| ![Pending::SIZE, Tombstone::SIZE, 232].contains(len)) {
        let octets = vec![7; len];
        assert!(
            Grant::parse(&octets).is_err() && Pending::parse(&octets).is_err() && Tombstone::parse(&octets).is_err()
        );
    }
}

#[test]
fn garbage_in_every_phase() {
    assert!(bits::garbage(1, 400) > 3_000);
}
