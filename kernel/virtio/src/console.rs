//! A virtio console (virtio 1.3, 5.3), its first port: a stream of octets each way.

use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::DeviceType;

use crate::Fault;
use crate::fault::Health;
use crate::hal::Private;
use crate::host::{Host, PAGE};
use crate::registers::Registers;
use crate::transport::{Checked, Wanted};

/// Pages that a console takes: each way one for octets and one for rings.
pub const SHARED_PAGES: usize = 4;

/// A console.
pub struct Console<H: Host> {
    driver: VirtIOConsole<Private, Checked<H>>,
    health: Health,
}

impl<H: Host> Console<H> {
    /// Takes the device into use. The host may take `patience` ticks to take what is written.
    ///
    /// # Errors
    /// `Absent` if it is no console, and whatever else is wrong with it.
    pub fn open(host: H, registers: Registers, patience: u64) -> Result<Self, Fault> {
        let wanted =
            Wanted { kind: DeviceType::Console, needed: 0, shown: 0, queues: [(1, false), (1, true)], patience };
        let health = Health::default();
        let driver = VirtIOConsole::new(Checked::new(host, registers, wanted, &health)?);
        health.check()?;
        Ok(Self { driver: driver.map_err(|_| Fault::Queue)?, health })
    }

    /// Writes all octets.
    ///
    /// # Errors
    /// The fault that has ended the device.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.health.check()?;
        for piece in octets.chunks(PAGE) {
            let done = self.driver.send_bytes(piece);
            self.health.check()?;
            done.map_err(|_| Fault::Failed)?;
        }
        Ok(())
    }

    /// Reads what is there, without waiting: how many octets it is.
    ///
    /// # Errors
    /// The fault that has ended the device.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let mut count = 0;
        for to in out {
            // Only when the last octets are used up there can be others.
            let octet = match self.driver.recv(true).map_err(|_| Fault::Failed)? {
                None if self.has_more()? => self.driver.recv(true).map_err(|_| Fault::Failed)?,
                octet => octet,
            };
            self.health.check()?;
            let Some(octet) = octet else { break };
            *to = octet;
            count += 1;
        }
        Ok(count)
    }

    fn has_more(&mut self) -> Result<bool, Fault> {
        let more = self.driver.ack_interrupt();
        self.health.check()?;
        more.map_err(|_| Fault::Failed)
    }
}
