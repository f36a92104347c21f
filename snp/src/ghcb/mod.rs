//! The guest-hypervisor communication block: how the guest asks its host for what only the host can do (GHCB
//! specification 2.04).
//!
//! Two ways: the **MSR protocol** ([`msr`]), 64 bits each way, needed until a GHCB page exists; and the **page
//! protocol**, where [`Ghcb`] fills in a shared page, exits, copies the answer out once, and believes only fields whose
//! valid bit the host has set.

pub mod call;
pub mod doorbell;
pub mod exit;
pub mod msr;
pub mod page;

pub use call::Ghcb;
pub use exit::{Exception, GhcbError};

/// Ways to the host.
pub trait Hypervisor {
    /// Puts `request` into the GHCB MSR, exits, and returns what the MSR then holds: the host's word, whatever it is.
    fn msr_call(&mut self, request: u64) -> u64;

    /// Exits with the GHCB MSR holding `ghcb_gpa`, so that the host serves what the GHCB page asks for.
    fn page_call(&mut self, ghcb_gpa: u64);
}

/// Memory that the host reads and writes at will. It can be copied out and in, and never borrowed.
///
/// An access beyond the end is harmless: such bytes read as 0 and are not written.
pub trait SharedMemory {
    /// Bytes.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies out, reading each byte exactly once.
    fn read(&self, offset: usize, out: &mut [u8]);

    /// Copies in.
    fn write(&mut self, offset: usize, bytes: &[u8]);

    /// Puts `value` into the four bytes at `offset` and returns what was there, in one step, little-endian. `offset` is
    /// aligned to 4; where it is not, or the bytes do not lie in the memory, nothing is written and it is 0.
    fn exchange(&mut self, offset: usize, value: u32) -> u32;
}

impl<T: Hypervisor + ?Sized> Hypervisor for &mut T {
    fn msr_call(&mut self, request: u64) -> u64 {
        (**self).msr_call(request)
    }

    fn page_call(&mut self, ghcb_gpa: u64) {
        (**self).page_call(ghcb_gpa);
    }
}

impl<T: SharedMemory + ?Sized> SharedMemory for &mut T {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        (**self).read(offset, out);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }

    fn exchange(&mut self, offset: usize, value: u32) -> u32 {
        (**self).exchange(offset, value)
    }
}
