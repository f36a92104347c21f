//! What a CPU's TLB remembers. QEMU's TLB is flushed at every exit, so the nested page tables take its part: where the
//! guest takes rights by PVALIDATE or RMPADJUST, neither of which flushes (APM volume 3), a leaf that was in use keeps
//! them until something flushes it.
//!
//! | flushes | what |
//! |---|---|
//! | MOV to CR4 that changes PGE, PSE or PAE, MOV to CR0 | everything: the VMPLs of a guest have one ASID |
//! | MOV to CR3 | what the writing VMPL has; that of others may be global |
//! | INVLPG | of the writing VMPL, the page |
//! | a change of the page's state by the host | the page |

use crate::npt::{LEAF_ACCESSED, LEAF_DIRTY, LEAF_NX, LEAF_READ, LEAF_WRITE};
use heapless::Vec;

/// As many stale translations as are remembered; a TLB has an end, too.
const ENTRIES: usize = 600;

/// A translation that gives rights which the reverse map gives no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stale {
    /// Whose.
    pub(crate) vmpl: usize,
    /// Of which page.
    pub(crate) gpa: u64,
    /// The page's linear address, where it is known: it was the operand of the instruction that made the translation
    /// stale.
    pub(crate) linear: Option<u64>,
}

/// The stale translations of one CPU.
pub(crate) struct Tlb(Vec<Stale, ENTRIES>);

impl Tlb {
    /// Nothing is stale.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What is.
    pub(crate) fn stale(&self) -> &[Stale] {
        &self.0
    }

    /// One more; `false` if there is no room, so that it counts as flushed.
    pub(crate) fn remember(&mut self, stale: Stale) -> bool {
        self.0.push(stale).is_ok()
    }

    /// What `which` says is stale no more.
    pub(crate) fn forget(&mut self, which: impl Fn(&Stale) -> bool) {
        self.0.retain(|stale| !which(stale));
    }

    /// One of those that `which` names.
    pub(crate) fn take(&mut self, which: impl Fn(&Stale) -> bool) -> Option<Stale> {
        let at = self.0.iter().position(which)?;
        Some(self.0.swap_remove(at))
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
