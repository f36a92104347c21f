//! A device that a program outside the machine serves, as a monitor's process serves those of its guests: over a UART
//! of QEMU's.
//!
//! An access has 12 octets: 0 (read) or 1 (write), octets (1, 2, 4 or 8), the offset from [`BASE`] (u16), the value of
//! a write (u64). A read is of [`LINE`] octets at once, which are the answer; a write has none. Reads have no effect
//! there, and nothing changes but by a write: what was read counts until the next one.

use crate::bits::{lo8, us};
use crate::cpu::{port_in, port_out};

/// Where a TPM's registers are (PC Client Platform TPM Profile): five localities of a page each.
const BASE: u64 = 0xFED4_0000;
const END: u64 = BASE + 0x5000;
/// As many as a 16550 has room for.
const LINE: usize = 16;

/// The line status: there is an octet to read, and room for one to write. The FIFO control: on.
const STATUS: u16 = 5;
const RECEIVED: u32 = 1;
const EMPTY: u32 = 1 << 5;
const FIFO: u16 = 2;

/// The device at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    /// The first of the UART.
    port: u16,
    /// Offset and octets of what was read last.
    line: Option<(u64, [u8; LINE])>,
}

impl Remote {
    pub(crate) fn new(port: u16) -> Self {
        port_out(port + FIFO, 1, 1);
        Self { port, line: None }
    }

    /// Whether the device is at `gpa`.
    pub(crate) fn is_at(gpa: u64) -> bool {
        (BASE..END).contains(&gpa)
    }

    pub(crate) fn write(&mut self, gpa: u64, size: u64, value: u64) {
        self.line = None;
        self.ask(1, size, gpa - BASE, value);
    }

    pub(crate) fn read(&mut self, gpa: u64, size: u64) -> u64 {
        let offset = gpa - BASE;
        let bytes: [u8; 8] = core::array::from_fn(|n| if n < us(size) { self.octet(offset + n as u64) } else { 0 });
        u64::from_le_bytes(bytes)
    }

    fn octet(&mut self, offset: u64) -> u8 {
        let (start, at) = (offset & !(LINE as u64 - 1), us(offset) % LINE);
        if let Some((_, octets)) = self.line.filter(|(line, _)| *line == start) {
            return octets[at];
        }
        self.ask(0, LINE as u64, start, 0);
        let octets = [(); LINE].map(|()| self.receive());
        self.line = Some((start, octets));
        octets[at]
    }

    fn ask(&self, write: u8, size: u64, offset: u64, value: u64) {
        let [low, high, ..] = offset.to_le_bytes();
        [write, lo8(size), low, high].into_iter().chain(value.to_le_bytes()).for_each(|octet| self.send(octet));
    }

    fn send(&self, octet: u8) {
        self.await_status(EMPTY);
        port_out(self.port, 1, octet.into());
    }

    fn receive(&self) -> u8 {
        self.await_status(RECEIVED);
        lo8(port_in(self.port, 1).into())
    }

    fn await_status(&self, bit: u32) {
        while port_in(self.port + STATUS, 1) & bit == 0 {}
    }
}
