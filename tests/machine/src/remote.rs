//! A device that a program outside the machine serves, as a monitor's process serves those of its guests: each access
//! goes to it over a UART of QEMU's, and waits for its answer.
//!
//! An access has 12 octets: 0 (read) or 1 (write), octets (1, 2, 4 or 8), the offset from [`BASE`] (u16), the value
//! (u64). The answer is a value (u64), of a read; a write has one, too.

use crate::bits::lo8;
use crate::cpu::{port_in, port_out};

/// Where a TPM's registers are (PC Client Platform TPM Profile): five localities of a page each.
const BASE: u64 = 0xFED4_0000;
const END: u64 = BASE + 0x5000;

/// Of the line status: there is an octet to read, and room for one to write.
const RECEIVED: u32 = 1;
const EMPTY: u32 = 1 << 5;

/// The first port of a 16550.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uart(pub(crate) u16);

impl Uart {
    /// An access at `gpa` with a value, if it is a write: what is read. `None`: the device is not there.
    pub(crate) fn access(self, gpa: u64, size: u64, value: Option<u64>) -> Option<u64> {
        if !(BASE..END).contains(&gpa) {
            return None;
        }
        let [low, high, ..] = (gpa - BASE).to_le_bytes();
        [value.is_some().into(), lo8(size), low, high].into_iter().for_each(|octet| self.send(octet));
        value.unwrap_or(0).to_le_bytes().into_iter().for_each(|octet| self.send(octet));
        Some(u64::from_le_bytes([(); 8].map(|()| self.receive())))
    }

    fn send(self, octet: u8) {
        self.await_status(EMPTY);
        port_out(self.0, 1, octet.into());
    }

    fn receive(self) -> u8 {
        self.await_status(RECEIVED);
        lo8(port_in(self.0, 1).into())
    }

    fn await_status(self, bit: u32) {
        while port_in(self.0 + 5, 1) & bit == 0 {}
    }
}
