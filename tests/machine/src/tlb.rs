//! What a processor's TLB remembers. QEMU's is flushed at every exit, so the nested page tables take its part: where
//! the guest takes rights by PVALIDATE or RMPADJUST, neither of which flushes (APM volume 3), a leaf that was in use
//! keeps them until something flushes it.
//!
//! | flushes | what |
//! |---|---|
//! | MOV to CR4 that changes PGE, PSE or PAE, MOV to CR0 | everything: the VMPLs of a guest have one ASID |
//! | MOV to CR3 | what the writing VMPL has; that of others may be global |
//! | INVLPG | of the writing VMPL, the page |
//! | TLBSYNC, on every processor | what INVLPGB has named on its own ([`crate::invlpgb`]) |
//! | a change of the page's state by the host, on every processor | the page |

use crate::log::fault;
use crate::npt::{LEAF_ACCESSED, LEAF_DIRTY, LEAF_NX, LEAF_READ, LEAF_WRITE};
use crate::phys::{PAGE, Pool};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// As many stale translations as are remembered; a TLB has an end, too.
const ENTRIES: usize = 600;

/// A translation that gives rights which the reverse map gives no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct Stale {
    /// Whose.
    pub(crate) vmpl: usize,
    /// Of which page.
    pub(crate) gpa: u64,
    /// The page's linear address, or [`UNKNOWN`].
    linear: u64,
    /// A bit for each processor that has executed INVLPGB for it and no TLBSYNC yet.
    marks: u64,
}

/// No address of a page.
const UNKNOWN: u64 = 1;

impl Stale {
    /// `linear`: the operand of the instruction that made the translation stale, where it is that VMPL's own.
    pub(crate) fn new(vmpl: usize, gpa: u64, linear: Option<u64>) -> Self {
        Self { vmpl, gpa, linear: linear.map_or(UNKNOWN, |linear| linear & !(PAGE - 1)), marks: 0 }
    }

    /// The page's linear address, where it is known.
    pub(crate) fn linear(&self) -> Option<u64> {
        (self.linear != UNKNOWN).then_some(self.linear)
    }

    /// Whether INVLPGB has named it on `processor`.
    pub(crate) const fn is_marked(&self, processor: usize) -> bool {
        self.marks >> processor & 1 != 0
    }
}

/// The stale translations of one processor.
pub(crate) struct Tlb {
    entries: &'static mut [Stale],
    len: usize,
}

impl Tlb {
    /// Nothing is stale.
    pub(crate) fn new(pool: &mut Pool) -> Self {
        match <[Stale]>::mut_from_bytes(pool.slice(ENTRIES * size_of::<Stale>())) {
            Ok(entries) => Self { entries, len: 0 },
            Err(_) => fault!("the list of stale translations is misaligned"),
        }
    }

    /// What is.
    pub(crate) fn stale(&self) -> &[Stale] {
        &self.entries[..self.len]
    }

    /// INVLPGB on `processor` names what `which` says.
    pub(crate) fn mark(&mut self, processor: usize, which: impl Fn(&Stale) -> bool) {
        self.entries[..self.len]
            .iter_mut()
            .filter(|stale| which(stale))
            .for_each(|stale| stale.marks |= 1 << processor);
    }

    /// Whether one more can be remembered.
    pub(crate) fn has_room(&self) -> bool {
        self.len < self.entries.len()
    }

    /// One more; `false` if there is no room, so that it counts as flushed.
    pub(crate) fn remember(&mut self, stale: Stale) -> bool {
        let Some(slot) = self.entries.get_mut(self.len) else { return false };
        *slot = stale;
        self.len += 1;
        true
    }

    /// What `which` says is stale no more: whether there was any.
    pub(crate) fn forget(&mut self, which: impl Fn(&Stale) -> bool) -> bool {
        let before = self.len;
        while self.take(&which).is_some() {}
        self.len < before
    }

    /// One of those that `which` names.
    pub(crate) fn take(&mut self, which: impl Fn(&Stale) -> bool) -> Option<Stale> {
        let at = self.stale().iter().position(which)?;
        self.len -= 1;
        self.entries.swap(at, self.len);
        Some(self.entries[self.len])
    }
}

/// The leaf that goes on being used in place of `new`, if `old` was in use and gives more.
pub(crate) fn remembered(old: u64, new: u64) -> Option<u64> {
    if old & LEAF_READ != LEAF_READ || old & LEAF_ACCESSED == 0 {
        return None;
    }
    // Without a write so far, the first one walks the tables again.
    let write = if old & LEAF_DIRTY != 0 { old & LEAF_WRITE } else { 0 };
    let less = new & LEAF_READ == 0 || write & !new != 0 || old & LEAF_NX < new & LEAF_NX;
    let nx = if new & LEAF_READ == 0 { old & LEAF_NX } else { old & new & LEAF_NX };
    less.then_some(old & !(LEAF_WRITE | LEAF_NX) | write | new & LEAF_WRITE | nx)
}
