//! No key and nonce seal two things: every history of a few boots, commits, moves and cuts, on disks that the host
//! keeps, puts back and copies as it likes, and of records that the operator brings from one to another, run on the
//! code as it is. Two things are two also where only what is authenticated with them differs: two tags of one key and
//! nonce are enough to forge a third.
//!
//! What is assumed is that no two boots draw the same octets. The plants break that in the ways in which designs that
//! take something from the disk do, and must be found.

use super::roots::roots;
use super::{Memory, WRITER, head, recovery_key, room};
use crate::disk::{Beginning, Found, StateDisk, look, read_contents, recover};
use crate::keys::{Fresh, Roots};
use crate::layout::sha256;
use crate::refusal::Refusal;
use crate::{Import, import};
use core::cell::RefCell;
use std::collections::HashMap;

/// A key and a nonce.
type Pair = ([u8; 32], u64);

thread_local! {
    /// What was sealed under each pair in this history, by digests; and whether a pair sealed two things.
    static SEALED: RefCell<(HashMap<Pair, [u8; 32]>, bool)> = RefCell::default();
}

/// Called at each encryption.
pub(crate) fn sealed(key: &[u8; 32], nonce: u64, beside: &[u8], what: &[u8]) {
    SEALED.with_borrow_mut(|(pairs, twice)| {
        let what = sha256(&[sha256(beside), sha256(what)].concat());
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
    /// The guest of this number goes on beyond an epoch that it has been told, and commits.
    Beyond(usize),
    /// The guest of this number writes its tombstone, which is always the same, and its power goes after so many
    /// sectors, if it does: one of them is of the second record.
    Bury(usize, Option<usize>),
    /// The operator brings the record of one image to the firmware of another.
    Import(usize, usize),
}

/// What is done beside boots, commits, cuts and failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Nothing,
    /// Tombstones, and epochs that are left out.
    Moves,
    /// These, and imports: the firmware has a recovery key.
    Imports,
}

impl With {
    fn recovery(self) -> Option<u8> {
        (self == Self::Imports).then_some(3)
    }
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
    with: With,
    imports: u8,
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
            Step::Beyond(guest) => {
                let epoch = self.images.len() as u64 + 5;
                self.guests[guest].as_mut().unwrap().go_on_beyond(epoch).unwrap();
                self.commit(guest, None, number);
            }
            Step::Bury(guest, left) => {
                self.bury(guest, left);
                self.guests[guest] = self.guests[guest].take().filter(|_| left.is_none());
            }
            Step::Import(from, to) => self.import(from, to),
            Step::Cut(guest, left) => {
                self.commit(guest, Some(left), number);
                self.guests[guest] = None;
            }
            Step::Fail(guest, left) => self.commit(guest, Some(left), number),
        }
    }

    fn roots(&self) -> Roots {
        roots(1, None, self.with.recovery())
    }

    fn boot(&mut self, image: usize) {
        let own = self.roots();
        let (disk, room) = (self.images[image].clone(), self.rooms.pop().unwrap());
        let boot = u8::try_from(self.guests.len()).unwrap() + 1;
        let guest = match look(disk.clone()).unwrap() {
            Found::Empty => {
                StateDisk::create(disk, &Beginning::new(), &WRITER, &own, (self.draw)(boot, 0), room).unwrap()
            }
            Found::Record(head) => {
                let fresh = (self.draw)(boot, u8::try_from(head.epoch()).unwrap());
                StateDisk::open(disk, &head, &WRITER, &own, &own, None, fresh, room).unwrap()
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
            (Ok(()), None) | (Err(Refusal::Device(_) | Refusal::Broken | Refusal::Moved), _) => {}
            other => panic!("{other:?}"),
        }
        guest.device().left = None;
        self.images.push(guest.device().clone());
    }

    fn bury(&mut self, guest: usize, left: Option<usize>) {
        let guest = self.guests[guest].as_mut().unwrap();
        guest.device().left = left;
        guest.set_outer(b"mark").unwrap();
        guest.beside().set(crate::Section::Handover, b"tombstone").unwrap();
        match (guest.commit_moved(b""), left) {
            (Ok(()), None) | (Err(Refusal::Device(_) | Refusal::Broken), _) => {}
            other => panic!("{other:?}"),
        }
        guest.device().left = None;
        self.images.push(guest.device().clone());
    }

    /// A new image, on which that of the addressee is no more the newest record.
    fn import(&mut self, from: usize, to: usize) {
        let (key, mut disk) = (recovery_key(self.with.recovery().unwrap()), self.images[to].clone());
        let (exported, addressee) = (head(&self.images[from]).unwrap(), head(&disk).unwrap());
        let (mut read, mut sealed) = (room(), room());
        read_contents(self.images[from].clone(), &exported, &mut read).unwrap();
        let opened = recover::<super::Off>(&exported, &key, &mut read).unwrap();
        let what = Import { from: &exported, tpm: &read[opened.tpm], beside: &opened.beside };
        self.imports += 1;
        let fresh = (self.draw)(100 + self.imports, u8::try_from(exported.epoch()).unwrap());
        import(&mut disk, &key, &addressee, &what, &fresh, &mut sealed).unwrap();
        self.images.push(disk);
    }

    fn next_steps(&self) -> Vec<Step> {
        let boots = (0..self.images.len()).filter(|_| self.guests.len() < GUESTS).map(Step::Boot);
        let live = || (0..self.guests.len()).filter(|guest| self.guests[*guest].is_some());
        let of_guests = live().flat_map(|guest| {
            let cuts = [0, 1].into_iter().flat_map(move |left| [Step::Cut(guest, left), Step::Fail(guest, left)]);
            let moves = [Step::Beyond(guest), Step::Bury(guest, None), Step::Bury(guest, Some(4))];
            [Step::Commit(guest)]
                .into_iter()
                .chain(cuts)
                .chain(moves.into_iter().filter(|_| self.with != With::Nothing))
        });
        let with_records = || (0..self.images.len()).filter(|image| self.has_record(*image));
        let imports = with_records().flat_map(|from| with_records().map(move |to| Step::Import(from, to)));
        boots.chain(of_guests).chain(imports.filter(|_| self.with == With::Imports)).collect()
    }

    fn has_record(&self, image: usize) -> bool {
        matches!(look(self.images[image].clone()), Ok(Found::Record(_)))
    }
}

const GUESTS: usize = 3;

/// Runs a history from the beginning; what can follow it, or `None` if a pair has sealed two things.
fn run(history: &[Step], draw: Draw) -> Option<Vec<Step>> {
    run_with(With::Moves, history, draw)
}

fn run_with(with: With, history: &[Step], draw: Draw) -> Option<Vec<Step>> {
    SEALED.take();
    let mut rooms: Vec<_> = (0..GUESTS).map(|_| room()).collect();
    let rooms = rooms.iter_mut().map(Vec::as_mut_slice).collect();
    let (images, guests) = (vec![Memory::prepared()], Vec::new());
    let mut world = World { with, imports: 0, images, guests, rooms, draw };
    for (number, step) in (0..).zip(history) {
        world.step(*step, number);
    }
    (!SEALED.with_borrow(|(_, twice)| *twice)).then(|| world.next_steps())
}

/// All histories of so many steps: how many there are, and the first in which a pair seals two things.
fn explore(with: With, depth: usize, draw: Draw) -> (usize, Option<Vec<Step>>) {
    let (mut open, mut seen) = (vec![Vec::new()], 0);
    while let Some(history) = open.pop() {
        seen += 1;
        let Some(next) = run_with(with, &history, draw) else { return (seen, Some(history)) };
        if history.len() < depth {
            open.extend(next.into_iter().rev().map(|step| [&history[..], &[step]].concat()));
        }
    }
    (seen, None)
}

#[test]
fn no_history_seals_two_things_with_one_key_and_nonce() {
    for (with, depth, least) in [(With::Nothing, 6, 20_000), (With::Moves, 5, 10_000), (With::Imports, 4, 1_000)] {
        let (seen, found) = explore(with, depth, as_it_is);
        assert_eq!(found, None, "{with:?}");
        assert!(seen > least, "{with:?}: {seen}");
        println!("{seen} histories with {with:?}");
    }
}

#[test]
fn what_follows_from_the_disk_is_found() {
    let plants: [Draw; 3] = [by_the_disks_epoch, one_key, one_salt];
    let found = plants.map(|plant| explore(With::Moves, 4, plant).1.is_some());
    assert_eq!(found, [true; 3]);
}

/// The same tombstone twice: what differs is the boot that has written it, which is authenticated beside it.
#[test]
fn what_differs_only_beside_the_contents_is_found() {
    let history = [Step::Boot(0), Step::Boot(0), Step::Bury(0, None), Step::Bury(1, None)];
    assert_eq!(run(&history, one_key), None);
    assert!(run(&history, as_it_is).is_some());
}

/// An import whose key is that of another.
#[test]
fn two_imports_with_one_key_are_found() {
    let history = [Step::Boot(0), Step::Commit(0), Step::Commit(0), Step::Import(1, 2), Step::Import(2, 2)];
    assert_eq!(run_with(With::Imports, &history, one_key), None);
    assert!(run_with(With::Imports, &history, as_it_is).is_some());
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
