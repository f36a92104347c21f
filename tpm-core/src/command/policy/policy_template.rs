//! TPM2_PolicyTemplate (Part 3, 23.21).

use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::crypto::hash::Digest;
use crate::pipeline::Call;
use crate::policy::BoundHash;
use crate::rc::Rc;
use crate::tpm::Tpm;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyTemplate;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { template_hash: Digest } }

impl Command for PolicyTemplate {
    const CODE: u32 = 0x190;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `CPHASH`: the session is limited to another template, or to a cpHash, nameHash or parameters
    /// - `SIZE` at `template_hash`: not the size of the session's digests
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        let bound = BoundHash::Template(p.template_hash);
        session.check_bound_hash(bound)?;
        session.check_digest_size(&p.template_hash, Params::template_hash)?;
        session.policy.extend(session.hash, Self::CODE, |w| w.put(p.template_hash.as_slice()));
        session.policy.bound_hash = Some(bound);
        Ok(Empty)
    }
}
