//! TPM2_PCR_Reset (Part 3, 22.8).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::DhPcr;

pub(crate) struct PcrReset;

handles! { pub(crate) struct Handles { pcr: User<DhPcr> } }
params! { pub(crate) struct Params {} }

impl Command for PcrReset {
    const CODE: u32 = 0x13d;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `LOCALITY`: the PCR cannot be reset at this locality, or at none
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        tpm.reset_pcr(h.pcr.handle().0, call.locality).map(|()| Empty)
    }
}
