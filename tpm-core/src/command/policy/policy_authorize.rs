//! TPM2_PolicyAuthorize (Part 3, 23.16).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::policy::name_alg_of;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, Name, ShPolicy, TkVerified};

pub(crate) struct PolicyAuthorize;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { approved_policy: Digest, policy_ref: Digest, key_sign: Name, check_ticket: TkVerified } }

impl Command for PolicyAuthorize {
    const CODE: u32 = 0x16a;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `SIZE`, `HASH` at `key_sign`: it is not the Name of a key
    /// - `VALUE` at `approved_policy`: it is not policyDigest
    /// - `VALUE` at `check_ticket`: the TPM did not verify with this key that it signed approvedPolicy and policyRef; a
    ///   NULL Ticket never says so
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            let alg = name_alg_of(&p.key_sign, Params::key_sign)?;
            if session.policy.digest != p.approved_policy {
                return Err(Fmt1::VALUE.at(Params::approved_policy));
            }
            let to_be_signed = [p.approved_policy.as_slice(), p.policy_ref.as_slice()];
            if !tpm.is_verified(&p.check_ticket, &p.key_sign, alg, &to_be_signed) {
                return Err(Fmt1::VALUE.at(Params::check_ticket));
            }
        }
        let session = tpm.policy_session(h.session.handle())?;
        session.policy.forget_digest(session.hash);
        session.policy.update(session.hash, Self::CODE, p.key_sign.as_slice(), p.policy_ref.as_slice());
        Ok(Empty)
    }
}
