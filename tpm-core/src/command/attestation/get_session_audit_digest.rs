//! TPM2_GetSessionAuditDigest (Part 3, 18.5).

use super::Answer;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Attested, Data, DhObject, HandleType, Nullable, RhEndorsement, ShHmac, SigScheme};

pub(crate) struct GetSessionAuditDigest;

handles! { #[expect(dead_code, reason = "one handle only authorizes")] pub(crate) struct Handles { privacy_admin_handle: User<RhEndorsement>, sign_handle: User<Nullable<DhObject>>, session_handle: ShHmac } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme } }

impl Command for GetSessionAuditDigest {
    const CODE: u32 = 0x14d;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `TYPE` at `session_handle`: the session has not been used for audit
    /// - `VALUE`: the key is too small for the scheme's digest
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let session = h.session_handle.handle();
        let audit = tpm.ram.sessions.get(session).and_then(|s| s.audit);
        let session_digest = audit.ok_or(Fmt1::TYPE.at(Handles::session_handle))?;
        let audited = Attested::SessionAudit { exclusive: tpm.ram.exclusive_audit == Some(session), session_digest };
        Answer::of(tpm.attest(&signer, p.qualifying_data, audited)?)
    }
}
