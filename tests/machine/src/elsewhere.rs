//! What a change of the guest's memory is for the other processors, which may be in the guest meanwhile.
//!
//! Each has nested page tables of its own, which play its TLB. The processor that makes a change fills in its own at
//! once; where another one's have no leaf, a nested page fault will put one in ([`Memory::has_filled`]). Where they
//! have, an instruction of the guest's that takes rights leaves there what the TLB remembers ([`crate::tlb`]), and what
//! the host does flushes it everywhere, as a host does.
//!
//! QEMU keeps what it has walked until the processor leaves the guest. So whoever has used a leaf that gives less from
//! now on is expelled, and so is whoever remembers something and would not exit when it flushes.

use crate::memory::{By, Memory};
use crate::npt::{LEAF_ACCESSED, LEAF_DIRTY, LEAF_READ, Side};
use crate::phys::PAGE;
use crate::rmp::{Entry, LENT, TOUCHED};
use crate::smp;
use crate::tlb::{Stale, remembered};

/// What the processor notes in a leaf.
const NOTES: u64 = LEAF_ACCESSED | LEAF_DIRTY;

impl Memory {
    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.views.len()).filter(move |processor| *processor != me)
    }

    /// The page's entry was `before` and is `entry`: what the other processors make of it. `by`: as for
    /// [`Memory::change`].
    pub(crate) fn change_elsewhere(&mut self, gpa: u64, before: Entry, entry: Entry, by: Option<By>) {
        for processor in self.others() {
            let mut expels = false;
            for vmpl in 0..4 {
                if before.flags & (TOUCHED | LENT) != 0 {
                    let old = self.views[processor].npt.replace(Side::Shared(vmpl), gpa, |_| 0);
                    expels |= old & LEAF_ACCESSED != 0;
                }
                expels |= self.change_private(processor, vmpl, gpa, entry, by);
            }
            if expels {
                smp::expel(processor);
            }
        }
    }

    /// Whether the processor must leave the guest for it.
    fn change_private(&mut self, processor: usize, vmpl: usize, gpa: u64, entry: Entry, by: Option<By>) -> bool {
        let Some(hpa) = self.rmp.hpa(gpa) else { return false };
        let new = self.private_leaf(gpa, hpa, entry, vmpl);
        let view = &mut self.views[processor];
        let was_stale = view.tlb.forget(|stale| stale.gpa == gpa && stale.vmpl == vmpl);
        let remembers = by.is_some() && view.tlb.has_room();
        let old = view.npt.replace(Side::Private(vmpl), gpa, |old| match remembered(old, new) {
            _ if old == 0 => 0,
            Some(leaf) if remembers => leaf,
            // It has been walked, and still may be.
            None if new & LEAF_READ != 0 => new | old & NOTES,
            _ => new,
        });
        match remembered(old, new) {
            Some(_) if remembers => {
                let first = view.tlb.stale().is_empty();
                view.tlb.remember(Stale::new(vmpl, gpa, None));
                // From now on it must exit when it flushes.
                first && !was_stale
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Puts in what the reverse map gives, if this processor's tables have not got it: another one has changed the
    /// page. `false`: they have.
    pub(crate) fn has_filled(&mut self, gpa: u64, vmpl: usize) -> bool {
        if self.views.len() == 1 {
            return false;
        }
        let gpa = gpa & !(PAGE - 1);
        let (Some(entry), Some(hpa)) = (self.rmp.entry(gpa), self.rmp.hpa(gpa)) else { return false };
        let leaf = self.private_leaf(gpa, hpa, entry, vmpl);
        let view = self.view_mut();
        if view.npt.get(Side::Private(vmpl), gpa) & !NOTES == leaf {
            return false;
        }
        view.tlb.forget(|stale| stale.gpa == gpa && stale.vmpl == vmpl);
        self.set_leaf(Side::Private(vmpl), gpa, leaf);
        true
    }

    /// INVLPGB on `processor` names, of what any processor remembers, what `which` says.
    pub(crate) fn mark(&mut self, processor: usize, which: impl Fn(&Stale) -> bool) {
        self.views.iter_mut().for_each(|view| view.tlb.mark(processor, &which));
    }

    /// Flushes on every processor what INVLPGB on `by` has named.
    pub(crate) fn flush_marked(&mut self, by: usize) {
        let which = |stale: &Stale| stale.is_marked(by);
        self.flush(which);
        for processor in self.others() {
            let mut expels = false;
            while let Some(stale) = self.views[processor].tlb.take(which) {
                let (Some(entry), Some(hpa)) = (self.rmp.entry(stale.gpa), self.rmp.hpa(stale.gpa)) else { continue };
                let leaf = self.private_leaf(stale.gpa, hpa, entry, stale.vmpl);
                self.views[processor].npt.replace(Side::Private(stale.vmpl), stale.gpa, |_| leaf);
                expels = true;
            }
            if expels {
                smp::expel(processor);
            }
        }
    }

    /// Whether another VMPL than VMPL0 may still write to the page, on any processor, by a right that it has no more.
    pub(crate) fn is_writable_still(&self, gpa: u64) -> bool {
        self.views.iter().any(|view| {
            let writes = |stale: &Stale| {
                let leaf = view.npt.get(Side::Private(stale.vmpl), gpa);
                stale.gpa == gpa && stale.vmpl != 0 && leaf & crate::npt::LEAF_WRITE != 0
            };
            view.tlb.stale().iter().any(writes)
        })
    }
}
