//! The GHCB MSR, its protocol (GHCB specification, 2.3.1) and SEV_STATUS.

use crate::bits::{lo8, lo32, us};
use crate::config::WrongState;
use crate::log::{End, end, log};
use crate::machine::{Machine, VmsaPage, Work};
use crate::npt::C_BIT;
use crate::phys::PAGE;
use crate::rmp::{ASSIGNED, VALIDATED};
use crate::rules::Rule;
use crate::svm::{RAX, RCX, RDX, control};
use crate::switch::RunVmpl;

const GHCB: u32 = 0xC001_0130;
const SEV_STATUS: u32 = 0xC001_0131;

/// Features of the hypervisor as upstream KVM has them: SNP and AP creation. Several VMPLs (bit 5) are not named, also
/// by kernels that have them.
pub(crate) const HV_FEATURES: u64 = 1 | 1 << 1;

impl Machine {
    /// RDMSR or WRMSR of the two MSRs that the processor itself answers. `false`: another one.
    pub(crate) fn own_msr(&mut self) -> bool {
        let write = self.vmcb().get(control::EXIT_INFO_1) & 1 == 1;
        let gpr = self.level().regs.gpr;
        let value = match (lo32(gpr[RCX]), write) {
            (GHCB, true) => {
                self.level().ghcb = gpr[RDX] << 32 | gpr[RAX] & 0xFFFF_FFFF;
                self.skip(2);
                return true;
            }
            (GHCB, false) => self.level().ghcb,
            // SEV, SEV-ES, then SEV_FEATURES from bit 2 on (SNP active is bit 0 there).
            (SEV_STATUS, false) => 3 | self.level().sev_features << 2,
            (SEV_STATUS, true) => {
                self.inject(13, Some(0));
                return true;
            }
            _ => return false,
        };
        self.level().regs.gpr[RAX] = value & 0xFFFF_FFFF;
        self.level().regs.gpr[RDX] = value >> 32;
        self.skip(2);
        true
    }

    /// VMGEXIT: by the MSR's value one of the two protocols.
    pub(crate) fn vmgexit(&mut self) {
        let request = self.level().ghcb;
        self.not_in_signal(format_args!("it exits to the host"));
        if request & 0xFFF == 0 {
            return self.ghcb_exit(request);
        }
        if self.config.trace {
            log!("vmgexit vmpl={} msr={request:#x} rip={:#x}", self.current(), self.rip());
        }
        if request & 0xFFF != 0x100 {
            self.only_the_end(format_args!("MSR request {request:#x}"));
        }
        if request & 0xFFF == 0x016 && !self.config.no_vmpls {
            return self.msr_run_vmpl(request);
        }
        self.level().ghcb = self.msr_call(request);
    }

    fn msr_run_vmpl(&mut self, request: u64) {
        let target = request >> 32 & 0xFF;
        let next = self.run_vmpl(target);
        self.level().ghcb = 0x017 | if next == RunVmpl::Refused { 1 << 32 } else { 0 };
        self.go_on(next);
    }

    fn msr_call(&mut self, request: u64) -> u64 {
        match request & 0xFFF {
            0x002 => self.sev_information(),
            0x004 => self.msr_cpuid(request),
            // AP reset hold, which AP creation ends, by another register state.
            0x006 => {
                self.hold(Work::Held, format_args!("AP reset hold on the only vCPU"));
                0x007
            }
            // No preferred place for the GHCB.
            0x010 => 0x011 | !0xFFF,
            0x012 => self.msr_register(request),
            0x014 => self.msr_page_state(request),
            0x080 => self.hv_features() << 12 | 0x081,
            0x100 => {
                self.terminated(lo8(request >> 12 & 15), lo8(request >> 16));
                request
            }
            other => {
                log!("unknown GHCB MSR request {other:#x} vmpl={} rip={:#x}", self.current(), self.rip());
                // 2.3.1: a request that the hypervisor does not know leaves the MSR as it is; no response code equals a
                // request.
                request
            }
        }
    }

    /// The C-bit's position as the host says it.
    pub(crate) fn host_c_bit(&self) -> u64 {
        self.config.lies.cbit_lie.unwrap_or(C_BIT)
    }

    fn sev_information(&self) -> u64 {
        const VERSIONS: u64 = 2 << 48 | 1 << 32;
        VERSIONS | self.host_c_bit() << 24 | 0x001
    }

    fn msr_cpuid(&self, request: u64) -> u64 {
        let leaf = self.host_cpuid(lo32(request >> 32), 0);
        let value = [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx][us(request >> 30 & 3)];
        u64::from(value) << 32 | request & (3 << 30) | 0x005
    }

    fn msr_register(&mut self, request: u64) -> u64 {
        let gpa = request & !0xFFF;
        if self.memory.rmp.hpa(gpa).is_none() {
            return !0xFFF | 0x013;
        }
        self.level().registered = Some(gpa);
        if self.config.trace {
            log!("ghcb registered vmpl={} gpa={gpa:#x}", self.current());
        }
        let answer = if self.config.lies.ghcb_register_other.is_some() { gpa ^ PAGE } else { gpa };
        answer | 0x013
    }

    fn msr_page_state(&mut self, request: u64) -> u64 {
        let gpa = request & 0x000F_FFFF_FFFF_F000;
        let error = self.page_state(gpa, lo8(request >> 52 & 15), false).map_or_else(u64::from, |()| 0);
        error << 32 | 0x015
    }

    /// Changes the state of a page (1 private, 2 shared), of 4 KiB or 2 MiB. The error is that of the page-state-change
    /// protocols.
    pub(crate) fn page_state(&mut self, gpa: u64, operation: u8, huge: bool) -> Result<(), u32> {
        const INVALID: u32 = 1;
        if self.config.lies.psc_refused.is_some() {
            return Ok(());
        }
        let pages = if huge { crate::rmp::HUGE_PAGES } else { 1 };
        let aligned = gpa.is_multiple_of(pages * PAGE);
        if !aligned
            || !matches!(operation, 1..=4)
            || (0..pages).any(|page| self.memory.rmp.entry(gpa + page * PAGE).is_none())
        {
            return Err(INVALID);
        }
        let entries = || (0..pages).filter_map(|page| self.memory.rmp.entry(gpa + page * PAGE));
        let strict = self.config.access == WrongState::Stop;
        if operation == 2 && strict && self.gives_gp() && entries().any(|entry| entry.is(VALIDATED)) {
            return Err(INVALID);
        }
        // RMPUPDATE fails for a VMSA that is in use.
        let in_use = |level: &crate::machine::Level| matches!(level.vmsa, Some(VmsaPage::Guest(vmsa)) if (gpa..gpa + pages * PAGE).contains(&vmsa));
        if operation == 2 && self.processors.iter().flat_map(|processor| &processor.levels).any(in_use) {
            return Err(INVALID);
        }
        // One page of 2 MiB in the reverse map only if none of it was the guest's before.
        let huge = huge && self.config.huge_entries && entries().all(|entry| !entry.is(ASSIGNED));
        for page in 0..pages {
            self.change_one(gpa + page * PAGE, operation, huge);
        }
        Ok(())
    }

    fn change_one(&mut self, gpa: u64, operation: u8, huge: bool) {
        let Some(entry) = self.memory.rmp.entry(gpa) else {
            return;
        };
        match operation {
            1 if !entry.is(ASSIGNED) => self.memory.change_state(gpa, true, huge),
            2 if entry.is(ASSIGNED) => {
                if entry.is(VALIDATED) && self.config.access == WrongState::Stop {
                    self.stop(Rule::PageState, gpa, format_args!("still validated when it was made shared"));
                }
                self.memory.change_state(gpa, false, false);
            }
            // PSMASH: 2 MiB become 4 KiB. UNSMASH is a hint that this hypervisor does not take.
            3 => self.memory.smash(gpa),
            _ => {}
        }
    }

    /// The guest asks for termination. Comes back only where that was asked for after an exception that was made up.
    pub(crate) fn terminated(&mut self, set: u8, code: u8) {
        if self.ends_a_trial(set, code) {
            return;
        }
        log!("TERMINATED set={set} code={code} vmpl={}", self.current());
        end(End::Terminated)
    }
}
