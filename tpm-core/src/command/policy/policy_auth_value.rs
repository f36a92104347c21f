//! TPM2_PolicyAuthValue (Part 3, 23.17).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyAuthValue;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params {} }

impl Command for PolicyAuthValue {
    const CODE: u32 = 0x16b;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own. It undoes TPM2_PolicyPassword.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        session.policy.extend(session.hash, Self::CODE, |_| ());
        session.policy.auth_value = true;
        session.policy.password = false;
        Ok(Empty)
    }
}
