//! A device as the drivers of `virtio-drivers` see it: it answers at once and truly, or there is a [`Fault`].
//!
//! A driver's rings lie in private memory. What it adds there is made a request to the host when it notifies; with a
//! queue that is waited for, the answer is in its used ring when that returns, whatever the host does: in the end an
//! empty one, so that the driver never waits. [`Checked::ack_interrupt`] looks for the answers of the others.

use alloc::vec;
use alloc::vec::Vec;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::fault::Health;
use crate::host::Host;
use crate::registers::{Register, Registers, notify};
use crate::ring::{MAX_SIZE, Part, Ring};
use crate::{Fault, hal};

/// Octets of a device's configuration that are read, once.
const CONFIG: usize = 32;
/// Queues of a device.
const QUEUES: usize = 2;
/// Features that any device must offer: it is no legacy one (virtio 1.3, 6).
pub(crate) const VERSION_1: u64 = 1 << 32;
/// Features that are taken where they are offered: addresses are those of the platform's memory, as SNP wants it.
pub(crate) const ACCESS_PLATFORM: u64 = 1 << 33;

/// What is wanted of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Virtio's device type.
    pub(crate) kind: DeviceType,
    /// Features without which it is of no use.
    pub(crate) needed: u64,
    /// Features that the driver may see.
    pub(crate) shown: u64,
    /// Of each queue: how many pages a request has at most, and whether its answer is waited for.
    pub(crate) queues: [(usize, bool); QUEUES],
    /// Ticks that an answer may take.
    pub(crate) patience: u64,
}

/// A request of the driver's that the host has not answered.
#[derive(Debug)]
struct Pending {
    head: u16,
    parts: Vec<Part>,
    /// Where in private memory each part belongs.
    addresses: Vec<u64>,
}

#[derive(Debug)]
struct Queue<S> {
    ring: Ring<S>,
    notify: Register,
    waits: bool,
    size: u16,
    /// The driver's rings in private memory: descriptors, what it writes, what is written for it.
    private: [u64; 3],
    /// How much of its ring has been seen, and how many answers it has got.
    seen: u16,
    answered: u16,
    pending: Option<Pending>,
}

/// The device.
#[derive(Debug)]
pub(crate) struct Checked<H: Host> {
    host: H,
    registers: Registers,
    wanted: Wanted,
    health: Health,
    config: [u8; CONFIG],
    /// [`ACCESS_PLATFORM`], if the device offers it: the crate's drivers do not know of it, and the device wants it
    /// taken.
    platform: u64,
    queues: [Option<Queue<H::Shared>>; QUEUES],
}

impl<H: Host> Checked<H> {
    /// A device that nobody uses yet.
    pub(crate) fn new(mut host: H, registers: Registers, wanted: Wanted, health: &Health) -> Result<Self, Fault> {
        if registers.kind != wanted.kind as u16 {
            return Err(Fault::Absent);
        }
        let config = registers.config(&mut host)?;
        Ok(Self { host, registers, wanted, health: health.clone(), config, platform: 0, queues: [None, None] })
    }

    /// The host's counter.
    pub(crate) fn ticks(&mut self) -> u64 {
        self.host.ticks()
    }

    /// Passes time while an answer is waited for.
    pub(crate) fn pass_time(&mut self) {
        self.host.wait();
    }

    /// Does `work`, unless there was a fault before, and notes the one that there is.
    fn attempt<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, Fault>) -> Option<R> {
        self.health.check().ok()?;
        work(self).map_err(|fault| self.health.note(fault)).ok()
    }

    fn features(&mut self) -> Result<u64, Fault> {
        let offered = self.registers.features(&mut self.host)?;
        let needed = self.wanted.needed | VERSION_1;
        if offered & needed != needed {
            return Err(Fault::Features);
        }
        self.platform = offered & ACCESS_PLATFORM;
        Ok(offered & (needed | self.wanted.shown))
    }

    fn start_queue(&mut self, number: u16, size: u32, private: [u64; 3]) -> Result<(), Fault> {
        let size = u16::try_from(size).ok().filter(|size| *size <= MAX_SIZE).ok_or(Fault::Queue)?;
        let at = usize::from(number);
        let (pages, waits) = *self.wanted.queues.get(at).ok_or(Fault::Queue)?;
        // The device's own size may be another than the driver's: here a buffer has a descriptor for each page.
        let most = self.registers.queue_max(&mut self.host, number)?;
        let shared_size = u16::try_from(pages).map_or(MAX_SIZE, |pages| pages.max(2).next_power_of_two());
        if most < u32::from(shared_size) || shared_size > MAX_SIZE {
            return Err(Fault::Queue);
        }
        let ring = Ring::new(&mut self.host, shared_size, pages)?;
        let notify = self.registers.start_queue(&mut self.host, number, shared_size, ring.areas())?;
        let queue = Queue { ring, notify, waits, size, private, seen: 0, answered: 0, pending: None };
        *self.queues.get_mut(at).ok_or(Fault::Queue)? = Some(queue);
        Ok(())
    }

    /// Makes what the driver has added a request to the host, and waits for the answer where that is wanted.
    fn pass(&mut self, number: u16) -> Result<(), Fault> {
        let queue = self.queues.get_mut(usize::from(number)).and_then(Option::as_mut).ok_or(Fault::Queue)?;
        if queue.fetch()? {
            self.health.check()?;
            let pending = queue.pending.as_ref().ok_or(Fault::Queue)?;
            queue.ring.make(&pending.parts)?;
            notify(&mut self.host, queue.notify, number)?;
        }
        if !queue.waits {
            return Ok(());
        }
        let start = self.host.ticks();
        while !queue.answer()? {
            if self.host.ticks().wrapping_sub(start) > self.wanted.patience {
                return Err(Fault::Stalled);
            }
            self.host.wait();
        }
        Ok(())
    }
}

impl<S: snp::ghcb::SharedMemory> Queue<S> {
    /// The octets of private memory at `offset` of one of the driver's areas.
    fn private<const N: usize>(&self, area: usize, offset: usize) -> [u8; N] {
        let mut octets = [0; N];
        if let Some(start) = self.private.get(area) {
            // SAFETY: the driver has given its areas as what `hal::Private` has handed out, and they live as long as
            // the driver, to which this belongs; no offset here leads out of an area of `size` entries.
            #[expect(unsafe_code, reason = "the driver's rings are known by their addresses")]
            unsafe {
                hal::read(start + offset as u64, &mut octets);
            }
        }
        octets
    }

    /// Takes the request that the driver has added, if it has added one.
    fn fetch(&mut self) -> Result<bool, Fault> {
        if self.seen == u16::from_le_bytes(self.private(1, 2)) {
            return Ok(false);
        }
        if self.pending.is_some() {
            return Err(Fault::Queue);
        }
        let head = u16::from_le_bytes(self.private(1, 4 + 2 * usize::from(self.seen % self.size)));
        self.seen = self.seen.wrapping_add(1);
        let mut pending = Pending { head, parts: Vec::new(), addresses: Vec::new() };
        let mut at = head;
        for _ in 0..self.size {
            let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, flags, _, n0, n1] =
                self.private(0, 16 * usize::from(at % self.size));
            let address = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
            let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(|_| Fault::Queue)?;
            let mut octets = vec![0; len];
            // SAFETY: the driver describes buffers that `hal::Private::share` has copied, and not taken back: it does
            // so when they are answered.
            #[expect(unsafe_code, reason = "the driver's buffers are known by their addresses")]
            unsafe {
                hal::read(address, &mut octets);
            }
            pending.parts.push(Part { octets, is_answer: flags & 2 != 0 });
            pending.addresses.push(address);
            if flags & 1 == 0 {
                self.pending = Some(pending);
                return Ok(true);
            }
            at = u16::from_le_bytes([n0, n1]);
        }
        Err(Fault::Queue)
    }

    /// Whether the host has answered: then the driver has the answer.
    fn answer(&mut self) -> Result<bool, Fault> {
        let Some(pending) = self.pending.as_mut() else { return Ok(false) };
        let Some(len) = self.ring.take(&mut pending.parts)? else { return Ok(false) };
        let has_answer = pending.parts.iter().any(|part| part.is_answer);
        if has_answer && len == 0 {
            return Err(Fault::Length);
        }
        for (part, address) in pending.parts.iter().zip(&pending.addresses).filter(|(part, _)| part.is_answer) {
            // SAFETY: as for reading, and a buffer that the device writes is one that the driver does not.
            #[expect(unsafe_code, reason = "the driver's buffers are known by their addresses")]
            unsafe {
                hal::write(*address, &part.octets);
            }
        }
        self.complete(len);
        Ok(true)
    }

    /// Puts the pending request into the driver's used ring, as answered by so many octets.
    fn complete(&mut self, len: u32) {
        let (Some(pending), Some(used)) = (self.pending.take(), self.private.get(2)) else { return };
        let entry = 4 + 8 * u64::from(self.answered % self.size);
        self.answered = self.answered.wrapping_add(1);
        let [a, b] = pending.head.to_le_bytes();
        // SAFETY: as for reading; the used ring has `size` entries, and the driver reads it when this has returned.
        #[expect(unsafe_code, reason = "the driver's rings are known by their addresses")]
        unsafe {
            hal::write(used + entry, &[a, b, 0, 0]);
            hal::write(used + entry + 4, &len.to_le_bytes());
            hal::write(used + 2, &self.answered.to_le_bytes());
        }
    }
}

impl<H: Host> Transport for Checked<H> {
    fn device_type(&self) -> DeviceType {
        self.wanted.kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.attempt(Self::features).unwrap_or(0)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.attempt(|this| this.registers.accept(&mut this.host, features | this.platform));
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        // The driver's own ring: what the device has is looked at when the queue is set.
        MAX_SIZE.into()
    }

    fn notify(&mut self, number: u16) {
        if let Err(fault) = self.pass(number) {
            self.health.note(fault);
        }
        if self.health.check().is_err()
            && let Some(queue) = self.queues.get_mut(usize::from(number)).and_then(Option::as_mut)
            && queue.waits
        {
            // The driver is not left waiting. An answer without octets leaves its status as it was: not done.
            let _ = queue.fetch();
            queue.complete(0);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::empty()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.attempt(|this| match status.bits() {
            0 => this.registers.reset(&mut this.host),
            bits => this.registers.set_status(&mut this.host, bits),
        });
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        self.attempt(|this| this.start_queue(queue, size, [descriptors, driver, device]));
    }

    fn queue_unset(&mut self, queue: u16) {
        if let Some(queue) = self.queues.get_mut(usize::from(queue)) {
            *queue = None;
        }
        // Until it has been reset, the device may go on with what it was given. But one that has not answered is not
        // asked again: QEMU answers a reset when all requests are done, and the firmware would wait for that for ever.
        // Its pages stay shared.
        if self.health.check().is_ok() {
            let _ = self.registers.reset(&mut self.host);
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.queues.get(usize::from(queue)).is_some_and(Option::is_some)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let answered = self.attempt(|this| {
            let mut any = false;
            for queue in this.queues.iter_mut().flatten().filter(|queue| !queue.waits) {
                any |= queue.answer()?;
            }
            Ok(any)
        });
        if answered == Some(true) { InterruptStatus::QUEUE_INTERRUPT } else { InterruptStatus::empty() }
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let octets = offset.checked_add(size_of::<T>()).and_then(|end| self.config.get(offset..end));
        T::read_from_bytes(octets.unwrap_or_default()).map_err(|_| Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}
