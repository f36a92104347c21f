//! The disk with the TPM's state: opened at the boot, and written before each answer that needs it.
//!
//! What is on the disk, and how it is sealed, is `sealed`'s; when something is to be written, [`tpm_core::store`]'s.
//! Here the two meet the boot: which reason ends it, what the roots are, who writes afterwards, when anchors are asked
//! whether that is the newest state ([`anchors`]), and how a TPM leaves and arrives ([`moving`]). It is a crate of its
//! own so that all of it is compiled for size.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

pub mod anchors;
pub mod moving;
mod outer;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;

use anchor::{Head, Quorum};
use anchors::{Anchored, Post, Subject};
use kernel::attest::ReportError;
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Keeper;
use kernel::state::{Kept, StateSetting, flag};
pub use migration::Wiped;
use migration::disk::Resting;
use migration::{Pending, Tombstone};
use moving::{DiskBerth, NotEntombed, Vacant};
use outer::Outer;
pub use sealed::Refusal;
use sealed::layout::ROOM;
use sealed::{Beginning, BlockDevice, Found, Fresh, Kind, RecoveryPoint, Root, Roots, StateDisk, Writer};
use snp::message::key::{DerivedKey, KeyRequest};
use snp::report::Report;
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Entropy, Generation, StateError, Tpm};
use virtio::Fault;
use virtio::disk::Disk;
use virtio::host::Host;

/// Octets of the first buffer of a record: most are shorter.
const FIRST_BUFFER: usize = 16 << 10;

/// A disk, whoever drives it.
pub struct Device(Box<dyn BlockDevice<Error = Fault> + Send>);

impl Device {
    /// This disk.
    pub fn new(disk: impl BlockDevice<Error = Fault> + Send + 'static) -> Device {
        Device(Box::new(disk))
    }
}

impl BlockDevice for Device {
    type Error = Fault;

    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.0.read(first, out)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Fault> {
        self.0.write(first, octets)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.0.flush()
    }
}

/// A virtio disk, as `sealed` wants it.
pub struct Sectors<H: Host>(pub Disk<H>);

impl<H: Host> BlockDevice for Sectors<H> {
    type Error = Fault;

    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.0.read(first, out)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Fault> {
        self.0.write(first, octets)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.0.flush()
    }
}

/// Asks the secure processor for a key of VMPL0's.
pub type AskKey<'a> = &'a mut dyn FnMut(&KeyRequest) -> Result<DerivedKey, ReportError>;

/// The disk of a state.
type Sealed = StateDisk<Vec<u8>, Device>;

/// Is told why the TPM cannot be kept, or cannot leave or come.
pub type Tell = fn(&dyn Display);

/// A disk that is ours.
pub enum Opened {
    /// A TPM is there, or a new one may be made.
    Lives(Box<Living>),
    /// A TPM is to come, or has come and waits for its receipt.
    Waits(DiskBerth, Option<(Pending, Wiped)>),
    /// The TPM has moved.
    Moved(Tombstone),
}

/// A disk where a TPM is, or may be made.
pub struct Living {
    disk: Sealed,
    anchors: Option<Box<Anchored>>,
}

/// Who opens a disk, and for what.
pub struct Opening<'a> {
    /// The setting of the state.
    pub setting: &'a StateSetting<'a>,
    /// This boot's report.
    pub report: &'a Report,
    /// No TPM is made on an empty disk: it is to come from elsewhere.
    pub receives: bool,
    /// Is told why not.
    pub tell: Tell,
}

/// Opens what is on the disk: what this firmware has sealed on this chip, or the mark that a new state may be made
/// there. `post` is the way to the anchors, if there is one.
///
/// # Errors
/// `Disk`, `NotOurs`, `Damaged` and `State`, with what is wrong; `Entropy`; `Settings`; `Old` and `Anchors`.
#[inline(never)]
pub fn open(
    mut disk: Device,
    wanted: &Opening<'_>,
    key: AskKey<'_>,
    entropy: &mut dyn Entropy,
    post: Option<Box<dyn Post>>,
) -> Result<Opened, Fatal> {
    let Opening { setting, report, receives, tell } = *wanted;
    let quorum = anchors::quorum(setting)?;
    let found = sealed::disk::look(&mut disk).map_err(refused)?;
    let tcb = u64::from_le_bytes(report.committed_tcb.0);
    let writer = Writer { measurement: report.measurement, policy: report.policy.get(), tcb };
    let mut sealing = roots(tcb, setting, key)?;
    let fresh = Fresh::draw(|out| entropy.fill(out)).map_err(Fatal::because(Reason::Entropy))?;
    let mut opening = match &found {
        Found::Empty if receives => {
            let vacant = Vacant { disk, writer, roots: sealing, fresh, quorum, post, key: None, term: 0, asked: None };
            return Ok(Opened::Waits(DiskBerth::vacant(vacant, tell), None));
        }
        Found::Empty => None,
        // A TCB that is not committed has no key.
        Found::Record(head) => Some(roots(head.tcb(), setting, key).or_else(|_| roots(tcb, setting, key))?),
    };
    let mut anchors = None;
    if let Some(quorum) = quorum {
        let subject = subject(&mut disk, &found, quorum, &writer, opening.as_ref(), setting, &fresh, entropy)?;
        let keys = anchors::keys(&subject.outer.scalar)?;
        let mut asked = Anchored::new(quorum, keys, subject, entropy)?;
        asked.go_by(post);
        if let Some(secret) = asked.open(entropy)? {
            for roots in [Some(&mut sealing), opening.as_mut()].into_iter().flatten() {
                roots.share = Some(Root::new(*secret));
            }
        }
        anchors = Some(asked);
    }
    let room = vec![0; ROOM];
    let disk = match (found, opening) {
        (Found::Record(head), Some(opening)) => {
            StateDisk::open(disk, &head, &writer, &opening, &sealing, None, fresh, room)
        }
        _ => StateDisk::create(disk, &Beginning::new(), &writer, &sealing, fresh, room),
    };
    resting(disk.map_err(refused)?, anchors, tell)
}

/// What is on a disk that was opened. A state that waits is written again, under an epoch of this boot's.
fn resting(mut disk: Sealed, mut anchors: Option<Box<Anchored>>, tell: Tell) -> Result<Opened, Fatal> {
    match migration::disk::resting(&mut disk).map_err(refused)? {
        Resting::Lives => Ok(Opened::Lives(Box::new(Living { disk, anchors }))),
        Resting::Moved(tombstone) => {
            if let Some(mut anchors) = anchors {
                // The power may have gone between the disk and the anchors.
                anchors.must_hold()?;
            }
            Ok(Opened::Moved(tombstone))
        }
        Resting::Waits(pending) => {
            let mut state = Wiped::of(vec![0; MAX_RECORD_SIZE]);
            let len = migration::disk::waiting(&mut disk, &mut state).map_err(refused)?;
            state.truncate(len);
            if let Some(anchors) = &mut anchors {
                anchors.mark(&mut disk)?;
            }
            migration::disk::keep(&mut disk, &pending, &state).map_err(refused)?;
            Ok(Opened::Waits(DiskBerth::waiting(disk, anchors, tell), Some((pending, state))))
        }
    }
}

/// What anchors are asked about. A record that the operator has sealed shows nothing to them: its key follows from it,
/// so that it is known to them as soon as it has been started once.
#[expect(clippy::too_many_arguments, reason = "each is of another origin, and all are needed at once")]
fn subject(
    disk: &mut Device,
    found: &Found,
    quorum: &Quorum,
    writer: &Writer,
    opening: Option<&Roots>,
    setting: &StateSetting<'_>,
    fresh: &Fresh,
    entropy: &mut dyn Entropy,
) -> Result<Subject, Fatal> {
    let boot_nonce = *fresh.boot_nonce();
    let (Found::Record(head), Some(roots)) = (found, opening) else {
        let outer = anchors::beginning(quorum, anchors::scalar(entropy)?);
        return Ok(Subject { identity: *fresh.identity(), boot_nonce, own: Head::GENESIS, outer });
    };
    let own = Head::new(head.epoch(), *head.boot_nonce(), *head.digest());
    let wanted = roots.bits() | if setting.share { sealed::keys::root::SHARE } else { 0 };
    let outer = if head.kind() == Some(Kind::Imported) {
        let scalar = sealed::disk::scalar_of_imported(head, writer, roots, wanted);
        anchors::beginning(quorum, scalar.map_err(refused)?)
    } else {
        let mut room = Wiped::of(vec![0; ROOM]);
        let octets = sealed::disk::open_outer(disk, head, writer, &roots.chip, wanted, &mut room);
        let shares = if setting.share { usize::try_from(quorum.n()).unwrap_or(usize::MAX) } else { 0 };
        Outer::parse(octets.map_err(refused)?, shares).ok_or_else(|| refused(Refusal::Contents))?
    };
    Ok(Subject { identity: *head.identity(), boot_nonce, own, outer })
}

/// What the state is sealed to, under a TCB; the anchors' share is not there yet.
fn roots(tcb: u64, setting: &StateSetting<'_>, key: AskKey<'_>) -> Result<Roots, Fatal> {
    let chip = key(&sealed::keys::chip_request(tcb)).map_err(Fatal::because(Reason::State))?;
    let recovery = setting.recovery.map(|point| RecoveryPoint::new(point).ok_or(Refusal::Key)).transpose();
    Ok(Roots { chip: Root::new(*chip.as_bytes()), share: None, recovery: recovery.map_err(refused)? })
}

/// Why the disk is not used, as a reason to end: it cannot be used, it is not ours, it is damaged, or the fault is not
/// the disk's.
#[must_use]
pub fn refused(why: Refusal<Fault>) -> Fatal {
    let reason = match why {
        Refusal::Device(_) | Refusal::TooSmall { .. } | Refusal::Broken => Reason::Disk,
        Refusal::Unmarked
        | Refusal::Version(_)
        | Refusal::NotOurs(_)
        | Refusal::Older { .. }
        | Refusal::Moved
        | Refusal::NotEmpty => Reason::NotOurs,
        Refusal::Damaged(_) | Refusal::Contents => Reason::Damaged,
        Refusal::Room | Refusal::Exhausted | Refusal::Key => Reason::State,
    };
    Fatal::new(reason, format_args!("{why}"))
}

impl Living {
    /// The state that was kept last, if there is one, and who keeps what comes. `tell` is told why it cannot.
    ///
    /// # Errors
    /// As of [`open`].
    #[inline(never)]
    pub fn load(self, tell: Tell) -> Result<Loaded, Fatal> {
        Keeping::of(self.disk, self.anchors, tell).map_err(not_stored)
    }
}

fn not_stored(why: StoreError<Refusal<Fault>>) -> Fatal {
    match why {
        StoreError::Disk(why) => refused(why),
        StoreError::Damaged => refused(Refusal::Contents),
        StoreError::State(why) => Fatal::new(Reason::State, format_args!("{why}")),
    }
}

/// The state that was kept last, if there is one, and who keeps what comes.
pub type Loaded = (Option<Wiped>, Box<Keeping>);

/// Who writes the state.
pub struct Keeping {
    store: Store<Sealed>,
    /// As long as the last record needed.
    buffer: Wiped,
    anchors: Option<Box<Anchored>>,
    /// Which state of the TPM was kept last.
    last: Option<Generation>,
    /// Where it came from, if it did: what is attested of that.
    origin: Option<[u8; 32]>,
    tell: Tell,
}

impl Keeping {
    /// The state on a disk, if there is one, and who keeps what comes.
    fn of(mut disk: Sealed, anchors: Option<Box<Anchored>>, tell: Tell) -> Result<Loaded, StoreError<Refusal<Fault>>> {
        let origin = migration::disk::origin(&mut disk).map_err(StoreError::Disk)?;
        let origin = origin.map(|origin| moving::short(&origin.from));
        let mut buffer = Wiped::of(vec![0; MAX_RECORD_SIZE]);
        let (store, state) = Store::open(disk, &mut buffer)?;
        let state = state.map(|state| Wiped::of(state.to_vec()));
        let buffer = Wiped::of(vec![0; FIRST_BUFFER]);
        Ok((state, Box::new(Keeping { store, buffer, anchors, last: None, origin, tell })))
    }

    /// Keeps what the TPM begins with, and has it registered.
    ///
    /// # Errors
    /// Why that cannot be: `Disk`, `State`; `Old` and `Anchors`.
    pub fn begin(&mut self, tpm: &Tpm) -> Result<(), Fatal> {
        let now = tpm.generation();
        if self.last == Some(now) {
            return Ok(());
        }
        if let Some(anchors) = &mut self.anchors {
            anchors.before(self.store.disk_mut())?;
        }
        let is_written = self.save(tpm).map_err(not_stored)?;
        if let Some(anchors) = self.anchors.as_mut().filter(|_| is_written) {
            anchors.behind(self.store.disk())?;
        }
        self.last = Some(now);
        Ok(())
    }

    /// Whether it was written.
    fn save(&mut self, tpm: &Tpm) -> Result<bool, StoreError<Refusal<Fault>>> {
        loop {
            match self.store.save(tpm, &mut self.buffer) {
                Err(StoreError::State(StateError::Room(_))) if self.buffer.len() < MAX_RECORD_SIZE => {
                    let more = self.buffer.len().saturating_mul(2).clamp(FIRST_BUFFER, MAX_RECORD_SIZE);
                    self.buffer = Wiped::of(vec![0; more]);
                }
                done => return done,
            }
        }
    }

    /// Has `write` put what is left of a TPM that moves in the place of its state, and registers that with the anchors,
    /// if there are any. Only then may it be said that the TPM is dead here. What is not registered is on the disk all
    /// the same: [`Keeping::register_tombstone`] tries again. Before anything is written a quorum has to answer anew: a
    /// tombstone that is not registered is a TPM that nobody has until there is one.
    ///
    /// # Errors
    /// `Old` and `Anchors`, also where the settings let a TPM go on without a quorum; what `write` says.
    /// `NotBegun`, and nothing was written, unless another copy has started: that is never gone on from.
    pub fn entomb(
        &mut self,
        write: impl FnOnce(&mut Sealed) -> Result<(), Fatal>,
    ) -> Result<(), (NotEntombed, Box<Fatal>)> {
        let unsure = |why| (NotEntombed::Unsure, Box::new(why));
        self.before_tombstone().map_err(|why| match why.reason {
            Reason::Old => unsure(why),
            _ => (NotEntombed::NotBegun, Box::new(why)),
        })?;
        write(self.store.disk_mut()).map_err(unsure)?;
        self.anchors.as_mut().map_or(Ok(()), |anchors| anchors.entombed(self.store.disk())).map_err(unsure)
    }

    fn before_tombstone(&mut self) -> Result<(), Fatal> {
        let Some(anchors) = &mut self.anchors else { return Ok(()) };
        anchors.must_answer()?;
        anchors.before(self.store.disk_mut())
    }

    /// Registers once more what [`Keeping::entomb`] has written.
    ///
    /// # Errors
    /// `Old` and `Anchors`.
    pub fn register_tombstone(&mut self) -> Result<(), Fatal> {
        self.anchors.as_mut().map_or(Ok(()), |anchors| anchors.must_hold())
    }
}

impl Keeper for Keeping {
    fn keep(&mut self, tpm: &Tpm) -> Option<()> {
        let tell = self.tell;
        let fails = |why| tell(&format_args!("the TPM fails, since it cannot be kept: {why}"));
        self.begin(tpm).map_err(fails).ok()
    }

    fn kept(&self) -> Kept {
        let disk = self.store.disk();
        Kept {
            identity: *disk.identity(),
            epoch: disk.epoch(),
            boot_nonce: *disk.boot_nonce(),
            digest: *disk.digest(),
            flags: flag::KEPT
                | self.origin.map_or(0, |_| flag::MIGRATED)
                | self.anchors.as_ref().map_or(0, |anchors| anchors.flags()),
            origin: self.origin.unwrap_or_default(),
        }
    }
}
