//! TPM2_PolicyPassword (Part 3, 23.18).

use super::policy_auth_value::PolicyAuthValue;
use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyPassword;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params {} }

impl Command for PolicyPassword {
    const CODE: u32 = 0x18c;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own. It undoes TPM2_PolicyAuthValue, whose command code it puts into policyDigest: one policy
    /// admits both.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        session.policy.extend(session.hash, PolicyAuthValue::CODE, |_| ());
        session.policy.password = true;
        session.policy.auth_value = false;
        Ok(Empty)
    }
}
