//! TPM2_PCR_Read (Part 3, 22.4).

use crate::bounded::bit;
use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::pcr::Pcrs;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Marshal, PcrSelection, Writer};

pub(crate) struct PcrRead;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { selection: PcrSelection } }

/// pcrUpdateCounter, pcrSelectionOut, and as pcrValues the values of what that selects.
pub(crate) struct Answer<'t> {
    update_counter: u32,
    selection: PcrSelection,
    pcrs: &'t Pcrs,
}

impl Marshal for Answer<'_> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.update_counter.marshal(w);
        self.selection.marshal(w);
        count(&self.selection).marshal(w);
        self.pcrs.values(&self.selection).for_each(|value| value.marshal(w));
    }
}

impl Command for PcrRead {
    const CODE: u32 = 0x17e;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer<'t>;

    /// No codes of its own: what is not allocated, or beyond eight digests, is missing in the selection that comes
    /// back.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Answer<'t>, Rc> {
        let pcrs = &tpm.ram.pcrs;
        let selection = first_eight(pcrs.allocated_of(p.selection));
        Ok(Answer { update_counter: tpm.reset.pcr_update_counter, selection, pcrs })
    }
}

fn count(selection: &PcrSelection) -> u32 {
    selection.0.iter().fold(0, |count, bank| count.saturating_add(bank.select.count_ones()))
}

/// As many PCR, from the first, as a TPML_DIGEST holds values.
fn first_eight(mut selection: PcrSelection) -> PcrSelection {
    let mut excess = count(&selection).saturating_sub(8);
    for bank in selection.0.iter_mut().rev() {
        while let Some(last) = bank.select.checked_ilog2().filter(|_| excess > 0) {
            bank.select &= !bit(last);
            excess = excess.saturating_sub(1);
        }
    }
    selection
}
