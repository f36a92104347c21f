//! The firmware's own disks, in memory: each boot opens what the one before has left.

use super::*;
use crate::moving::{DiskBerth, Shared};
use crate::tests::World;
use crate::{Device, Keeping, Opened, Opening, open};
use anchor::quorum::{Cadence, TooFew};
use kernel::fatal::Fatal;
use kernel::state::{Place, StateSetting, Wanted, flag};
use moves::scene::terms;
use sealed::layout::MIN_SECTORS;
use sealed::{BlockDevice, SECTOR};
use snp::message::key::DerivedKey;
use virtio::Fault;

/// Of so many sectors.
fn place_of(sectors: u64) -> usize {
    usize::try_from(sectors).unwrap() * SECTOR
}

/// For whoever looks at what a test prints.
fn tell(why: &dyn core::fmt::Display) {
    println!("{why}");
}

/// A disk, and a second handle to it: what a host has. It says no more after so many writes.
#[derive(Clone)]
pub(super) struct Platter(Arc<Mutex<(Vec<u8>, Option<usize>)>>);

impl Platter {
    pub(super) fn prepared() -> Self {
        let mut platter = Self(Arc::new(Mutex::new((vec![0; place_of(MIN_SECTORS)], None))));
        sealed::disk::prepare(&mut platter).unwrap();
        platter
    }

    pub(super) fn fail_after(&self, writes: Option<usize>) {
        self.0.lock().unwrap().1 = writes;
    }

    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl BlockDevice for Platter {
    type Error = Fault;

    fn sectors(&self) -> u64 {
        MIN_SECTORS
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Fault> {
        let at = place_of(first);
        out.copy_from_slice(&self.0.lock().unwrap().0[at..at + out.len()]);
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Fault> {
        let (all, left) = &mut *self.0.lock().unwrap();
        if let Some(left) = left {
            *left = left.checked_sub(1).ok_or(Fault::Failed)?;
        }
        let at = place_of(first);
        all[at..at + octets.len()].copy_from_slice(octets);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// A firmware on a chip.
#[derive(Clone)]
pub(super) struct Firmware {
    pub(super) psp: fn() -> Psp,
    pub(super) chip: u8,
    pub(super) receives: bool,
    pub(super) anchors: Option<World>,
}

pub(super) const SOURCE: Firmware = Firmware { psp: old, chip: 1, receives: false, anchors: None };
pub(super) const DESTINATION: Firmware = Firmware { psp: new, chip: 2, receives: true, anchors: None };

impl Firmware {
    /// A boot; `number` makes its random octets.
    pub(super) fn boot(&self, disk: &Platter, number: u8) -> Result<Opened, Fatal> {
        let (anchors, post) = self.anchors.as_ref().map(World::named).unzip();
        let setting = StateSetting {
            disk: Some((Wanted::Required, Place::Pci(30, 0))),
            console: None,
            share: self.anchors.as_ref().is_some_and(World::has_shares),
            recovery: None,
            anchors: anchors.as_deref().unwrap_or_default(),
        };
        let report = (self.psp)().report(&[0; 64], None).unwrap();
        let opening = Opening { setting: &setting, report: &report, receives: self.receives, tell };
        let answer = [&[0; 32][..], &[self.chip; 32]].concat();
        let mut key = |_: &_| Ok(DerivedKey::parse(&answer).ok().unwrap());
        open(Device::new(disk.clone()), &opening, &mut key, &mut Counted(number), post)
    }

    /// A boot where a TPM lives, or is made: it, and who keeps it.
    pub(super) fn lives(&self, disk: &Platter, number: u8) -> (Machine, Shared<Box<Keeping>>) {
        self.lives_at(disk, number, &Ticking::default())
    }

    fn lives_at(&self, disk: &Platter, number: u8, clock: &Ticking) -> (Machine, Shared<Box<Keeping>>) {
        let Ok(Opened::Lives(living)) = self.boot(disk, number) else { panic!("a TPM is there") };
        let (state, keeping) = living.load(tell).ok().unwrap();
        let mut machine = match state {
            None => machine(number, clock),
            Some(state) => Platform::resume(&state, Counted(number), clock.clone(), |_| ()).unwrap(),
        };
        let (keeper, home) = Shared::new(keeping);
        machine.keep_by(Box::new(keeper)).unwrap();
        (machine, home)
    }

    /// One where a TPM is to come, or waits.
    pub(super) fn waits(&self, disk: &Platter, number: u8) -> (DiskBerth, Option<(Pending, Wiped)>) {
        match self.boot(disk, number) {
            Ok(Opened::Waits(berth, waits)) => (berth, waits),
            _ => panic!("nothing waits"),
        }
    }

    pub(super) fn is_dead(&self, disk: &Platter, number: u8) -> Option<Tombstone> {
        if let Ok(Opened::Moved(tombstone)) = self.boot(disk, number) { Some(tombstone) } else { None }
    }
}

/// A run between these disks, as far as it comes; whether it has arrived.
fn run(terms: &[Terms; 2], from: &Platter, to: &Platter, number: u8) -> Result<Arrival, Refusal> {
    run_between([&SOURCE, &DESTINATION], || (), terms, [from, to], number).0
}

/// The same between two other firmwares, where something happens when the source has started. What its TPM answers
/// then.
pub(super) fn run_between(
    [from, to]: [&Firmware; 2],
    when_started: impl FnOnce(),
    terms: &[Terms; 2],
    disks: [&Platter; 2],
    number: u8,
) -> (Result<Arrival, Refusal>, u32) {
    let clock = Ticking::default();
    let (mut source, mut home) = from.lives_at(disks[0], number, &clock);
    code(&mut source, STARTUP);
    when_started();
    let [mut here, mut there] = ends();
    here.incoming.lock().unwrap().push_back(BEGIN.to_vec());
    let mut leaving = Leaving::new(&terms[0]);
    let (mut berth, waits) = to.waits(disks[1], number + 40);
    let mut platform = vacant(number + 80);
    let poll = || leaving.poll(&mut here, &mut source, &mut old(), &mut home);
    let (arrival, _) = beside(&clock.step, poll, |idle| {
        let with = Arrivals { platform: &mut platform, reports: &mut new(), berth: &mut berth };
        arrive(&terms[1], waits, &mut there, with, idle)
    });
    if arrival.is_ok() {
        assert!(platform.keep_by(berth.keeper().unwrap()).is_some(), "it is kept from here on");
    }
    (arrival, code(&mut source, GET_RANDOM))
}

/// A tombstone that no quorum has heard of would be a TPM that nobody has.
#[test]
fn a_tpm_leaves_when_its_anchors_answer_and_goes_on_when_they_do_not() {
    let terms = terms();
    for too_few in [TooFew::Refuse, TooFew::SaySo] {
        let world = World::with(2, 3, Cadence::Every(1), too_few, false);
        let firmware = Firmware { anchors: Some(world.clone()), ..SOURCE };
        let (from, to) = (Platter::prepared(), Platter::prepared());
        let down = || world.up(&[true, false, false]);
        let stayed = run_between([&firmware, &DESTINATION], down, &terms, [&from, &to], 1);
        assert_eq!(stayed, (Err(Refusal::GivenUp), SUCCESS), "{too_few:?}");
        world.up(&[true; 3]);
        assert!(firmware.is_dead(&from, 2).is_none());
        let (arrival, code) = run_between([&firmware, &DESTINATION], || (), &terms, [&from, &to], 3);
        assert_eq!((arrival.is_ok(), code), (true, FAILURE));
        assert!(firmware.is_dead(&from, 4).is_some());
    }
}

#[test]
fn what_each_disk_has_after_it() {
    let terms = terms();
    let (from, to) = (Platter::prepared(), Platter::prepared());
    let arrival = run(&terms, &from, &to, 1).unwrap();
    let tombstone = SOURCE.is_dead(&from, 2).unwrap();
    assert_eq!((tombstone.identity, tombstone.to), (arrival.identity, NEW));
    let (machine, home) = DESTINATION.lives(&to, 3);
    let kept = kernel::svsm::Tpm::kept(&machine).unwrap();
    assert_eq!(
        (kept.identity, kept.flags, &kept.origin[..]),
        (arrival.identity, flag::KEPT | flag::MIGRATED, &OLD[..32])
    );
    assert!(kept.epoch > arrival.beyond && home.now().epoch == kept.epoch);
}

/// Each write of either disk fails. By what is there then, the next boots bring up one TPM, never two and never none.
#[test]
fn every_write_fails_once() {
    let terms = terms();
    let (whole, empty) = (Platter::prepared(), Platter::prepared());
    drop(SOURCE.lives(&whole, 7));
    let mut ways = [0; 3];
    for at_destination in [false, true] {
        for writes in 0.. {
            let (from, to) = (whole.copy(), empty.copy());
            // At the source, the boot's own record is there.
            let failing = if at_destination { &to } else { &from };
            failing.fail_after(Some(writes + if at_destination { 0 } else { 2 }));
            let arrived = run(&terms, &from, &to, 1).is_ok();
            [&from, &to].iter().for_each(|disk| disk.fail_after(None));
            if arrived {
                assert!(SOURCE.is_dead(&from, 2).is_some());
                break;
            }
            match SOURCE.is_dead(&from, 2) {
                None => {
                    assert!(matches!(DESTINATION.boot(&to, 3), Ok(Opened::Waits(..))));
                    // And it moves, if it is tried again.
                    run(&terms, &from, &to, 4).unwrap();
                    ways[0] += 1;
                }
                Some(tombstone) => {
                    let is_live = matches!(DESTINATION.boot(&to, 3), Ok(Opened::Lives(_)));
                    if !is_live {
                        received(&DESTINATION, &terms, tombstone, &to).unwrap();
                    }
                    drop(DESTINATION.lives(&to, 6));
                    ways[if is_live { 1 } else { 2 }] += 1;
                }
            }
        }
    }
    println!("the source lives {}, the destination {}, it is brought the receipt {}", ways[0], ways[1], ways[2]);
    assert!(ways[0] > 2 && ways[2] > 1, "{ways:?}");
}

/// The source's next boot gives the receipt to the destination's. Why the boot ends, if it does.
pub(super) fn received(
    destination: &Firmware,
    terms: &[Terms; 2],
    tombstone: Tombstone,
    to: &Platter,
) -> Result<Box<Keeping>, Fatal> {
    let [mut here, mut there] = ends();
    let (mut berth, waits) = destination.waits(to, 5);
    let mut platform = vacant(150);
    let with = Arrivals { platform: &mut platform, reports: &mut new(), berth: &mut berth };
    let mut idle = || {
        super::super::give_receipts(&terms[0], tombstone.clone(), &mut here, &mut || None);
        Some(false)
    };
    assert!(waits.is_some());
    match arrive(&terms[1], waits, &mut there, with, &mut idle) {
        Ok(_) => Ok(berth.keeper().unwrap()),
        Err(_) => Err(berth.why().unwrap()),
    }
}

/// A run whose last word was lost leaves a state that waits. The source goes on for many epochs, and comes again.
#[test]
fn a_later_state_takes_the_place_of_one_that_waits() {
    let terms = terms();
    let (from, to) = (Platter::prepared(), Platter::prepared());
    drop(SOURCE.lives(&from, 7));
    // The tombstone's first write.
    from.fail_after(Some(2));
    run(&terms, &from, &to, 1).unwrap_err();
    from.fail_after(None);
    let (_, waits) = DESTINATION.waits(&to, 2);
    let first = waits.unwrap().0;
    for boot in 10..30 {
        drop(SOURCE.lives(&from, boot));
    }
    let arrival = run(&terms, &from, &to, 3).unwrap();
    assert!(arrival.last.0 > first.epoch + 19);
    let (machine, _) = DESTINATION.lives(&to, 4);
    assert!(kernel::svsm::Tpm::kept(&machine).unwrap().epoch > arrival.beyond);
}

/// Of a firmware that takes none in, an empty disk is a new TPM's.
#[test]
fn an_empty_disk_waits_where_no_tpm_is_made() {
    let empty = Platter::prepared();
    assert!(matches!(SOURCE.boot(&empty, 1), Ok(Opened::Lives(_))));
    assert!(matches!(DESTINATION.boot(&empty, 1), Ok(Opened::Waits(_, None))));
}
