//! No key and nonce seal two things: every history of a few boots, commits and cuts, on disks that the host keeps,
//! puts back and copies as it likes, run on the code as it is.
//!
//! What is assumed is that no two boots draw the same octets. The plants break that in the ways in which designs that
//! take something from the disk do, and must be found.

use super::{Memory, WRITER, room, roots};
use crate::disk::{Beginning, Found, StateDisk, look};
use crate::keys::Fresh;
use crate::layout::sha256;
use crate::refusal::Refusal;
use core::cell::RefCell;
use std::collections::HashMap;

/// A key and a nonce.
type Pair = ([u8; 32], u64);

thread_local! {
    /// What was sealed under each pair in this history, by digests; and whether a pair sealed two things.
    static SEALED: RefCell<(HashMap<Pair, [u8; 32]>, bool)> = RefCell::default();
}

/// Called at each encryption.
pub(crate) fn sealed(key: &[u8; 32], nonce: u64, what: &[u8]) {
    SEALED.with_borrow_mut(|(pairs, twice)| {
        let what = sha256(what);
        *twice |= pairs.insert((sha256(key), nonce), what).is_some_and(|before| before != what);
    });
}

/// What the host and its guests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A boot from the image of this number: the newest, an older one, or one from which another has booted.
    Boot(usize),
    /// The guest of this number commits.
    Commit(usize),
    /// The guest of this number commits, and its power goes after so many sectors.
    Cut(usize, usize),
    /// The guest of this number commits, and the disk says that it has failed after so many sectors.
    Fail(usize, usize),
}

/// How octets are drawn for a boot.
type Draw = fn(boot: u8, epoch: u8) -> Fresh;

/// Parts whose first octet is the part's number: no two parts are the same.
fn parts(of: impl Fn(u8) -> u8) -> Fresh {
    let mut part = 0;
    Fresh::draw(|out| {
        part += 1;
        out.fill(of(part));
        out[0] = part;
        Ok::<(), ()>(())
    })
    .unwrap()
}

fn as_it_is(boot: u8, _: u8) -> Fresh {
    parts(|_| boot)
}

/// The key of a boot follows from the epoch that the disk says.
fn by_the_disks_epoch(_: u8, epoch: u8) -> Fresh {
    parts(|_| epoch)
}

/// The contents' key is always the same, its count begins anew.
fn one_key(boot: u8, _: u8) -> Fresh {
    parts(|part| if part == 1 { 0xff } else { boot })
}

/// The wrapping key has always the same salt.
fn one_salt(boot: u8, _: u8) -> Fresh {
    parts(|part| if part == 2 { 0xff } else { boot })
}

/// Images that the host has, and guests that run. (A guest has a disk of its own, whose image is kept after each step.)
struct World<'r> {
    images: Vec<Memory>,
    guests: Vec<Option<StateDisk<&'r mut [u8], Memory>>>,
    rooms: Vec<&'r mut [u8]>,
    draw: Draw,
}

impl World<'_> {
    fn step(&mut self, step: Step, number: u8) {
        match step {
            Step::Boot(image) => self.boot(image),
            Step::Commit(guest) => self.commit(guest, None, number),
            Step::Cut(guest, left) => {
                self.commit(guest, Some(left), number);
                self.guests[guest] = None;
            }
            Step::Fail(guest, left) => self.commit(guest, Some(left), number),
        }
    }

    fn boot(&mut self, image: usize) {
        let (disk, room) = (self.images[image].clone(), self.rooms.pop().unwrap());
        let boot = u8::try_from(self.guests.len()).unwrap() + 1;
        let guest = match look(disk.clone()).unwrap() {
            Found::Empty => {
                StateDisk::create(disk, &Beginning::new(), &WRITER, &roots(1), (self.draw)(boot, 0), room).unwrap()
            }
            Found::Record(head) => {
                let fresh = (self.draw)(boot, u8::try_from(head.epoch()).unwrap());
                StateDisk::open(disk, &head, &WRITER, &roots(1), &roots(1), None, fresh, room).unwrap()
            }
        };
        self.guests.push(Some(guest));
    }

    /// The record is another at each step.
    fn commit(&mut self, guest: usize, left: Option<usize>, number: u8) {
        let guest = self.guests[guest].as_mut().unwrap();
        guest.device().left = left;
        guest.set_outer(&[!number]).unwrap();
        match (guest.commit(&[number]), left) {
            (Ok(()), None) | (Err(Refusal::Device(_) | Refusal::Broken), _) => {}
            other => panic!("{other:?}"),
        }
        guest.device().left = None;
        self.images.push(guest.device().clone());
    }

    fn next_steps(&self) -> Vec<Step> {
        let boots = (0..self.images.len()).filter(|_| self.guests.len() < GUESTS).map(Step::Boot);
        let live = || (0..self.guests.len()).filter(|guest| self.guests[*guest].is_some());
        let of_guests = live().flat_map(|guest| {
            let cuts = [0, 1].into_iter().flat_map(move |left| [Step::Cut(guest, left), Step::Fail(guest, left)]);
            [Step::Commit(guest)].into_iter().chain(cuts)
        });
        boots.chain(of_guests).collect()
    }
}

const GUESTS: usize = 3;

/// Runs a history from the beginning; what can follow it, or `None` if a pair has sealed two things.
fn run(history: &[Step], draw: Draw) -> Option<Vec<Step>> {
    SEALED.take();
    let mut rooms: Vec<_> = (0..GUESTS).map(|_| room()).collect();
    let rooms = rooms.iter_mut().map(Vec::as_mut_slice).collect();
    let mut world = World { images: vec![Memory::prepared()], guests: Vec::new(), rooms, draw };
    for (number, step) in (0..).zip(history) {
        world.step(*step, number);
    }
    (!SEALED.with_borrow(|(_, twice)| *twice)).then(|| world.next_steps())
}

/// All histories of so many steps: how many there are, and the first in which a pair seals two things.
fn explore(depth: usize, draw: Draw) -> (usize, Option<Vec<Step>>) {
    let (mut open, mut seen) = (vec![Vec::new()], 0);
    while let Some(history) = open.pop() {
        seen += 1;
        let Some(next) = run(&history, draw) else { return (seen, Some(history)) };
        if history.len() < depth {
            open.extend(next.into_iter().rev().map(|step| [&history[..], &[step]].concat()));
        }
    }
    (seen, None)
}

#[test]
fn no_history_seals_two_things_with_one_key_and_nonce() {
    let (seen, found) = explore(6, as_it_is);
    assert_eq!(found, None);
    assert!(seen > 20_000, "{seen}");
    println!("{seen} histories");
}

#[test]
fn what_follows_from_the_disk_is_found() {
    let plants: [Draw; 3] = [by_the_disks_epoch, one_key, one_salt];
    let found = plants.map(|plant| explore(5, plant).1.is_some());
    assert_eq!(found, [true; 3]);
}

/// What the exploration visits has rollbacks and clones in it.
#[test]
fn a_rollback_and_two_clones_are_among_the_histories() {
    let rollback = [Step::Boot(0), Step::Commit(0), Step::Commit(0), Step::Boot(1), Step::Commit(1)];
    let clones = [Step::Boot(0), Step::Commit(0), Step::Boot(1), Step::Boot(1), Step::Commit(2)];
    for history in [rollback, clones] {
        for (n, step) in history.iter().enumerate() {
            assert!(run(&history[..n], as_it_is).unwrap().contains(step), "{step:?}");
        }
    }
}
