//! The disk with the TPM's state: found, opened, and written before each answer that needs it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use kernel::clock::ASSUMED_KHZ;
use kernel::fatal::{Fatal, Reason};
use kernel::state::{Keeper, Kept, Place, StateSetting, Wanted, flag};
use sealed::layout::ROOM;
use sealed::{BlockDevice, Found, Fresh, Head, RecoveryPoint, Refusal, Root, Roots, StateDisk, Writer};
use snp::report::Report;
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Entropy, StateError};
use virtio::Fault;
use virtio::disk::{Disk, SHARED_PAGES};
use virtio::host::Function;
use virtio::registers::Registers;
use virtio::{mmio, pci};
use zeroize::Zeroize;

use crate::devices::Devices;
use crate::host::{PspReports, say};
use crate::memory::Memory;

/// Where the registers of PCI functions are put (docs/boot.md, "Devices of VMPL0"): of the disk, and behind it of the
/// console.
pub const WINDOW: u64 = 0x7f_f000_0000;
/// How long a device may take to answer.
const PATIENCE_MS: u64 = 20_000;
/// Octets of the first buffer of a record: most are shorter.
const FIRST_BUFFER: usize = 16 << 10;

/// The disk, as `sealed` wants it.
pub struct Sectors(Disk<Devices>);

impl BlockDevice for Sectors {
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

/// A disk that is ours.
pub struct Opened {
    disk: StateDisk<Vec<u8>, Sectors>,
    /// What it was opened with says: see [`Kept::flags`].
    flags: u32,
}

/// The registers of a device, where it is.
pub fn registers(devices: &mut Devices, place: Place, window: u64) -> Result<Registers, Fault> {
    match place {
        Place::Pci(device, function) => {
            pci::open(devices, Function::new(device, function).ok_or(Fault::Absent)?, window)
        }
        Place::Mmio(gpa) => mmio::open(devices, gpa),
    }
}

/// How many ticks of the counter a device may take.
pub fn patience(khz: Option<u64>) -> u64 {
    PATIENCE_MS.saturating_mul(khz.unwrap_or(ASSUMED_KHZ))
}

/// Finds the disk and opens what is on it. `None`: there is no disk, and that is allowed.
pub fn open(
    memory: &mut Memory,
    reports: &mut PspReports,
    setting: &StateSetting<'_>,
    report: &Report,
    khz: Option<u64>,
    entropy: &mut dyn Entropy,
) -> Result<Option<Opened>, Fatal> {
    let Some(mut disk) = find(memory, setting, patience(khz))? else { return Ok(None) };
    let found = sealed::disk::look(&mut disk).map_err(refused)?;
    let writer = Writer {
        measurement: report.measurement,
        policy: report.policy.get(),
        tcb: u64::from_le_bytes(report.committed_tcb.0),
    };
    let mut roots = |tcb: u64| -> Result<Roots, Fatal> {
        let key = reports.derived_key(&sealed::keys::chip_request(tcb)).map_err(Fatal::because(Reason::State))?;
        let recovery = setting.recovery.map(|point| RecoveryPoint::new(point).ok_or(Refusal::Key)).transpose();
        Ok(Roots { chip: Root::new(*key.as_bytes()), share: None, recovery: recovery.map_err(refused)? })
    };
    let sealing = roots(writer.tcb)?;
    let fresh = Fresh::draw(|out| entropy.fill(out)).map_err(Fatal::because(Reason::Entropy))?;
    let room = vec![0; ROOM];
    let opened = match found {
        Found::Empty => StateDisk::create(disk, &sealed::Beginning::new(), &writer, &sealing, fresh, room),
        Found::Record(head) => open_record(disk, &head, &writer, &roots(head.tcb())?, &sealing, fresh, room),
    };
    let disk = opened.map_err(refused)?;
    if disk.is_moved() {
        return Err(refused(Refusal::Moved));
    }
    Ok(Some(Opened { disk, flags: flag::KEPT }))
}

fn open_record(
    disk: Sectors,
    head: &Head,
    writer: &Writer,
    opening: &Roots,
    sealing: &Roots,
    fresh: Fresh,
    room: Vec<u8>,
) -> Result<StateDisk<Vec<u8>, Sectors>, Refusal<Fault>> {
    StateDisk::open(disk, head, writer, opening, sealing, None, fresh, room)
}

fn find(memory: &mut Memory, setting: &StateSetting<'_>, patience: u64) -> Result<Option<Sectors>, Fatal> {
    let mut devices = Devices::new(memory, SHARED_PAGES)?;
    match registers(&mut devices, setting.disk, WINDOW) {
        Err(Fault::Absent) if setting.wanted == Wanted::Allowed => {
            say("state", format_args!("there is no disk: the TPM is a new one, and is kept nowhere"));
            Ok(None)
        }
        Err(Fault::Absent) => Err(Fatal::new(Reason::NoDisk, format_args!("at {:?}", setting.disk))),
        Err(fault) => Err(refused(Refusal::Device(fault))),
        Ok(registers) => match Disk::open(devices, registers, patience) {
            Ok(disk) => Ok(Some(Sectors(disk))),
            Err(fault) => Err(refused(Refusal::Device(fault))),
        },
    }
}

/// The four ends: a disk that cannot be used, one that is not ours, one that is damaged; and above, none.
fn refused(why: Refusal<Fault>) -> Fatal {
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

impl Opened {
    /// The state that was kept last, if there is one, and who keeps what comes.
    pub fn load(self) -> Result<(Option<Wiped>, Box<Keeping>), Fatal> {
        let Opened { disk, flags } = self;
        let mut buffer = Wiped(vec![0; MAX_RECORD_SIZE]);
        let (store, state) = Store::open(disk, &mut buffer.0).map_err(|why| match why {
            StoreError::Disk(why) => refused(why),
            StoreError::Damaged => refused(Refusal::Contents),
            StoreError::State(why) => Fatal::new(Reason::State, format_args!("{why}")),
        })?;
        let state = state.map(|state| Wiped(state.to_vec()));
        Ok((state, Box::new(Keeping { store, buffer: vec![0; FIRST_BUFFER], flags })))
    }
}

/// Octets that go without a trace.
pub struct Wiped(pub Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// Who writes the state.
pub struct Keeping {
    store: Store<StateDisk<Vec<u8>, Sectors>>,
    /// As long as the last record needed.
    buffer: Vec<u8>,
    flags: u32,
}

impl Keeping {
    fn save(&mut self, tpm: &tpm_core::Tpm) -> Result<(), StoreError<Refusal<Fault>>> {
        loop {
            match self.store.save(tpm, &mut self.buffer) {
                Ok(_) => return Ok(()),
                Err(StoreError::State(StateError::Room(_))) if self.buffer.len() < MAX_RECORD_SIZE => {
                    let more = self.buffer.len().saturating_mul(2).clamp(FIRST_BUFFER, MAX_RECORD_SIZE);
                    self.buffer.as_mut_slice().zeroize();
                    self.buffer = vec![0; more];
                }
                Err(why) => return Err(why),
            }
        }
    }
}

impl Keeper for Keeping {
    fn keep(&mut self, tpm: &tpm_core::Tpm) -> Option<()> {
        self.save(tpm).map_err(|why| say("state", format_args!("the TPM fails, since it cannot be kept: {why}"))).ok()
    }

    fn kept(&self) -> Kept {
        let disk = self.store.disk();
        Kept {
            identity: *disk.identity(),
            epoch: disk.epoch(),
            boot_nonce: *disk.boot_nonce(),
            digest: *disk.digest(),
            flags: self.flags,
            origin: [0; 32],
        }
    }
}
