//! A virtio console (virtio 1.3, 5.3), its first port: a stream of octets each way, by the crate's queues. (Its console
//! wants a feature by which every program that is built beside the firmware would need an allocator.)
#![expect(unsafe_code, reason = "a request that is not waited for is unsafe in the crate's queue")]

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};

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
    health: Health,
}

impl<H: Host> Console<H> {
    /// Takes the device into use. The host may take `patience` ticks to take what is written.
    ///
    /// # Errors
    /// `Absent` if it is no console, and whatever else is wrong with it.
    pub fn open(host: H, registers: Registers, patience: u64) -> Result<Self, Fault> {
        let kind = DeviceType::Console;
        let wanted = Wanted { kind, needed: 0, shown: 0, queues: [(1, false), (1, true)], patience };
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
        let mut console = Self { transport, receive, send, buffer: vec![0; PAGE], rest: 0..0, asked: None, health };
        console.ask()?;
        Ok(console)
    }

    /// Writes all octets.
    ///
    /// # Errors
    /// The fault that has ended the device.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        for piece in octets.chunks(PAGE) {
            self.health.check()?;
            let done = self.send.add_notify_wait_pop(&[piece], &mut [], &mut self.transport);
            self.health.check()?;
            done.map_err(|_| Fault::Failed)?;
        }
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
        let any = self.transport.ack_interrupt().contains(InterruptStatus::QUEUE_INTERRUPT);
        self.health.check()?;
        let Some(asked) = self.asked.filter(|_| any) else { return Ok(false) };
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
        self.transport.queue_unset(RECEIVE);
        self.transport.queue_unset(SEND);
    }
}
