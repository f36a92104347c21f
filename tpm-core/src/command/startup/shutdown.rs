//! TPM2_Shutdown (Part 3, 9.4).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Audit, Command};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::Su;

pub(crate) struct Shutdown;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { shutdown_type: Su } }

impl Command for Shutdown {
    const CODE: u32 = 0x145;
    const AUDIT: Audit = Audit::Never;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `TYPE` at `shutdown_type`: TPM_SU_STATE after TPM2_PCR_Allocate
    ///
    /// A later command that changes what is saved, or the use of an authValue under dictionary-attack protection, makes
    /// the shutdown void.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if p.shutdown_type == Su::State && tpm.ram.pcrs_reallocated {
            return Err(Fmt1::TYPE.at(Params::shutdown_type));
        }
        tpm.save_for(p.shutdown_type);
        Ok(Empty)
    }
}
