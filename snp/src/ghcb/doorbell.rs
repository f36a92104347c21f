//! The #HV doorbell page, in which a host says what it has signalled to a vCPU with restricted injection (GHCB
//! specification, 5, "Restricted injection").
//!
//! | at | what |
//! |---|---|
//! | 0 | u8 vector of the highest interrupt that is pending, 0: none |
//! | 1 | u8 flags: bit 0 NMI, bit 1 machine check, bit 7 no further signal |
//! | 2 | u8 bit 0: no EOI is required |
//! | 3 | u8 bit n: there are events for VMPL n + 1 |
//! | 64 n | what is presented to VMPL n (1 to 3): u32 status, 7 u32 of IRR, vectors 32 and up, 8 u32 of ISR |
//!
//! Status: bits 7:0 a vector, 8 NMI, 9 machine check, 10 the vector is level-triggered, 14 there are vectors in IRR, 31
//! vector 31.
//!
//! The host sets "no further signal" when it raises #HV, and raises no other before the guest has cleared it.

use super::SharedMemory;
use crate::bits::byte_at;
use crate::rmp::Vmpl;

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

/// What a host presents to a less privileged VMPL with alternate injection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// Edge-triggered interrupts, a bit a vector.
    pub vectors: [u32; 8],
    /// A level-triggered interrupt.
    pub level: Option<u8>,
    /// An NMI.
    pub nmi: bool,
}

/// Takes all that is presented to `vmpl` out of a doorbell page.
pub fn take_presented(page: &mut impl SharedMemory, vmpl: Vmpl) -> Presented {
    const NMI: u64 = 1 << 8;
    const LEVEL: u64 = 1 << 10;
    const SEVERAL: u64 = 1 << 14;
    const VECTOR_31: u32 = 1 << 31;
    let at = 64 * usize::from(vmpl.number());
    let status = page.exchange(at, 0);
    let word = u64::from(status);
    let mut presented = Presented { nmi: word & NMI != 0, ..Presented::default() };
    match byte_at(word, 0) {
        0 => {}
        vector if word & LEVEL != 0 => presented.level = Some(vector),
        vector => presented.add(vector),
    }
    if word & SEVERAL != 0 {
        let [low, rest @ ..] = &mut presented.vectors;
        *low |= status & VECTOR_31;
        for (index, group) in rest.iter_mut().enumerate() {
            *group |= page.exchange(at + 4 + 4 * index, 0);
        }
    }
    presented
}

impl Presented {
    fn add(&mut self, vector: u8) {
        if let Some(group) = self.vectors.get_mut(usize::from(vector / 32)) {
            *group |= 1 << (vector % 32);
        }
    }
}
