//! Memory that logs how it is read.

use core::cell::RefCell;
use std::rc::Rc;

use snp::ghcb::SharedMemory;

/// Memory shared between the guest under test and the mock host. Panics when the guest reads a byte twice between two
/// exits.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<Inner>>);

struct Inner {
    bytes: Vec<u8>,
    read: Vec<bool>,
}

impl Shared {
    pub(crate) fn new(len: usize) -> Self {
        Self(Rc::new(RefCell::new(Inner { bytes: vec![0; len], read: vec![false; len] })))
    }

    /// The host's view; each use of it stands for an exit, after which every byte may be read once more.
    pub(crate) fn host(&self, act: impl FnOnce(&mut [u8])) {
        let mut inner = self.0.borrow_mut();
        inner.read.fill(false);
        act(&mut inner.bytes);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }
}

impl SharedMemory for Shared {
    fn len(&self) -> usize {
        self.0.borrow().bytes.len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let mut inner = self.0.borrow_mut();
        for (index, byte) in out.iter_mut().enumerate() {
            let at = offset + index;
            assert!(!inner.read[at], "byte {at:#x} of shared memory is read twice");
            inner.read[at] = true;
            *byte = inner.bytes[at];
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.0.borrow_mut().bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn exchange(&mut self, offset: usize, value: u32) -> u32 {
        let mut inner = self.0.borrow_mut();
        let word = inner.bytes[offset..].first_chunk_mut::<4>().expect("within the memory");
        u32::from_le_bytes(core::mem::replace(word, value.to_le_bytes()))
    }
}
