//! Octets that are wiped where they end.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use zeroize::Zeroize;

pub(crate) struct Wiped(pub(crate) Vec<u8>);

impl Wiped {
    pub(crate) fn room(octets: usize) -> Self {
        Self(alloc::vec![0; octets])
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}
