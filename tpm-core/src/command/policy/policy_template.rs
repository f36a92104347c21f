//! TPM2_PolicyTemplate (Part 3, 23.21).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::policy::BoundHash;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, ShPolicy};

pub(crate) struct PolicyTemplate;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { template_hash: Digest } }

impl Command for PolicyTemplate {
    const CODE: u32 = 0x190;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `VALUE` at `template_hash`: the session is limited to another template
    /// - `CPHASH`: it is limited to a cpHash, nameHash or parameters
    /// - `SIZE` at `template_hash`: not the size of the session's digests
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            match session.policy.bound_hash {
                Some(BoundHash::Template(old)) if old != p.template_hash => {
                    return Err(Fmt1::VALUE.at(Params::template_hash));
                }
                Some(BoundHash::Template(_)) | None => {}
                Some(_) => return Err(Rc::CPHASH),
            }
            session.check_digest_size(&p.template_hash, Params::template_hash)?;
            session.policy.bound_hash = Some(BoundHash::Template(p.template_hash));
        }
        session.policy.extend(session.hash, Self::CODE, |w| w.put(p.template_hash.as_slice()));
        Ok(Empty)
    }
}
