//! Virtio over MMIO (virtio 1.3, 4.2), as hosts for SVSMs offer it and as QEMU's q35 does not: an access there goes to
//! the same register of a PCI function of QEMU's (4.1.4), which is the device.

use crate::bits::{lo8, lo32};
use crate::cpu::{port_in, port_out};
use crate::phys::{device_read, device_write};

const ADDRESS: u16 = 0xCF8;
const DATA: u16 = 0xCFC;
/// Octets of a device's registers here.
const SIZE: u64 = 0x200;
/// Where the functions' own registers are put: 1 MiB for each device.
const WINDOW: u64 = 0x7F_F100_0000;

/// What every device of this kind says first, and its version.
const MAGIC: u64 = 0x7472_6976;
const VERSION: u64 = 2;

/// A PCI capability that is the vendor's; cfg_type in it.
const VENDOR: u32 = 9;
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;

/// A device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bridge {
    /// Where it is.
    base: u64,
    kind: u64,
    vendor: u64,
    /// The function's structures: common, notifications, interrupts, the device's own.
    at: [u64; 4],
    multiplier: u64,
}

/// Configuration space of a device's function 0 on bus 0.
#[derive(Clone, Copy)]
struct Space(u32);

impl Space {
    fn read(self, offset: u8) -> u32 {
        port_out(ADDRESS, 4, 1 << 31 | self.0 << 11 | u32::from(offset & 0xFC));
        port_in(DATA, 4)
    }

    fn write(self, offset: u8, value: u32) {
        port_out(ADDRESS, 4, 1 << 31 | self.0 << 11 | u32::from(offset & 0xFC));
        port_out(DATA, 4, value);
    }
}

impl Bridge {
    /// The modern device `device` of bus 0 at `base`; nothing if it is none, or not all in one BAR of 64 bits.
    pub(crate) fn new(base: u64, device: u64) -> Option<Bridge> {
        let space = Space(u32::try_from(device).ok().filter(|device| *device < 32)?);
        let id = space.read(0);
        let kind = (id >> 16).checked_sub(0x1040).filter(|_| id & 0xFFFF == 0x1AF4)?;
        let bar_at = WINDOW + device * 0x10_0000;
        let mut bridge = Self { base, kind: kind.into(), vendor: 0x1AF4, at: [0; 4], multiplier: 0 };
        let mut bar = None;
        let mut next = lo8(space.read(0x34).into());
        for _ in 0..48 {
            if next < 0x40 {
                break;
            }
            let [id, after, _, cfg_type] = space.read(next).to_le_bytes();
            if u32::from(id) == VENDOR && (COMMON..=DEVICE).contains(&cfg_type) {
                let [number, ..] = space.read(next + 4).to_le_bytes();
                if *bar.get_or_insert(number) != number {
                    return None;
                }
                *bridge.at.get_mut(usize::from(cfg_type - COMMON))? = bar_at + u64::from(space.read(next + 8));
                if cfg_type == NOTIFY {
                    bridge.multiplier = space.read(next + 16).into();
                }
            }
            next = after;
        }
        let register = 0x10 + 4 * bar.filter(|bar| *bar < 5)?;
        // Of 64 bits.
        if space.read(register) & 7 != 4 || bridge.at.contains(&0) {
            return None;
        }
        space.write(register, lo32(bar_at));
        space.write(register + 4, lo32(bar_at >> 32));
        // Memory space, bus master, no INTx.
        space.write(4, 0x406);
        Some(bridge)
    }

    /// Whether this device is at `gpa`.
    pub(crate) fn is_at(&self, gpa: u64) -> bool {
        (self.base..self.base + SIZE).contains(&gpa)
    }

    fn structure(&self, cfg_type: u8) -> u64 {
        self.at[usize::from(cfg_type - COMMON)]
    }

    /// The function's register, and its octets: those that are the same here and there but for their place.
    fn same(&self, offset: u64) -> Option<(u64, u64)> {
        let (at, size) = match offset {
            0x10 => (0x04, 4),
            0x14 => (0x00, 4),
            0x20 => (0x0C, 4),
            0x24 => (0x08, 4),
            0x30 => (0x16, 2),
            0x34 | 0x38 => (0x18, 2),
            0x44 => (0x1C, 2),
            0x70 => (0x14, 1),
            0x80 | 0x84 => (0x20 + offset % 0x10, 4),
            0x90 | 0x94 => (0x28 + offset % 0x10, 4),
            0xA0 | 0xA4 => (0x30 + offset % 0x10, 4),
            0xFC => (0x15, 1),
            _ => return None,
        };
        Some((self.structure(COMMON) + at, size))
    }

    pub(crate) fn read(&self, gpa: u64, size: u64) -> u64 {
        match (gpa - self.base, size) {
            (0x100.., _) => device_read(self.structure(DEVICE) + gpa - self.base - 0x100, size),
            (0, 4) => MAGIC,
            (4, 4) => VERSION,
            (8, 4) => self.kind,
            (0xC, 4) => self.vendor,
            (0x60, 4) => device_read(self.structure(ISR), 1),
            (offset, 4) => self.same(offset).map_or(0, |(at, size)| device_read(at, size)),
            _ => 0,
        }
    }

    pub(crate) fn write(&self, gpa: u64, size: u64, value: u64) {
        match (gpa - self.base, size) {
            (0x100.., _) => device_write(self.structure(DEVICE) + gpa - self.base - 0x100, size, value),
            (0x50, 4) => self.notify(value),
            // QueueSizeMax is read.
            (offset, 4) if offset != 0x34 => {
                if let Some((at, size)) = self.same(offset) {
                    device_write(at, size, value);
                }
            }
            _ => {}
        }
    }

    /// Where a queue is notified is said by the queue that is selected.
    fn notify(&self, queue: u64) {
        let (select, offset) = (self.structure(COMMON) + 0x16, self.structure(COMMON) + 0x1E);
        let before = device_read(select, 2);
        device_write(select, 2, queue);
        let at = device_read(offset, 2) * self.multiplier;
        device_write(select, 2, before);
        device_write(self.structure(NOTIFY) + at, 2, queue);
    }
}
