//! Both sides of a migration on disks of the firmware's, cut after every sector of every write: by what is on the two
//! disks then, one TPM and no more can be brought up, with what was in it.

use client::chance::Chance;
use migration::Wiped;
use migration::channel::{Channel, Side};
use migration::destination::{self, Destination};
use migration::disk::{Origin, Resting, entomb, keep, origin, resting, settle, waiting};
use migration::source::{self, Bearer, Source};
use migration::{Arrival, Terms};
use moves::Seeded;
use moves::chip::Boot;
use moves::scene::{CHIP_A, CHIP_B, NEW, OLD, terms};
use sealed::layout::ROOM;
use sealed::{Beginning, Found, Fresh, Root, Roots, StateDisk, Writer};
use simulate::drive::{Drive, Image};
use tpm_core::store::MAX_RECORD_SIZE;

type Disk = StateDisk<Vec<u8>, Drive>;

/// The TPM's record, as far as a disk knows; and its whole state, which is what waits.
const RECORD: &[u8] = &[0x5a; 3000];
const WHOLE: &[u8] = &[0xa5; 9000];

/// A firmware on a chip.
struct Firmware {
    writer: Writer,
    chip: u8,
}

const SOURCE: Firmware = Firmware { writer: Writer { measurement: OLD, policy: 0x3_0000, tcb: 1 }, chip: 1 };
const DESTINATION: Firmware = Firmware { writer: Writer { measurement: NEW, policy: 0x3_0000, tcb: 1 }, chip: 2 };

impl Firmware {
    fn open(&self, mut drive: Drive, beginning: &Beginning, chance: &mut Chance) -> Disk {
        let fresh = Fresh::draw(|out| {
            chance.fill(out);
            Ok::<(), ()>(())
        });
        let (fresh, room) = (fresh.unwrap(), vec![0; ROOM]);
        let roots = || Roots { chip: Root::new([self.chip; 32]), share: None, recovery: None };
        match sealed::disk::look(&mut drive).unwrap() {
            Found::Empty => StateDisk::create(drive, beginning, &self.writer, &roots(), fresh, room).unwrap(),
            Found::Record(head) => {
                StateDisk::open(drive, &head, &self.writer, &roots(), &roots(), None, fresh, room).unwrap()
            }
        }
    }
}

fn empty() -> Image {
    let mut drive = Drive::default();
    sealed::disk::prepare(&mut drive).unwrap();
    drive.durable().clone()
}

/// How a move ended: what both disks hold for good, the receipt if it was given, and whether the destination lived.
struct Outcome {
    source: Image,
    destination: Image,
    receipt: Option<Vec<u8>>,
    lived: bool,
}

/// Moves a TPM; the disks say no more after so many sectors.
fn moving(terms: &[Terms; 2], left: [Option<usize>; 2], chance: &mut Chance) -> Outcome {
    let mut rng = Seeded::new("handover");
    let mut a = SOURCE.open(Drive::new(empty()), &Beginning::new(), chance);
    a.commit(RECORD).unwrap();
    let (identity, epoch, boot_nonce) = (*a.identity(), a.epoch(), *a.boot_nonce());
    a.device().fail_after(left[0]);
    let mut there = Drive::new(empty());
    there.fail_after(left[1]);
    let channel = |side| Channel::new(side, &[7; 48], &[8; 48]);
    let (mut old, mut new) = (Boot::new(&CHIP_A, OLD), Boot::new(&CHIP_B, NEW));
    let reports = [old.report(&[0; 64]), new.report(&[0; 64])];
    let bearer = Bearer { identity, epoch, kept: true, grant: None };
    let mut source = Source::proven(&terms[0], &bearer, channel(Side::Source), reports[0], reports[1]);
    let mut destination = Destination::new(&terms[1], true, MAX_RECORD_SIZE, None).unwrap();
    let ready = destination.proven(identity, epoch, channel(Side::Destination), reports[1], reports[0]).unwrap();
    assert!(matches!(source.receive(&ready, &mut old), Ok(source::Next::HandOver)));
    let head = source.hand_over(Wiped::of(WHOLE.to_vec()), epoch, boot_nonce, &mut rng).unwrap();
    destination.receive(&head, &mut new, &mut rng).unwrap();
    let mut b = None;
    while let Some(chunk) = source.next_chunk().unwrap() {
        if let destination::Next::Keep(pending) = destination.receive(&chunk, &mut new, &mut rng).unwrap() {
            let beginning = Beginning::arrived(identity, pending.arrival().unwrap().beyond);
            let mut disk = DESTINATION.open(there.clone(), &beginning, chance);
            let kept = keep(&mut disk, &pending, destination.state());
            b = Some((disk, kept));
        }
    }
    let (mut b, kept) = b.unwrap();
    let mut outcome = |mut a: Disk, b: &mut Disk, receipt, lived| Outcome {
        source: core::mem::take(a.device()).lose_power(chance),
        destination: core::mem::take(b.device()).lose_power(chance),
        receipt,
        lived,
    };
    if kept.is_err() {
        destination.unsure();
        return outcome(a, &mut b, None, false);
    }
    let source::Next::Entomb(tombstone) = source.receive(&destination.kept().unwrap(), &mut old).unwrap() else {
        panic!("a tombstone")
    };
    if entomb(&mut a, &tombstone).is_err() {
        source.unsure();
        return outcome(a, &mut b, None, false);
    }
    let receipt = source.entombed().unwrap();
    let destination::Next::Awake(arrival) = destination.receive(&receipt, &mut new, &mut rng).unwrap() else {
        panic!("it lives")
    };
    let lived = live(&mut b, &arrival, RECORD).is_ok();
    outcome(a, &mut b, Some(receipt), lived)
}

/// Keeps it as one that lives.
fn live(disk: &mut Disk, arrival: &Arrival, record: &[u8]) -> Result<(), sealed::Refusal<simulate::drive::Off>> {
    settle(disk, arrival)?;
    disk.commit(record)
}

/// What a boot finds.
fn boot(side: &Firmware, image: &Image, chance: &mut Chance) -> (Disk, Resting) {
    let mut disk = side.open(Drive::new(image.clone()), &Beginning::new(), chance);
    let resting = resting(&mut disk).unwrap();
    (disk, resting)
}

fn contents(disk: &mut Disk) -> Vec<u8> {
    let mut out = vec![0; ROOM];
    let len = waiting(disk, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Whether it moved: both machines lose their power, and are brought up by what is on their disks.
fn brought_up(terms: &[Terms; 2], outcome: &Outcome, chance: &mut Chance) -> bool {
    let (mut a, source) = boot(&SOURCE, &outcome.source, chance);
    let (mut b, destination) = boot(&DESTINATION, &outcome.destination, chance);
    match (source, destination) {
        // The source lives; what is at the destination cannot, since nobody has the receipt.
        (Resting::Lives, there) => {
            assert_eq!(contents(&mut a), RECORD);
            assert!(outcome.receipt.is_none() && !outcome.lived);
            assert!(matches!(there, Resting::Waits(_)) || contents(&mut b).is_empty());
            false
        }
        (Resting::Moved(tombstone), Resting::Waits(pending)) => {
            assert_eq!(contents(&mut b), WHOLE);
            let source = Source::moved(&terms[0], tombstone);
            let receipt = source.receipt().unwrap();
            assert!(outcome.receipt.as_ref().is_none_or(|given| *given == receipt));
            let mut waits = Destination::new(&terms[1], true, MAX_RECORD_SIZE, Some(pending)).unwrap();
            let next = waits.receive(&receipt, &mut Boot::new(&CHIP_B, NEW), &mut Seeded::new(""));
            let Ok(destination::Next::Awake(arrival)) = next else { panic!("it lives") };
            live(&mut b, &arrival, RECORD).unwrap();
            waits.live().unwrap();
            assert!(waits.answers() && !source.answers());
            lives(&mut a, &mut b);
            true
        }
        (Resting::Moved(_), Resting::Lives) => {
            assert!(outcome.receipt.is_some());
            lives(&mut a, &mut b);
            true
        }
        (_, Resting::Moved(_)) => panic!("the destination goes nowhere"),
        (Resting::Waits(_), _) => panic!("the source waits for nothing"),
    }
}

fn lives(a: &mut Disk, b: &mut Disk) {
    assert!(a.is_moved() && a.commit(RECORD).is_err(), "nothing more is written there");
    assert_eq!(a.identity(), b.identity());
    assert!(b.epoch() > a.epoch(), "its epochs are beyond the source's");
    let Some(Origin { from, last: (epoch, _) }) = origin(b).unwrap() else { panic!("it came from somewhere") };
    assert!(from == OLD && epoch < a.epoch());
}

#[test]
fn a_cut_after_every_sector_of_either_disk() {
    let terms = terms();
    let mut chance = Chance::new(1);
    let mut moved = [0, 0];
    for which in 0..2 {
        for sectors in 0.. {
            let mut left = [None, None];
            left[which] = Some(sectors);
            // What was not flushed is there, or is not.
            let mut whole = false;
            for _ in 0..4 {
                let outcome = moving(&terms, left, &mut chance);
                moved[usize::from(brought_up(&terms, &outcome, &mut chance))] += 1;
                whole = outcome.lived;
            }
            if whole && sectors > 60 {
                break;
            }
        }
    }
    println!("stayed {}, moved {}", moved[0], moved[1]);
    assert!(moved.iter().all(|times| *times > 20), "{moved:?}");
}

#[test]
fn a_disk_with_one_that_waits_is_no_disk_of_a_tpm() {
    let terms = terms();
    let mut chance = Chance::new(2);
    let outcome = moving(&terms, [Some(0), None], &mut chance);
    let (disk, resting) = boot(&DESTINATION, &outcome.destination, &mut chance);
    assert!(matches!(resting, Resting::Waits(_)));
    let mut buffer = vec![0; MAX_RECORD_SIZE];
    let opened = tpm_core::store::Store::open(disk, &mut buffer).map(|_| ());
    assert_eq!(opened.err(), Some(tpm_core::store::StoreError::Damaged));
}
