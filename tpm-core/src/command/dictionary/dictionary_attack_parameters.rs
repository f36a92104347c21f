//! TPM2_DictionaryAttackParameters (Part 3, 25.3).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhLockout;

pub(crate) struct DictionaryAttackParameters;

handles! { pub(crate) struct Handles { lock_handle: User<RhLockout> } }
params! { pub(crate) struct Params { new_max_tries: u32, new_recovery_time_s: u32, lockout_recovery_s: u32 } }

impl Command for DictionaryAttackParameters {
    const CODE: u32 = 0x13a;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own.
    ///
    /// failedTries stays, so that the TPM may now be in lockout mode; with newMaxTries zero it always is.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        let dictionary = &mut tpm.persistent.change().dictionary;
        dictionary.max_tries = p.new_max_tries;
        dictionary.recovery_time_s = p.new_recovery_time_s;
        dictionary.lockout_recovery_s = p.lockout_recovery_s;
        Ok(Empty)
    }
}
