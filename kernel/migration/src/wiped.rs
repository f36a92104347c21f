//! Octets that go without a trace: a state on its way. (With zeroize's own for vectors every program that is built
//! beside the firmware would need an allocator.)

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// They are wiped when they go, room that is not used included. What grows beyond its room leaves its octets behind:
/// give it room first.
#[derive(Default)]
pub struct Wiped(Vec<u8>);

impl Wiped {
    /// These.
    #[must_use]
    pub const fn of(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.resize(self.0.capacity(), 0);
        self.0.as_mut_slice().zeroize();
    }
}
