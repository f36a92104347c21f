//! TPM2_DictionaryAttackLockReset (Part 3, 25.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhLockout;

pub(crate) struct DictionaryAttackLockReset;

handles! { pub(crate) struct Handles { lock_handle: User<RhLockout> } }
params! { pub(crate) struct Params {} }

impl Command for DictionaryAttackLockReset {
    const CODE: u32 = 0x139;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own.
    ///
    /// With lockoutPolicy it also ends the time in which lockoutAuth is disabled (Part 1, 16.8.5); with lockoutAuth it
    /// would not have come so far.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Empty, Rc> {
        let dictionary = &mut tpm.persistent.change().dictionary;
        dictionary.failed_tries = 0;
        dictionary.lockout_auth_enabled = true;
        Ok(Empty)
    }
}
