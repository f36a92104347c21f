//! What a hostile guest would try: every attempt must be refused with the documented code, and the firmware must be
//! alive after it.
//!
//! | module | tries |
//! |---|---|
//! | `memory` | the firmware's pages by plain accesses, PVALIDATE and RMPADJUST |
//! | `addresses` | every call's addresses: firmware, VMSA, MMIO, shared, beyond RAM, misaligned, crossing, wrapping |
//! | `taken` | pages that the host takes before a call or at the firmware's access: every access of every call |
//! | `pages` | a list of pages for a TPM command: malformed, with pages that are not ours, and garbage |
//! | `deposits` | memory for the firmware: what it is deposited from, what can be done with it, what comes back |
//! | `calls` | protocols and calls that do not exist, sizes, malformed structures, a call without the pending byte |

mod addresses;
mod calls;
mod deposits;
mod memory;
mod pages;
mod taken;

use crate::page::Area;
use crate::svsm::{self, Registers, Taken};
use crate::vtpm;
use core::fmt::{self, Display, Write};

/// `SVSM_ERR_*` (SVSM specification, table of result codes).
mod code {
    pub(super) const UNSUPPORTED_PROTOCOL: u64 = 0x8000_0001;
    pub(super) const UNSUPPORTED_CALL: u64 = 0x8000_0002;
    pub(super) const INVALID_ADDRESS: u64 = 0x8000_0003;
    pub(super) const INVALID_PARAMETER: u64 = 0x8000_0005;
    /// `SVSM_PVALIDATE_FAIL_UNCHANGED`.
    pub(super) const FAIL_UNCHANGED: u64 = 0x8000_1010;
}

/// What is put for a result when the firmware did not take a call, or the host did not run it.
const NOT_TAKEN: u64 = 0xFFFF_FFFF_FFFF_FFFF;

/// Guest-physical addresses of the firmware (docs/boot.md).
pub(crate) const FIRMWARE: core::ops::Range<u64> = 0x80_0000_0000..0x80_0080_0000;

/// Runs all attempts and writes a line about each into `text`, and a last one with the totals; gives the text's length.
pub(crate) fn run<const N: usize>(text: &'static Area<N>) -> usize {
    let mut report = Report::new(text);
    memory::attempts(&mut report);
    addresses::attempts(&mut report);
    calls::attempts(&mut report);
    pages::attempts(&mut report);
    deposits::attempts(&mut report);
    taken::attempts(&mut report);
    report.finish()
}

/// What ends all calls of this vCPU, so that it comes last: its calling area is the host's.
pub(crate) fn run_last<const N: usize>(text: &'static Area<N>) -> usize {
    let mut report = Report::new(text);
    taken::without_calling_area(&mut report);
    report.finish()
}

/// Collects the lines.
pub(crate) struct Report<const N: usize> {
    text: Text<N>,
    passed: u32,
    failed: u32,
}

impl<const N: usize> Report<N> {
    pub(crate) const fn new(text: &'static Area<N>) -> Self {
        Self { text: Text { area: text, length: 0 }, passed: 0, failed: 0 }
    }

    /// The last line; gives the text's length.
    pub(crate) fn finish(mut self) -> usize {
        let (passed, failed) = (self.passed, self.failed);
        self.line(format_args!("{passed} passed, {failed} failed"));
        self.text.length
    }

    /// One attempt: its name, the code that it must have, the code that it has.
    pub(crate) fn attempt(&mut self, name: impl Display, expected: u64, got: u64) {
        let alive = vtpm::is_alive();
        self.judge(name, expected, got, alive);
    }

    fn judge(&mut self, name: impl Display, expected: u64, got: u64, alive: bool) {
        if expected == got && alive {
            self.passed += 1;
            self.line(format_args!("ok {name}: expected {expected:#x} got {got:#x}"));
        } else {
            self.failed += 1;
            let after = if alive { "" } else { ", and the TPM does not answer any more" };
            self.line(format_args!("FAIL {name}: expected {expected:#x} got {got:#x}{after}"));
        }
    }

    /// One call with one argument, and the code that it must have.
    fn call(&mut self, name: impl Display, (protocol, call): (u64, u64), rcx: u64, expected: u64) {
        self.attempt(name, expected, result(Registers::call(protocol, call, rcx)));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A text that is full loses lines, and the totals with them: the host sees that.
        let _ = self.text.write_fmt(line).and_then(|()| self.text.write_char('\n'));
    }
}

/// Makes a call and gives RAX.
fn result(mut registers: Registers) -> u64 {
    match svsm::call(&mut registers) {
        Ok(Taken::Yes) => registers.rax,
        Ok(Taken::No) | Err(_) => NOT_TAKEN,
    }
}

/// Text that is written into an area.
struct Text<const N: usize> {
    area: &'static Area<N>,
    length: usize,
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > N - self.length {
            return Err(fmt::Error);
        }
        self.area.copy_in(self.length, text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}
