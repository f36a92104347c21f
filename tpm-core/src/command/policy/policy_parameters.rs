//! TPM2_PolicyParameters (Part 3, 23.24).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::policy::BoundHash;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyParameters;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { p_hash: Digest } }

impl Command for PolicyParameters {
    const CODE: u32 = 0x19c;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `SIZE` at `p_hash`: not the size of the session's digests
    /// - `CPHASH`: the session is already limited to a cpHash, nameHash, template or parameters, even the same
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            session.check_digest_size(&p.p_hash, Params::p_hash)?;
            session.check_unbound()?;
            session.policy.bound_hash = Some(BoundHash::Parameters(p.p_hash));
        }
        session.policy.extend(session.hash, Self::CODE, |w| w.put(p.p_hash.as_slice()));
        Ok(Empty)
    }
}
