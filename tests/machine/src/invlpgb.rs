//! INVLPGB and TLBSYNC (APM volume 3): flushes on every processor. TCG does not know them and raises #UD.
//!
//! What INVLPGB names is flushed nowhere before the same processor executes TLBSYNC, as if every other one were slow: a
//! firmware that does not wait is found out. What it names: with an address, what the VMPL that executes it has there;
//! without one, all that this VMPL has; with bit 3 of RAX (global), all that any VMPL has.

use crate::bits::lo16;
use crate::machine::Machine;
use crate::phys::PAGE;
use crate::rmp::HUGE_PAGES;
use crate::svm::{RAX, RCX, RDX};

/// CPUID 8000_0008, EDX: pages behind the first one that one INVLPGB may name.
pub(crate) const MOST: u32 = 7;

const UD: u8 = 6;
const GP: u8 = 13;

/// Bits of RAX.
const VA_VALID: u64 = 1;
const ASID_VALID: u64 = 1 << 2;
const GLOBAL: u64 = 1 << 3;
const RESERVED: u64 = 0xFC0;
/// Bit of ECX: the pages are of 2 MiB.
const HUGE: u64 = 1 << 31;

impl Machine {
    /// Whether the instruction is one of this processor's; a fault for the guest otherwise.
    fn may_broadcast(&self) -> bool {
        if !self.policy.has_invlpgb() {
            self.inject(UD, None);
        } else if self.vmcb().cpl() != 0 {
            self.inject(GP, Some(0));
        } else {
            return true;
        }
        false
    }

    /// RAX: address and what else is valid; ECX: pages behind the first one; EDX: ASID, PCID. A guest's ASID is 0.
    pub(crate) fn invlpgb(&mut self) {
        if !self.may_broadcast() {
            return;
        }
        let gpr = self.level().regs.gpr;
        let (rax, rcx, asid) = (gpr[RAX], gpr[RCX], lo16(gpr[RDX]));
        let count = u64::from(lo16(rcx));
        if rax & RESERVED != 0 || rax & ASID_VALID == 0 || asid != 0 || count > MOST.into() {
            return self.inject(GP, Some(0));
        }
        let (me, current) = (self.me, self.current());
        if rax & VA_VALID == 0 {
            let global = rax & GLOBAL != 0;
            // Without bit 3, what is global stays: of others, this processor does not know what is.
            self.memory.mark(me, |stale| global || stale.vmpl == current);
        } else {
            let step = if rcx & HUGE != 0 { HUGE_PAGES * PAGE } else { PAGE };
            for page in 0..=count {
                let linear = (rax & !(PAGE - 1)).wrapping_add(page * step);
                let gpa = self.translate(linear).ok().map(|at| at.gpa & !(PAGE - 1));
                self.memory.mark(me, |stale| {
                    stale.vmpl == current && stale.linear().map_or(Some(stale.gpa) == gpa, |of| of == linear)
                });
            }
        }
        self.skip(3);
    }

    /// Waits for what INVLPGB has named on this processor.
    pub(crate) fn tlbsync(&mut self) {
        if !self.may_broadcast() {
            return;
        }
        self.memory.flush_marked(self.me);
        self.skip(3);
    }
}

/// The leaf 8000_0008 with the two instructions: EBX, EDX.
pub(crate) fn shown_in(ebx: u32, edx: u32) -> (u32, u32) {
    const INVLPGB: u32 = 1 << 3;
    (ebx | INVLPGB, edx & !0xFFFF | MOST)
}
