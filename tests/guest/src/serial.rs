//! The second serial port, a 16550, polled.

use crate::ghcb::{self, HostError};

const DATA: u16 = 0x2F8;
const INTERRUPT_ENABLE: u16 = DATA + 1;
const FIFO_CONTROL: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const MODEM_CONTROL: u16 = DATA + 4;
const LINE_STATUS: u16 = DATA + 5;

/// Line status: a byte has come.
const DATA_READY: u8 = 1;
/// Line status: the transmitter's FIFO is empty.
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Bytes that an empty transmitter's FIFO takes.
const FIFO: usize = 16;

/// 115200 baud, 8 data bits, no parity, no interrupts, FIFOs on.
pub(crate) fn set_up() {
    let settings = [
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x80),
        (DATA, 1),
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 3),
        (FIFO_CONTROL, 0xC7),
        (MODEM_CONTROL, 3),
    ];
    for (port, value) in settings {
        or_terminate(ghcb::port_write(port, value));
    }
}

/// Waits for a byte.
pub(crate) fn read() -> u8 {
    while or_terminate(ghcb::port_read(LINE_STATUS)) & DATA_READY == 0 {
        // Between two looks: the host has one CPU for all of this.
        for _ in 0..200 {
            core::hint::spin_loop();
        }
    }
    or_terminate(ghcb::port_read(DATA))
}

/// Sends bytes.
pub(crate) fn write(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO) {
        while or_terminate(ghcb::port_read(LINE_STATUS)) & TRANSMITTER_EMPTY == 0 {
            core::hint::spin_loop();
        }
        for byte in chunk {
            or_terminate(ghcb::port_write(DATA, *byte));
        }
    }
}

fn or_terminate<T>(result: Result<T, HostError>) -> T {
    match result {
        Ok(value) => value,
        Err(HostError) => ghcb::terminate(),
    }
}
