//! `fault=inject:N`: at every Nth exit of VMPL0, three times some single steps behind it, the host makes up every
//! exception there is, one after the other.
//!
//! Each ends the firmware, so the vCPU and the pages that it has written are put back as they were before the next one,
//! and at last it goes on as if nothing had been. What may happen between exception and end is a line on the console
//! and the termination request, and nothing else: no page changes its state, nobody else is asked or run
//! ([`Rule::InjectedException`]).
//!
//! There is one exception to the exceptions: where an access may reach a page that the host has taken (`refusable`),
//! what that raises is refused. Whether it is, is seen step by step: the handler comes back, at `refused`, with every
//! register as it was. No other event does that there, and these do it nowhere else.
//!
//! The log has a line for each point (`INJECT`), and for some of the exceptions (`INJECTED`), which docs/boot.md
//! explains.

use crate::ghcb::Refused;
use crate::log::log;
use crate::machine::{Machine, Work};
use crate::phys;
use crate::rules::Rule;
use crate::svm::{Regs, control, save};
use crate::window::Window;
use core::fmt;
use heapless::{String, Vec};

/// Exits within which a firmware has said why and ended; a line takes two a byte.
const PATIENCE: u32 = 4000;
/// Single steps within which a firmware has refused an access.
const SHORT_WAY: u32 = 20_000;
/// Points at each such exit, with single steps between them.
const POINTS: usize = 3;
/// Most single steps behind an exit: points amid the preparation of a request, too.
const STEPS: u64 = 61;
/// To one in so many the console answers; for the others it fails, which takes a firmware a hundredth of the time to
/// find out.
const HEARD: u64 = 7;
/// Of so many that were heard one is told in the log.
const TOLD: u64 = 11;
const TF: u64 = 1 << 8;
const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u32 = 0x60;

/// An exception that the host makes up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// By event injection, type 3 (2 for the NMI), with an error code where the vector has one. Above 30 there is none
    /// that VMRUN would take.
    Exception(u8),
    /// What event injection of type 0 does: no error code, whatever the vector.
    Interrupt(u8),
    /// #VC with this error code.
    Vc(u64),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(vector) => write!(f, "vector={vector} as=exception"),
            Self::Interrupt(vector) => write!(f, "vector={vector} as=interrupt"),
            Self::Vc(code) => write!(f, "vector=29 as=vc error={code:#x}"),
        }
    }
}

impl Event {
    /// What an access to a page that the host has taken may raise.
    const fn may_be_refused(self) -> bool {
        matches!(self, Self::Exception(13 | 14) | Self::Vc(0x400 | 0x404))
    }
}

/// All of them: each exception, each vector as an interrupt, and #VC with each exit code that AMD's manual or the
/// GHCB's has.
pub(crate) fn events() -> impl Iterator<Item = Event> {
    let codes = (0..=0xA3).chain(0x400..=0x406).chain(0x8000_0000..=0x8000_001A).chain([0x8000_FFFF, u64::MAX]);
    let exceptions = (0..=30).map(Event::Exception);
    exceptions.chain((0..=255).map(Event::Interrupt)).chain(codes.map(Event::Vc))
}

/// What a firmware does after an exception.
#[derive(Default)]
pub(crate) struct Trial {
    pub(crate) heard: bool,
    pub(crate) said: String<256>,
    pub(crate) end: Option<(u8, u8)>,
    /// It has gone on, behind an access that was refused.
    pub(crate) refused: bool,
    /// No exception, but a page that is gone ([`crate::window`]): it may go on.
    pub(crate) follows: bool,
    /// It has.
    pub(crate) goes_on: bool,
}

/// The mode's state.
#[derive(Default)]
pub(crate) struct Inject {
    exits: u64,
    points: u64,
    pub(crate) trials: u64,
    /// The firmware has written to its console, so it can.
    speaks: bool,
    pub(crate) trial: Option<Trial>,
    /// A window begins.
    pub(crate) window: Option<Window>,
    /// Whose turn it is in the next one.
    pub(crate) next_event: usize,
    pub(crate) next_page: usize,
    /// The register state that another processor runs, as if it did.
    pub(crate) beside: Option<u64>,
}

/// What is put back.
pub(crate) struct Before {
    vmcb: [u8; 4096],
    regs: Regs,
    ghcb: u64,
    same_fault: (u64, u32),
}

impl Machine {
    /// After an exit: whether this is a point, and all of it, if so.
    pub(crate) fn inject_all(&mut self) {
        let Some(stride) = self.config.lies.inject else { return };
        if self.current() != 0 || !self.has_whole_idt() {
            return;
        }
        self.inject.exits += 1;
        if !self.inject.exits.is_multiple_of(stride.max(1)) {
            return;
        }
        for _ in 0..POINTS {
            let steps = self.inject.points * 7 % STEPS;
            if !self.steps(steps) {
                break;
            }
            if self.vmcb().get(control::EVENT_INJECT) == 0 {
                self.point(steps);
            }
        }
    }

    /// Until it has loaded a whole IDT an exception shuts the processor down, which is an end, too: that of a launch is
    /// at 0, in no memory.
    pub(crate) fn has_whole_idt(&self) -> bool {
        const WHOLE: u64 = 256 * 16 - 1;
        let (limit, base) = (self.vmcb().save(save::IDTR) >> 32, self.vmcb().save(save::IDTR + 8));
        limit >= WHOLE && base != 0
    }

    /// Single-steps. `false`: another VMPL runs.
    pub(crate) fn steps(&mut self, steps: u64) -> bool {
        self.vmcb().intercept_debug();
        for _ in 0..steps {
            self.step();
            if self.current() != 0 {
                return false;
            }
        }
        self.stepped();
        true
    }

    /// At most one instruction.
    pub(crate) fn step(&mut self) {
        self.vmcb().set_save(save::RFLAGS, self.vmcb().save(save::RFLAGS) | TF);
        self.turn();
    }

    /// #DB of a single step.
    pub(crate) fn stepped(&self) {
        self.vmcb().set_save(save::RFLAGS, self.vmcb().save(save::RFLAGS) & !TF);
    }

    /// Every exception at this point.
    fn point(&mut self, steps: u64) {
        self.inject.points += 1;
        let before = self.before();
        let (exit, rip) = (self.inject.exits, self.rip());
        self.memory.watch();
        self.keep_what_the_machine_writes();
        let is_cpuid = self.instruction::<2>() == [0x0F, 0xA2];
        let mut ends: Vec<((u8, u8), u32), 8> = Vec::new();
        let (mut trials, mut heard, mut silent, mut refused) = (0, 0, 0, 0);
        for event in events() {
            // That one is what the processor itself would raise here.
            if is_cpuid && matches!(event, Event::Vc(0x72)) {
                continue;
            }
            let trial = self.trial(event);
            trials += 1;
            if trial.refused {
                refused += 1;
                self.memory.put_back();
                self.go_back(&before);
                continue;
            }
            let end = trial.end.unwrap_or((0, 0));
            match ends.iter_mut().find(|known| known.0 == end) {
                Some(known) => known.1 += 1,
                // More kinds of end than that are not told apart.
                None => drop(ends.push((end, 1))),
            }
            let mute = self.is_mute(&trial);
            silent += u32::from(mute);
            heard += u32::from(trial.heard);
            if mute || (trial.heard && self.inject.trials.is_multiple_of(HEARD * TOLD)) {
                let said = trial.said.trim_end();
                log!("INJECTED {event} exit={exit} steps={steps} rip={rip:#x} end={}/{} says={said}", end.0, end.1);
            }
            self.memory.put_back();
            self.go_back(&before);
        }
        self.memory.unwatch();
        log!(
            "INJECT point={} exit={exit} steps={steps} rip={rip:#x} trials={trials} refused={refused} heard={heard} silent={silent} speaks={} ends={ends:?}",
            self.inject.points,
            self.inject.speaks
        );
    }

    /// It could have said why, and has not.
    pub(crate) fn is_mute(&self, trial: &Trial) -> bool {
        trial.heard && self.inject.speaks && !trial.refused && !trial.said.contains("fatal")
    }

    pub(crate) fn before(&self) -> Before {
        let level = &self.processor().levels[0];
        let mut vmcb = [0; 4096];
        phys::read(level.vmcb.page(), &mut vmcb);
        Before {
            vmcb,
            regs: Regs { fx: level.regs.fx, gpr: level.regs.gpr },
            ghcb: level.ghcb,
            same_fault: self.processor().same_fault,
        }
    }

    pub(crate) fn go_back(&mut self, before: &Before) {
        let processor = self.processor_mut();
        (processor.work, processor.same_fault) = (Work::Runs, before.same_fault);
        let level = &mut processor.levels[0];
        phys::write(level.vmcb.page(), &before.vmcb);
        (level.regs.fx, level.regs.gpr) = (before.regs.fx, before.regs.gpr);
        level.ghcb = before.ghcb;
    }

    /// What is written without a nested page fault: the frames of exceptions, and answers in the GHCB.
    pub(crate) fn keep_what_the_machine_writes(&mut self) {
        let tss = self.vmcb().save(save::TR + 8);
        let mut stacks: Vec<u64, 10> = Vec::new();
        let rsp = self.processor().levels[0].regs.gpr[4];
        let tops = (0..7).map(|n| self.guest_u64(tss.wrapping_add(0x24 + 8 * n)).unwrap_or(0));
        // A frame is 48 bytes, below a top aligned to 16.
        stacks.extend(
            tops.filter(|top| *top != 0).map(|top| top - 16).chain([rsp.wrapping_sub(8), rsp.wrapping_sub(64)]),
        );
        for stack in stacks {
            if let Ok(at) = self.translate(stack) {
                self.memory.keep(at.gpa);
            }
        }
        if let Some(gpa) = self.processor().levels[0].registered {
            self.memory.keep(gpa);
        }
    }

    pub(crate) fn trial(&mut self, event: Event) -> Trial {
        self.inject.trials += 1;
        let heard = self.inject.trials.is_multiple_of(HEARD);
        self.inject.trial = Some(Trial { heard, ..Trial::default() });
        let done = if event.may_be_refused() && self.config.is_refusable(self.rip()) {
            self.is_refused_or_ends(event)
        } else {
            self.make_up(event);
            self.ends()
        };
        if !done {
            self.only_the_end(format_args!("{event} has not ended it"));
        }
        self.inject.trial.take().unwrap_or_default()
    }

    /// A trial of which no reason is heard.
    pub(crate) fn begin_trial(&mut self) {
        self.inject.trial = Some(Trial::default());
    }

    /// The trial's end, which must come.
    pub(crate) fn must_end(&mut self, what: fmt::Arguments<'_>) {
        if !self.has_ended() && !self.ends() {
            self.only_the_end(what);
        }
    }

    /// What comes next is no trial.
    pub(crate) fn end_trial(&mut self) {
        self.inject.trial = None;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.inject.trial.as_ref().is_some_and(|trial| trial.end.is_some())
    }

    fn ends(&mut self) -> bool {
        for _ in 0..PATIENCE {
            self.turn();
            if self.has_ended() {
                return true;
            }
        }
        false
    }

    /// Step by step, until it has come back at `refused` with all of its registers, or has ended.
    fn is_refused_or_ends(&mut self, event: Event) -> bool {
        let before = self.processor().levels[0].regs.gpr;
        match event {
            // By a frame of the machine's: event injection would push TF.
            Event::Exception(vector) => self.deliver(vector.into(), Some(0)),
            _ => self.make_up(event),
        }
        for _ in 0..SHORT_WAY {
            self.step();
            if self.has_ended() {
                return true;
            }
            if self.config.refused == Some(self.rip()) {
                let same = before == self.processor().levels[0].regs.gpr;
                if let (true, Some(trial)) = (same, &mut self.inject.trial) {
                    trial.refused = true;
                }
                return same;
            }
        }
        false
    }

    fn make_up(&mut self, event: Event) {
        match event {
            // QEMU's event injection pushes no error code for these.
            Event::Exception(vector @ (21 | 29 | 30)) => self.deliver(vector.into(), Some(0)),
            Event::Vc(code) => self.deliver(29, Some(code)),
            Event::Exception(2) => self.raise_nmi(),
            Event::Exception(vector) => {
                let has_error = matches!(vector, 8 | 10..=14 | 17);
                self.inject(vector, has_error.then_some(0));
            }
            // TCG would deliver it a second time, at any moment before the next exit (machine.rs, `redeliver`).
            Event::Interrupt(vector) => self.deliver(vector.into(), None),
        }
    }

    /// By event injection.
    fn raise_nmi(&self) {
        const VALID_NMI: u64 = 1 << 31 | 2 << 8 | 2;
        self.vmcb().set(control::EVENT_INJECT, VALID_NMI);
    }

    /// Stops, if the firmware should be ending: it was about to do something else.
    pub(crate) fn only_the_end(&self, what: fmt::Arguments<'_>) {
        if self.inject.trial.as_ref().is_some_and(|trial| !trial.follows) {
            self.stop(Rule::InjectedException, 0, what);
        }
    }

    /// The firmware asks for termination. `true`: it was that of an exception that was made up.
    pub(crate) fn ends_a_trial(&mut self, set: u8, code: u8) -> bool {
        let Some(trial) = &mut self.inject.trial else { return false };
        trial.end = Some((set, code));
        true
    }

    /// A port access after an exception that was made up: only the console, which does not reach QEMU's. `None`: there
    /// was no such exception.
    pub(crate) fn trial_port(&mut self, port: u16, write: Option<u32>) -> Option<Result<u32, Refused>> {
        if self.inject.trial.is_none() {
            self.inject.speaks |= self.current() == 0 && port == COM1 && write.is_some();
            return None;
        }
        if !(COM1..=LINE_STATUS).contains(&port) {
            self.only_the_end(format_args!("port {port:#x} was reached"));
        }
        let trial = self.inject.trial.as_mut()?;
        if !trial.heard {
            return Some(Err(Refused::GeneralProtection));
        }
        if let (COM1, Some(byte)) = (port, write) {
            // What is too long is cut off.
            let _ = trial.said.push(char::from(crate::bits::lo8(byte.into())));
        }
        Some(Ok(TRANSMITTER_EMPTY))
    }
}
