//! The guest's memory: reverse map, nested page tables and what the TLB remembers of them, changed together.

use crate::bits::{u64_at, us};
use crate::npt::{LEAF_NX, LEAF_READ, LEAF_WRITE, Npt, Side};
use crate::phys::{self, PAGE, Pool};
use crate::pvh::{LEGACY_HOLE, LEGACY_HOLE_END};
use crate::rmp::{
    ASSIGNED, EXEC_SUPERVISOR, EXEC_USER, Entry, FIRMWARE, FIRMWARE_SIZE, FULL, HUGE, HUGE_PAGES, LENT, PLACED_END,
    READ, Rmp, TOUCHED, VALIDATED, WRITE,
};
use crate::smp::PROCESSORS;
use crate::steal::{Moment, Theft};
use crate::tlb::{self, Tlb};
use heapless::Vec;

/// First half of every 16 bytes of a page whose state has changed (`unzeroed-grant` looks for it); the second half
/// depends on the address.
const SCRAMBLED: u64 = 0x5C2A_4B1E_D0D0_CAFE;

/// Pages that may be written while memory is watched.
const KEPT: usize = 256;
/// Entries of the reverse map that may change while that is noted.
const NOTED: usize = 128;

/// The instruction of the guest's that changes a page: of which VMPL, and its operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    vmpl: usize,
    linear: u64,
}

/// Guest memory as a processor sees it. The nested page tables are what its TLB remembers.
pub(crate) struct View {
    pub(crate) npt: Npt,
    /// What [`Memory::alias`] and [`Memory::execute_once`] have given until the next exit that is no page fault.
    aliases: Vec<(Side, u64), 16>,
    pub(crate) tlb: Tlb,
}

impl View {
    fn new(pool: &mut Pool, tlb: Tlb) -> Self {
        Self { npt: Npt::new(pool), aliases: Vec::new(), tlb }
    }
}

/// Guest memory.
pub(crate) struct Memory {
    pub(crate) rmp: Rmp,
    /// Of each processor.
    pub(crate) views: Vec<View, PROCESSORS>,
    /// Which of them is the processor's that works in the machine.
    pub(crate) me: usize,
    pool: Pool,
    /// While it is watched: the pages that were written, by address and the machine's address; their contents of before
    /// are in `kept_at`.
    kept: Option<Vec<(u64, u64), KEPT>>,
    kept_at: Option<u64>,
    /// What the reverse map had of pages before it was changed.
    journal: Option<Vec<(u64, Entry), NOTED>>,
    /// The page that the host will take.
    theft: Option<Theft>,
}

impl Memory {
    /// Takes the rest of the pool. `dma`: the firmware's memory is QEMU's at the same address.
    pub(crate) fn new(mut rmp: Rmp, mut pool: Pool, processors: usize, dma: bool) -> Self {
        let tlbs: Vec<Tlb, PROCESSORS> = (0..processors).map(|_| Tlb::new(&mut pool)).collect();
        pool.seal();
        let firmware = if dma { FIRMWARE } else { pool.frames(FIRMWARE_SIZE / PAGE, HUGE_PAGES * PAGE) };
        rmp.back_firmware(firmware);
        let views = tlbs.into_iter().map(|tlb| View::new(&mut pool, tlb)).collect();
        Self { rmp, views, me: 0, pool, kept: None, kept_at: None, journal: None, theft: None }
    }

    /// From here on it is processor `me` that works in the machine.
    pub(crate) fn enter_as(&mut self, me: usize) {
        self.me = me;
    }

    fn view(&self) -> &View {
        &self.views[self.me]
    }

    pub(crate) fn view_mut(&mut self) -> &mut View {
        &mut self.views[self.me]
    }

    /// Writes a leaf of this processor's.
    pub(crate) fn set_leaf(&mut self, side: Side, gpa: u64, leaf: u64) {
        self.views[self.me].npt.set(&mut self.pool, side, gpa, leaf);
    }

    /// Zeroed pages of the machine's own.
    pub(crate) fn frames(&mut self, pages: u64) -> u64 {
        self.pool.frames(pages, PAGE)
    }

    /// Puts RAM behind the legacy hole: valid, and for every VMPL.
    pub(crate) fn back_legacy_hole(&mut self) {
        let hpa = self.frames((LEGACY_HOLE_END - LEGACY_HOLE) / PAGE);
        self.rmp.back_legacy_hole(hpa);
        for gpa in (LEGACY_HOLE..LEGACY_HOLE_END).step_by(us(PAGE)) {
            self.set(gpa, Entry { flags: ASSIGNED | VALIDATED, permissions: [FULL; 4] });
        }
    }

    /// Puts RAM between `gpa` and 4 GiB, as QEMU does where a file places pages and no memory is.
    pub(crate) fn back_placed(&mut self, gpa: u64) {
        let hpa = self.frames((PLACED_END - gpa) / PAGE);
        self.rmp.back_placed(gpa, hpa);
    }

    /// The nested page-table root.
    pub(crate) fn root(&self, vmpl: usize, paging: bool) -> u64 {
        self.view().npt.root(vmpl, paging)
    }

    /// The machine's address of a page that the hypervisor owns: what a GHCB, a shared buffer and so on must be.
    pub(crate) fn shared(&self, gpa: u64) -> Option<u64> {
        let entry = self.rmp.entry(gpa)?;
        if entry.is(ASSIGNED) { None } else { self.rmp.hpa(gpa) }
    }

    /// The machine's addresses of `len` shared bytes at `gpa`, which must be within one page.
    pub(crate) fn shared_bytes(&self, gpa: u64, len: u64) -> Option<u64> {
        let fits = gpa % PAGE + len <= PAGE;
        if fits { self.shared(gpa) } else { None }
    }

    /// Changes a page's entry and what the nested page tables make of it, and has every CPU forget the page: what the
    /// host does.
    pub(crate) fn set(&mut self, gpa: u64, entry: Entry) {
        self.change(gpa, entry, None);
    }

    /// The same by an instruction of the guest's, whose operand was the address `linear`: what the TLB remembers stays
    /// in use until it is flushed.
    pub(crate) fn set_by_guest(&mut self, gpa: u64, entry: Entry, vmpl: usize, linear: u64) {
        self.change(gpa, entry, Some(By { vmpl, linear }));
    }

    fn change(&mut self, gpa: u64, entry: Entry, by: Option<By>) {
        let gpa = gpa & !(PAGE - 1);
        let (Some(hpa), Some(before)) = (self.rmp.hpa(gpa), self.rmp.entry(gpa)) else { return };
        if let Some(journal) = self.journal.as_mut().filter(|_| before != entry)
            && journal.push((gpa, before)).is_err()
        {
            crate::log::fault!("more pages changed than can be noted");
        }
        self.rmp.set(gpa, entry);
        if self.views.len() > 1 {
            self.change_elsewhere(gpa, before, entry, by);
        }
        // Setting what is there already is how leaves are made anew.
        let plain = before != entry && self.is_plain(gpa);
        if !plain || before.flags & (TOUCHED | LENT) != 0 {
            // The shared side is filled on demand.
            (0..4).for_each(|vmpl| self.set_leaf(Side::Shared(vmpl), gpa, 0));
        }
        let (old_rights, rights) = (before.rights(), entry.rights());
        for vmpl in 0..4 {
            // Where nothing but the reverse map decides on leaves, one with the same rights is there already.
            if plain && old_rights[vmpl] == rights[vmpl] {
                continue;
            }
            let leaf = if plain { private_leaf(hpa, entry, vmpl) } else { self.private_leaf(gpa, hpa, entry, vmpl) };
            if !plain && self.is_any_stale_here() {
                self.view_mut().tlb.forget(|stale| stale.gpa == gpa && stale.vmpl == vmpl);
            }
            self.change_leaf(gpa, vmpl, leaf, by);
        }
    }

    fn change_leaf(&mut self, gpa: u64, vmpl: usize, mut leaf: u64, by: Option<By>) {
        let slot = self.slot(Side::Private(vmpl), gpa);
        let old = slot.map_or(0, phys::read_u64);
        if let Some(by) = by
            && let Some(remembered) = tlb::remembered(old, leaf)
        {
            let linear = (by.vmpl == vmpl).then_some(by.linear);
            if self.view_mut().tlb.remember(tlb::Stale::new(vmpl, gpa, linear)) {
                leaf = remembered;
            }
        }
        match slot {
            _ if old == leaf => {}
            Some(slot) => phys::write_u64(slot, leaf),
            None => self.set_leaf(Side::Private(vmpl), gpa, leaf),
        }
    }

    /// Whether the leaves of this page are what the reverse map says: nothing is remembered, lent, watched or about to
    /// be stolen.
    fn is_plain(&self, gpa: u64) -> bool {
        let stolen = self.theft.is_some_and(|theft| theft.gpa == gpa);
        !stolen && !self.is_any_stale_here() && self.view().aliases.is_empty() && self.kept.is_none()
    }

    /// Whether every page's leaves are what the reverse map says, and nothing notes a change.
    pub(crate) fn is_quiet(&self) -> bool {
        let watched = self.theft.is_some() || self.kept.is_some() || self.journal.is_some();
        self.views.len() == 1 && !watched && self.view().aliases.is_empty() && !self.is_any_stale_here()
    }

    /// Where the leaf is, if there is a table for it.
    pub(crate) fn slot(&self, side: Side, gpa: u64) -> Option<u64> {
        self.view().npt.slot(side, gpa)
    }

    /// The leaf by which `vmpl` sees the page on the private side.
    pub(crate) fn leaf(&self, vmpl: usize, gpa: u64) -> u64 {
        self.slot(Side::Private(vmpl), gpa).map_or(0, phys::read_u64)
    }

    /// Whether the TLB of any processor may still let another VMPL than `vmpl` reach the page by rights that it has no
    /// more.
    pub(crate) fn is_stale(&self, gpa: u64, vmpl: usize) -> bool {
        let stale = |view: &View| view.tlb.stale().iter().any(|stale| stale.gpa == gpa && stale.vmpl != vmpl);
        self.views.iter().any(stale)
    }

    /// Whether the TLB of any processor remembers anything that is no more.
    pub(crate) fn is_any_stale(&self) -> bool {
        self.views.iter().any(|view| !view.tlb.stale().is_empty())
    }

    /// Whether this processor's TLB remembers anything that is no more.
    pub(crate) fn is_any_stale_here(&self) -> bool {
        !self.view().tlb.stale().is_empty()
    }

    /// Flushes on this processor what `which` says: rights are then those of the reverse map.
    pub(crate) fn flush(&mut self, which: impl Fn(&tlb::Stale) -> bool) {
        while let Some(stale) = self.view_mut().tlb.take(&which) {
            if let (Some(entry), Some(hpa)) = (self.rmp.entry(stale.gpa), self.rmp.hpa(stale.gpa)) {
                let leaf = self.private_leaf(stale.gpa, hpa, entry, stale.vmpl);
                self.set_leaf(Side::Private(stale.vmpl), stale.gpa, leaf);
            }
        }
    }

    /// The host will take this page.
    pub(crate) fn arm(&mut self, theft: Theft) {
        self.theft = Some(theft);
        if let Some(entry) = self.rmp.entry(theft.gpa) {
            self.set(theft.gpa, entry);
        }
    }

    /// Takes the page, if this is the moment.
    pub(crate) fn steal(&mut self, gpa: u64, moment: Moment) {
        let gpa = gpa & !(PAGE - 1);
        let Some(theft) = self.theft.as_mut().filter(|theft| theft.gpa == gpa && theft.moment.is(moment)) else {
            return;
        };
        if theft.after > 0 {
            theft.after -= 1;
            return;
        }
        self.theft = None;
        self.change_state(gpa, false, false);
        crate::log::log!("the host takes the page at {gpa:#x}, which VMPL0 reaches for ({moment:?})");
    }

    #[inline]
    pub(crate) fn private_leaf(&self, gpa: u64, hpa: u64, entry: Entry, vmpl: usize) -> u64 {
        let leaf = private_leaf(hpa, entry, vmpl);
        let leaf = match self.theft {
            Some(theft) if theft.gpa == gpa && vmpl == 0 => theft.moment.leaf(leaf),
            _ => leaf,
        };
        self.watched(hpa, leaf)
    }

    /// Maps a page of the hypervisor's on the shared side of `vmpl`: not to be executed, because instruction fetches
    /// are always private.
    pub(crate) fn map_shared(&mut self, gpa: u64, vmpl: usize) {
        let gpa = gpa & !(PAGE - 1);
        if let (Some(hpa), Some(mut entry)) = (self.shared(gpa), self.rmp.entry(gpa)) {
            entry.flags |= TOUCHED;
            self.rmp.set(gpa, entry);
            let leaf = self.watched(hpa, hpa | LEAF_READ | LEAF_WRITE | LEAF_NX);
            self.set_leaf(Side::Shared(vmpl), gpa, leaf);
        }
    }

    /// Lets a page-table walk or instruction fetch without C-bit reach the private page (both are always private, APM
    /// volume 2, 15.34.5): for VMPL0 until the next exit, for a guest, whose tables may be made so all over, while the
    /// page's entry stays as it is.
    pub(crate) fn alias(&mut self, gpa: u64, vmpl: usize) {
        let gpa = gpa & !(PAGE - 1);
        let (Some(mut entry), Some(hpa)) = (self.rmp.entry(gpa), self.rmp.hpa(gpa)) else {
            return;
        };
        if self.view().aliases.is_full() {
            self.drop_aliases();
        }
        entry.flags |= LENT;
        self.rmp.set(gpa, entry);
        if vmpl == 0 {
            let _ = self.view_mut().aliases.push((Side::Shared(vmpl), gpa));
        }
        let leaf = self.watched(hpa, private_leaf(hpa, entry, vmpl));
        self.set_leaf(Side::Shared(vmpl), gpa, leaf);
    }

    /// Lets a page be executed for which the two execute permissions differ, until the next exit: nested page tables
    /// cannot tell them apart.
    pub(crate) fn execute_once(&mut self, gpa: u64, vmpl: usize) {
        let gpa = gpa & !(PAGE - 1);
        let (Some(entry), Some(hpa)) = (self.rmp.entry(gpa), self.rmp.hpa(gpa)) else {
            return;
        };
        if self.view().aliases.is_full() {
            self.drop_aliases();
        }
        let _ = self.view_mut().aliases.push((Side::Private(vmpl), gpa));
        let leaf = self.watched(hpa, private_leaf(hpa, entry, vmpl) & !LEAF_NX);
        self.set_leaf(Side::Private(vmpl), gpa, leaf);
    }

    /// Takes back what [`Self::alias`] and [`Self::execute_once`] gave.
    pub(crate) fn drop_aliases(&mut self) {
        while let Some((side, gpa)) = self.view_mut().aliases.pop() {
            if let (Some(entry), Some(hpa)) = (self.rmp.entry(gpa), self.rmp.hpa(gpa)) {
                let leaf = match side {
                    Side::Private(vmpl) => self.private_leaf(gpa, hpa, entry, vmpl),
                    Side::Shared(_) => 0,
                };
                self.set_leaf(side, gpa, leaf);
            }
        }
    }

    /// From here on the firmware's own pages are kept as they are before they are written, for [`Self::put_back`].
    pub(crate) fn watch(&mut self) {
        if self.kept_at.is_none() {
            self.kept_at = Some(self.frames(KEPT as u64));
        }
        self.kept = Some(Vec::new());
        self.set_firmware_again();
    }

    /// The same for all pages.
    pub(crate) fn watch_all(&mut self) {
        self.watch();
        self.set_ram_again();
    }

    /// No more; what was written since the last [`Self::put_back`] stays.
    pub(crate) fn unwatch(&mut self) {
        self.kept = None;
        self.set_firmware_again();
    }

    /// The same after [`Self::watch_all`].
    pub(crate) fn unwatch_all(&mut self) {
        self.unwatch();
        self.set_ram_again();
    }

    /// The pages that were written.
    pub(crate) fn kept(&self) -> impl Iterator<Item = u64> + '_ {
        self.kept.iter().flatten().map(|(gpa, _)| *gpa)
    }

    /// From here on [`Self::put_back`] leads to what is there now.
    pub(crate) fn keep_again(&self) {
        if let (Some(kept), Some(at)) = (&self.kept, self.kept_at) {
            kept.iter().enumerate().for_each(|(n, (_, hpa))| copy_page(*hpa, at + PAGE * n as u64));
        }
    }

    /// Changes of the reverse map are noted.
    pub(crate) fn begin_journal(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// No more; what was noted, in order.
    pub(crate) fn end_journal(&mut self) -> Vec<(u64, Entry), NOTED> {
        self.journal.take().unwrap_or_default()
    }

    /// Whether writes are watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.kept.is_some()
    }

    /// A page is about to be written.
    pub(crate) fn keep(&mut self, gpa: u64) {
        let gpa = gpa & !(PAGE - 1);
        let (Some(kept), Some(at), Some(hpa), Some(entry)) =
            (&mut self.kept, self.kept_at, self.rmp.hpa(gpa), self.rmp.entry(gpa))
        else {
            return;
        };
        if kept.iter().any(|page| page.1 == hpa) {
            return;
        }
        copy_page(hpa, at + PAGE * kept.len() as u64);
        if kept.push((gpa, hpa)).is_err() {
            crate::log::fault!("more pages written than can be kept");
        }
        self.set(gpa, entry);
    }

    /// Every page that was written is as it was when watching began.
    pub(crate) fn put_back(&self) {
        if let (Some(kept), Some(at)) = (&self.kept, self.kept_at) {
            kept.iter().enumerate().for_each(|(n, (_, hpa))| copy_page(at + PAGE * n as u64, *hpa));
        }
    }

    fn set_firmware_again(&mut self) {
        for gpa in (FIRMWARE..FIRMWARE + FIRMWARE_SIZE).step_by(4096) {
            if let Some(entry) = self.rmp.entry(gpa) {
                self.set(gpa, entry);
            }
        }
    }

    fn set_ram_again(&mut self) {
        let ranges = self.rmp.ranges().iter().copied().collect::<Vec<_, 16>>();
        for gpa in ranges.into_iter().flat_map(|(start, end)| (start..end).step_by(4096)) {
            if let Some(entry) = self.rmp.entry(gpa) {
                self.set(gpa, entry);
            }
        }
    }

    /// The leaf, without the right to write where that is to be noticed.
    fn watched(&self, hpa: u64, leaf: u64) -> u64 {
        let free = self.kept.as_ref().is_none_or(|kept| kept.iter().any(|page| page.1 == hpa));
        if free { leaf } else { leaf & !LEAF_WRITE }
    }

    /// Gives a page to the guest or back to the hypervisor. Its bytes are lost, as a change of the encryption key loses
    /// them.
    pub(crate) fn change_state(&mut self, gpa: u64, private: bool, huge: bool) {
        let flags = if private { ASSIGNED | if huge { HUGE } else { 0 } } else { 0 };
        // A fault names the byte.
        let gpa = gpa & !(PAGE - 1);
        let Some(hpa) = self.rmp.hpa(gpa) else { return };
        if self.rmp.entry(gpa).is_some_and(|entry| entry.is(ASSIGNED) != private) {
            self.keep(gpa);
            scramble(hpa);
        }
        self.set(gpa, Entry::new(flags));
    }

    /// Makes 4 KiB pages of a 2 MiB page, as PSMASH does.
    pub(crate) fn smash(&mut self, gpa: u64) {
        let start = gpa & !(HUGE_PAGES * PAGE - 1);
        for page in 0..HUGE_PAGES {
            let gpa = start + page * PAGE;
            if let Some(mut entry) = self.rmp.entry(gpa) {
                entry.flags &= !HUGE;
                self.rmp.set(gpa, entry);
            }
        }
    }
}

/// What must not be in a page that VMPL2 can read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// What the change of the page's state left in it.
    Scrambled,
    /// The first half of this key.
    Key(usize),
}

/// Looks through a page, at multiples of 8.
pub(crate) fn inspect(hpa: u64, keys: &[[u8; 32]]) -> Option<Found> {
    if phys::is_zero(hpa) {
        return None;
    }
    let mut page = [0; 4096];
    phys::read(hpa, &mut page);
    let words: [u64; 512] = zerocopy::transmute!(page);
    let key_words = |key: &[u8; 32]| (u64_at(key, 0), u64_at(key, 8));
    let firsts: [u64; 2] = core::array::from_fn(|n| keys.get(n).map_or(SCRAMBLED, |key| key_words(key).0));
    // One pass for what is nearly always absent; zeros, the common case, match none of the three.
    let suspicious = |word: &u64| *word == SCRAMBLED || *word == firsts[0] || *word == firsts[1];
    words.iter().enumerate().filter(|(_, word)| suspicious(word)).find_map(|(index, word)| {
        let next = *words.get(index + 1)?;
        if *word == SCRAMBLED && index.is_multiple_of(2) && next == mix(hpa) {
            return Some(Found::Scrambled);
        }
        keys.iter().position(|key| key_words(key) == (*word, next)).map(Found::Key)
    })
}

/// The leaf by which `vmpl` sees a page on the private side.
fn private_leaf(hpa: u64, entry: Entry, vmpl: usize) -> u64 {
    let permissions = entry.rights()[vmpl];
    if permissions & READ == 0 {
        return 0;
    }
    let write = if permissions & WRITE != 0 { LEAF_WRITE } else { 0 };
    let execute = EXEC_USER | EXEC_SUPERVISOR;
    let nx = if permissions & execute == execute { 0 } else { LEAF_NX };
    hpa | LEAF_READ | write | nx
}

/// The second half of each scrambled 16 bytes of the page at this address.
fn mix(hpa: u64) -> u64 {
    hpa.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xA5A5_5A5A_C3C3_3C3C
}

fn copy_page(from: u64, to: u64) {
    let mut page = [0; 4096];
    phys::read(from, &mut page);
    phys::write(to, &page);
}

fn scramble(hpa: u64) {
    phys::fill_pairs(hpa, SCRAMBLED, mix(hpa));
}
