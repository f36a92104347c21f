//! Nested page tables: for every VMPL the private tree (C-bit set) and the shared tree (C-bit clear), in 4 KiB leaves.
//!
//! With guest paging on, the upper half of the nested PML4 (C-bit 47) leads to the private tree and the lower half to
//! the shared one. With guest paging off every access is private (APM volume 2, 15.34.5), so there is a second root
//! whose lower half leads to the private tree.

use crate::phys::{PAGE, Pool, exchange_u64, read_u64, write_u64};
use core::cell::Cell;

/// Position of the C-bit.
pub(crate) const C_BIT: u64 = 47;
/// The C-bit as a mask.
pub(crate) const C: u64 = 1 << C_BIT;

/// Present, writable, user: what a table entry has.
const TABLE: u64 = 7;
/// Present and user: the least that a leaf has.
pub(crate) const LEAF_READ: u64 = 5;
/// Writable leaf.
pub(crate) const LEAF_WRITE: u64 = 2;
/// The processor has used the leaf.
pub(crate) const LEAF_ACCESSED: u64 = 1 << 5;
/// The processor has written through the leaf.
pub(crate) const LEAF_DIRTY: u64 = 1 << 6;
/// No-execute leaf.
pub(crate) const LEAF_NX: u64 = 1 << 63;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// A tree: the page-directory-pointer tables for GPAs from 0 and from 512 GiB.
type Tree = [u64; 2];

/// Which tree a leaf belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// C-bit set, for this VMPL.
    Private(usize),
    /// C-bit clear, for this VMPL.
    Shared(usize),
}

/// All the tables.
pub(crate) struct Npt {
    private: [Tree; 4],
    shared: [Tree; 4],
    paging_on: [u64; 4],
    paging_off: [u64; 4],
    /// The leaf's table that was found last on the private side of each VMPL: for which 2 MiB, and where. Tables are
    /// never given back.
    found: [Cell<(u64, u64)>; 4],
}

/// No 2 MiB.
const NOWHERE: u64 = u64::MAX;

impl Npt {
    /// Empty trees.
    pub(crate) fn new(pool: &mut Pool) -> Self {
        let mut page = || pool.frames(1, PAGE);
        let private: [Tree; 4] = core::array::from_fn(|_| [page(), page()]);
        let shared: [Tree; 4] = core::array::from_fn(|_| [page(), page()]);
        let paging_on = core::array::from_fn(|_| page());
        let paging_off = core::array::from_fn(|_| page());
        for vmpl in 0..4 {
            for (index, (private, shared)) in private[vmpl].iter().zip(shared[vmpl]).enumerate() {
                let slot = 8 * index as u64;
                write_u64(paging_on[vmpl] + slot, shared | TABLE);
                write_u64(paging_on[vmpl] + 8 * 256 + slot, private | TABLE);
                write_u64(paging_off[vmpl] + slot, private | TABLE);
            }
        }
        let found = core::array::from_fn(|_| Cell::new((NOWHERE, 0)));
        Self { private, shared, paging_on, paging_off, found }
    }

    /// The root for a VMPL whose guest paging is on or off.
    pub(crate) fn root(&self, vmpl: usize, paging: bool) -> u64 {
        if paging { self.paging_on[vmpl] } else { self.paging_off[vmpl] }
    }

    /// The leaf for `gpa`, with what the processor has noted in it; 0 for none.
    pub(crate) fn get(&self, side: Side, gpa: u64) -> u64 {
        self.slot(side, gpa).map_or(0, read_u64)
    }

    /// Where the leaf for `gpa` is, if there is a table for it.
    #[inline(always)]
    pub(crate) fn slot(&self, side: Side, gpa: u64) -> Option<u64> {
        let Side::Private(vmpl) = side else { return self.walk(side, gpa) };
        let (start, slot) = (gpa >> 21, 8 * (gpa >> 12 & 511));
        let found = self.found[vmpl].get();
        if found.0 == start {
            return Some(found.1 + slot);
        }
        let at = self.walk(side, gpa)?;
        self.found[vmpl].set((start, at - slot));
        Some(at)
    }

    #[inline(never)]
    fn walk(&self, side: Side, gpa: u64) -> Option<u64> {
        let mut table = self.tree(side)[crate::bits::us(gpa >> 39 & 1)];
        for shift in [30, 21] {
            let entry = read_u64(table + 8 * (gpa >> shift & 511));
            if entry & 1 == 0 {
                return None;
            }
            table = entry & ADDRESS;
        }
        Some(table + 8 * (gpa >> 12 & 511))
    }

    /// Makes of a leaf what `new` says, if there is a table for it, whatever the processor that uses it notes in it
    /// meanwhile: what it was.
    pub(crate) fn replace(&self, side: Side, gpa: u64, new: impl Fn(u64) -> u64) -> u64 {
        let Some(slot) = self.slot(side, gpa) else { return 0 };
        loop {
            let old = read_u64(slot);
            if exchange_u64(slot, old, new(old)).is_ok() {
                return old;
            }
        }
    }

    const fn tree(&self, side: Side) -> Tree {
        match side {
            Side::Private(vmpl) => self.private[vmpl],
            Side::Shared(vmpl) => self.shared[vmpl],
        }
    }

    /// Writes the leaf for `gpa` (below 1 TiB, without C-bit). A zero leaf makes no tables.
    pub(crate) fn set(&self, pool: &mut Pool, side: Side, gpa: u64, leaf: u64) {
        let mut table = self.tree(side)[crate::bits::us(gpa >> 39 & 1)];
        for shift in [30, 21] {
            let slot = table + 8 * (gpa >> shift & 511);
            let entry = read_u64(slot);
            table = if entry & 1 != 0 {
                entry & ADDRESS
            } else if leaf == 0 {
                return;
            } else {
                let page = pool.frames(1, PAGE);
                write_u64(slot, page | TABLE);
                page
            };
        }
        write_u64(table + 8 * (gpa >> 12 & 511), leaf);
    }
}
