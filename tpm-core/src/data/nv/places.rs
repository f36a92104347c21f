//! Where the index with a handle is: a hash table, so that the search takes no longer where there are more indices.
//!
//! There are four times as many slots as there can be indices, and who finds a slot taken goes to the next: one step is
//! the rule, two are seldom. The hash multiplies by an odd number that is drawn with each TPM and never shown, so that
//! nobody can choose handles that fall together. The table is no part of the state: it is made of the handles.

use crate::profile::MAX_NV_INDICES;
use crate::wire::Handle;

const BITS: u32 = MAX_NV_INDICES.next_power_of_two().trailing_zeros() + 2;
const SLOTS: usize = 1 << BITS;
const _: () = assert!(MAX_NV_INDICES < u16::MAX as usize, "a slot names any index");

/// The hash table.
pub(super) struct Places {
    key: u64,
    /// one more than the position of an index; 0 if none is there
    slots: [u16; SLOTS],
}

impl Places {
    /// No index.
    #[inline(always)]
    pub(super) const fn new(key: u64) -> Self {
        Self { key: key | 1, slots: [0; SLOTS] }
    }

    /// The slot that is tried first.
    fn first(&self, h: Handle) -> usize {
        usize::try_from(self.key.wrapping_mul(h.0.into()) >> (u64::BITS - BITS)).unwrap_or(0)
    }

    /// The index with this handle; `at` gives it if it is at a position.
    pub(super) fn find<T>(&self, h: Handle, at: impl Fn(usize) -> Option<T>) -> Option<T> {
        let mut slot = self.first(h);
        for _ in 0..SLOTS {
            let position = usize::from(*self.slots.get(slot)?).checked_sub(1)?;
            let found = at(position);
            if found.is_some() {
                return found;
            }
            slot = next(slot);
        }
        None
    }

    /// Takes the indices anew, as they lie.
    pub(super) fn set(&mut self, handles: impl Iterator<Item = Handle>) {
        self.slots.fill(0);
        for (number, h) in (1..=u16::MAX).zip(handles) {
            let mut slot = self.first(h);
            while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = next(slot);
            }
            if let Some(free) = self.slots.get_mut(slot) {
                *free = number;
            }
        }
    }
}

/// The slot that is tried after this one.
const fn next(slot: usize) -> usize {
    slot.saturating_add(1) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::{BITS, Handle, MAX_NV_INDICES, Places};

    /// The greatest and the mean number of slots that are looked at for one of these handles.
    fn steps(key: u64, handles: &[Handle; MAX_NV_INDICES]) -> (usize, usize) {
        let mut places = Places::new(key);
        places.set(handles.iter().copied());
        let looked_at = |n: usize| {
            let steps = core::cell::Cell::new(0);
            let found = places.find(handles[n], |at| {
                steps.set(steps.get() + 1);
                (at == n).then_some(at)
            });
            assert_eq!(found, Some(n));
            steps.get()
        };
        let steps = core::array::from_fn::<usize, MAX_NV_INDICES, _>(looked_at);
        (*steps.iter().max().unwrap(), steps.iter().sum::<usize>() / MAX_NV_INDICES)
    }

    /// Handles that all fall into one slot under the key of one TPM are spread by that of another.
    #[test]
    fn handles_that_fall_together_in_one_tpm_do_not_in_another() {
        let key = 0x9e37_79b9_7f4a_7c15;
        let mut bad = (0x0100_0000..0x0200_0000_u32)
            .filter(|h| u64::wrapping_mul(key, u64::from(*h)) >> (u64::BITS - BITS) == 5)
            .map(Handle);
        let bad = core::array::from_fn(|_| bad.next().unwrap());
        assert_eq!(steps(key, &bad).0, MAX_NV_INDICES);
        for other in [0xd1b5_4a32_d192_ed03, 0x2545_f491_4f6c_dd1d, 0xff51_afd7_ed55_8ccd] {
            let (most, mean) = steps(other, &bad);
            assert!(most < 16 && mean == 1, "{most} {mean}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let mut places = Places::new(3);
        assert_eq!(places.find(Handle(0x0100_0000), Some), None);
        places.set((0..64).map(|n| Handle(0x0100_0000 + n)));
        assert_eq!(places.find(Handle(0x0100_0000), |_| None::<usize>), None);
    }
}
