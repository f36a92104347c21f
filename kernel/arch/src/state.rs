//! Where the disk with the TPM's state is found.

use keeper::{Device, Refusal, Sectors, refused};
use kernel::clock::ASSUMED_KHZ;
use kernel::fatal::{Fatal, Reason};
use kernel::state::{Place, StateSetting, Wanted};
use virtio::disk::{Disk, SHARED_PAGES};
use virtio::host::Function;
use virtio::registers::Registers;
use virtio::{Fault, mmio, pci};

use crate::devices::Devices;
use crate::host::say;
use crate::memory::Memory;

/// Where the registers of PCI functions are put (docs/boot.md, "Devices of VMPL0"): of the disk, and behind it of the
/// console.
pub const WINDOW: u64 = 0x7f_f000_0000;
/// How long a device may take to answer.
const PATIENCE_MS: u64 = 20_000;

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

/// The disk. `None`: there is none, and that is allowed.
#[inline(never)]
pub fn find(memory: &mut Memory, setting: &StateSetting<'_>, khz: Option<u64>) -> Result<Option<Device>, Fatal> {
    let mut devices = Devices::new(memory, SHARED_PAGES)?;
    let unusable = |fault| refused(Refusal::Device(fault));
    match registers(&mut devices, setting.disk, WINDOW) {
        Err(Fault::Absent) if setting.wanted == Wanted::Allowed => {
            say("state", format_args!("there is no disk: the TPM is a new one, and is kept nowhere"));
            Ok(None)
        }
        Err(Fault::Absent) => Err(Fatal::new(Reason::NoDisk, format_args!("at {:?}", setting.disk))),
        Err(fault) => Err(unusable(fault)),
        Ok(registers) => {
            let disk = Disk::open(devices, registers, patience(khz)).map_err(unusable)?;
            Ok(Some(Device::new(Sectors(disk))))
        }
    }
}
