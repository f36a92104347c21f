//! TPM2_Shutdown (Part 3, 9.4).

use super::startup::Su;
use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::pipeline::Call;
use crate::rc::{Fmt1, Rc};
use crate::state::Orderly;
use crate::tpm::Tpm;

pub(crate) struct Shutdown;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { shutdown_type: Su } }

impl Command for Shutdown {
    const CODE: u32 = 0x145;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `TYPE` at `shutdown_type`: TPM_SU_STATE after TPM2_PCR_Allocate
    ///
    /// A later command that changes what is saved, or the use of an authValue under dictionary-attack protection, makes the shutdown void.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if p.shutdown_type == Su::State && tpm.ram.pcrs_reallocated {
            return Err(Fmt1::TYPE.at(Params::shutdown_type));
        }
        tpm.persistent.orderly = match p.shutdown_type {
            Su::Clear => Orderly::Clear,
            Su::State => Orderly::State,
        };
        tpm.persistent.da_used = false;
        tpm.persistent.saved_clock_safe = tpm.ram.clock_safe;
        tpm.clear.saved_acts = tpm.ram.acts.save(tpm.ram.time_ms);
        tpm.clear.saved_pcrs = (p.shutdown_type == Su::State).then(|| tpm.ram.pcrs.clone());
        tpm.clear.saved_root = tpm.ram.root;
        Ok(Empty)
    }
}
