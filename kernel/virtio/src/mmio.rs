//! Virtio over MMIO (virtio 1.3, 4.2): as hosts for SVSMs offer it, at an address that they name.

use snp::ghcb::call::Width;

use crate::Fault;
use crate::host::Host;
use crate::registers::{Notify, Register, Registers};

const MAGIC: u32 = 0x7472_6976;
/// The one that is not legacy.
const VERSION: u32 = 2;
/// Octets of a device's registers.
pub const SIZE: u64 = 0x200;
const CONFIG: u64 = 0x100;

/// The device at `base`.
///
/// # Errors
/// `NoAnswer`; `Absent` if there is no modern virtio device.
pub fn open(host: &mut impl Host, base: u64) -> Result<Registers, Fault> {
    let at = |offset: u64| Register(base + offset, Width::Dword);
    let mut read = |offset: u64| host.read(base + offset, Width::Dword).ok_or(Fault::NoAnswer);
    if !base.is_multiple_of(4) || base.checked_add(SIZE).is_none() || read(0)? != MAGIC || read(4)? != VERSION {
        return Err(Fault::Absent);
    }
    Ok(Registers {
        kind: u16::try_from(read(8)?).map_err(|_| Fault::Absent)?,
        device_feature: at(0x10),
        device_feature_select: at(0x14),
        driver_feature: at(0x20),
        driver_feature_select: at(0x24),
        queue_select: at(0x30),
        queue_size_max: at(0x34),
        queue_size: at(0x38),
        queue_enable: at(0x44),
        notify: Notify::One(at(0x50)),
        status: at(0x70),
        queue_addresses: [0x80, 0x90, 0xA0].map(|offset| base + offset),
        config: (base + CONFIG, 0x100),
    })
}
