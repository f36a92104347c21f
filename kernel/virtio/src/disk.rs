//! A virtio block device (virtio 1.3, 5.2).

use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::DeviceType;

use crate::Fault;
use crate::fault::Health;
use crate::hal::Private;
use crate::host::{Host, PAGE};
use crate::registers::Registers;
use crate::transport::{Checked, Wanted};

/// Octets of a sector.
pub const SECTOR: usize = SECTOR_SIZE;
/// Pages of data of one request; a longer one becomes several.
const PAGES: usize = 8;
/// Pages that a disk takes: data, the request's head and its status, the rings.
pub const SHARED_PAGES: usize = PAGES + 3;

/// VIRTIO_BLK_F_RO, VIRTIO_BLK_F_FLUSH.
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;

/// A disk that can be written, and told to flush.
pub struct Disk<H: Host> {
    driver: VirtIOBlk<Private, Checked<H>>,
    health: Health,
}

impl<H: Host> Disk<H> {
    /// Takes the device into use. An answer may take `patience` ticks.
    ///
    /// # Errors
    /// `Absent` if it is no disk, `ReadOnly`, and whatever else is wrong with it.
    #[inline(never)]
    pub fn open(host: H, registers: Registers, patience: u64) -> Result<Self, Fault> {
        let wanted = Wanted {
            kind: DeviceType::Block,
            needed: FLUSH,
            shown: READ_ONLY,
            queues: [(PAGES + 2, true), (0, true)],
            patience,
        };
        let health = Health::default();
        let driver = VirtIOBlk::new(Checked::new(host, registers, wanted, &health)?);
        health.check()?;
        let driver = driver.map_err(|_| Fault::Queue)?;
        if driver.readonly() { Err(Fault::ReadOnly) } else { Ok(Self { driver, health }) }
    }

    /// Sectors, the host's word.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.driver.capacity()
    }

    /// Reads whole sectors from `first` on.
    ///
    /// # Errors
    /// `Range`, `Failed`, or the fault that has ended the device.
    pub fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.check(first, out.len())?;
        let mut at = usize::try_from(first).map_err(|_| Fault::Range)?;
        for piece in out.chunks_mut(PAGES * PAGE) {
            let done = self.driver.read_blocks(at, piece);
            self.judge(done)?;
            at += piece.len() / SECTOR;
        }
        Ok(())
    }

    /// Writes whole sectors from `first` on. They may be lost, or some of them, until they are flushed.
    ///
    /// # Errors
    /// As for [`Disk::read`]; some of the sectors may have been written.
    pub fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Fault> {
        self.check(first, octets.len())?;
        let mut at = usize::try_from(first).map_err(|_| Fault::Range)?;
        for piece in octets.chunks(PAGES * PAGE) {
            let done = self.driver.write_blocks(at, piece);
            self.judge(done)?;
            at += piece.len() / SECTOR;
        }
        Ok(())
    }

    /// All that was written is there whatever happens; that is the host's word.
    ///
    /// # Errors
    /// As for [`Disk::read`].
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.health.check()?;
        let done = self.driver.flush();
        self.judge(done)
    }

    fn check(&self, first: u64, octets: usize) -> Result<(), Fault> {
        self.health.check()?;
        let sectors = u64::try_from(octets / SECTOR).map_err(|_| Fault::Range)?;
        let end = first.checked_add(sectors).filter(|end| *end <= self.sectors());
        end.filter(|_| octets.is_multiple_of(SECTOR)).map(drop).ok_or(Fault::Range)
    }

    fn judge(&self, done: virtio_drivers::Result) -> Result<(), Fault> {
        self.health.check()?;
        done.map_err(|_| Fault::Failed)
    }
}
