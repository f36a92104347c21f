//! The machine: processors with up to four VMPL contexts each, over one memory.

use crate::config::{Config, VmplFault};
use crate::cpu;
use crate::cpuid::Policy;
use crate::fwcfg::Mediated;
use crate::inject::Inject;
use crate::log::{End, end, log};
use crate::memory::Memory;
use crate::psp::Psp;
use crate::rules::Rule;
use crate::svm::{Regs, Svm, Vmcb, control, save};
use core::fmt;
use heapless::Vec;

/// Where a VMPL's VMSA is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VmsaPage {
    /// The launched one: a page of the machine's, which no GPA reaches (machine address).
    Launched(u64),
    /// A page of guest memory (GPA).
    Guest(u64),
}

/// What a VMPL of a processor is.
pub(crate) struct Level {
    pub(crate) vmcb: Vmcb,
    pub(crate) regs: &'static mut Regs,
    pub(crate) vmsa: Option<VmsaPage>,
    /// MSR C001_0130.
    pub(crate) ghcb: u64,
    /// The GHCB that was registered.
    pub(crate) registered: Option<u64>,
    /// The #HV doorbell page.
    pub(crate) doorbell: Option<u64>,
    /// SEV_FEATURES of the VMSA when it was last loaded.
    pub(crate) sev_features: u64,
    pub(crate) has_run: bool,
}

/// How often the guest has been left, and where time goes, by the time-stamp counter: under QEMU's `-icount shift=0` a
/// tick is an instruction.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Exits {
    pub(crate) all: u64,
    pub(crate) nested_page_faults: u64,
    /// PVALIDATE and RMPADJUST that were carried out without an exit of their own ([`crate::ahead`]).
    pub(crate) ahead: u64,
    /// Ticks in each VMPL, VMRUN and the exit included.
    ticks: [u64; 4],
    /// When the first VMPL was entered.
    since: u64,
}

impl Exits {
    /// Ticks since the first VMPL was entered.
    fn elapsed(&self) -> u64 {
        if self.since == 0 { 0 } else { cpu::rdtsc() - self.since }
    }
}

/// What is a processor's own.
pub(crate) struct Processor {
    pub(crate) levels: [Level; 4],
    /// The VMPL that runs.
    pub(crate) current: usize,
    pub(crate) exits: Exits,
    /// Intercepts of VMPL2 that were no VMGEXIT, for `fault=spurious-run`.
    pub(crate) intercepts: u64,
}

impl Processor {
    /// Its VMSAs are still to be named. `regs`: of each VMPL; `frame`: gives a zeroed page.
    pub(crate) fn new(regs: [&'static mut Regs; 4], svm: &Svm, mut frame: impl FnMut() -> u64) -> Self {
        let mut asid = 0;
        let levels = regs.map(|regs| {
            asid += 1;
            Level {
                vmcb: Vmcb::new(frame(), svm, asid),
                regs,
                vmsa: None,
                ghcb: 0,
                registered: None,
                doorbell: None,
                sev_features: 0,
                has_run: false,
            }
        });
        Self { levels, current: 0, exits: Exits::default(), intercepts: 0 }
    }
}

/// As many processors as there may be.
pub(crate) const PROCESSORS: usize = 8;

/// The machine, as the processor sees it that works in it.
pub(crate) struct Machine {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) memory: Memory,
    pub(crate) svm: Svm,
    /// By APIC id.
    pub(crate) processors: Vec<Processor, PROCESSORS>,
    /// Which of them this is.
    pub(crate) me: usize,
    pub(crate) psp: Psp,
    pub(crate) fwcfg: Mediated,
    /// Pages of RAM that VMPL0 has rescinded, for `fault=swap-before-rescind`.
    pub(crate) rescinded: u64,
    /// How far down VMPL0's stack has been used, where that is asked for.
    pub(crate) stack_used: Option<u64>,
    /// For `fault=inject`.
    pub(crate) inject: Inject,
}

impl Machine {
    /// This processor.
    pub(crate) fn processor(&self) -> &Processor {
        &self.processors[self.me]
    }

    /// This processor, to be changed.
    pub(crate) fn processor_mut(&mut self) -> &mut Processor {
        &mut self.processors[self.me]
    }

    /// The VMPL that runs.
    pub(crate) fn current(&self) -> usize {
        self.processor().current
    }

    /// The context that runs.
    pub(crate) fn context(&self) -> &Level {
        let processor = self.processor();
        &processor.levels[processor.current]
    }

    /// The context that runs, to be changed.
    pub(crate) fn level(&mut self) -> &mut Level {
        let processor = self.processor_mut();
        &mut processor.levels[processor.current]
    }

    /// The control block of the context that runs.
    pub(crate) fn vmcb(&self) -> &Vmcb {
        &self.context().vmcb
    }

    /// One line: how many exits, and the ticks of each VMPL and of this machine, of all processors.
    pub(crate) fn log_exits(&self, when: &str) {
        let sum = |of: fn(&Exits) -> u64| self.processors.iter().map(|processor| of(&processor.exits)).sum::<u64>();
        let machine = sum(Exits::elapsed) - sum(|exits| exits.ticks.iter().sum());
        log!(
            "{} exits, {} of them nested page faults, {} instructions ahead; ticks: VMPL0 {}, VMPL2 {}, this machine {machine}; {when}",
            sum(|exits| exits.all),
            sum(|exits| exits.nested_page_faults),
            sum(|exits| exits.ahead),
            sum(|exits| exits.ticks[0]),
            sum(|exits| exits.ticks[2]),
        );
    }

    /// RIP of the context that runs.
    pub(crate) fn rip(&self) -> u64 {
        self.vmcb().save(save::RIP)
    }

    /// Goes on behind an instruction of `length` bytes.
    pub(crate) fn skip(&self, length: u64) {
        self.vmcb().set_save(save::RIP, self.rip().wrapping_add(length));
    }

    /// Stops: the guest broke `rule`.
    pub(crate) fn stop(&self, rule: Rule, gpa: u64, detail: fmt::Arguments<'_>) -> ! {
        log!(
            "STOP rule={} gpa={gpa:#x} vmpl={} rip={:#x}: {}; {detail}",
            rule.name(),
            self.current(),
            self.rip(),
            rule.sentence()
        );
        end(End::Rule)
    }

    /// Whether the context that runs gets #GP for what it may not reach.
    pub(crate) fn gives_gp(&self) -> bool {
        self.current() != 0 && self.config.vmpl_fault == VmplFault::Gp
    }

    /// A VMPL has reached for what it was not granted.
    pub(crate) fn vmpl_violation(&self, gpa: u64, detail: fmt::Arguments<'_>) {
        if !self.gives_gp() {
            self.stop(Rule::VmplPermission, gpa, detail);
        }
        log!("refused: vmpl={} gpa={gpa:#x} rip={:#x}: {detail}", self.current(), self.rip());
        self.inject(13, Some(0));
    }

    /// Has the processor deliver an exception at the next entry. Not for #VC: see `vc`.
    pub(crate) fn inject(&self, vector: u8, error: Option<u32>) {
        const VALID: u64 = 1 << 31;
        const EXCEPTION: u64 = 3 << 8;
        const ERROR_VALID: u64 = 1 << 11;
        let error = error.map_or(0, |error| ERROR_VALID | u64::from(error) << 32);
        self.vmcb().set(control::EVENT_INJECT, VALID | EXCEPTION | u64::from(vector) | error);
    }

    /// Lets the guest begin with an interrupt that the interrupt controllers have handed to the machine: behind a STI,
    /// without its shadow.
    pub(crate) fn deliver_interrupt(&self, vector: u8) {
        const VALID: u64 = 1 << 31;
        self.vmcb().set(control::INTERRUPT_SHADOW, 0);
        self.vmcb().set(control::EVENT_INJECT, VALID | u64::from(vector));
    }

    /// Runs for ever, until something ends QEMU.
    pub(crate) fn run(&mut self) -> ! {
        let mut same_fault = (0, 0u32);
        self.processor_mut().exits.since = cpu::rdtsc();
        loop {
            self.turn(&mut same_fault);
            self.inject_all();
        }
    }

    /// Until the next exit, and what is to be done about that. `same_fault` as for `exit`.
    pub(crate) fn turn(&mut self, same_fault: &mut (u64, u32)) {
        let processor = &mut self.processors[self.me];
        let (level, exits) = (&mut processor.levels[processor.current], &mut processor.exits);
        level.vmcb.intercept_flushes(self.memory.is_any_stale());
        let entered = cpu::rdtsc();
        level.vmcb.enter(&self.svm, level.regs);
        exits.ticks[processor.current] += cpu::rdtsc() - entered;
        level.vmcb.set(control::EVENT_INJECT, 0);
        let code = level.vmcb.get(control::EXIT_CODE);
        let pending = level.vmcb.get(control::EXIT_INT_INFO);
        exits.all += 1;
        exits.nested_page_faults += u64::from(code == crate::svm::exit::NPF);
        self.exit(code, same_fault);
        self.redeliver(code, pending);
    }

    /// An event whose delivery was cut short by a nested page fault is delivered again.
    fn redeliver(&mut self, code: u64, pending: u64) {
        const VALID: u64 = 1 << 31;
        if code != crate::svm::exit::NPF || pending & VALID == 0 || self.vmcb().get(control::EVENT_INJECT) & VALID != 0
        {
            return;
        }
        // An interrupt shows as an exception here (facts of QEMU's TCG): vectors of 32 and above are interrupts. Not by
        // event injection: TCG delivers an interrupt that was injected once more, as an exception, if it looks for work
        // before the next exit.
        if pending & 0xFF >= 32 && self.has_delivered(pending & 0xFF, None) {
            return;
        }
        let pending = if pending & 0xFF >= 32 { pending & !(7 << 8) } else { pending };
        self.vmcb().set(control::EVENT_INJECT, pending);
    }
}
