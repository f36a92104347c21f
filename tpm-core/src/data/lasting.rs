//! What lasts, with a count of its changes: whoever keeps it learns from the count that there is nothing to write.
//!
//! A part can be read by all. To change it one asks for it with [`Lasting::change`], which counts, and there is no
//! other way to a `&mut`: a change that is not counted does not compile. Only time passes without a count
//! ([`Lasting::pass`]), since it is recorded once in [`CLOCK_UPDATE_MS`] and not with every command.

use crate::data::state::{Persistent, Times};
use crate::profile::CLOCK_UPDATE_MS;
use core::ops::Deref;

/// A part of the state, and how often it may have been changed.
pub(crate) struct Lasting<T> {
    part: T,
    changes: u64,
}

impl<T> Lasting<T> {
    /// A part that has not been changed. For a TPM that is blank: a part that is put in the place of another goes
    /// through [`Lasting::change`].
    pub(crate) const fn new(part: T) -> Self {
        Self { part, changes: 0 }
    }

    /// The part, to be changed.
    pub(crate) const fn change(&mut self) -> &mut T {
        self.changes = self.changes.wrapping_add(1);
        &mut self.part
    }

    /// How often it was asked for to be changed: if that is as it was, so is the part.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }
}

impl<T> Deref for Lasting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl Lasting<Persistent> {
    /// Time passes, or Clock is set: that counts when Clock comes to another multiple of the interval at which it is
    /// recorded.
    pub(crate) const fn pass(&mut self, times: Times) {
        if times.clock_ms / CLOCK_UPDATE_MS != self.part.clock_ms / CLOCK_UPDATE_MS {
            self.changes = self.changes.wrapping_add(1);
        }
        self.part.set_times(times);
    }
}
