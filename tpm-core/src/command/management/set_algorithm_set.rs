//! TPM2_SetAlgorithmSet (Part 3, 26.3).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhPlatform;

pub(crate) struct SetAlgorithmSet;

handles! { pub(crate) struct Handles { auth_handle: User<RhPlatform> } }
params! { pub(crate) struct Params { algorithm_set: u32 } }

impl Command for SetAlgorithmSet {
    const CODE: u32 = 0x13f;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own.
    ///
    /// The value is kept for TPM_PT_ALGORITHM_SET, and selects nothing: there is one set of algorithms.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        tpm.persistent.change().algorithm_set = p.algorithm_set;
        Ok(Empty)
    }
}
