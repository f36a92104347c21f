//! TPM2_PCR_Read (Part 3, 22.4).

use crate::command::Command;
use crate::command::area::{handles, params, reply};
use crate::pipeline::Call;
use crate::rc::Rc;
use crate::tpm::Tpm;
use crate::wire::{DigestList, PcrSelection};

pub(crate) struct PcrRead;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { selection: PcrSelection } }
reply! { pub(crate) struct Answer { update_counter: u32, selection: PcrSelection, values: DigestList } }

impl Command for PcrRead {
    const CODE: u32 = 0x17e;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// No codes of its own: what is not allocated, or beyond eight digests, is missing in the selection that comes back.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Answer, Rc> {
        let (selection, values) = tpm.ram.pcrs.read(&p.selection);
        Ok(Answer { update_counter: tpm.reset.pcr_update_counter, selection, values })
    }
}
