//! TPM2_PolicyAuthorizeNV (Part 3, 23.22).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Ha, Handle, HandleType, Reader, RhNvAuth, RhNvIndex, ShPolicy};

pub(crate) struct PolicyAuthorizeNv;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex, session: ShPolicy } }
params! { pub(crate) struct Params {} }

impl Command for PolicyAuthorizeNv {
    const CODE: u32 = 0x192;
    const INDEX: IndexUse = IndexUse::Reads;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `NV_LOCKED`, `NV_AUTHORIZATION`, `NV_UNINITIALIZED`: the index cannot be read, or not with this authorization
    /// - `NV_UNAVAILABLE`: what the platform provides is not there now
    /// - `INSUFFICIENT`, `HASH`: it does not start with a TPMT_HA
    /// - `HASH`: of another algorithm than the session's
    /// - `VALUE`: whose digest is not policyDigest
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let (index, handle) = (h.nv_index.handle(), h.session.handle());
        if !tpm.policy_session(handle)?.is_trial() {
            compare(tpm, call, h.auth_handle.handle(), index, handle)?;
        }
        let name = tpm.name_of(index);
        let session = tpm.policy_session(handle)?;
        session.policy.forget_digest(session.hash);
        session.policy.extend(session.hash, Self::CODE, |w| w.put(name.as_slice()));
        Ok(Empty)
    }
}

fn compare(tpm: &Tpm, call: &Call, auth: Handle, index: Handle, session: Handle) -> Result<(), Rc> {
    let session = tpm.ram.sessions.get(session).ok_or(Rc::reference_h(2))?;
    tpm.check_nv_read(auth, index)?;
    let policy: Ha = Reader::new(call.nv_contents(tpm, index)?).get().map_err(Fmt1::plain)?;
    if policy.alg != session.hash {
        return Err(Fmt1::HASH.plain());
    }
    if policy.digest == session.policy.digest { Ok(()) } else { Err(Fmt1::VALUE.plain()) }
}
