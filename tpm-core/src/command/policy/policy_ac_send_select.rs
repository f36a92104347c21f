//! TPM2_Policy_AC_SendSelect (Part 3, 32.4).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Hasher;
use crate::data::policy::BoundHash;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, Marshal, Name, ShPolicy, cc_elsewhere};

pub(crate) struct PolicyAcSendSelect;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { object_name: Name, auth_handle_name: Name, ac_name: Name, include_object: bool } }

impl Command for PolicyAcSendSelect {
    const CODE: u32 = 0x196;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `CPHASH`: the session is already limited to a cpHash, nameHash, template or parameters
    /// - `COMMAND_CODE`: the session is already limited to a command
    ///
    /// The object stands in nameHash always, in policyDigest only with includeObject.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        session.check_unbound()?;
        if session.policy.command_code.is_some() {
            return Err(Rc::COMMAND_CODE);
        }
        let (object, auth, ac) = (p.object_name.as_slice(), p.auth_handle_name.as_slice(), p.ac_name.as_slice());
        let name_hash = Hasher::new(session.hash).chain(object).chain(auth).chain(ac).finish();
        session.policy.extend(session.hash, Self::CODE, |w| {
            w.put(if p.include_object { object } else { &[] });
            w.put(auth);
            w.put(ac);
            p.include_object.marshal(w);
        });
        session.policy.bound_hash = Some(BoundHash::NameHash(name_hash));
        session.policy.command_code = Some(cc_elsewhere::AC_SEND);
        Ok(Empty)
    }
}
