//! The guest's memory as the guest sees it: page-table walks, and who may access what.

use crate::bits::us;
use crate::config::WrongState;
use crate::machine::Machine;
use crate::npt::C;
use crate::phys::{self, PAGE, read_u64};
use crate::rmp::{ASSIGNED, EXEC_SUPERVISOR, EXEC_USER, READ, UNCHANGED, VALIDATED, WRITE};
use crate::rules::Rule;
use crate::svm::save;

/// A guest-physical address and the side on which it is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Physical {
    /// Without C-bit.
    pub(crate) gpa: u64,
    pub(crate) private: bool,
}

/// A translation that a walk has found: what one entry of a TLB has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    linear: u64,
    size: u64,
    start: Physical,
}

impl Mapping {
    /// Where `linear` leads, if this is the translation for it.
    pub(crate) fn of(&self, linear: u64) -> Option<Physical> {
        let offset = linear.wrapping_sub(self.linear);
        (offset < self.size).then_some(Physical { gpa: self.start.gpa + offset, ..self.start })
    }
}

/// What an access wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
    Fetch,
}

/// Why the reverse map refuses an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Nothing there: a device's, for an access on the shared side.
    NoMemory,
    /// A rule.
    Rule(Rule, &'static str),
}

/// The guest's own page tables do not translate the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotMapped;

impl Machine {
    /// Judges an access of the running VMPL by the reverse map. Gives the machine's address.
    pub(crate) fn judge(&self, at: Physical, access: Access) -> Result<u64, Refusal> {
        let (Some(entry), Some(hpa)) = (self.memory.rmp.entry(at.gpa), self.memory.rmp.hpa(at.gpa)) else {
            return Err(Refusal::NoMemory);
        };
        let rule = |rule, detail| Err(Refusal::Rule(rule, detail));
        match (at.private, entry.is(ASSIGNED)) {
            (false, false) => return Ok(hpa),
            (false, true) => {
                return rule(Rule::CBit, "a page of the guest's was accessed as shared");
            }
            (true, false) => {
                return rule(Rule::CBit, "a page of the hypervisor's was accessed as private");
            }
            (true, true) => {}
        }
        if !entry.is(VALIDATED) {
            return rule(Rule::UnvalidatedAccess, "the page is the guest's and not validated");
        }
        if entry.is(UNCHANGED) {
            return rule(Rule::PvalidateTwice, "the page is used after PVALIDATE returned CF=1");
        }
        let execute = if self.vmcb().cpl() == 3 { EXEC_USER } else { EXEC_SUPERVISOR };
        let needed = match access {
            Access::Read => READ,
            Access::Write => READ | WRITE,
            Access::Fetch => READ | execute,
        };
        if entry.permissions[self.current()] & needed != needed {
            return rule(Rule::VmplPermission, "the VMPL lacks the permission");
        }
        Ok(hpa)
    }

    /// Translates a guest-virtual address by the guest's page tables, for a supervisor access.
    pub(crate) fn translate(&self, gva: u64) -> Result<Physical, NotMapped> {
        self.mapping(gva)?.of(gva).ok_or(NotMapped)
    }

    /// What translates a guest-virtual address. Without paging, and in the modes of 32 bits, an address that has more
    /// bits is its low half.
    pub(crate) fn mapping(&self, gva: u64) -> Result<Mapping, NotMapped> {
        const PAGING: u64 = 1 << 31;
        const PAE: u64 = 1 << 5;
        const LMA: u64 = 1 << 10;
        let vmcb = self.vmcb();
        let low = gva & 0xFFFF_FFFF;
        if vmcb.save(save::CR0) & PAGING == 0 {
            let page = low & !(PAGE - 1);
            let start = Physical { gpa: page, private: true };
            return Ok(Mapping { linear: gva & !(PAGE - 1), size: PAGE, start });
        }
        let cr3 = vmcb.save(save::CR3);
        let (offset, start) = if vmcb.save(save::EFER) & LMA != 0 {
            self.walk(gva, cr3 & 0x000F_FFFF_FFFF_F000, &[39, 30, 21, 12], 8)?
        } else if vmcb.save(save::CR4) & PAE != 0 {
            self.walk(low, cr3 & 0xFFFF_FFE0, &[30, 21, 12], 8)?
        } else {
            self.walk(low, cr3 & 0xFFFF_F000, &[22, 12], 4)?
        };
        Ok(Mapping { linear: gva & !offset, size: offset + 1, start })
    }

    /// The bits of the offset in the page, and where the page begins.
    fn walk(&self, gva: u64, root: u64, shifts: &[u32], width: u64) -> Result<(u64, Physical), NotMapped> {
        let mut table = root;
        for (depth, &shift) in shifts.iter().enumerate() {
            let index = gva >> shift & if width == 8 { 511 } else { 1023 };
            let slot = (table & !C & !(PAGE - 1)) + ((table & (PAGE - 1)) + index * width);
            let hpa = self.memory.rmp.hpa(slot).ok_or(NotMapped)?;
            let entry = if width == 8 { read_u64(hpa) } else { read_u64(hpa) & 0xFFFF_FFFF };
            if entry & 1 == 0 {
                return Err(NotMapped);
            }
            let last = depth + 1 == shifts.len();
            let large = entry & 0x80 != 0 && !last && (shift <= 30);
            if last || large {
                let offset = (1u64 << shift) - 1;
                let address = entry & 0x000F_FFFF_FFFF_F000 & !offset;
                return Ok((offset, Physical { gpa: address & !C, private: address & C != 0 }));
            }
            table = entry & 0x000F_FFFF_FFFF_F000;
        }
        Err(NotMapped)
    }

    /// Judges, and stops or faults the guest on a refusal. `None`: the guest has a fault to take.
    pub(crate) fn reach(&self, at: Physical, access: Access) -> Option<u64> {
        match self.judge(at, access) {
            Ok(hpa) => Some(hpa),
            Err(Refusal::Rule(Rule::VmplPermission, detail)) => {
                self.vmpl_violation(at.gpa, format_args!("{detail} ({access:?})"));
                None
            }
            Err(Refusal::Rule(Rule::CBit | Rule::UnvalidatedAccess, _)) if self.config.access == WrongState::Kvm => {
                None
            }
            // Which of the firmware's pages are the host's is nothing that a guest can know before it tries.
            Err(Refusal::Rule(Rule::CBit, detail)) if self.gives_gp() => {
                self.vmpl_violation(at.gpa, format_args!("{detail} ({access:?})"));
                None
            }
            Err(Refusal::Rule(rule, detail)) => self.stop(rule, at.gpa, format_args!("{detail} ({access:?})")),
            Err(Refusal::NoMemory) => {
                self.stop(Rule::UnvalidatedAccess, at.gpa, format_args!("no memory is there ({access:?})"))
            }
        }
    }

    /// Reads guest-virtual memory with the guest's rights.
    pub(crate) fn guest_read(&self, gva: u64, to: &mut [u8], access: Access) -> Result<(), NotMapped> {
        let mut done = 0;
        while done < to.len() {
            let at = gva.wrapping_add(done as u64);
            let mut physical = self.translate(at)?;
            // Instruction fetches are always private (APM volume 2, 15.34.5).
            physical.private |= access == Access::Fetch;
            let n = (to.len() - done).min(us(PAGE - at % PAGE));
            let hpa = self.reach(physical, access).ok_or(NotMapped)?;
            phys::read(hpa, &mut to[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Writes guest-virtual memory with the guest's rights.
    pub(crate) fn guest_write(&self, gva: u64, from: &[u8]) -> Result<(), NotMapped> {
        let mut done = 0;
        while done < from.len() {
            let at = gva.wrapping_add(done as u64);
            let physical = self.translate(at)?;
            let n = (from.len() - done).min(us(PAGE - at % PAGE));
            let hpa = self.reach(physical, Access::Write).ok_or(NotMapped)?;
            phys::write(hpa, &from[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Up to `N` bytes of the instruction at RIP; zeros behind what is mapped.
    pub(crate) fn instruction<const N: usize>(&self) -> [u8; N] {
        let base = self.vmcb().save(save::CS + 8);
        let long = self.vmcb().save(save::EFER) & (1 << 10) != 0;
        let mut bytes = [0; N];
        let mut done = 0;
        while done < N {
            let linear = self.rip().wrapping_add(base).wrapping_add(done as u64);
            let linear = if long { linear } else { linear & 0xFFFF_FFFF };
            // A page at a time: the one behind the instruction may not be the guest's.
            if done > 0 && !self.may_fetch(linear) {
                break;
            }
            let part = &mut bytes[done..];
            let n = part.len().min(us(PAGE - linear % PAGE));
            if self.guest_read(linear, &mut part[..n], Access::Fetch).is_err() {
                break;
            }
            done += n;
        }
        bytes
    }

    fn may_fetch(&self, linear: u64) -> bool {
        self.translate(linear).is_ok_and(|at| self.judge(Physical { private: true, ..at }, Access::Fetch).is_ok())
    }
}
