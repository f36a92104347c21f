//! `own=N`: what VMPL0 has mapped as its own is nobody else's, looked at again and again while VMPL2 runs.
//!
//! What is VMPL0's own is not known by its place, since part of it has been the guest's: it is what the lower half of
//! VMPL0's page tables maps with the C-bit, the tables themselves, and its register states, which it may have unmapped.
//! The upper half is the firmware's window to the guest's memory.

use crate::machine::{Machine, VmsaPage};
use crate::npt::C;
use crate::phys::{PAGE, read_u64};
use crate::rmp::{ASSIGNED, READ, VMSA};
use crate::rules::Rule;
use crate::svm::save;

const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Entries of a root that lead to the lower half.
const LOWER_HALF: u64 = 256;
const ENTRIES: u64 = 512;
/// A register state's VMPL, an octet at 0xCA, in the word around it.
const VMPL_WORD: u64 = 0xC8;
const VMPL_SHIFT: u32 = 16;
/// A leaf is no higher than this: the level of 2 MiB.
const LARGE_LEVEL: u32 = 1;

impl Machine {
    /// VMPL0 has had VMPL2 run: each Nth time.
    pub(crate) fn inspect_own(&mut self) {
        let Some(every) = self.config.own.filter(|every| *every > 0) else { return };
        self.own_left = self.own_left.checked_sub(1).unwrap_or(every - 1);
        if self.own_left != 0 {
            return;
        }
        for processor in &self.processors {
            if let Some(VmsaPage::Guest(gpa)) = processor.levels[0].vmsa {
                self.inspect_page(gpa);
            }
        }
        let root = self.processor().levels[0].vmcb.save(save::CR3);
        self.inspect_table(root, 3, LOWER_HALF);
    }

    /// A table and what it leads to, from the level that its entries are of.
    fn inspect_table(&self, table: u64, level: u32, entries: u64) {
        let table = table & ADDRESS & !C;
        self.inspect_page(table);
        for slot in 0..entries {
            let entry = self.memory.rmp.hpa(table + slot * 8).map_or(0, read_u64);
            if entry & (PRESENT | C) != PRESENT | C {
                continue;
            }
            match level {
                0 => self.inspect_page(entry & ADDRESS & !C),
                LARGE_LEVEL if entry & LARGE != 0 => {
                    let start = entry & ADDRESS & !C;
                    (0..ENTRIES).for_each(|page| self.inspect_page(start + page * PAGE));
                }
                _ => self.inspect_table(entry, level - 1, ENTRIES),
            }
        }
    }

    /// A register state may be read by the VMPL whose it is, which is not VMPL0. What the host has taken meanwhile is
    /// another matter: VMPL0 sees that when it reaches for it.
    fn inspect_page(&self, gpa: u64) {
        let Some(entry) = self.memory.rmp.entry(gpa).filter(|entry| entry.is(ASSIGNED)) else { return };
        let owner = self
            .memory
            .rmp
            .hpa(gpa)
            .filter(|_| entry.is(VMSA))
            .map(|hpa| read_u64(hpa + VMPL_WORD) >> VMPL_SHIFT & 0xFF);
        let allowed = |vmpl: u64| if owner == Some(vmpl) { READ } else { 0 };
        if (1..).zip(&entry.permissions[1..]).any(|(vmpl, rights)| rights & !allowed(vmpl) != 0) {
            self.stop(Rule::OwnPageGranted, gpa, format_args!("rights are {:x?}", entry.permissions));
        }
    }
}
