//! The #HV doorbell page, in which a host says what it has signalled to a vCPU with restricted injection (GHCB
//! specification, 5, "Restricted injection").
//!
//! | at | what |
//! |---|---|
//! | 0 | u8 vector of the highest interrupt that is pending, 0: none |
//! | 1 | u8 flags: bit 0 NMI, bit 1 machine check, bit 7 no further signal |
//! | 2 | u8 bit 0: no EOI is required |
//! | 3 | u8 bit n: there are events for VMPL n + 1 |
//!
//! The host sets "no further signal" when it raises #HV, and raises no other before the guest has cleared it.

use super::SharedMemory;
use crate::bits::byte_at;

/// What was pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The interrupt's vector; 0: none.
    pub vector: u8,
    /// An NMI.
    pub nmi: bool,
    /// A machine check.
    pub machine_check: bool,
    /// For which less privileged VMPLs there is something: bit 0 for VMPL1.
    pub vmpls: u8,
}

/// Takes all that is pending out of a doorbell page, and lets the host signal again, in one step.
pub fn take(page: &mut impl SharedMemory) -> Events {
    const NMI: u8 = 1;
    const MACHINE_CHECK: u8 = 2;
    let word = u64::from(page.exchange(0, 0));
    let flags = byte_at(word, 8);
    Events {
        vector: byte_at(word, 0),
        nmi: flags & NMI != 0,
        machine_check: flags & MACHINE_CHECK != 0,
        vmpls: byte_at(word, 24),
    }
}
