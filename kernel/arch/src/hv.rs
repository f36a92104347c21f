//! #HV: the one event that a host can raise where VMPL0 has restricted injection. Its handler (`exceptions.s`) notes
//! that it has run, and does nothing else: what the host has to say stands in the processor's doorbell page, which is
//! read when the guest has stopped and nowhere else.

use core::sync::atomic::{AtomicU8, Ordering};

use kernel::mm::GUEST_VMPL;
use snp::ghcb::doorbell::{self, Events, Presented};
use snp::instr::SharedBytes;

use crate::exceptions::BP;

/// #HV.
pub const HV: u64 = 28;
/// Bytes of its stack: a frame, a register, the note.
pub const STACK: u64 = 256;
/// Where the note is, in bytes below the stack's end.
pub const NOTE: u64 = 128;

unsafe extern "C" {
    static __hv_entry: u8;
    static __hv_within_hv: u8;
}

/// Address of the handler.
pub fn entry() -> u64 {
    (&raw const __hv_entry) as u64
}

/// Whether an exception is the handler's, which says that it has interrupted itself.
pub fn is_within_itself(vector: u64, rip: u64) -> bool {
    vector == BP && rip == (&raw const __hv_within_hv) as u64
}

/// A processor's doorbell page, which the host knows, and the note of its handler.
pub struct Doorbell {
    page: SharedBytes,
    note: &'static AtomicU8,
}

impl Doorbell {
    /// # Safety
    /// `stack_top` is the end of the stack that #HV's handler has on this processor, for good.
    pub unsafe fn new(page: SharedBytes, stack_top: u64) -> Self {
        // SAFETY: the byte lies in a stack that is mapped for good and that only the handler uses, which writes this
        // one byte of it there; no other reference to it is made.
        let note = unsafe { AtomicU8::from_ptr((stack_top - NOTE) as *mut u8) };
        Self { page, note }
    }

    /// What the host has signalled. `None`: there was no #HV since.
    pub fn take(&mut self) -> Option<Events> {
        (self.note.swap(0, Ordering::AcqRel) != 0).then(|| doorbell::take(&mut self.page))
    }

    /// What the host presents to the guest.
    pub fn presented(&mut self) -> Presented {
        doorbell::take_presented(&mut self.page, GUEST_VMPL)
    }

    /// What says that there was a #HV.
    pub fn note(&self) -> &'static AtomicU8 {
        self.note
    }
}
