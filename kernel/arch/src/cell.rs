//! Statics of which boot hands out the only reference.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static value that is taken once, for good.
pub struct TakeOnce<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reachable only through the one reference that `take` gives out, which moves between threads as
// any `&mut T`.
unsafe impl<T: Send> Sync for TakeOnce<T> {}

impl<T> TakeOnce<T> {
    /// Not taken yet.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, the first time.
    #[expect(clippy::mut_from_ref, reason = "the flag makes the one reference exclusive")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the exchange above lets exactly one caller through, so no other reference exists or will.
        Some(unsafe { &mut *self.value.get() })
    }

    /// The value's address, without a claim to the value.
    pub fn address(&'static self) -> u64 {
        self.value.get() as u64
    }
}
