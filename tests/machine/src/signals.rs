//! `fault=hv:N`: at every Nth exit of VMPL0, and at points that chance chooses behind it, the host raises every event
//! that there is. With restricted injection only #HV arrives: its handler must come back at once, with every register
//! as it was, and must have asked nobody for anything. The others are what the mode forbids.
//!
//! A host that does not wait for the doorbell page's "no further signal" raises #HV within the handler of #HV: at each
//! of its instructions, one after the other, and puts the firmware back after each. Once the frame is lost, the only
//! thing that a firmware can do is to end.

use crate::bits::lo32;
use crate::inject::{Event, events};
use crate::injection::HV;
use crate::log::log;
use crate::machine::Machine;
use crate::rules::Rule;
use crate::svm::save;

/// Points at each such exit.
const POINTS: u64 = 3;
/// Most single steps between two points.
const STEPS: u64 = 61;
/// Of so many points at one #HV is raised within its handler, too.
const WITHIN: u64 = 16;
/// Instructions, and nested page faults of its stack, that the handler may take.
const SHORT: u32 = 24;

/// Steps that change nothing, behind which nothing else will.
const STANDSTILL: u32 = 6;

/// The mode's state.
#[derive(Default)]
pub(crate) struct Signals {
    exits: u64,
    points: u64,
    chance: u64,
}

impl Signals {
    /// Xorshift; the first one is from the seed.
    pub(crate) fn next(&mut self, seed: u64) -> u64 {
        let mut word = if self.chance == 0 { seed | 1 } else { self.chance };
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        self.chance = word;
        word
    }
}

/// What VMPL0 must have again.
#[derive(PartialEq, Eq)]
struct Context {
    gpr: [u64; 16],
    fx: [u8; 512],
    rip: u64,
    rflags: u64,
}

impl Machine {
    /// After an exit: whether this is a point, and all of it, if so.
    pub(crate) fn signal_all(&mut self) {
        let Some(stride) = self.config.lies.hv else { return };
        if self.current() != 0 || !self.is_restricted() || !self.has_gate(HV.into()) {
            return;
        }
        self.signals.exits += 1;
        if !self.signals.exits.is_multiple_of(stride.max(1)) {
            return;
        }
        for _ in 0..POINTS {
            let steps = self.signals.next(self.config.seed.unwrap_or(stride)) % STEPS;
            if !self.steps(steps) {
                break;
            }
            if self.vmcb().get(crate::svm::control::EVENT_INJECT) == 0 {
                self.signal_point(steps);
            }
        }
    }

    fn signal_point(&mut self, steps: u64) {
        self.signals.points += 1;
        let (point, rip) = (self.signals.points, self.rip());
        // VMRUN refuses each of these, and nothing comes of it.
        let forbidden = events().filter(|event| !matches!(event, Event::Exception(HV))).count();
        let instructions = self.signal();
        let ended = if point % WITHIN == 1 { self.signals_within(instructions) } else { 0 };
        log!(
            "HV point={point} exit={} steps={steps} rip={rip:#x} forbidden={forbidden} instructions={instructions} ended={ended}",
            self.signals.exits
        );
    }

    fn context_of_vmpl0(&self) -> Context {
        let regs = &self.context().regs;
        Context { gpr: regs.gpr, fx: regs.fx, rip: self.rip(), rflags: self.vmcb().save(save::RFLAGS) }
    }

    /// #HV, and its handler step by step: how many it has.
    fn signal(&mut self) -> u32 {
        const NOT_A_MACHINE_CHECK: u32 = !(1 << 9);
        let word = lo32(self.signals.next(1)) & NOT_A_MACHINE_CHECK;
        self.fill_doorbell(word);
        let mut before = self.context_of_vmpl0();
        // On its way to the guest it comes back behind the exit that it has not made.
        if let Some((_, end)) = self.config.window.filter(|(first, end)| (*first..*end).contains(&before.rip)) {
            before.rip = end;
        }
        self.deliver(HV.into(), None);
        self.in_signal = true;
        for step in 1..=SHORT {
            self.step();
            if self.rip() == before.rip {
                self.in_signal = false;
                if self.context_of_vmpl0() != before {
                    self.bad_handler(format_args!("it comes back with other registers"));
                }
                return step;
            }
        }
        self.bad_handler(format_args!("it is still at {:#x} after {SHORT} instructions", self.rip()))
    }

    fn bad_handler(&self, what: core::fmt::Arguments<'_>) -> ! {
        self.stop(Rule::SignalHandler, 0, what)
    }

    /// An exit to the host, while VMPL0 handles #HV.
    pub(crate) fn not_in_signal(&self, what: core::fmt::Arguments<'_>) {
        if self.in_signal {
            self.bad_handler(what);
        }
    }

    /// #HV within its handler, before each of the instructions: how many ended the firmware. It need not, where it can
    /// come back from both.
    fn signals_within(&mut self, instructions: u32) -> u32 {
        let context = self.context_of_vmpl0();
        let mut ended = 0;
        let before = self.before();
        self.memory.watch();
        self.keep_what_the_machine_writes();
        for steps in 0..instructions {
            self.begin_trial();
            self.deliver(HV.into(), None);
            (0..steps).for_each(|_| self.step());
            self.deliver(HV.into(), None);
            if !self.comes_back_to(&context) {
                self.must_end(format_args!("#HV at step {steps} of its handler has not ended it"));
                ended += 1;
            }
            self.end_trial();
            self.memory.put_back();
            self.go_back(&before);
        }
        self.memory.unwatch();
        ended
    }

    fn comes_back_to(&mut self, context: &Context) -> bool {
        let (mut last, mut same) = (self.context_of_vmpl0(), 0);
        for _ in 0..2 * SHORT {
            self.step();
            let now = self.context_of_vmpl0();
            if self.has_ended() {
                return false;
            }
            if now == *context {
                return true;
            }
            // A nested page fault leaves everything as it is, once or twice.
            same = if now == last { same + 1 } else { 0 };
            if same == STANDSTILL {
                self.only_the_end(format_args!("it has lost its way at {:#x}", now.rip));
            }
            last = now;
        }
        false
    }
}
