//! How a host may interrupt a VMPL: by any event, or, where SEV_FEATURES have restricted injection, by #HV alone, with
//! what there is to say in a doorbell page (APM volume 2, 15.36.16; GHCB specification, 5).

use crate::bits::{lo8, lo32};
use crate::ghcb::{Answer, Malformed, Refused};
use crate::log::log;
use crate::machine::Machine;
use crate::phys::{self, PAGE};
use crate::rules::Rule;
use crate::svm::{control, exit, save};

/// #HV.
pub(crate) const HV: u8 = 28;
/// The doorbell page's flag that the host has signalled, and signals no more before the guest has cleared it.
const NO_FURTHER_SIGNAL: u32 = 1 << 15;
/// SEV_FEATURES: restricted injection.
const RESTRICTED: u64 = 1 << 3;

/// What the host offers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Injection {
    /// Upstream's KVM: nothing but injection of any event.
    #[default]
    Any,
    /// Restricted injection, where a VMSA has it.
    Restricted,
}

impl Injection {
    /// SEV_FEATURES that a VMSA may have here: SNP, which it must have, and these.
    pub(crate) const fn sev_features(self) -> u64 {
        match self {
            Self::Any => 1,
            Self::Restricted => 1 | RESTRICTED,
        }
    }

    /// Features of the hypervisor beside those of [`crate::msr::HV_FEATURES`].
    const fn hv_features(self) -> u64 {
        match self {
            Self::Any => 0,
            Self::Restricted => 1 << 2,
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
        if self.config.lies.doorbell_refused.is_some() {
            log!("LIE doorbell-refused: {gpa:#x}");
            return Err(Malformed::InvalidInput.into());
        }
        let gpa = if self.config.lies.doorbell_other.is_some() { gpa ^ PAGE } else { gpa };
        self.level().doorbell = Some(gpa);
        Ok(Answer::info2(gpa))
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
