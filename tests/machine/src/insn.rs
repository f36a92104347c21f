//! The instructions that QEMU does not know and reports as #UD: PVALIDATE, RMPADJUST, INVLPGB and TLBSYNC
//! ([`crate::invlpgb`]), and RDSEED, which an EPYC has.

use crate::bits::lo8;
use crate::config::WrongState;
use crate::log::log;
use crate::machine::Machine;
use crate::phys::PAGE;
use crate::rmp::{ASSIGNED, FIRMWARE, FULL, HUGE, HUGE_PAGES, SWAPPED, UNCHANGED, VALIDATED, VMSA};
use crate::rules::Rule;
use crate::steal::Moment;
use crate::svm::{RAX, RCX, RDX, SVME, exit, save};
use crate::walk::{Mapping, NotMapped};

/// Result codes in EAX (APM volume 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    Success = 0,
    Input = 1,
    Permission = 2,
    InUse = 3,
    SizeMismatch = 6,
}

/// What PVALIDATE or RMPADJUST ends with: EAX and CF. `None`: with an exception, which is delivered at the next entry.
pub(crate) type Outcome = Option<(Code, bool)>;

const CF: u64 = 1;
const GP: u8 = 13;
const PF: u8 = 14;
const UD: u8 = 6;

impl Machine {
    /// #UD: one of ours, or the guest's to handle.
    pub(crate) fn undefined_opcode(&mut self) {
        let bytes = self.instruction::<4>();
        self.only_the_end(format_args!("{bytes:02x?} was executed"));
        match bytes {
            [0xF2, 0x0F, 0x01, 0xFF] => {
                let mut known = None;
                let outcome = self.pvalidate(&mut known);
                self.finish(outcome, known);
            }
            [0xF3, 0x0F, 0x01, 0xFE] => {
                let mut known = None;
                let outcome = self.rmpadjust(&mut known);
                self.finish(outcome, known);
            }
            [0x0F, 0x01, 0xFE, _] => self.invlpgb(),
            [0x0F, 0x01, 0xFF, _] => self.tlbsync(),
            // VMGEXIT while EFER.SVME is clear.
            [0xF2 | 0xF3, 0x0F, 0x01, 0xD9] => {
                self.skip(4);
                self.vmgexit();
            }
            [0x0F, 0xC7, modrm @ 0xF8..=0xFF, _] => self.rdseed(modrm & 7, 0xFFFF_FFFF, 3),
            [rex @ 0x40..=0x4F, 0x0F, 0xC7, modrm @ 0xF8..=0xFF] => {
                let mask = if rex & 8 != 0 { u64::MAX } else { 0xFFFF_FFFF };
                self.rdseed(modrm & 7 | (rex & 1) << 3, mask, 4);
            }
            _ => self.inject(UD, None),
        }
    }

    fn rdseed(&mut self, register: u8, mask: u64, length: u64) {
        const ARITHMETIC: u64 = 0x8D5;
        self.level().regs.gpr[usize::from(register)] = crate::cpu::rdrand() & mask;
        let rflags = self.vmcb().save(save::RFLAGS) & !ARITHMETIC;
        self.vmcb().set_save(save::RFLAGS, rflags | CF);
        self.skip(length);
    }

    /// The page that RAX names; a fault for the guest otherwise. `known`: the translation that was used last.
    fn operand_page(&self, address: u64, known: &mut Option<Mapping>) -> Option<u64> {
        let page = address & !(PAGE - 1);
        let at = match known.and_then(|known| known.of(page)) {
            Some(at) => Ok(at),
            None => self.mapping(page).and_then(|mapping| known.insert(mapping).of(page).ok_or(NotMapped)),
        };
        match at {
            Ok(at) if self.memory.rmp.entry(at.gpa).is_some() => Some(at.gpa),
            Ok(at) => {
                self.stop(Rule::PageState, at.gpa, format_args!("PVALIDATE or RMPADJUST of an address without memory"))
            }
            Err(_) => {
                self.vmcb().set_save(save::CR2, address);
                self.inject(PF, Some(0));
                None
            }
        }
    }

    /// Goes on behind the instruction. `known`: the translation of its operand.
    fn finish(&mut self, outcome: Outcome, known: Option<Mapping>) {
        let Some((code, carry)) = outcome else { return };
        self.level().regs.gpr[RAX] = code as u64;
        let rflags = self.vmcb().save(save::RFLAGS) & !CF;
        self.vmcb().set_save(save::RFLAGS, rflags | u64::from(carry));
        self.skip(4);
        self.go_ahead(known);
    }

    fn ends_with(&self, code: Code, carry: bool) -> Outcome {
        if self.config.trace && (code != Code::Success || carry) {
            let (operand, size, action) = (self.gpr(0), self.gpr(1), self.gpr(2));
            log!(
                "PVALIDATE or RMPADJUST of {operand:#x} ({size:#x}, {action:#x}): {code:?}, CF={}, rip={:#x}",
                u8::from(carry),
                self.rip()
            );
        }
        Some((code, carry))
    }

    fn faults(&self, vector: u8) -> Outcome {
        self.inject(vector, Some(0));
        None
    }

    /// RAX: address; ECX, bit 0: size; EDX, bit 0: validate or rescind. Nothing else of the two counts: Linux passes
    /// what its compiler has left there.
    pub(crate) fn pvalidate(&mut self, known: &mut Option<Mapping>) -> Outcome {
        if self.vmcb().cpl() != 0 || self.current() != 0 {
            return self.faults(GP);
        }
        let gpr = &self.level().regs.gpr;
        let (address, huge, action) = (gpr[RAX], gpr[RCX] & 1 == 1, gpr[RDX] & 1);
        if huge && address % (HUGE_PAGES * PAGE) >= PAGE {
            return self.ends_with(Code::Input, false);
        }
        let gpa = self.operand_page(address, known)?;
        let Some(pages) = self.pages_of(gpa, huge) else {
            return self.ends_with(Code::SizeMismatch, false);
        };
        self.check_flushed(gpa, pages);
        if self.processors.len() > 1 && (0..pages).any(|page| self.is_running_from(gpa + page * PAGE)) {
            return self.ends_with(Code::InUse, false);
        }
        if action == 0 {
            self.lie_swap(gpa, pages);
        }
        let mut changed = false;
        for page in 0..pages {
            changed |= self.pvalidate_page(gpa + page * PAGE, address, action == 1);
        }
        self.ends_with(Code::Success, !changed)
    }

    /// How many 4 KiB pages the operation is about. `None`: 2 MiB asked for, and the reverse map has 4 KiB pages.
    fn pages_of(&mut self, gpa: u64, huge: bool) -> Option<u64> {
        if self.current() == 0 {
            self.memory.steal(gpa, Moment::Instruction);
        }
        let mut entry = self.memory.rmp.entry(gpa)?;
        if self.config.access == WrongState::Kvm && !entry.is(ASSIGNED) {
            // A nested page fault, by which KVM makes the page private; then the instruction is tried again.
            self.memory.change_state(gpa, true, false);
            entry = self.memory.rmp.entry(gpa)?;
        }
        if !entry.is(ASSIGNED) {
            self.stop(
                Rule::PageState,
                gpa,
                format_args!("PVALIDATE or RMPADJUST of a page that is not assigned to the guest"),
            );
        }
        if huge && entry.is(HUGE) && self.lie_psmash(gpa) {
            self.memory.smash(gpa);
            return None;
        }
        match (huge, entry.is(HUGE)) {
            (true, false) => None,
            (true, true) => Some(HUGE_PAGES),
            (false, true) => {
                // The hypervisor gets a nested page fault (SIZEM), splits the page and resumes, as KVM does.
                self.memory.smash(gpa);
                Some(1)
            }
            (false, false) => Some(1),
        }
    }

    /// `fault=psmash`: whether the page is to be split now.
    fn lie_psmash(&mut self, gpa: u64) -> bool {
        let page = gpa & !(HUGE_PAGES * PAGE - 1);
        if self.config.lies.psmash.is_none() || !self.inspected {
            return false;
        }
        if self.huge_operand.0 != page {
            self.huge_operand = (page, 0);
        }
        self.huge_operand.1 += 1;
        let splits = self.huge_operand.1 == 1 + (page >> 21 & 7);
        if splits {
            log!("LIE psmash: gpa={page:#x} at instruction {} of it", self.huge_operand.1);
        }
        splits
    }

    /// `fault=swap-before-rescind:N`: another page, which is not validated, lies there now. Not among the firmware's
    /// own.
    fn lie_swap(&mut self, gpa: u64, pages: u64) {
        self.rescinded += u64::from(gpa < FIRMWARE);
        if gpa >= FIRMWARE || self.config.lies.swap_before_rescind != Some(self.rescinded) {
            return;
        }
        crate::log::log!("LIE swap-before-rescind: gpa={gpa:#x}");
        for at in (0..pages).map(|page| gpa + page * PAGE) {
            if let Some(mut entry) = self.memory.rmp.entry(at) {
                entry.flags &= !VALIDATED;
                self.memory.set(at, entry);
            }
        }
    }

    /// True when the page changed.
    fn pvalidate_page(&mut self, gpa: u64, linear: u64, validate: bool) -> bool {
        let Some(mut entry) = self.memory.rmp.entry(gpa) else {
            return false;
        };
        if validate && entry.is(VALIDATED) {
            let own = entry.permissions[1..] == [0; 3];
            if own && entry.is(UNCHANGED) {
                self.stop(Rule::PvalidateTwice, gpa, format_args!("validated again after CF=1"));
            }
            if own {
                entry.flags |= UNCHANGED;
                self.memory.set(gpa, entry);
            }
            return false;
        }
        if validate && entry.is(SWAPPED) {
            self.stop(Rule::PvalidateTwice, gpa, format_args!("validated after it could not be rescinded (CF=1)"));
        }
        if validate == entry.is(VALIDATED) {
            entry.flags |= SWAPPED;
            self.memory.set(gpa, entry);
            return false;
        }
        entry.flags = entry.flags & !(UNCHANGED | VALIDATED) | if validate { VALIDATED } else { 0 };
        self.memory.set_by_guest(gpa, entry, 0, linear);
        true
    }

    /// Pages that change hands while another VMPL may still reach them are not secure, whatever is done afterwards.
    fn check_flushed(&self, gpa: u64, pages: u64) {
        if !self.memory.is_any_stale() {
            return;
        }
        if let Some(gpa) =
            (0..pages).map(|page| gpa + page * PAGE).find(|gpa| self.memory.is_stale(*gpa, self.current()))
        {
            self.stop(
                Rule::StaleTranslation,
                gpa,
                format_args!("the TLB has not been flushed since the page was revoked"),
            );
        }
    }

    /// RAX: address; RCX, bit 0: size; RDX: VMPL, permissions, VMSA attribute.
    pub(crate) fn rmpadjust(&mut self, known: &mut Option<Mapping>) -> Outcome {
        if self.vmcb().cpl() != 0 {
            return self.faults(GP);
        }
        let gpr = &self.level().regs.gpr;
        let (address, size, attributes) = (gpr[RAX], gpr[RCX], gpr[RDX]);
        let (target, permissions, vmsa) = (attributes & 0xFF, lo8(attributes >> 8), attributes >> 16 & 1 == 1);
        let huge = size & 1 == 1;
        let misaligned = huge && address % (HUGE_PAGES * PAGE) >= PAGE;
        if target > 3 || permissions > FULL || attributes >> 17 != 0 || misaligned || (huge && vmsa) {
            return self.ends_with(Code::Input, false);
        }
        if target == 0 && self.current() == 0 {
            self.stop(Rule::RmpadjustLevel, address, format_args!("VMPL0 asked to change VMPL0"));
        }
        if crate::bits::us(target) <= self.current() || (vmsa && self.current() != 0) {
            return self.ends_with(Code::Permission, false);
        }
        let gpa = self.operand_page(address, known)?;
        let Some(pages) = self.pages_of(gpa, huge) else {
            return self.ends_with(Code::SizeMismatch, false);
        };
        if vmsa {
            self.check_flushed(gpa, pages);
        }
        if self.config.access == WrongState::Kvm && !self.are_validated(gpa, pages) {
            self.vc(exit::NOT_VALIDATED);
            return None;
        }
        let code = self.rmpadjust_pages(gpa, address, pages, crate::bits::us(target), permissions, vmsa);
        self.ends_with(code, false)
    }

    fn are_validated(&self, gpa: u64, pages: u64) -> bool {
        let is_validated = |gpa| self.memory.rmp.entry(gpa).is_none_or(|entry| entry.is(VALIDATED));
        is_validated(gpa) && (1..pages).all(|page| is_validated(gpa + page * PAGE))
    }

    fn rmpadjust_pages(
        &mut self,
        gpa: u64,
        linear: u64,
        pages: u64,
        target: usize,
        permissions: u8,
        vmsa: bool,
    ) -> Code {
        for page in 0..pages {
            let at = gpa + page * PAGE;
            let Some(mut entry) = self.memory.rmp.entry(at) else {
                return Code::Input;
            };
            if !entry.is(VALIDATED) {
                self.stop(Rule::UnvalidatedAccess, at, format_args!("RMPADJUST of a page that is not validated"));
            }
            if permissions & !entry.permissions[self.current()] != 0 {
                return Code::Permission;
            }
            if self.may_be_running(at, entry) {
                return Code::InUse;
            }
            entry.permissions[target] = permissions;
            if self.current() == 0 {
                entry.flags = entry.flags & !VMSA | if vmsa { VMSA } else { 0 };
            }
            self.memory.set_by_guest(at, entry, self.current(), linear);
        }
        Code::Success
    }

    /// A register state that can be run is taken for one that is run: a firmware must not rest on its luck. EFER.SVME
    /// is clear where nobody can begin to run it.
    fn may_be_running(&self, gpa: u64, entry: crate::rmp::Entry) -> bool {
        let efer = || self.memory.rmp.hpa(gpa).map_or(0, |hpa| crate::phys::read_u64(hpa + save::EFER));
        entry.is(VMSA) && efer() & SVME != 0 || self.is_running_from(gpa)
    }

    /// Whether another processor runs from this VMSA.
    fn is_running_from(&self, gpa: u64) -> bool {
        let runs = self.processors.len() > 1 && self.processors.iter().any(|processor| processor.uses(gpa));
        runs || self.inject.beside == Some(gpa)
    }
}
