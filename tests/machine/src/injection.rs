//! How a host may interrupt a VMPL: by any event, or, where SEV_FEATURES have restricted injection, by #HV alone, with
//! what there is to say in a doorbell page (APM volume 2, 15.36.16; GHCB specification, 5).

use crate::apic;
use crate::bits::{lo8, lo32};
use crate::ghcb::{Answer, Malformed, Refused};
use crate::log::log;
use crate::machine::{Machine, Work};
use crate::phys::{self, PAGE};
use crate::rules::Rule;
use crate::smp;
use crate::svm::{control, exit, save};

/// #HV.
pub(crate) const HV: u8 = 28;
/// The doorbell page's flag that the host has signalled, and signals no more before the guest has cleared it.
const NO_FURTHER_SIGNAL: u32 = 1 << 15;
/// SEV_FEATURES: restricted injection, alternate injection.
const RESTRICTED: u64 = 1 << 3;
pub(crate) const ALTERNATE: u64 = 1 << 4;
/// What the host has in the doorbell page when it has nothing to say but that VMPL0 shall run.
const SIGNAL_VECTOR: u32 = 0x50;
/// Where the doorbell page has what is presented to VMPL2, and that there is something.
const PRESENTED: u64 = 2 * 64;
const FOR_VMPL2: u32 = 1 << (24 + 1);

/// What the host offers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Injection {
    /// Upstream's KVM: nothing but injection of any event.
    #[default]
    Any,
    /// Restricted injection, where a VMSA has it.
    Restricted,
    /// That, and alternate injection.
    Alternate,
}

impl Injection {
    /// Whether a VMSA may have these SEV_FEATURES here: SNP it must have, and one of the others it may.
    pub(crate) const fn supports(self, sev_features: u64) -> bool {
        const SNP: u64 = 1;
        let others = match self {
            Self::Any => 0,
            Self::Restricted => RESTRICTED,
            Self::Alternate => RESTRICTED | ALTERNATE,
        };
        const BOTH: u64 = RESTRICTED | ALTERNATE;
        sev_features & SNP != 0 && sev_features & !(SNP | others) == 0 && sev_features & BOTH != BOTH
    }

    /// Features of the hypervisor beside those of [`crate::msr::HV_FEATURES`].
    const fn hv_features(self) -> u64 {
        match self {
            Self::Any => 0,
            Self::Restricted => 1 << 2,
            Self::Alternate => 1 << 2 | 1 << 9,
        }
    }
}

impl Machine {
    /// Features of the hypervisor, as it says them.
    pub(crate) fn hv_features(&self) -> u64 {
        let own = crate::msr::HV_FEATURES | self.config.injection.hv_features();
        self.config.lies.hv_features.unwrap_or(own)
    }

    /// Whether the context that runs takes no event but #HV.
    pub(crate) fn is_restricted(&self) -> bool {
        self.context().sev_features & RESTRICTED != 0
    }

    /// #HV doorbell page: 0 preferred address, 1 set, 2 query, 3 clear.
    pub(crate) fn doorbell_event(&mut self, request: u64, gpa: u64) -> Result<Answer, Refused> {
        if self.config.injection == Injection::Any {
            return Err(Malformed::InvalidEvent.into());
        }
        match request {
            0 => Ok(Answer::info2(u64::MAX)),
            1 if gpa.is_multiple_of(PAGE) && self.memory.shared(gpa).is_some() => self.set_doorbell(gpa),
            2 => Ok(Answer::info2(self.level().doorbell.unwrap_or(u64::MAX))),
            3 => {
                self.level().doorbell = None;
                Ok(Answer::default())
            }
            _ => Err(Malformed::InvalidInput.into()),
        }
    }

    fn set_doorbell(&mut self, gpa: u64) -> Result<Answer, Refused> {
        if self.config.lies.doorbell_refused.is_some_and(|first| self.me as u64 >= first) {
            log!("LIE doorbell-refused: {gpa:#x}");
            return Err(Malformed::InvalidInput.into());
        }
        let gpa = if self.config.lies.doorbell_other.is_some() { gpa ^ PAGE } else { gpa };
        self.level().doorbell = Some(gpa);
        Ok(Answer::info2(gpa))
    }

    /// Whether the context that runs has alternate injection: the host raises nothing in it.
    pub(crate) fn is_alternate(&self) -> bool {
        self.context().sev_features & ALTERNATE != 0
    }

    /// The interrupt that the context that runs is to take from its register state.
    pub(crate) fn virtual_interrupt(&self) -> Option<u8> {
        const V_IRQ: u64 = 1 << 8;
        let control = self.vmcb().get(control::VIRTUAL_INTERRUPT);
        (self.is_alternate() && control & V_IRQ != 0).then(|| lo8(control >> 32))
    }

    /// #HV IPI: an interrupt command, by which VMPL0 of others is to run.
    pub(crate) fn hv_ipi(&mut self, command: u64) -> Result<Answer, Refused> {
        if self.config.injection == Injection::Any {
            return Err(Malformed::InvalidEvent.into());
        }
        let (me, to, shorthand) = (self.me, command >> 32, command >> 18 & 3);
        for processor in 0..self.processors.len() {
            let is_for = match shorthand {
                0 => processor as u64 == to,
                1 => processor == me,
                2 => true,
                _ => processor != me,
            };
            if is_for {
                self.signal_vmpl0(processor);
            }
        }
        Ok(Answer::default())
    }

    /// Specific EOI of a level-triggered interrupt: VMPL and vector.
    pub(crate) fn specific_eoi(&self, info1: u64) -> Result<Answer, Refused> {
        if self.config.injection != Injection::Alternate || info1 >> 16 & 0xFF != 2 {
            return Err(Malformed::InvalidInput.into());
        }
        log!("EOI vector={} vmpl=2", info1 & 0xFF);
        Ok(Answer::default())
    }

    /// VMPL0 of a processor is to run.
    fn signal_vmpl0(&mut self, processor: usize) {
        self.processors[processor].levels[0].signalled = true;
        if processor != self.me {
            smp::notify(processor);
        }
    }

    /// VMPL0 runs, if it was signalled, with #HV, if that has not been raised already.
    pub(crate) fn deliver_signal(&mut self) {
        const VALID: u64 = 1 << 31;
        let work = self.processor().work;
        if !self.processor().levels[0].signalled || !matches!(work, Work::Runs | Work::Halted | Work::Stopped) {
            return;
        }
        if self.current() == 0 && self.vmcb().get(control::EVENT_INJECT) & VALID != 0 {
            return apic::send_nmi(self.me);
        }
        if work == Work::Halted {
            self.skip(1);
        }
        let processor = self.processor_mut();
        (processor.work, processor.levels[0].signalled) = (Work::Runs, false);
        if self.current() != 0 {
            self.switch(0, exit::INTR);
        }
        if self.is_restricted() && self.has_gate(HV.into()) && !self.has_signalled() {
            self.fill_doorbell(SIGNAL_VECTOR | self.doorbell_word() & FOR_VMPL2);
            self.deliver(HV.into(), None);
        }
    }

    fn doorbell_word(&self) -> u32 {
        let page = self.context().doorbell.and_then(|gpa| self.memory.shared(gpa));
        page.map_or(0, |page| lo32(phys::read_u64(page)))
    }

    fn has_signalled(&self) -> bool {
        self.doorbell_word() & NO_FURTHER_SIGNAL != 0
    }

    /// Presents an interrupt to the VMPL2 that runs, through VMPL0 of its processor: a status word, and the same of
    /// each group of vectors.
    pub(crate) fn present(&mut self, status: u32, group: u32) {
        let page = self.processor().levels[0].doorbell.and_then(|gpa| self.memory.shared(gpa));
        let Some(page) = page else { return };
        phys::write(page + PRESENTED, &status.to_le_bytes());
        (1..8).for_each(|n| phys::write(page + PRESENTED + 4 * n, &group.to_le_bytes()));
        phys::write(page, &(lo32(phys::read_u64(page)) | FOR_VMPL2).to_le_bytes());
        self.signal_vmpl0(self.me);
    }

    /// `fault=present:N`: at every Nth exit of VMPL2 the host presents what chance has.
    pub(crate) fn lie_present(&mut self) {
        let Some(stride) = self.config.lies.present.filter(|_| self.current() == 2 && self.is_alternate()) else {
            return;
        };
        self.presented += 1;
        if self.presented.is_multiple_of(stride.max(1)) {
            let word = self.signals.next(self.config.seed.unwrap_or(stride));
            self.present(lo32(word), lo32(word >> 32));
        }
    }

    /// Puts a word into the doorbell page of the context that runs, if it has one, with the flag that it was signalled.
    pub(crate) fn fill_doorbell(&self, word: u32) {
        let page = self.context().doorbell.and_then(|gpa| self.memory.shared(gpa));
        if let Some(page) = page {
            phys::write(page, &(word | NO_FURTHER_SIGNAL).to_le_bytes());
        }
    }

    /// `fault=event:V`: once, behind a VMGEXIT of VMPL0 that has a gate for vector V, and interrupts enabled or
    /// restricted injection, the host raises it there. What is in V above the vector goes to the doorbell page.
    pub(crate) fn lie_event(&mut self) {
        const IF: u64 = 1 << 9;
        let Some(vector) = self.config.lies.event.filter(|_| self.current() == 0 && !self.event_raised) else { return };
        // What there is to say needs a page.
        let has_page = vector <= 0xFF || self.context().doorbell.is_some();
        if self.vmcb().get(control::EXIT_CODE) != exit::VMMCALL || !has_page {
            return;
        }
        let takes = self.is_restricted() || self.vmcb().save(save::RFLAGS) & IF != 0;
        if !takes || !self.has_gate(vector & 0xFF) {
            return;
        }
        self.event_raised = true;
        log!("LIE event: vector {vector}");
        if self.is_restricted() && lo8(vector) != HV {
            self.stop(Rule::RestrictedInjection, 0, format_args!("the host raises vector {vector}"));
        }
        self.fill_doorbell(lo32(vector));
        self.deliver(vector & 0xFF, None);
    }
}
