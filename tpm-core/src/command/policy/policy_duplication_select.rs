//! TPM2_PolicyDuplicationSelect (Part 3, 23.15).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::duplication::duplicate::Duplicate;
use crate::command::interface::Command;
use crate::crypto::hash::Hasher;
use crate::data::policy::BoundHash;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, Marshal, Name, ShPolicy};

pub(crate) struct PolicyDuplicationSelect;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { object_name: Name, new_parent_name: Name, include_object: bool } }

impl Command for PolicyDuplicationSelect {
    const CODE: u32 = 0x188;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `CPHASH`: the session is already limited to a cpHash, nameHash, template or parameters
    /// - `POLICY_CC`: the session is already limited to another command
    ///
    /// The object stands in nameHash always, in policyDigest only with includeObject.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        let (object, parent) = (p.object_name.as_slice(), p.new_parent_name.as_slice());
        if !session.is_trial() {
            session.check_unbound()?;
            if session.policy.command_code.is_some_and(|code| code != Duplicate::CODE) {
                return Err(Fmt1::POLICY_CC.plain());
            }
            let name_hash = Hasher::new(session.hash).chain(object).chain(parent).finish();
            session.policy.bound_hash = Some(BoundHash::NameHash(name_hash));
            session.policy.command_code = Some(Duplicate::CODE);
        }
        session.policy.extend(session.hash, Self::CODE, |w| {
            w.put(if p.include_object { object } else { &[] });
            w.put(parent);
            p.include_object.marshal(w);
        });
        Ok(Empty)
    }
}
