//! The machine's log (QEMU's debug console, port 0xE9) and its ways to end (isa-debug-exit, port 0xF4): docs/boot.md.

use crate::cpu::port_out;
use core::fmt;

/// Writes to the debug console.
pub(crate) struct DebugConsole;

impl fmt::Write for DebugConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            port_out(0xE9, 1, u32::from(byte));
        }
        Ok(())
    }
}

/// One line of the log.
macro_rules! log {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        // The debug console cannot fail.
        let _ = writeln!($crate::log::DebugConsole, "machine: {}", format_args!($($arg)*));
    }};
}
pub(crate) use log;

/// Why QEMU ends; the value for port 0xF4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The guest powered off or asked for a reset.
    Orderly = 0,
    /// The guest broke a rule.
    Rule = 1,
    /// The IGVM file, the identity or the configuration cannot be launched.
    BadLaunch = 2,
    /// The guest asked for termination.
    Terminated = 3,
    /// A fault of the machine's own.
    Fault = 4,
}

/// Ends QEMU.
pub(crate) fn end(why: End) -> ! {
    loop {
        port_out(0xF4, 4, why as u32);
        // Only reached without the isa-debug-exit device: reset by the keyboard controller, so that `-no-reboot` ends
        // it.
        port_out(0x64, 1, 0xFE);
    }
}

/// Ends with a message: the machine itself is at fault.
macro_rules! fault {
    ($($arg:tt)*) => {{
        $crate::log::log!("FAULT {}", format_args!($($arg)*));
        $crate::log::end($crate::log::End::Fault)
    }};
}
pub(crate) use fault;

/// Ends with a message: this cannot be launched.
macro_rules! bad_launch {
    ($($arg:tt)*) => {{
        $crate::log::log!("BAD LAUNCH {}", format_args!($($arg)*));
        $crate::log::end($crate::log::End::BadLaunch)
    }};
}
pub(crate) use bad_launch;
