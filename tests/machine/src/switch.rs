//! From one VMPL to another: the VMSA page of the one that stops is written, that of the one that goes on is read.

use crate::bits::{u16_at, u32_at, u64_at};
use crate::injection::ALTERNATE;
use crate::log::log;
use crate::machine::{Machine, Processor, VmsaPage, Work};
use crate::memory::{Found, inspect};
use crate::phys::{self, PAGE};
use crate::rmp::{ASSIGNED, HUGE_PAGES, READ, TOUCHED, VALIDATED, VMSA, WRITE};
use crate::rules::Rule;
use crate::svm::{RAX, Regs, SVME, control, exit, save};

/// Parts of the save area that VMCB and VMSA have in common: (offset, bytes).
const COMMON: &[(usize, usize)] =
    &[(0, 0xA0), (0xCB, 1), (0xD0, 8), (0x148, 0x38), (0x1D8, 8), (0x1F8, 0x50), (0x268, 8)];

/// Offsets that only the VMSA has.
mod vmsa {
    pub(super) const VMPL: usize = 0xCA;
    /// Of register n at + 8 n, but RAX and RSP.
    pub(super) const REGISTERS: usize = 0x300;
    pub(super) const EXIT_INFO_1: usize = 0x390;
    pub(super) const EXIT_INFO_2: usize = 0x398;
    pub(super) const EXIT_INT_INFO: usize = 0x3A0;
    pub(super) const SEV_FEATURES: usize = 0x3B0;
    pub(super) const INTERRUPT_CONTROL: usize = 0x3B8;
    pub(super) const EXIT_CODE: usize = 0x3C0;
    pub(super) const EVENT_INJECT: usize = 0x3E0;
    pub(super) const MXCSR: usize = 0x408;
    pub(super) const FTW: usize = 0x40C;
    pub(super) const FSW: usize = 0x40E;
    pub(super) const FCW: usize = 0x410;
    pub(super) const X87: usize = 0x420;
    pub(super) const XMM: usize = 0x470;
}

/// What VINTR_CTRL and the control block have in common: TPR, V_IRQ, its priority, ignore TPR, its vector.
const INTERRUPT_CONTROL: u64 = 0xFF | 1 << 8 | 0x1F << 16 | 0xFF << 32;
/// V_INTR_MASKING.
const VIRTUAL_MASKING: u64 = 1 << 24;
const EVENT_VALID: u64 = 1 << 31;

type Page = [u8; 4096];

/// The VMSA's registers in FXSAVE form.
fn fx_from(page: &Page, regs: &mut Regs) {
    let fx = &mut regs.fx;
    fx.fill(0);
    crate::bits::put(fx, 0, &page[vmsa::FCW..vmsa::FCW + 2]);
    crate::bits::put(fx, 2, &page[vmsa::FSW..vmsa::FSW + 2]);
    let tags = u16_at(page, vmsa::FTW);
    fx[4] = (0..8).filter(|n| tags >> (2 * n) & 3 != 3).fold(0, |byte, n| byte | 1 << n);
    // Reserved bits of MXCSR would make FXRSTOR fault.
    crate::bits::put(fx, 24, &(u32_at(page, vmsa::MXCSR) & 0xFFBF).to_le_bytes());
    for n in 0..8 {
        crate::bits::put(fx, 32 + 16 * n, &page[vmsa::X87 + 10 * n..vmsa::X87 + 10 * n + 10]);
    }
    crate::bits::put(fx, 160, &page[vmsa::XMM..vmsa::XMM + 256]);
}

/// The other way.
fn fx_to(regs: &Regs, page: &mut Page) {
    let fx = &regs.fx;
    crate::bits::put(page, vmsa::FCW, &fx[0..2]);
    crate::bits::put(page, vmsa::FSW, &fx[2..4]);
    let tags = (0..8).filter(|n| fx[4] >> n & 1 == 0).fold(0u16, |tags, n| tags | 3 << (2 * n));
    crate::bits::put(page, vmsa::FTW, &tags.to_le_bytes());
    crate::bits::put(page, vmsa::MXCSR, &fx[24..28]);
    for n in 0..8 {
        crate::bits::put(page, vmsa::X87 + 10 * n, &fx[32 + 16 * n..32 + 16 * n + 10]);
    }
    crate::bits::put(page, vmsa::XMM, &fx[160..416]);
}

/// What run-VMPL leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunVmpl {
    /// An error for the caller.
    Refused,
    /// To this VMPL.
    Switch(usize),
    /// Nowhere, until this VMPL has a VMSA.
    Wait(usize),
}

/// Where a VMSA is, for the log.
const fn gpa_of(at: VmsaPage) -> u64 {
    match at {
        VmsaPage::Guest(gpa) => gpa,
        VmsaPage::Launched(_) => crate::launch::VMSA_GPA,
    }
}

impl Machine {
    /// Stores a processor's running context into its VMSA page; `code` becomes GUEST_EXITCODE.
    pub(crate) fn store(&self, processor: usize, code: u64) {
        let processor = &self.processors[processor];
        let level = &processor.levels[processor.current];
        let Some(hpa) = level.vmsa.and_then(|at| self.hpa_of(at)) else { return };
        let mut page: Page = [0; 4096];
        phys::read(hpa, &mut page);
        // What the exit before has given is in no control block yet, if the processor is not entered between.
        level.vmcb.set_save(save::RAX, level.regs.gpr[RAX]);
        for &(offset, len) in COMMON {
            level.vmcb.copy_save_out(offset as u64, &mut page[offset..offset + len]);
        }
        for n in (1..16).filter(|n| *n != 4) {
            crate::bits::put(&mut page, vmsa::REGISTERS + 8 * n, &level.regs.gpr[n].to_le_bytes());
        }
        fx_to(level.regs, &mut page);
        for (offset, field) in [
            (vmsa::EXIT_INFO_1, control::EXIT_INFO_1),
            (vmsa::EXIT_INFO_2, control::EXIT_INFO_2),
            (vmsa::EXIT_INT_INFO, control::EXIT_INT_INFO),
        ] {
            crate::bits::put(&mut page, offset, &level.vmcb.get(field).to_le_bytes());
        }
        crate::bits::put(&mut page, vmsa::EXIT_CODE, &code.to_le_bytes());
        if level.sev_features & ALTERNATE != 0 {
            let event = level.vmcb.get(control::EVENT_INJECT);
            let event = if event & EVENT_VALID == 0 { 0 } else { event };
            let virtual_interrupt = level.vmcb.get(control::VIRTUAL_INTERRUPT) & INTERRUPT_CONTROL;
            crate::bits::put(&mut page, vmsa::EVENT_INJECT, &event.to_le_bytes());
            crate::bits::put(&mut page, vmsa::INTERRUPT_CONTROL, &virtual_interrupt.to_le_bytes());
        }
        phys::write(hpa, &page);
    }

    fn hpa_of(&self, at: VmsaPage) -> Option<u64> {
        match at {
            VmsaPage::Launched(hpa) => Some(hpa),
            VmsaPage::Guest(gpa) => self.memory.rmp.hpa(gpa),
        }
    }

    /// Loads `vmpl`'s context from its VMSA page, which must be fit to run. `false`: it has none.
    pub(crate) fn load(&mut self, vmpl: usize) -> bool {
        const PAGING: u64 = 1 << 31;
        let level = &self.processor().levels[vmpl];
        let Some(at) = level.vmsa else { return false };
        if let Some((rule, why)) = self.unfit(vmpl, at) {
            if level.by != 0 {
                return false;
            }
            self.stop(rule, gpa_of(at), format_args!("VMPL{vmpl} was to run from it: {why}"));
        }
        let mut page: Page = [0; 4096];
        phys::read(self.hpa_of(at).unwrap_or_default(), &mut page);
        let root =
            |memory: &crate::memory::Memory| memory.root(vmpl, u64_at(&page, crate::bits::us(save::CR0)) & PAGING != 0);
        let root = root(&self.memory);
        let level = &mut self.processor_mut().levels[vmpl];
        for &(offset, len) in COMMON {
            level.vmcb.copy_save_in(offset as u64, &page[offset..offset + len]);
        }
        for n in (1..16).filter(|n| *n != 4) {
            level.regs.gpr[n] = u64_at(&page, vmsa::REGISTERS + 8 * n);
        }
        level.regs.gpr[0] = level.vmcb.save(save::RAX);
        level.regs.gpr[4] = level.vmcb.save(save::RSP);
        fx_from(&page, level.regs);
        level.sev_features = u64_at(&page, vmsa::SEV_FEATURES);
        level.vmcb.set(control::NESTED_CR3, root);
        // Interrupts come from the VMSA then, and those of the processor wait.
        let (mut event, mut virtual_interrupt) = (0, 0);
        if level.sev_features & ALTERNATE != 0 {
            event = u64_at(&page, vmsa::EVENT_INJECT);
            virtual_interrupt = u64_at(&page, vmsa::INTERRUPT_CONTROL) & INTERRUPT_CONTROL | VIRTUAL_MASKING;
        }
        level.vmcb.set(control::EVENT_INJECT, event);
        level.vmcb.set(control::VIRTUAL_INTERRUPT, virtual_interrupt);
        true
    }

    /// Why a VMSA page cannot be run.
    pub(crate) fn unfit(&self, vmpl: usize, at: VmsaPage) -> Option<(Rule, &'static str)> {
        if let VmsaPage::Guest(gpa) = at
            && let Some(why) = self.unfit_page(gpa)
        {
            return Some(why);
        }
        let mut page: Page = [0; 4096];
        phys::read(self.hpa_of(at)?, &mut page);
        let features = u64_at(&page, vmsa::SEV_FEATURES);
        let why = if usize::from(page[vmsa::VMPL]) != vmpl {
            "the VMPL field is another's"
        } else if !self.config.injection.supports(features) {
            "SEV_FEATURES lack SNP (bit 0), or have what this machine does not support"
        } else if u64_at(&page, crate::bits::us(save::EFER)) & SVME == 0 {
            "EFER.SVME is clear"
        } else {
            return None;
        };
        Some((Rule::VmsaInvalid, why))
    }

    fn unfit_page(&self, gpa: u64) -> Option<(Rule, &'static str)> {
        let Some(entry) = self.memory.rmp.entry(gpa) else {
            return Some((Rule::VmsaAttribute, "it is not in memory"));
        };
        if !entry.is(ASSIGNED | VALIDATED | VMSA) {
            return Some((Rule::VmsaAttribute, "it is no VMSA page"));
        }
        if entry.permissions[1..].iter().any(|permissions| permissions & WRITE != 0) {
            return Some((Rule::VmsaWritable, "another VMPL than VMPL0 may write to it"));
        }
        if self.memory.is_writable_still(gpa) {
            return Some((Rule::StaleTranslation, "another VMPL than VMPL0 can still write to it"));
        }
        if gpa.is_multiple_of(HUGE_PAGES * PAGE) {
            return Some((Rule::VmsaAlignment, "its address"));
        }
        let other = |(index, processor): (usize, &Processor)| index != self.me && processor.uses(gpa);
        if self.processors.iter().enumerate().any(other) {
            return Some((Rule::VmsaInvalid, "another processor runs from it"));
        }
        None
    }

    /// Stops the running VMPL (its GUEST_EXITCODE becomes `code`) and goes on with `target`.
    pub(crate) fn switch(&mut self, target: usize, code: u64) {
        self.store(self.me, code);
        if !self.load(target) {
            self.stop(Rule::RunVmplBad, 0, format_args!("VMPL{target} has no VMSA"));
        }
        if self.current() == 0 {
            self.measure_stack();
        }
        self.note_call(self.current(), target);
        self.processor_mut().current = target;
        self.begins(target);
    }

    /// Goes on as [`Self::run_vmpl`] says.
    pub(crate) fn go_on(&mut self, next: RunVmpl) {
        if self.goes_on() {
            return;
        }
        match next {
            RunVmpl::Refused => {}
            RunVmpl::Switch(target) => {
                self.begins_window(target);
                self.lie_swapped(target);
                self.switch(target, exit::VMGEXIT);
            }
            RunVmpl::Wait(target) => {
                self.store(self.me, exit::VMGEXIT);
                self.measure_stack();
                self.processor_mut().work = Work::Idle(Some(target));
            }
        }
    }

    /// VMPL2 is about to run: what is done when it does so for the first time.
    pub(crate) fn begins(&mut self, vmpl: usize) {
        if vmpl == 2 && !self.inspected {
            self.inspected = true;
            self.log_exits("VMPL2 begins");
            self.inspect_grants();
        }
        if vmpl == 2 {
            self.inspect_own();
        }
    }

    /// At each VMGEXIT, of a stack that is looked through quickly.
    pub(crate) fn measure_small_stack(&mut self) {
        const SMALL: u64 = 64 << 10;
        if self.current() == 0 && self.config.stack.is_some_and(|(bottom, top)| top - bottom <= SMALL) {
            self.measure_stack();
        }
    }

    /// How far down VMPL0 has used its stack: to the first word that is not as the lowest one.
    fn measure_stack(&mut self) {
        let Some((bottom, top)) = self.config.stack else { return };
        let word = |gpa: u64| self.memory.rmp.hpa(gpa).map(phys::read_u64);
        let paint = word(bottom);
        let touched = (bottom..top).step_by(8).find(|gpa| word(*gpa) != paint).unwrap_or(top);
        if touched < self.stack_used.unwrap_or(u64::MAX) {
            self.stack_used = Some(touched);
            log!("VMPL0 has used {} bytes of its stack of {}", top - touched, top - bottom);
        }
    }

    /// Run-VMPL, by either protocol.
    pub(crate) fn run_vmpl(&self, target: u64) -> RunVmpl {
        let vmpl = usize::try_from(target).unwrap_or(usize::MAX);
        let level = self.processor().levels.get(vmpl).filter(|_| vmpl != self.current());
        // What VMPL0 has named is judged when it is loaded.
        let can_run = |at: VmsaPage, by: usize| by == 0 || self.unfit(vmpl, at).is_none();
        match level {
            Some(level) if level.vmsa.is_some_and(|at| can_run(at, level.by)) => RunVmpl::Switch(vmpl),
            // Another processor may name one.
            Some(_) if self.current() == 0 && self.processors.len() > 1 => RunVmpl::Wait(vmpl),
            _ if self.current() == 0 => self.stop(Rule::RunVmplBad, 0, format_args!("VMPL{target} was asked for")),
            _ => RunVmpl::Refused,
        }
    }

    /// What VMPL2 can read when it first runs: nothing that was left over, no key of a more privileged VMPL.
    fn inspect_grants(&self) {
        let keys = self.psp.keys();
        for (gpa, entry) in self.memory.rmp.pages() {
            let readable = entry.is(ASSIGNED | VALIDATED) && entry.permissions[2] & READ != 0;
            let shared = !entry.is(ASSIGNED) && entry.is(TOUCHED);
            let Some(hpa) = self.memory.rmp.hpa(gpa).filter(|_| readable || shared) else {
                continue;
            };
            match inspect(hpa, &keys[..2]) {
                Some(Found::Scrambled) if readable => {
                    self.stop(Rule::UnzeroedGrant, gpa, format_args!("VMPL2 can read what was in the page before"));
                }
                Some(Found::Key(key)) => self.stop(Rule::SecretsLeak, gpa, format_args!("VMPCK{key} is there")),
                _ => {}
            }
        }
        log!("VMPL2 runs; what it can read has been inspected");
        self.log_exits("inspected");
    }

    /// `fault=spurious-run:N`: the host runs VMPL0 although VMPL2 did not ask for it.
    pub(crate) fn lie_spurious_run(&mut self, code: u64) -> bool {
        let Some(every) = self.config.lies.spurious_run else {
            return false;
        };
        self.processor_mut().intercepts += 1;
        if code == exit::VMGEXIT
            || self.processor().levels[0].vmsa.is_none()
            || !self.processor().intercepts.is_multiple_of(every.max(1))
        {
            return false;
        }
        log!("LIE spurious-run: VMPL0 is run after exit {code:#x} of VMPL2");
        self.switch(0, code);
        true
    }
}
