//! A virtio console (virtio 1.3, 5.3), its first port: a stream of octets each way, by the crate's queues. (Its console
//! wants a feature by which every program that is built beside the firmware would need an allocator.)
#![expect(unsafe_code, reason = "a request that is not waited for is unsafe in the crate's queue")]

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

use crate::Fault;
use crate::fault::Health;
use crate::hal::Private;
use crate::host::{Host, PAGE};
use crate::registers::Registers;
use crate::transport::{Checked, Wanted};

/// Pages that a console takes: each way one for octets and one for rings.
pub const SHARED_PAGES: usize = 4;

/// Its queues: what comes, and what goes.
const RECEIVE: u16 = 0;
const SEND: u16 = 1;

/// Of the patience, what is left behind a stall: one part of so many. It doubles with each request that is taken.
const IMPATIENCE: u64 = 16;

type Queue = VirtQueue<Private, 2>;

/// A console.
pub struct Console<H: Host> {
    transport: Checked<H>,
    receive: Queue,
    send: Queue,
    /// What has come, and which part of it nobody has read.
    buffer: Vec<u8>,
    rest: Range<usize>,
    /// What is asked for, and has not come.
    asked: Option<u16>,
    /// What is written, and whether the host still has to take it.
    written: Vec<u8>,
    offered: Option<u16>,
    /// Ticks that it may take for that: ever, and now.
    patience: u64,
    patience_now: u64,
    health: Health,
}

impl<H: Host> Console<H> {
    /// Takes the device into use. The host may take `patience` ticks to take what is written.
    ///
    /// # Errors
    /// `Absent` if it is no console, and whatever else is wrong with it.
    pub fn open(host: H, registers: Registers, patience: u64) -> Result<Self, Fault> {
        let kind = DeviceType::Console;
        let wanted = Wanted { kind, needed: 0, shown: 0, queues: [(1, false), (1, false)], patience };
        let health = Health::default();
        let mut transport = Checked::new(host, registers, wanted, &health)?;
        let begun = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(DeviceStatus::empty());
        transport.set_status(begun);
        let features = transport.read_device_features();
        transport.write_driver_features(features);
        transport.set_status(begun | DeviceStatus::FEATURES_OK);
        let receive = Queue::new(&mut transport, RECEIVE, false, false);
        let send = Queue::new(&mut transport, SEND, false, false);
        transport.finish_init();
        health.check()?;
        let (receive, send) = (receive.map_err(|_| Fault::Queue)?, send.map_err(|_| Fault::Queue)?);
        let mut console = Self {
            transport,
            receive,
            send,
            buffer: vec![0; PAGE],
            rest: 0..0,
            asked: None,
            written: Vec::new(),
            offered: None,
            patience,
            patience_now: patience,
            health,
        };
        console.ask()?;
        Ok(console)
    }

    /// Writes all octets.
    ///
    /// # Errors
    /// `Stalled`: the host has not taken in time what was written now or before. How much it takes of it, and when, is
    /// not known; there may be another try, which waits for nothing before it has. Else the fault that has ended the
    /// device.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if !self.is_taken()? {
            return Err(Fault::Stalled);
        }
        octets.chunks(PAGE).try_for_each(|piece| {
            self.offer(piece)?;
            self.wait()
        })
    }

    /// Offers octets to the host.
    fn offer(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.written = piece.to_vec();
        // SAFETY: `hal::Private` has copied the octets when this returns, and `written` stays as it is until they have
        // been taken.
        let offered = unsafe { self.send.add(&[&self.written], &mut []) };
        self.offered = Some(offered.map_err(|_| Fault::Queue)?);
        self.transport.notify(SEND);
        self.health.check()
    }

    /// Waits until they have been taken.
    fn wait(&mut self) -> Result<(), Fault> {
        let start = self.transport.ticks();
        while !self.is_taken()? {
            if self.transport.ticks().wrapping_sub(start) > self.patience_now {
                self.patience_now = self.patience / IMPATIENCE;
                return Err(Fault::Stalled);
            }
            self.transport.pass_time();
        }
        self.patience_now = self.patience_now.max(1).saturating_mul(2).min(self.patience);
        Ok(())
    }

    /// Whether the host has nothing more to take.
    fn is_taken(&mut self) -> Result<bool, Fault> {
        self.look()?;
        let Some(offered) = self.offered else { return Ok(true) };
        if !self.send.can_pop() {
            return Ok(false);
        }
        // SAFETY: the octets are those of `offer`.
        let taken = unsafe { self.send.pop_used(offered, &[&self.written], &mut []) };
        self.offered = None;
        taken.map(|_| true).map_err(|_| Fault::Failed)
    }

    /// Gives the drivers what the host has answered.
    fn look(&mut self) -> Result<(), Fault> {
        let _ = self.transport.ack_interrupt();
        self.health.check()
    }

    /// Reads what is there, without waiting: how many octets it is.
    ///
    /// # Errors
    /// The fault that has ended the device.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let mut count = 0;
        while let Some(room) = out.get_mut(count..).filter(|room| !room.is_empty()) {
            if self.rest.is_empty() && !self.fetch()? {
                break;
            }
            let there = self.buffer.get(self.rest.clone()).unwrap_or_default();
            let now = there.len().min(room.len());
            room.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
            self.rest.start += now;
            count += now;
            if self.rest.is_empty() {
                self.ask()?;
            }
        }
        self.health.check()?;
        Ok(count)
    }

    /// Asks for octets.
    fn ask(&mut self) -> Result<(), Fault> {
        self.health.check()?;
        // SAFETY: `hal::Private` has copied the buffer when this returns: nobody else knows of this one.
        let asked = unsafe { self.receive.add(&[], &mut [&mut self.buffer]) };
        self.asked = Some(asked.map_err(|_| Fault::Queue)?);
        self.transport.notify(RECEIVE);
        self.health.check()
    }

    /// Whether octets have come.
    fn fetch(&mut self) -> Result<bool, Fault> {
        self.look()?;
        let Some(asked) = self.asked.filter(|_| self.receive.can_pop()) else { return Ok(false) };
        // SAFETY: the buffer is the one of `ask`, whose copy comes back now.
        let len = unsafe { self.receive.pop_used(asked, &[], &mut [&mut self.buffer]) };
        self.asked = None;
        let len = usize::try_from(len.map_err(|_| Fault::Failed)?).map_err(|_| Fault::Length)?;
        self.rest = 0..len;
        Ok(len > 0)
    }
}

impl<H: Host> Drop for Console<H> {
    fn drop(&mut self) {
        if self.offered.is_some() {
            // As of a disk that has not answered: it is not asked for a reset.
            self.health.note(Fault::Stalled);
        }
        self.transport.queue_unset(RECEIVE);
        self.transport.queue_unset(SEND);
    }
}
