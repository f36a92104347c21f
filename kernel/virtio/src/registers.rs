//! A device's registers: where each is, and what is done with them, over PCI and MMIO alike (virtio 1.3, 4.1.4.3 and
//! 4.2.2).

use snp::ghcb::call::Width;

use crate::Fault;
use crate::host::Host;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u64, pub(crate) Width);

impl Register {
    fn read(self, host: &mut impl Host) -> Result<u32, Fault> {
        host.read(self.0, self.1).ok_or(Fault::NoAnswer)
    }

    fn write(self, host: &mut impl Host, value: u32) -> Result<(), Fault> {
        host.write(self.0, self.1, value).ok_or(Fault::NoAnswer)
    }
}

/// Where a queue is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    /// One register for all.
    One(Register),
    /// A register for each, which the device chooses by a number, times a factor, within a region.
    Each {
        /// The queue's number.
        offset: Register,
        factor: u32,
        start: u64,
        len: u32,
    },
}

/// The registers of one device, and what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Virtio's device type: 2 block, 3 console.
    pub(crate) kind: u16,
    pub(crate) device_feature_select: Register,
    pub(crate) device_feature: Register,
    pub(crate) driver_feature_select: Register,
    pub(crate) driver_feature: Register,
    pub(crate) status: Register,
    pub(crate) queue_select: Register,
    /// What the device can, read before a size is written.
    pub(crate) queue_size_max: Register,
    pub(crate) queue_size: Register,
    /// Low half of the addresses of descriptors, of what the driver and of what the device writes; the high halves are
    /// 4 octets behind.
    pub(crate) queue_addresses: [u64; 3],
    pub(crate) queue_enable: Register,
    pub(crate) notify: Notify,
    /// Where the configuration is, and its octets.
    pub(crate) config: (u64, u32),
}

/// Reads of the status that a reset may take.
const PATIENCE: u32 = 1000;

/// Bits of the status (virtio 1.3, 2.1).
pub(crate) mod status {
    /// The features are agreed upon.
    pub(crate) const FEATURES_OK: u32 = 8;
    /// The device has given up, or the driver has.
    pub(crate) const ENDED: u32 = 64 | 128;
}

impl Registers {
    /// Resets the device, and waits until it has been.
    pub(crate) fn reset(&self, host: &mut impl Host) -> Result<(), Fault> {
        self.status.write(host, 0)?;
        for _ in 0..PATIENCE {
            if self.status.read(host)? == 0 {
                return Ok(());
            }
            host.wait();
        }
        Err(Fault::Status)
    }

    /// Writes the status, which the device must take.
    pub(crate) fn set_status(&self, host: &mut impl Host, value: u32) -> Result<(), Fault> {
        self.status.write(host, value)?;
        match self.status.read(host)? {
            now if now & status::FEATURES_OK != value & status::FEATURES_OK => Err(Fault::Features),
            now if now & value == value && now & status::ENDED == 0 => Ok(()),
            _ => Err(Fault::Status),
        }
    }

    /// What the device offers.
    pub(crate) fn features(&self, host: &mut impl Host) -> Result<u64, Fault> {
        let mut half = |select| {
            self.device_feature_select.write(host, select)?;
            self.device_feature.read(host)
        };
        Ok(u64::from(half(0)?) | u64::from(half(1)?) << 32)
    }

    /// What the driver takes of it.
    pub(crate) fn accept(&self, host: &mut impl Host, features: u64) -> Result<(), Fault> {
        for (select, half) in [(0, low(features)), (1, low(features >> 32))] {
            self.driver_feature_select.write(host, select)?;
            self.driver_feature.write(host, half)?;
        }
        Ok(())
    }

    /// How many requests a queue has room for; 0 if there is none.
    pub(crate) fn queue_max(&self, host: &mut impl Host, queue: u16) -> Result<u32, Fault> {
        self.queue_select.write(host, queue.into())?;
        self.queue_size_max.read(host)
    }

    /// Hands a queue over. Where it is notified.
    pub(crate) fn start_queue(
        &self,
        host: &mut impl Host,
        queue: u16,
        size: u16,
        areas: [u64; 3],
    ) -> Result<Register, Fault> {
        self.queue_select.write(host, queue.into())?;
        self.queue_size.write(host, size.into())?;
        for (at, area) in self.queue_addresses.into_iter().zip(areas) {
            Register(at, Width::Dword).write(host, low(area))?;
            Register(at + 4, Width::Dword).write(host, low(area >> 32))?;
        }
        let notify = match self.notify {
            Notify::One(register) => register,
            Notify::Each { offset, factor, start, len } => {
                let at = u64::from(offset.read(host)?) * u64::from(factor);
                if at + 2 > u64::from(len) || !at.is_multiple_of(2) {
                    return Err(Fault::Registers);
                }
                Register(start + at, Width::Word)
            }
        };
        self.queue_enable.write(host, 1)?;
        Ok(notify)
    }

    /// The device's configuration, each octet read once; what it has not is zero.
    pub(crate) fn config<const N: usize>(&self, host: &mut impl Host) -> Result<[u8; N], Fault> {
        let (start, len) = self.config;
        let mut all = [0; N];
        for (word, at) in all.as_chunks_mut::<4>().0.iter_mut().zip((0..len.saturating_sub(3)).step_by(4)) {
            *word = Register(start + u64::from(at), Width::Dword).read(host)?.to_le_bytes();
        }
        Ok(all)
    }
}

/// Notifies a queue.
pub(crate) fn notify(host: &mut impl Host, at: Register, queue: u16) -> Result<(), Fault> {
    at.write(host, queue.into())
}

const fn low(value: u64) -> u32 {
    (value & 0xFFFF_FFFF) as u32
}
