//! The disk with the TPM's state: opened at the boot, and written before each answer that needs it.
//!
//! What is on the disk, and how it is sealed, is `sealed`'s; when something is to be written, [`tpm_core::store`]'s.
//! Here the two meet the boot: which reason ends it, what the roots are, who writes afterwards; and how a TPM leaves and
//! arrives ([`moving`]). It is a crate of its own so that all of it is compiled for size.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;

pub mod moving;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use kernel::attest::ReportError;
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Keeper;
use kernel::state::{Kept, StateSetting, flag};
use migration::disk::Resting;
use migration::{Pending, Tombstone};
use moving::DiskBerth;
pub use sealed::Refusal;
use sealed::layout::ROOM;
use sealed::{Beginning, BlockDevice, Found, Fresh, RecoveryPoint, Root, Roots, StateDisk, Writer};
use snp::message::key::{DerivedKey, KeyRequest};
use snp::report::Report;
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Entropy, StateError, Tpm};
use virtio::Fault;
use virtio::disk::Disk;
use virtio::host::Host;
use zeroize::{Zeroize, Zeroizing};

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

/// Octets that go without a trace.
pub struct Wiped(pub Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// Asks the secure processor for a key of VMPL0's.
pub type AskKey<'a> = &'a mut dyn FnMut(&KeyRequest) -> Result<DerivedKey, ReportError>;

/// The disk of a state.
type Sealed = StateDisk<Vec<u8>, Device>;

/// Is told why the TPM cannot be kept.
pub type Tell = fn(&StoreError<Refusal<Fault>>);

/// A disk that is ours.
pub enum Opened {
    /// A TPM is there, or a new one may be made.
    Lives(Living),
    /// A TPM is to come, or has come and waits for its receipt.
    Waits(DiskBerth, Option<(Pending, Zeroizing<Vec<u8>>)>),
    /// The TPM has moved.
    Moved(Tombstone),
}

/// A disk where a TPM is, or may be made.
pub struct Living(Sealed);

/// Who opens a disk, and for what.
pub struct Opening<'a> {
    /// The setting of the state.
    pub setting: &'a StateSetting<'a>,
    /// This boot's report.
    pub report: &'a Report,
    /// No TPM is made on an empty disk: it is to come from elsewhere.
    pub receives: bool,
    /// Is told why the TPM cannot be kept.
    pub tell: Tell,
}

/// Opens what is on the disk: what this firmware has sealed on this chip, or the mark that a new state may be made
/// there.
///
/// # Errors
/// `Disk`, `NotOurs`, `Damaged` and `State`, with what is wrong; `Entropy`.
#[inline(never)]
pub fn open(
    mut disk: Device,
    opening: &Opening<'_>,
    key: AskKey<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Opened, Fatal> {
    let Opening { setting, report, receives, tell } = *opening;
    let found = sealed::disk::look(&mut disk).map_err(refused)?;
    let tcb = u64::from_le_bytes(report.committed_tcb.0);
    let writer = Writer { measurement: report.measurement, policy: report.policy.get(), tcb };
    let sealing = roots(tcb, setting, key)?;
    let fresh = Fresh::draw(|out| entropy.fill(out)).map_err(Fatal::because(Reason::Entropy))?;
    let head = match found {
        Found::Empty if receives => {
            return Ok(Opened::Waits(DiskBerth::vacant(disk, writer, sealing, fresh, tell), None));
        }
        Found::Empty => {
            let disk = StateDisk::create(disk, &Beginning::new(), &writer, &sealing, fresh, vec![0; ROOM]);
            return Ok(Opened::Lives(Living(disk.map_err(refused)?)));
        }
        Found::Record(head) => head,
    };
    // A TCB that is not committed has no key.
    let opening = roots(head.tcb(), setting, key).or_else(|_| roots(tcb, setting, key))?;
    let disk = StateDisk::open(disk, &head, &writer, &opening, &sealing, None, fresh, vec![0; ROOM]);
    resting(disk.map_err(refused)?, tell)
}

/// What is on a disk that was opened. A state that waits is written again, under an epoch of this boot's.
fn resting(mut disk: Sealed, tell: Tell) -> Result<Opened, Fatal> {
    match migration::disk::resting(&mut disk).map_err(refused)? {
        Resting::Lives => Ok(Opened::Lives(Living(disk))),
        Resting::Moved(tombstone) => Ok(Opened::Moved(tombstone)),
        Resting::Waits(pending) => {
            let mut state = Zeroizing::new(vec![0; MAX_RECORD_SIZE]);
            let len = migration::disk::waiting(&mut disk, &mut state).map_err(refused)?;
            state.truncate(len);
            migration::disk::keep(&mut disk, &pending, &state).map_err(refused)?;
            Ok(Opened::Waits(DiskBerth::waiting(disk, tell), Some((pending, state))))
        }
    }
}

/// What the state is sealed to, under a TCB.
fn roots(tcb: u64, setting: &StateSetting<'_>, key: AskKey<'_>) -> Result<Roots, Fatal> {
    let chip = key(&sealed::keys::chip_request(tcb)).map_err(Fatal::because(Reason::State))?;
    let recovery = setting.recovery.map(|point| RecoveryPoint::new(point).ok_or(Refusal::Key)).transpose();
    if setting.share {
        return Err(Fatal::new(Reason::State, format_args!("no anchors give a share")));
    }
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
    pub fn load(self, tell: Tell) -> Result<(Option<Wiped>, Box<Keeping>), Fatal> {
        Keeping::of(self.0, tell).map_err(|why| match why {
            StoreError::Disk(why) => refused(why),
            StoreError::Damaged => refused(Refusal::Contents),
            StoreError::State(why) => Fatal::new(Reason::State, format_args!("{why}")),
        })
    }
}

/// Who writes the state.
pub struct Keeping {
    store: Store<Sealed>,
    /// As long as the last record needed.
    buffer: Wiped,
    flags: u32,
    origin: [u8; 32],
    tell: Tell,
}

impl Keeping {
    /// The state on a disk, if there is one, and who keeps what comes.
    fn of(mut disk: Sealed, tell: Tell) -> Result<(Option<Wiped>, Box<Keeping>), StoreError<Refusal<Fault>>> {
        let from = migration::disk::origin(&mut disk).map_err(StoreError::Disk)?;
        let flags = flag::KEPT | if from.is_some() { flag::MIGRATED } else { 0 };
        let origin = from.map_or([0; 32], |origin| moving::short(&origin.from));
        let mut buffer = Wiped(vec![0; MAX_RECORD_SIZE]);
        let (store, state) = Store::open(disk, &mut buffer.0)?;
        let state = state.map(|state| Wiped(state.to_vec()));
        Ok((state, Box::new(Keeping { store, buffer: Wiped(vec![0; FIRST_BUFFER]), flags, origin, tell })))
    }

    /// The disk, for what is not of the TPM's.
    fn disk(&mut self) -> &mut Sealed {
        self.store.disk_mut()
    }

    fn save(&mut self, tpm: &Tpm) -> Result<(), StoreError<Refusal<Fault>>> {
        loop {
            match self.store.save(tpm, &mut self.buffer.0) {
                Ok(_) => return Ok(()),
                Err(StoreError::State(StateError::Room(_))) if self.buffer.0.len() < MAX_RECORD_SIZE => {
                    let more = self.buffer.0.len().saturating_mul(2).clamp(FIRST_BUFFER, MAX_RECORD_SIZE);
                    self.buffer = Wiped(vec![0; more]);
                }
                Err(why) => return Err(why),
            }
        }
    }
}

impl Keeper for Keeping {
    fn keep(&mut self, tpm: &Tpm) -> Option<()> {
        self.save(tpm).map_err(|why| (self.tell)(&why)).ok()
    }

    fn kept(&self) -> Kept {
        let disk = self.store.disk();
        Kept {
            identity: *disk.identity(),
            epoch: disk.epoch(),
            boot_nonce: *disk.boot_nonce(),
            digest: *disk.digest(),
            flags: self.flags,
            origin: self.origin,
        }
    }
}
