//! `fault=window:N`: while VMPL0 serves a call that has [`MARK`] in R9, the host tries at its instructions, from the
//! first one behind the run-VMPL to the one that goes back, what it can do: exceptions ([`crate::inject`]), and taking
//! a page. With N it is one of each at every Nth instruction, in turn; with 0 all exceptions, and each page, at each.
//!
//! After each the processor, the pages that were written and the reverse map are put back, and the firmware goes on as
//! if nothing had been. An exception must end it. A page that is gone either ends it, or is a refusal, or is not
//! missed: then the firmware runs its guest, or asks somebody else, which is as far as it is followed. No page of the
//! firmware's may be granted to anybody meanwhile, and none to the guest with what was in it before
//! ([`Rule::InjectedException`], [`Rule::UnzeroedGrant`]).
//!
//! `fault=window-start:N`: the same from where another processor's VMPL0 has loaded its IDT to where it waits (PAUSE),
//! with exceptions only, since it goes nowhere without them.
//!
//! `fault=unasked`: a call with [`MARK`] is served step by step, and as soon as the guest's register state can be run
//! for the time that R8 says (0 the first, before the call is looked at; 1 the second, after it was served) the host
//! runs it, though VMPL0 has not asked for it.
//!
//! Where the guest's register state can be run, it is run on another processor, as if it was, from that instruction on,
//! and either goes on, or is stopped by the host some instructions later: VMPL0 must not take it for one that has made
//! a call ([`Rule::VmsaBusy`]).
//!
//! It is seen, too, at which instructions the guest's own register state could be run beside VMPL0: before the call is
//! looked at and after it was served, and not in between.
//!
//! One line in the log for each window (`WINDOW`), which docs/boot.md explains.

use crate::inject::{Event, Trial, events};
use crate::log::log;
use crate::machine::{Machine, VmsaPage, Work};
use crate::memory::{Found, inspect};
use crate::phys::{PAGE, read_u64, write_u64};
use crate::rmp::{ASSIGNED, Entry, FIRMWARE, READ, VALIDATED, VMSA};
use crate::rules::Rule;
use crate::svm::{SVME, exit, save};
use core::fmt;
use heapless::Vec;

/// R9 of a call that is to be a window: "WIND".
const MARK: u64 = 0x444E_4957;
/// Registers by number.
const R8: usize = 8;
const R9: usize = 9;
/// Instructions that are all looked at; of those behind them one in [`SPARSE`], and none behind the last.
const DENSE: u64 = 6_000;
const SPARSE: u64 = 64;
const LAST: u64 = 60_000;
/// Exits within which a firmware that has lost a page has come to an end or gone back.
const PATIENCE: u32 = 20_000;

/// Of a VMSA: what a call is in, and why it has stopped.
const REGISTERS: [u64; 5] = [save::RAX, 0x308, 0x310, 0x340, 0x348];
const EXIT_CODE: u64 = 0x3C0;

/// What is looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Window {
    Call,
    Start,
}

/// What became of a page's loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The firmware ends, with set and code; 0, 0: the processor shuts down.
    Ends(u8, u8),
    /// The guest is run, or another is asked.
    GoesOn,
    Hangs,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends(set, code) => write!(f, "{set}/{code}"),
            Self::GoesOn => write!(f, "on"),
            Self::Hangs => write!(f, "hangs"),
        }
    }
}

/// How often what came of it.
#[derive(Default)]
struct Fates(Vec<(Fate, u32), 8>);

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(fate, times)| write!(f, "{fate}:{times};"))
    }
}

impl Fates {
    fn count(&mut self, fate: Fate) {
        match self.0.iter_mut().find(|known| known.0 == fate) {
            Some(known) => known.1 += 1,
            // More kinds than that are not told apart.
            None => drop(self.0.push((fate, 1))),
        }
    }
}

/// Numbers in brackets, without blanks.
struct Turns<'a>(&'a [u32]);

impl fmt::Display for Turns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = '[';
        for turn in self.0 {
            write!(f, "{between}{turn}")?;
            between = ',';
        }
        write!(f, "]")
    }
}

/// The account of one window.
#[derive(Default)]
struct Account {
    exceptions: u32,
    refused: u32,
    silent: u32,
    ends: Fates,
    /// Of the guest's pages, of the firmware's, and of register states.
    guest: Fates,
    firmware: Fates,
    vmsa: Fates,
    /// The last loss of a guest's page that has ended the firmware, or of any that hangs.
    bad: u64,
    /// How often VMPL2 was run beside VMPL0.
    beside: u32,
    /// Instructions in a row at which the guest's register state can be run, and at which it cannot, by turns.
    runnable: Vec<u32, 8>,
}

impl Machine {
    /// Whether the call for which VMPL2 has just stopped is a window.
    pub(crate) fn begins_window(&mut self, target: usize) {
        let lies = self.config.lies;
        let wanted = lies.window.is_some() || lies.unasked.is_some();
        if wanted && target == 0 && self.processor().levels[2].regs.gpr[R9] == MARK {
            self.inject.window = Some(Window::Call);
        }
    }

    /// Another processor's VMPL0 has been started.
    pub(crate) fn begins_start(&mut self, vmpl: usize) {
        if self.config.lies.window_start.is_some() && vmpl == 0 && self.me != 0 {
            self.inject.window = Some(Window::Start);
        }
    }

    /// The window that has begun, if one has.
    pub(crate) fn try_window(&mut self) {
        let lies = self.config.lies;
        match self.inject.window.take() {
            Some(Window::Call) if lies.unasked.is_some() => self.run_unasked(),
            Some(Window::Call) => self.window(lies.window.unwrap_or(1), Window::Call),
            Some(Window::Start) => self.window(lies.window_start.unwrap_or(1), Window::Start),
            None => {}
        }
    }

    fn window(&mut self, every: u64, window: Window) {
        let call = self.processor().levels[2].regs.gpr[0];
        let mut account = Account::default();
        self.memory.watch_all();
        self.keep_what_the_machine_writes();
        self.vmcb().intercept_debug();
        let mut at = 0;
        while self.is_serving() && at < LAST && !(window == Window::Start && self.waits()) {
            let dense = at < DENSE || at.is_multiple_of(SPARSE);
            self.count_runnable(&mut account);
            if dense && at.is_multiple_of(every.max(1)) && !self.is_event_pending() && self.has_whole_idt() {
                self.memory.keep_again();
                self.keep_what_the_machine_writes();
                self.point_of_window(every, window, &mut account);
            }
            self.step();
            at += 1;
        }
        if self.current() == 0 {
            self.stepped();
        }
        self.memory.unwatch_all();
        let Account { exceptions, refused, silent, ends, guest, firmware, vmsa, bad, beside, runnable } = account;
        log!(
            "WINDOW {window:?} call={call:#x} instructions={at} exceptions={exceptions} refused={refused} silent={silent} ends={ends} guest={guest} firmware={firmware} vmsa={vmsa} bad={bad:#x} beside={beside} runnable={}",
            Turns(&runnable)
        );
    }

    fn is_serving(&self) -> bool {
        self.current() == 0 && self.processor().work == Work::Runs
    }

    fn waits(&self) -> bool {
        const PAUSE: [u8; 2] = [0xF3, 0x90];
        self.instruction::<2>() == PAUSE
    }

    /// Runs VMPL2 amid what VMPL0 does.
    fn run_unasked(&mut self) {
        let times = self.processor().levels[2].regs.gpr[R8];
        let mut account = Account::default();
        self.vmcb().intercept_debug();
        for at in 0..LAST {
            self.count_runnable(&mut account);
            // By turns it can and cannot.
            if account.runnable.len() as u64 == 1 + 2 * times {
                self.stepped();
                log!("LIE unasked: VMPL2 is run at instruction {at} of VMPL0, rip={:#x}", self.rip());
                return self.switch(2, exit::NMI);
            }
            self.step();
            if !self.is_serving() {
                return;
            }
        }
        self.stepped();
    }

    fn count_runnable(&self, account: &mut Account) {
        let can = self.processor().levels[2].vmsa.is_some_and(|at| self.unfit(2, at).is_none());
        let runnable = &mut account.runnable;
        // The first are those at which it can.
        if runnable.is_empty() {
            let _ = runnable.push(0);
        }
        let of_can = !runnable.len().is_multiple_of(2);
        match runnable.last_mut() {
            Some(last) if of_can == can => *last += 1,
            // More turns than that are wrong anyway.
            _ => drop(runnable.push(1)),
        }
    }

    fn point_of_window(&mut self, every: u64, window: Window, account: &mut Account) {
        let before = self.before();
        if every == 0 {
            events().for_each(|event| self.try_event(event, &before, account));
        } else if let Some(event) = events().nth(self.inject.next_event) {
            self.inject.next_event = (self.inject.next_event + 1) % events().count();
            self.try_event(event, &before, account);
        }
        if window == Window::Start {
            return;
        }
        self.try_beside(&before, account);
        let targets = self.targets();
        let which = self.inject.next_page;
        self.inject.next_page = which.wrapping_add(1);
        for (index, gpa) in targets.iter().enumerate() {
            if every == 0 || index == which % targets.len() {
                self.try_loss(*gpa, which / targets.len() % 2 == 1, &before, account);
            }
        }
    }

    fn try_event(&mut self, event: Event, before: &crate::inject::Before, account: &mut Account) {
        // What the processor itself would raise here.
        if matches!(event, Event::Vc(0x72)) && self.instruction::<2>() == [0x0F, 0xA2] {
            return;
        }
        let trial = self.trial(event);
        account.exceptions += 1;
        if trial.refused {
            account.refused += 1;
        } else {
            account.silent += u32::from(self.is_mute(&trial));
            let (set, code) = trial.end.unwrap_or((0, 0));
            account.ends.count(Fate::Ends(set, code));
        }
        self.memory.put_back();
        self.go_back(before);
    }

    /// Pages that may go: all that VMPL0 has written to since the call, what it stands on, and what the call names.
    fn targets(&self) -> Vec<u64, 264> {
        let mut targets = Vec::new();
        let here = [self.rip(), self.vmcb().save(save::IDTR + 8), self.vmcb().save(save::TR + 8)];
        let standing = here.into_iter().filter_map(|linear| self.translate(linear).ok()).map(|at| at.gpa & !(PAGE - 1));
        let root = self.vmcb().save(save::CR3) & !crate::npt::C & !(PAGE - 1);
        // What the call names in RCX and RDX, if that is memory.
        let [rcx, rdx] = [1, 2].map(|register| self.processor().levels[2].regs.gpr[register] & !(PAGE - 1));
        for gpa in standing.chain([root, rcx, rdx]).chain(self.memory.kept()) {
            if gpa != 0 && self.memory.rmp.entry(gpa).is_some() && !targets.contains(&gpa) {
                // There is room for all that can be kept.
                let _ = targets.push(gpa);
            }
        }
        targets
    }

    /// The host takes a page; then it is shared, or private again and not validated.
    fn try_loss(&mut self, gpa: u64, private: bool, before: &crate::inject::Before, account: &mut Account) {
        let Some(entry) = self.memory.rmp.entry(gpa) else { return };
        self.memory.begin_journal();
        self.inject.trials += 1;
        self.inject.trial =
            Some(Trial { heard: self.inject.trials.is_multiple_of(8), follows: true, ..Trial::default() });
        self.memory.change_state(gpa, !entry.is(ASSIGNED), false);
        if private && entry.is(ASSIGNED) {
            self.memory.change_state(gpa, true, false);
        }
        let fate = self.follow_loss();
        self.inject.trial = None;
        for (gpa, before) in self.memory.end_journal().iter().rev() {
            self.check_given(*gpa, *before);
            self.memory.set(*gpa, *before);
        }
        self.memory.put_back();
        self.go_back(before);
        let of_guest = !(FIRMWARE..FIRMWARE + crate::rmp::FIRMWARE_SIZE).contains(&gpa);
        let fates = match (entry.is(VMSA), of_guest) {
            (true, _) => &mut account.vmsa,
            (_, true) => &mut account.guest,
            _ => &mut account.firmware,
        };
        fates.count(fate);
        if fate == Fate::Hangs || (of_guest && fate != Fate::GoesOn && !entry.is(VMSA)) {
            account.bad = gpa;
        }
    }

    /// The guest's register state is run by another processor, which goes on for good or stops after some instructions
    /// of VMPL0.
    fn try_beside(&mut self, before: &crate::inject::Before, account: &mut Account) {
        const STEPS: u32 = 701;
        const RAX: u64 = 0xFEED_0000_0000_0000;
        let Some(VmsaPage::Guest(gpa)) = self.processor().levels[2].vmsa else { return };
        let Some(hpa) = self.memory.rmp.hpa(gpa).filter(|_| self.unfit(2, VmsaPage::Guest(gpa)).is_none()) else {
            return;
        };
        self.memory.keep(gpa);
        self.memory.begin_journal();
        self.inject.trial = Some(Trial { follows: true, ..Trial::default() });
        self.inject.beside = Some(gpa);
        account.beside += 1;
        if account.beside.is_multiple_of(2) {
            for _ in 0..account.beside.wrapping_mul(37) % STEPS {
                self.step();
                if self.has_gone_on() {
                    break;
                }
            }
            self.stepped();
            // What hardware stores when it stops.
            if !self.has_gone_on() {
                let efer = read_u64(hpa + save::EFER) | SVME;
                [(save::EFER, efer), (save::RAX, RAX), (EXIT_CODE, exit::NMI)]
                    .into_iter()
                    .for_each(|(at, value)| write_u64(hpa + at, value));
                self.inject.beside = None;
            }
        }
        let registers = |_: &Self| REGISTERS.map(|at| read_u64(hpa + at));
        let runs = registers(self);
        let fate = if self.has_gone_on() { Fate::GoesOn } else { self.follow_loss() };
        if registers(self) != runs || fate != Fate::GoesOn {
            self.stop(Rule::VmsaBusy, gpa, format_args!("it came to {fate}"));
        }
        (self.inject.beside, self.inject.trial) = (None, None);
        for (gpa, before) in self.memory.end_journal().iter().rev() {
            self.memory.set(*gpa, *before);
        }
        self.memory.put_back();
        self.go_back(before);
    }

    fn has_gone_on(&self) -> bool {
        self.inject.trial.as_ref().is_some_and(|trial| trial.goes_on)
    }

    fn follow_loss(&mut self) -> Fate {
        for _ in 0..PATIENCE {
            self.turn();
            let Some(trial) = &self.inject.trial else { return Fate::Hangs };
            if let Some((set, code)) = trial.end {
                return Fate::Ends(set, code);
            }
            if trial.goes_on {
                return Fate::GoesOn;
            }
        }
        Fate::Hangs
    }

    /// Nobody has got a page of the firmware's; what the guest has got was zeroed.
    fn check_given(&self, gpa: u64, before: Entry) {
        let Some(now) = self.memory.rmp.entry(gpa) else { return };
        let gains = |vmpl: usize| now.rights()[vmpl] & !before.rights()[vmpl] & READ != 0;
        if !now.is(ASSIGNED | VALIDATED) || !(1..4).any(gains) {
            return;
        }
        if gpa >= FIRMWARE && !now.is(VMSA) {
            self.stop(Rule::InjectedException, gpa, format_args!("a page of the firmware's is granted"));
        }
        let hpa = self.memory.rmp.hpa(gpa).unwrap_or_default();
        if inspect(hpa, &[]) == Some(Found::Scrambled) {
            self.stop(Rule::UnzeroedGrant, gpa, format_args!("after the host has taken a page"));
        }
    }

    /// The firmware runs its guest or asks somebody else. `true`: a page's loss is being followed, up to here.
    pub(crate) fn goes_on(&mut self) -> bool {
        match &mut self.inject.trial {
            Some(trial) if trial.follows => {
                trial.goes_on = true;
                true
            }
            _ => false,
        }
    }

    /// Whether a page's loss is being followed.
    pub(crate) fn is_following(&self) -> bool {
        self.inject.trial.as_ref().is_some_and(|trial| trial.follows)
    }

    /// The processor shuts down, which ends a page's loss that is being followed. `false`: there is none.
    pub(crate) fn shuts_down(&mut self) -> bool {
        self.is_following() && self.ends_a_trial(0, 0)
    }
}
