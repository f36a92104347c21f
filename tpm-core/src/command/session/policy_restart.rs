//! TPM2_PolicyRestart (Part 3, 11.2).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyRestart;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params {} }

impl Command for PolicyRestart {
    const CODE: u32 = 0x180;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own. nonceTPM and the session's time stay what they are.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        session.policy = session.policy.restarted(session.hash);
        Ok(Empty)
    }
}
