//! TPM2_PolicyGetDigest (Part 3, 23.19).

use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyGetDigest;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params {} }

impl Command for PolicyGetDigest {
    const CODE: u32 = 0x189;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Digest;

    /// No codes of its own.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Digest, Rc> {
        tpm.policy_session(h.session.handle()).map(|session| session.policy.digest)
    }
}
