//! What lasts, with a count of its changes: its keeper learns from the count that there is nothing to write.
//!
//! A part can be read by all. To change it one asks for it with [`Lasting::change`], which counts, and there is no
//! other way to a `&mut`: a change that is not counted does not compile. Only time passes without a count
//! ([`Lasting::pass`]), since it is recorded now and then and not with every command.

use core::ops::Deref;

/// A part of the state, and how often it may have been changed.
pub(crate) struct Lasting<T> {
    part: T,
    changes: u64,
}

impl<T> Lasting<T> {
    /// A part that has not been changed, for a TPM that is blank. What is put in the place of a part goes through
    /// [`Lasting::change`].
    #[inline(always)]
    pub(in crate::data) const fn new(part: T) -> Self {
        Self { part, changes: 0 }
    }

    /// The part, to be changed.
    #[inline]
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

    #[inline]
    fn deref(&self) -> &T {
        &self.part
    }
}

/// A part of which something changes because time passes.
pub(crate) trait Timed {
    /// what does
    type Times;

    /// Sets it, and nothing else.
    fn set_times(&mut self, times: Self::Times);

    /// How often the time has been recorded.
    fn records(&self) -> u64;
}

impl<T: Timed> Lasting<T> {
    /// Time passes, or a clock is set: that counts when it is recorded.
    #[inline]
    pub(crate) fn pass(&mut self, times: T::Times) {
        let before = self.part.records();
        self.part.set_times(times);
        if self.part.records() != before {
            self.changes = self.changes.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lasting;
    use crate::data::state::{Persistent, Times};
    use crate::data::tpm::Tpm;
    use crate::profile::CLOCK_UPDATE_MS;
    use static_assertions::assert_not_impl_any;

    assert_not_impl_any!(Lasting<u8>: core::ops::DerefMut, AsMut<u8>, core::borrow::BorrowMut<u8>, Clone, Copy, Default);

    static BLANK: Tpm = Tpm::blank();

    /// The parts of a TPM that last are all such parts.
    #[test]
    fn what_lasts_is_changed_by_asking_for_it() {
        fn counts<T>(part: &Lasting<T>) -> u64 {
            part.changes()
        }
        assert_eq!([counts(&BLANK.persistent), counts(&BLANK.reset), counts(&BLANK.clear)], [0; 3]);
        let mut part = Lasting::new(5);
        assert_eq!((*part, part.changes()), (5, 0));
        *part.change() = 5;
        assert_eq!((*part, part.changes()), (5, 1));
    }

    #[test]
    fn time_counts_when_clock_is_recorded() {
        let mut part = Lasting::new(Persistent::blank());
        for (clock_ms, changes) in [(1, 0), (CLOCK_UPDATE_MS - 1, 0), (CLOCK_UPDATE_MS, 1), (CLOCK_UPDATE_MS + 1, 1)] {
            part.pass(Times { clock_ms, healing_ms: clock_ms, lockout_healing_ms: 7 });
            assert_eq!((part.changes(), part.clock_ms), (changes, clock_ms));
            assert_eq!((part.dictionary.healing_ms, part.dictionary.lockout_healing_ms), (clock_ms, 7));
        }
    }
}
