//! A row of pages: PVALIDATE or RMPADJUST of one page behind another ([`crate::ahead`]).
//!
//! Where a page is as the one before it was, in everything that decides what the instruction does, the same is done to
//! it: operands, the reverse map's entry, the leaf. What else decides is the same for all pages, or the row is not
//! begun: one processor, nothing remembered by a TLB, nothing watched, noted, lent or about to be stolen, and no lie
//! about these instructions.

use crate::insn::{Code, Outcome};
use crate::machine::Machine;
use crate::npt::Side;
use crate::phys::{PAGE, read_u64, write_u64};
use crate::rmp::{ASSIGNED, Entry, HUGE, HUGE_PAGES, LENT, TOUCHED, VMSA};
use crate::svm::{RAX, RCX, RDX};
use crate::walk::Mapping;

/// The instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Pvalidate,
    Rmpadjust,
}

/// RAX, RCX and RDX of an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Operands {
    which: Which,
    linear: u64,
    others: (u64, u64),
}

impl Operands {
    fn of(which: Which, gpr: &[u64; 16]) -> Self {
        Self { which, linear: gpr[RAX], others: (gpr[RCX], gpr[RDX]) }
    }

    /// The same for the page behind.
    const fn behind(self) -> Self {
        Self { linear: self.linear.wrapping_add(PAGE), ..self }
    }
}

/// Where a row is.
#[derive(Default)]
pub(crate) struct Rows {
    /// Of the last instruction: a second page of a row is looked at, a first one is mostly the only one.
    last: Option<Operands>,
    done: Option<Done>,
}

/// What was done to the page before.
#[derive(Clone, Copy)]
struct Done {
    operands: Operands,
    gpa: u64,
    hpa: u64,
    before: Entry,
    after: Entry,
    /// The one leaf that has changed.
    leaf: Option<Leaf>,
}

#[derive(Clone, Copy)]
struct Leaf {
    slot: u64,
    before: u64,
    after: u64,
}

/// A leaf of the page behind.
const fn behind(leaf: u64) -> u64 {
    if leaf == 0 { 0 } else { leaf + PAGE }
}

impl Machine {
    /// Carries out `which` by all rules, and remembers what it has done, if the page behind may be like this one.
    pub(crate) fn begin_row(&mut self, which: Which, rows: &mut Rows, known: &mut Option<Mapping>) -> Outcome {
        let operands = Operands::of(which, &self.processor().levels[0].regs.gpr);
        let continues = rows.last.is_some_and(|last| last.behind() == operands);
        let first = if continues { self.seen_before(operands, known.as_ref()) } else { None };
        let outcome = match which {
            Which::Pvalidate => self.pvalidate(known),
            Which::Rmpadjust => self.rmpadjust(known),
        };
        let done = first.filter(|_| outcome == Some((Code::Success, false)));
        *rows = Rows { last: Some(operands), done: done.and_then(|(done, leaves)| self.seen_after(done, leaves)) };
        outcome
    }

    /// What there is before, and the leaves of all VMPLs.
    fn seen_before(&self, operands: Operands, known: Option<&Mapping>) -> Option<(Done, [u64; 4])> {
        let gpa = known?.of(operands.linear)?.gpa;
        let before = self.memory.rmp.entry(gpa)?;
        let plain = before.is(ASSIGNED) && before.flags & (HUGE | VMSA | TOUCHED | LENT) == 0;
        let lies = self.config.lies.psmash.is_some() || self.config.lies.swap_before_rescind.is_some();
        let alone = self.processors.len() == 1 && self.inject.beside.is_none() && !lies;
        if !plain || !alone || !self.memory.is_quiet() || !operands.linear.is_multiple_of(PAGE) {
            return None;
        }
        let hpa = self.memory.rmp.hpa(gpa)?;
        let done = Done { operands, gpa, hpa, before, after: before, leaf: None };
        Some((done, core::array::from_fn(|vmpl| self.memory.leaf(vmpl, gpa))))
    }

    fn seen_after(&self, done: Done, leaves: [u64; 4]) -> Option<Done> {
        let mut done = Done { after: self.memory.rmp.entry(done.gpa)?, ..done };
        for (vmpl, before) in leaves.into_iter().enumerate() {
            let after = self.memory.leaf(vmpl, done.gpa);
            if after != before {
                let slot = self.memory.slot(Side::Private(vmpl), done.gpa)?;
                if done.leaf.replace(Leaf { slot, before, after }).is_some() {
                    return None;
                }
            }
        }
        (!done.after.is(VMSA) && self.memory.is_quiet()).then_some(done)
    }

    /// Does to the page behind what was done to the last, if it is like it. Never to the page at the GPA `not`.
    #[inline(always)]
    pub(crate) fn is_as_before(&mut self, which: Which, rows: &mut Rows, known: Option<Mapping>, not: u64) -> bool {
        let Some(done) = &mut rows.done else { return false };
        let operands = Operands::of(which, &self.processors[self.me].levels[0].regs.gpr);
        let (gpa, hpa) = (done.gpa + PAGE, done.hpa + PAGE);
        let alike = operands == done.operands.behind()
            && gpa != not
            && !gpa.is_multiple_of(HUGE_PAGES * PAGE)
            && known.and_then(|known| known.of(operands.linear)).is_some_and(|at| at.gpa == gpa)
            && self.memory.rmp.entry(gpa) == Some(done.before)
            && self.memory.rmp.hpa(gpa) == Some(hpa);
        if !alike {
            return false;
        }
        if let Some(leaf) = &mut done.leaf {
            let next = Leaf { slot: leaf.slot + 8, before: behind(leaf.before), after: behind(leaf.after) };
            if read_u64(next.slot) != next.before {
                return false;
            }
            write_u64(next.slot, next.after);
            *leaf = next;
        }
        self.memory.rmp.set(gpa, done.after);
        (done.operands, done.gpa, done.hpa) = (operands, gpa, hpa);
        rows.last = Some(operands);
        self.processor_mut().levels[0].regs.gpr[RAX] = Code::Success as u64;
        true
    }
}
