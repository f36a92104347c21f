//! Virtio over PCI (virtio 1.3, 4.1): the function's structures are found by its capabilities, and its registers are
//! put where the firmware wants them.
//!
//! The firmware comes before whatever enumerates buses, or behind a BIOS: either way it gives the BAR an address of its
//! own choice, and takes all others off the bus. It reads no configuration space after that, since the guest can, on
//! another processor, have the host read another function's meanwhile.

use snp::ghcb::call::Width;

use crate::Fault;
use crate::host::{Configuration, Function, Host};
use crate::registers::{Notify, Register, Registers};

/// Octets that a function's registers may take; where they are put is a multiple of it.
pub const WINDOW: u64 = 1 << 20;

const VENDOR: u32 = 0x1AF4;
/// Device ids: a modern device has its type behind this one.
const MODERN: u32 = 0x1040;
/// Ids of a transitional block device and console.
const TRANSITIONAL: [(u32, u16); 2] = [(0x1001, 2), (0x1003, 3)];

const COMMAND: u8 = 0x04;
/// The status has a list of capabilities.
const HAS_LIST: u32 = 1 << 20;
/// Memory space, bus master, no INTx.
const ENABLED: u32 = 0x0406;
const LIST: u8 = 0x34;
const FIRST_BAR: u8 = 0x10;
const BARS: u8 = 6;

/// A vendor's own capability.
const VENDOR_SPECIFIC: u8 = 9;
/// Where capabilities begin, and where the last of 20 octets can be.
const FIRST_CAPABILITY: u8 = 0x40;
const LAST_STRUCTURE: u8 = 0xEC;
/// As many as configuration space has room for.
const MOST_CAPABILITIES: u32 = 48;

/// Kinds of structures.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;
const COMMON_SIZE: u32 = 0x38;

/// One of virtio's structures: a range of a BAR.
#[derive(Clone, Copy)]
struct Structure {
    bar: u8,
    offset: u32,
    len: u32,
    /// Of the notifications.
    factor: u32,
}

/// Puts the registers of `function` at `window`, and says where each is.
///
/// # Errors
/// `NoAnswer`; `Absent` if there is no virtio function; `Capabilities` and `Registers` if it is not as virtio's are.
#[inline(never)]
pub fn open<H: Host + Configuration>(host: &mut H, function: Function, window: u64) -> Result<Registers, Fault> {
    let mut space = Space { host, function };
    let kind = space.kind()?;
    space.write(COMMAND, 0)?;
    let [common, notify, device] = space.structures()?;
    let (Some(common), Some(notify)) = (common, notify) else { return Err(Fault::Registers) };
    let size = space.place(common.bar, window)?;
    let within = |structure: Structure, least: u32| {
        let end = u64::from(structure.offset) + u64::from(structure.len);
        let fits =
            structure.bar == common.bar && end <= size && structure.len >= least && structure.offset.is_multiple_of(4);
        fits.then_some(window + u64::from(structure.offset)).ok_or(Fault::Registers)
    };
    let base = within(common, COMMON_SIZE)?;
    let notified = within(notify, 2)?;
    let config = device.map_or(Ok((0, 0)), |device| Ok((within(device, 4)?, device.len)))?;
    space.write(COMMAND, ENABLED)?;
    let at = |offset: u64, width| Register(base + offset, width);
    Ok(Registers {
        kind,
        device_feature_select: at(0, Width::Dword),
        device_feature: at(4, Width::Dword),
        driver_feature_select: at(8, Width::Dword),
        driver_feature: at(0xC, Width::Dword),
        status: at(0x14, Width::Byte),
        queue_select: at(0x16, Width::Word),
        queue_size_max: at(0x18, Width::Word),
        queue_size: at(0x18, Width::Word),
        queue_enable: at(0x1C, Width::Word),
        notify: Notify::Each { offset: at(0x1E, Width::Word), factor: notify.factor, start: notified, len: notify.len },
        queue_addresses: [0x20, 0x28, 0x30].map(|offset| base + offset),
        config,
    })
}

/// A function's configuration space.
struct Space<'h, H> {
    host: &'h mut H,
    function: Function,
}

impl<H: Configuration> Space<'_, H> {
    fn read(&mut self, offset: u8) -> Result<u32, Fault> {
        self.host.config_read(self.function, offset).ok_or(Fault::NoAnswer)
    }

    fn write(&mut self, offset: u8, value: u32) -> Result<(), Fault> {
        self.host.config_write(self.function, offset, value).ok_or(Fault::NoAnswer)
    }

    /// Virtio's type of the function.
    fn kind(&mut self) -> Result<u16, Fault> {
        let id = self.read(0)?;
        let (vendor, device) = (id & 0xFFFF, id >> 16);
        let transitional = TRANSITIONAL.iter().find(|(id, _)| *id == device).map(|(_, kind)| *kind);
        let kind = transitional.or_else(|| u16::try_from(device.checked_sub(MODERN)?).ok());
        kind.filter(|_| vendor == VENDOR).ok_or(Fault::Absent)
    }

    /// The first structure of each kind: common, notifications, the device's own.
    fn structures(&mut self) -> Result<[Option<Structure>; 3], Fault> {
        let mut found = [None; 3];
        if self.read(COMMAND)? & HAS_LIST == 0 {
            return Ok(found);
        }
        let [mut at, ..] = self.read(LIST)?.to_le_bytes();
        for _ in 0..MOST_CAPABILITIES {
            at &= 0xFC;
            if at == 0 {
                return Ok(found);
            }
            if at < FIRST_CAPABILITY {
                return Err(Fault::Capabilities);
            }
            let [id, next, _, kind] = self.read(at)?.to_le_bytes();
            let slot = match kind {
                COMMON => found.first_mut(),
                NOTIFY => found.get_mut(1),
                DEVICE => found.get_mut(2),
                _ => None,
            };
            if let Some(slot) = slot.filter(|slot| id == VENDOR_SPECIFIC && slot.is_none()) {
                if at > LAST_STRUCTURE {
                    return Err(Fault::Capabilities);
                }
                let [bar, ..] = self.read(at + 4)?.to_le_bytes();
                let (offset, len) = (self.read(at + 8)?, self.read(at + 12)?);
                let factor = if kind == NOTIFY { self.read(at + 16)? } else { 0 };
                *slot = Some(Structure { bar, offset, len, factor });
            }
            at = next;
        }
        Err(Fault::Capabilities)
    }

    /// Puts a BAR, which must be one of 64 bits, at an address, and all others nowhere. Its size.
    fn place(&mut self, bar: u8, address: u64) -> Result<u64, Fault> {
        const IS_64_BITS: u32 = 0b100;
        const KIND: u32 = 0b111;
        if bar >= BARS - 1 {
            return Err(Fault::Registers);
        }
        let (low, high) = (FIRST_BAR + 4 * bar, FIRST_BAR + 4 * bar + 4);
        if self.read(low)? & KIND != IS_64_BITS {
            return Err(Fault::Registers);
        }
        for other in (0..BARS).filter(|other| *other != bar && *other != bar + 1) {
            self.write(FIRST_BAR + 4 * other, 0)?;
        }
        self.write(low, u32::MAX)?;
        self.write(high, u32::MAX)?;
        let mask = u64::from(self.read(low)? & !0xF) | u64::from(self.read(high)?) << 32;
        let size = (!mask).wrapping_add(1);
        if !size.is_power_of_two() || size > WINDOW {
            return Err(Fault::Registers);
        }
        for (at, half) in [(low, address & 0xFFFF_FFFF), (high, address >> 32)] {
            self.write(at, u32::try_from(half).map_err(|_| Fault::Registers)?)?;
        }
        Ok(size)
    }
}
