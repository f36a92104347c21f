//! AP creation: a VMPL names the register state (VMSA) of another context, of any processor.
//!
//! A less privileged VMPL's word is checked when it is given and whenever the host would follow it; what is wrong then
//! is an error, or a processor that waits. VMPL0's word is followed, and what is wrong stops the machine by its rule.

use crate::bits::{lo16, us};
use crate::ghcb::{Answer, Ghcb, Malformed, Refused, field};
use crate::log::log;
use crate::machine::{Machine, VmsaPage, Work};
use crate::phys::{self, PAGE};
use crate::smp;
use crate::svm::exit;

/// Requests: the register state for the processor's next INIT, for now, or none any more.
const ON_INIT: u16 = 0;
const NOW: u16 = 1;
const DESTROY: u16 = 2;
/// Where a VMSA has SEV_FEATURES.
const SEV_FEATURES: u64 = 0x3B0;

/// Who has named a VMSA that the host has put into its place: what cannot be run then is not run.
const LIED: usize = 1;

/// What AP creation asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    processor: usize,
    vmpl: usize,
    vmsa: u64,
    by: usize,
    starts: bool,
}

impl Machine {
    /// `info1`: request, VMPL and APIC id; `vmsa`: GPA of the register state; RAX: its SEV_FEATURES.
    pub(crate) fn ap_creation(&mut self, ghcb: Ghcb, info1: u64, vmsa: u64) -> Result<Answer, Refused> {
        let (request, vmpl, mut processor) = (lo16(info1), us(info1 >> 16 & 15), us(info1 >> 32));
        self.creations += 1;
        let lies = self.config.lies;
        let is_lie = |lie: Option<u64>| lie == Some(self.creations);
        if is_lie(lies.ap_never) {
            log!("LIE ap-never: processor={processor} vmpl={vmpl} vmsa={vmsa:#x}");
            return Ok(Answer::default());
        }
        if is_lie(lies.ap_refused) {
            log!("LIE ap-refused: processor={processor} vmpl={vmpl} vmsa={vmsa:#x}");
            return Err(Malformed::InvalidInput.into());
        }
        if is_lie(lies.ap_other) {
            processor = (processor + 1) % self.processors.len();
            log!("LIE ap-other: processor={processor} vmpl={vmpl} vmsa={vmsa:#x}");
        }
        if !self.may_create(processor, vmpl) || !vmsa.is_multiple_of(PAGE) {
            return Err(Malformed::InvalidInput.into());
        }
        let runs = self.runs(processor, vmpl);
        match request {
            // What the guest sends as INIT is ignored: it runs on.
            ON_INIT if runs => return Ok(Answer::default()),
            ON_INIT | NOW => {
                self.check_named(ghcb, vmpl, vmsa)?;
                let named = Named { processor, vmpl, vmsa, by: self.current(), starts: request == NOW };
                self.follow_or_lie(named);
                return Ok(Answer::default());
            }
            DESTROY => {
                self.evict(processor, vmpl);
                let level = &mut self.processors[processor].levels[vmpl];
                (level.vmsa, level.starts) = (None, false);
            }
            _ => return Err(Malformed::InvalidInput.into()),
        }
        self.tell(processor);
        Ok(Answer::default())
    }

    fn tell(&self, processor: usize) {
        if processor != self.me {
            smp::notify(processor);
        }
    }

    /// Gives a processor the register state that was named for it.
    fn follow(&mut self, named: Named) {
        let Named { processor, vmpl, vmsa, by, starts } = named;
        self.evict(processor, vmpl);
        let level = &mut self.processors[processor].levels[vmpl];
        (level.vmsa, level.by, level.starts) = (Some(VmsaPage::Guest(vmsa)), by, starts);
        self.tell(processor);
    }

    /// The same, if this is none of the creations that the host lies about; and what it was told before and has not
    /// done yet.
    fn follow_or_lie(&mut self, named: Named) {
        let lies = self.config.lies;
        let is_lie = |lie: Option<u64>| lie == Some(self.creations);
        let [late, twice, vmpl, page] = [lies.ap_late, lies.ap_twice, lies.ap_vmpl, lies.ap_page].map(is_lie);
        if let Some(before) = self.late.take() {
            log!("LIE ap-late: {before:x?} is carried out");
            self.follow(before);
        }
        if late {
            log!("LIE ap-late: {named:x?} waits");
            self.late = Some(named);
            return;
        }
        // What hardware makes of it is no mistake of who has named it.
        let lied = Named { by: LIED, ..named };
        let lied = match (twice, vmpl, page) {
            (true, ..) => lied,
            (_, true, _) => Named { vmpl: named.vmpl ^ 1, ..lied },
            (_, _, true) => Named { vmsa: named.vmsa + PAGE, ..lied },
            _ => return self.follow(named),
        };
        log!("LIE about AP creation: {named:x?} is carried out as {lied:x?}");
        self.follow(lied);
        if twice {
            self.follow(Named { processor: (named.processor + 1) % self.processors.len(), ..lied });
        }
    }

    /// `fault=parked-run`: the host runs what was launched for this processor, at VMPL0.
    pub(crate) fn lie_parked(&mut self, states: &[u64]) {
        if self.config.lies.parked_run.is_none() {
            return;
        }
        for (processor, state) in self.processors.iter_mut().zip(states).skip(1) {
            let level = &mut processor.levels[0];
            (level.vmsa, level.by, level.starts) = (Some(VmsaPage::Launched(*state)), LIED, true);
        }
    }

    /// Whether this processor runs what was launched for it, though it is not the first.
    pub(crate) fn is_parked(&self) -> bool {
        self.me != 0 && self.current() == 0 && matches!(self.context().vmsa, Some(VmsaPage::Launched(_)))
    }

    /// A parked processor halts; the host wakes it by an NMI, once.
    pub(crate) fn parked_halts(&mut self) {
        let again = self.processor().parked_halts > 0;
        log!("LIE parked-run: processor={} halts at rip={:#x}", self.me, self.rip());
        self.processor_mut().parked_halts += 1;
        self.level().nmi = !again;
    }

    /// A VMPL may name register states of its own and of less privileged VMPLs, but not of itself.
    fn may_create(&self, processor: usize, vmpl: usize) -> bool {
        let itself = processor == self.me && vmpl == self.current();
        processor < self.processors.len()
            && (self.current()..4).contains(&vmpl)
            && !itself
            && (vmpl == 0 || !self.config.no_vmpls)
    }

    fn check_named(&self, ghcb: Ghcb, vmpl: usize, vmsa: u64) -> Result<(), Malformed> {
        let features = ghcb.get(field::RAX)?;
        let hpa = self.memory.rmp.hpa(vmsa).ok_or(Malformed::InvalidInput)?;
        let supported = self.config.injection.supports(features);
        let fit = self.current() == 0 || self.unfit(vmpl, VmsaPage::Guest(vmsa)).is_none();
        let used = self.processors.iter().any(|processor| processor.uses(vmsa));
        if !supported || phys::read_u64(hpa + SEV_FEATURES) != features || !fit || used {
            return Err(Malformed::InvalidInput);
        }
        Ok(())
    }

    /// Whether the VMPL is what another processor runs, or has halted.
    fn runs(&self, processor: usize, vmpl: usize) -> bool {
        let that = &self.processors[processor];
        processor != self.me && that.current == vmpl && !matches!(that.work, Work::Idle(_))
    }

    /// Takes the VMPL from the processor, if that runs it: its registers are in its VMSA then.
    fn evict(&mut self, processor: usize, vmpl: usize) {
        if !self.runs(processor, vmpl) {
            return;
        }
        smp::expel(processor);
        self.store(processor, exit::NMI);
        let that = &mut self.processors[processor];
        that.evicted = true;
        // Where a more privileged VMPL has asked to run this one, it still does.
        let asked_for = that.levels[..vmpl].iter().any(|level| level.vmsa.is_some());
        that.work = Work::Idle(asked_for.then_some(vmpl));
    }

    /// `fault=vmsa-swapped:N`: the host exchanges the VMSAs of a VMPL of two processors, at the Nth run-VMPL of VMPL0's
    /// or the next one at which there is another that can be run.
    pub(crate) fn lie_swapped(&mut self, vmpl: usize) {
        let Some(from) = self.config.lies.vmsa_swapped.filter(|_| self.current() == 0) else { return };
        self.runs_asked_for += 1;
        if self.runs_asked_for < from || self.swapped {
            return;
        }
        let me = self.me;
        let can_be_run = |at: VmsaPage| self.unfit(vmpl, at).is_none();
        let other = (0..self.processors.len())
            .find(|other| *other != me && self.processors[*other].levels[vmpl].vmsa.is_some_and(can_be_run));
        let Some(other) = other else { return };
        log!("LIE vmsa-swapped: processors {me} and {other} exchange the VMSAs of VMPL{vmpl}");
        self.swapped = true;
        let (mine, theirs) = (self.processors[me].levels[vmpl].vmsa, self.processors[other].levels[vmpl].vmsa);
        self.processors[me].levels[vmpl].vmsa = theirs;
        self.processors[other].levels[vmpl].vmsa = mine;
    }

    /// Goes on with a VMPL from its VMSA, if that can be run.
    pub(crate) fn start(&mut self, vmpl: usize) {
        self.processor_mut().levels[vmpl].starts = false;
        if !self.load(vmpl) {
            self.processor_mut().levels[vmpl].vmsa = None;
            return;
        }
        let processor = self.processor_mut();
        (processor.work, processor.current, processor.same_fault) = (Work::Runs, vmpl, (0, 0));
        self.begins(vmpl);
        self.begins_start(vmpl);
    }
}
