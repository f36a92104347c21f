//! TPM2_GetCommandAuditDigest (Part 3, 18.6).

use super::Answer;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Attested, Data, DhObject, Nullable, RhEndorsement, SigScheme};

pub(crate) struct GetCommandAuditDigest;

handles! { #[expect(dead_code, reason = "one handle only authorizes")] pub(crate) struct Handles { privacy_handle: User<RhEndorsement>, sign_handle: User<Nullable<DhObject>> } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme } }

impl Command for GetCommandAuditDigest {
    const CODE: u32 = 0x133;
    const CLOCK: bool = true;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `VALUE`: the key is too small for the scheme's digest
    ///
    /// Once it is signed, the log starts anew.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let audit = &tpm.persistent.audit;
        let audited = Attested::CommandAudit {
            counter: audit.counter,
            alg: audit.alg.id(),
            audit_digest: tpm.reset.audit_digest.unwrap_or(Digest::EMPTY),
            command_digest: audit.command_digest(),
        };
        let answer = Answer::of(tpm.attest(&signer, p.qualifying_data, audited)?)?;
        call.room_for(&answer)?;
        if !signer.is_null() {
            tpm.reset.change().audit_digest = None;
        }
        Ok(answer)
    }
}
