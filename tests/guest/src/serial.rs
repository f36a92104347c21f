//! The second serial port, a 16550: polled while bytes come, and waited for by its interrupt when none does.

use crate::ghcb::{self, HostError};
use crate::interrupts;

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

/// Interrupt enable: a byte has come.
const RECEIVED: u8 = 1;
/// Looks between which a byte that follows another comes.
const LOOKS: u32 = 20;

/// 115200 baud, 8 data bits, no parity, FIFOs on, an interrupt for the first byte.
pub(crate) fn set_up() {
    let settings = [
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x80),
        (DATA, 1),
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 3),
        (FIFO_CONTROL, 7),
        (MODEM_CONTROL, 0xB),
        (INTERRUPT_ENABLE, RECEIVED),
    ];
    for (port, value) in interrupts::COM2_ONLY.into_iter().chain(settings) {
        or_terminate(ghcb::port_write(port, value));
    }
}

/// Waits for a byte. Who waits long uses no CPU.
pub(crate) fn read() -> u8 {
    let mut looks = 0;
    while or_terminate(ghcb::port_read(LINE_STATUS)) & DATA_READY == 0 {
        looks += 1;
        if looks > LOOKS {
            interrupts::wait();
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
