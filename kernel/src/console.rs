//! The console: COM1 through the GHCB, a line at a time. What is written here the host reads; no secret goes this way.

use core::fmt;

use snp::ghcb::call::Width;
use snp::ghcb::{Ghcb, GhcbError, Hypervisor, SharedMemory};

/// COM1.
pub const COM1: u16 = 0x3f8;
/// Line status register; bit 5: the transmitter takes a byte.
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u32 = 1 << 5;
/// How often the line status is asked for one byte. The host answers, so it may say "full" for ever; then the byte is
/// sent all the same.
const PATIENCE: u32 = 1000;

/// One byte out of the serial port.
pub trait Port {
    /// Sends it, or fails for good.
    fn send(&mut self, byte: u8) -> Result<(), GhcbError>;
}

impl<H: Hypervisor, P: SharedMemory> Port for Ghcb<H, P> {
    fn send(&mut self, byte: u8) -> Result<(), GhcbError> {
        for _ in 0..PATIENCE {
            if self.io_in(LINE_STATUS, Width::Byte)? & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        self.io_out(COM1, Width::Byte, byte.into())
    }
}

/// Text to a [`Port`], with line ends as a terminal wants them.
pub struct Console<'a, P>(pub &'a mut P);

impl<P: Port> fmt::Write for Console<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0.send(b'\r').map_err(|_| fmt::Error)?;
            }
            self.0.send(byte).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// One line of the timeline: `quoin: WORD text`. A console that fails stays silent; nothing depends on it.
pub fn line(port: &mut impl Port, word: &str, text: fmt::Arguments<'_>) {
    let _ = fmt::write(&mut Console(port), format_args!("quoin: {word} {text}\n"));
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    struct Paper(Vec<u8>);

    impl Port for Paper {
        fn send(&mut self, byte: u8) -> Result<(), GhcbError> {
            self.0.push(byte);
            Ok(())
        }
    }

    #[test]
    fn a_line_begins_with_the_name_and_the_word() {
        let mut paper = Paper(Vec::new());
        line(&mut paper, "ghcb", format_args!("registered at {:#x}", 0x80_0000_0000_u64));
        assert_eq!(paper.0, b"quoin: ghcb registered at 0x8000000000\r\n");
    }
}
