//! The machine: processors with up to four VMPL contexts each, over one memory.

use crate::ap::Named;
use crate::calls::Call;
use crate::config::{Config, VmplFault};
use crate::cpu;
use crate::cpuid::Policy;
use crate::entry;
use crate::fwcfg::Mediated;
use crate::inject::Inject;
use crate::log::{End, end, fault, log};
use crate::memory::Memory;
use crate::phys::PAGE;
use crate::psp::Psp;
use crate::rules::Rule;
use crate::signals::Signals;
use crate::smp::{self, PROCESSORS, Place};
use crate::svm::{Entry, Host, Regs, Svm, Vmcb, control, exit, save};
use core::cell::Cell;
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
    /// The host has something to say to it, by #HV.
    pub(crate) signalled: bool,
    /// SEV_FEATURES of the VMSA when it was last loaded.
    pub(crate) sev_features: u64,
    /// Another processor, or this one, has sent it an NMI.
    pub(crate) nmi: bool,
    /// The VMPL that has named the VMSA.
    pub(crate) by: usize,
    /// AP creation wants the processor to go on with it.
    pub(crate) starts: bool,
}

/// What a processor does when it is not in the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// It runs the VMPL that is current.
    Runs,
    /// That VMPL has executed HLT: an interrupt is waited for.
    Halted,
    /// The same without interrupts: it goes on behind the HLT after an NMI.
    Stopped,
    /// That VMPL has asked for AP reset hold: nothing ends it but AP creation.
    Held,
    /// It has no register state to run; when it is given one of this VMPL, it goes on with that.
    Idle(Option<usize>),
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
    /// Ticks in a VMPL.
    pub(crate) fn ticks(&self, vmpl: usize) -> u64 {
        self.ticks[vmpl]
    }

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
    pub(crate) call: Call,
    /// Intercepts of VMPL2 that were no VMGEXIT, for `fault=spurious-run`.
    pub(crate) intercepts: u64,
    pub(crate) work: Work,
    /// Another processor has stored what ran here, which runs no more: there is nothing to be done about its exit.
    pub(crate) evicted: bool,
    /// Since it is in the machine for the first time.
    host: Option<Host>,
    /// The last nested page fault, and how often it came in a row.
    pub(crate) same_fault: (u64, u32),
    /// How often it has halted in the register state that was launched for it.
    pub(crate) parked_halts: u32,
    /// Page and RIP of what was refused last: it is told once.
    last_refused: Cell<(u64, u64)>,
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
                signalled: false,
                sev_features: 0,
                nmi: false,
                by: 0,
                starts: false,
            }
        });
        Self {
            levels,
            current: 0,
            exits: Exits::default(),
            call: Call::default(),
            intercepts: 0,
            work: Work::Idle(None),
            evicted: false,
            host: None,
            same_fault: (0, 0),
            parked_halts: 0,
            last_refused: Cell::new((0, 0)),
        }
    }

    /// The VMPL that it goes on with, if it does nothing.
    fn next_level(&self) -> Option<usize> {
        let Work::Idle(waits_for) = self.work else { return None };
        let wanted = |vmpl: &usize| {
            let level = &self.levels[*vmpl];
            level.vmsa.is_some() && (level.starts || waits_for == Some(*vmpl))
        };
        (0..4).find(wanted)
    }

    /// Whether it runs from the VMSA at `gpa`.
    pub(crate) fn uses(&self, gpa: u64) -> bool {
        !matches!(self.work, Work::Idle(_)) && self.levels[self.current].vmsa == Some(VmsaPage::Guest(gpa))
    }
}

/// The machine, as the processor sees it that works in it.
pub(crate) struct Machine {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) memory: Memory,
    /// By APIC id.
    pub(crate) processors: Vec<Processor, PROCESSORS>,
    /// Which of them this is.
    pub(crate) me: usize,
    pub(crate) psp: Psp,
    pub(crate) fwcfg: Mediated,
    /// Pages of RAM that VMPL0 has rescinded, for `fault=swap-before-rescind`.
    pub(crate) rescinded: u64,
    /// The page of 2 MiB that VMPL0 has changed last, and how often in a row, for `fault=psmash`.
    pub(crate) huge_operand: (u64, u64),
    /// What [`crate::ahead`] has read of the firmware's code.
    pub(crate) read: crate::ahead::Read,
    /// AP creations so far, and times that VMPL0 has asked to run another VMPL, for the lies about them; whether
    /// `fault=vmsa-swapped` has been.
    pub(crate) creations: u64,
    pub(crate) runs_asked_for: u64,
    pub(crate) swapped: bool,
    /// An AP creation that the host has put off.
    pub(crate) late: Option<Named>,
    /// How far down VMPL0's stack has been used, where that is asked for.
    pub(crate) stack_used: Option<u64>,
    /// What VMPL2 can read was inspected, when it ran for the first time.
    pub(crate) inspected: bool,
    /// Runs of VMPL2 until its own pages are inspected (`own=N`).
    pub(crate) own_left: u64,
    /// For `fault=inject`.
    pub(crate) inject: Inject,
    /// For `fault=hv`; whether the handler of #HV is being watched.
    pub(crate) signals: Signals,
    pub(crate) in_signal: bool,
    /// `fault=event` has been.
    pub(crate) event_raised: bool,
    /// Exits so far, for `fault=present`.
    pub(crate) presented: u64,
}

impl Machine {
    /// From here on it is processor `me` that works here.
    pub(crate) fn enter_as(&mut self, me: usize) {
        self.me = me;
        self.memory.enter_as(me);
    }

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
        let here = (gpa & !(PAGE - 1), self.rip());
        if self.processor().last_refused.replace(here) != here {
            log!("refused: vmpl={} gpa={gpa:#x} rip={:#x}: {detail}", self.current(), self.rip());
        }
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
    /// without its shadow. Not by event injection, where that can be helped: see [`Self::redeliver`].
    fn deliver_interrupt(&mut self, vector: u8) {
        const VALID: u64 = 1 << 31;
        self.vmcb().set(control::INTERRUPT_SHADOW, 0);
        if !self.has_delivered(vector.into(), None) {
            self.vmcb().set(control::EVENT_INJECT, VALID | u64::from(vector));
        }
    }

    /// The processor is in the machine for the first time.
    fn begin(&mut self) {
        let host = Host::new(|| self.memory.frames(1));
        self.processor_mut().host = Some(host);
    }

    /// What the processor does next: makes ready to run the guest. `None`: it waits.
    fn next(&mut self) -> Option<Entry> {
        if let Some(vmpl) = self.processor().next_level() {
            self.start(vmpl);
            self.try_window();
        }
        self.deliver_signal();
        self.deliver_nmi();
        (self.processor().work == Work::Runs).then(|| self.entry())
    }

    /// An NMI that the guest has sent ends a HLT, and is the first that the VMPL sees, but what is delivered already.
    fn deliver_nmi(&mut self) {
        const VALID: u64 = 1 << 31;
        const NMI: u64 = 2 << 8 | 2;
        let work = self.processor().work;
        let takes_it = matches!(work, Work::Runs | Work::Halted | Work::Stopped);
        if !self.context().nmi || !takes_it || self.vmcb().get(control::EVENT_INJECT) & VALID != 0 {
            return;
        }
        if work == Work::Halted {
            self.skip(1);
        }
        self.processor_mut().work = Work::Runs;
        self.level().nmi = false;
        self.vmcb().set(control::EVENT_INJECT, VALID | NMI);
    }

    fn entry(&mut self) -> Entry {
        let any_stale = self.memory.is_any_stale_here();
        let processor = self.processor_mut();
        if processor.exits.since == 0 {
            processor.exits.since = cpu::rdtsc();
        }
        let Some(host) = processor.host else { fault!("a processor that has not begun") };
        let level = &mut processor.levels[processor.current];
        level.vmcb.intercept_flushes(any_stale);
        level.vmcb.enter(host, level.regs)
    }

    /// After the guest has exited: what is to be done about that.
    fn left(&mut self, ticks: u64) {
        let processor = self.processor_mut();
        let (level, exits) = (&mut processor.levels[processor.current], &mut processor.exits);
        level.vmcb.left(level.regs);
        exits.ticks[processor.current] += ticks;
        level.vmcb.set(control::EVENT_INJECT, 0);
        let code = level.vmcb.get(control::EXIT_CODE);
        let pending = level.vmcb.get(control::EXIT_INT_INFO);
        exits.all += 1;
        exits.nested_page_faults += u64::from(code == exit::NPF);
        if code == exit::NMI {
            entry::take_nmi();
        }
        if core::mem::take(&mut processor.evicted) {
            return;
        }
        self.exit(code);
        self.redeliver(code, pending);
    }

    /// Until the next exit, and what is to be done about that; no other processor does anything meanwhile.
    pub(crate) fn turn(&mut self) {
        let entry = self.entry();
        let ticks = entry.run();
        self.left(ticks);
    }

    /// The processor has waited. `vector`: of an interrupt, or 0.
    fn woken(&mut self, vector: u8) {
        let evicted = core::mem::take(&mut self.processor_mut().evicted);
        if vector == 0 {
            return;
        }
        if evicted || self.processor().work != Work::Halted {
            return crate::apic::give_back(vector);
        }
        if self.is_alternate() {
            return self.present(vector.into(), 0);
        }
        self.processor_mut().work = Work::Runs;
        self.skip(1);
        self.deliver_interrupt(vector);
    }

    /// An event whose delivery was cut short by a nested page fault is delivered again.
    fn redeliver(&mut self, code: u64, pending: u64) {
        const VALID: u64 = 1 << 31;
        if code != exit::NPF || pending & VALID == 0 || self.vmcb().get(control::EVENT_INJECT) & VALID != 0 {
            return;
        }
        // QEMU forgets a virtual interrupt once it is delivered, and not before: it will be.
        if self.virtual_interrupt() == Some(crate::bits::lo8(pending)) {
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

/// Runs processor `me` for ever, until something ends QEMU. The machine is free while the guest runs, and while the
/// processor waits.
pub(crate) fn run(me: usize) -> ! {
    let mut machine = smp::lock(me);
    machine.begin();
    loop {
        machine = if let Some(entry) = machine.next() {
            let gives_turn = machine.gives_turn();
            let (mut machine, ticks) = machine.away(Place::Guest, || {
                if gives_turn {
                    core::hint::spin_loop();
                }
                entry.run()
            });
            machine.left(ticks);
            machine.inject_all();
            machine.try_window();
            machine.signal_all();
            machine.lie_event();
            machine.lie_present();
            machine
        } else {
            let interrupts = machine.processor().work == Work::Halted;
            let (mut machine, vector) = machine.away(Place::Waits, || entry::wait(interrupts));
            machine.woken(vector);
            machine
        };
    }
}
