//! TPM2_PolicyCpHash (Part 3, 23.13).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::policy::BoundHash;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyCpHash;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { cp_hash_a: Digest } }

impl Command for PolicyCpHash {
    const CODE: u32 = 0x16e;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `SIZE` at `cp_hash_a`: not the size of the session's digests
    /// - `CPHASH`: the session is limited to another cpHash, or to a nameHash, template or parameters
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            let bound = BoundHash::CpHash(p.cp_hash_a);
            session.check_digest_size(&p.cp_hash_a, Params::cp_hash_a)?;
            session.check_bound_hash(bound)?;
            session.policy.bound_hash = Some(bound);
        }
        session.policy.extend(session.hash, Self::CODE, |w| w.put(p.cp_hash_a.as_slice()));
        Ok(Empty)
    }
}
