//! TPM2_NV_GlobalWriteLock (Part 3, 31.12).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhProvision;

pub(crate) struct NvGlobalWriteLock;

handles! { pub(crate) struct Handles { auth_handle: User<RhProvision> } }
params! { pub(crate) struct Params {} }

impl Command for NvGlobalWriteLock {
    const CODE: u32 = 0x132;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own. The locks end with the next TPM Reset or TPM Restart, unless the index has
    /// TPMA_NV_WRITEDEFINE and has been written.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Empty, Rc> {
        tpm.persistent.change().nv.lock_globally();
        Ok(Empty)
    }
}
