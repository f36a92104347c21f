//! TPM2_PolicySigned (Part 3, 23.3).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, Hasher};
use crate::data::tpm::Tpm;
use crate::operation::object::sign;
use crate::operation::policy::{Assertion, AssertionAt, Timeout};
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Handle, HandleType, ShPolicy, Signature, TkAuth, st};

pub(crate) struct PolicySigned;

handles! { pub(crate) struct Handles { auth_object: DhObject, session: ShPolicy } }
params! { pub(crate) struct Params { nonce_tpm: Digest, cp_hash_a: Digest, policy_ref: Digest, expiration: i32, auth: Signature } }
reply! { pub(crate) struct Answer { timeout: Timeout, ticket: TkAuth } }

impl Command for PolicySigned {
    const CODE: u32 = 0x160;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// Unless the session is a trial:
    /// - `VALUE` at `nonce_tpm`, `EXPIRED` at `expiration`, `SIZE` at `cp_hash_a`, `CPHASH`: as for TPM2_PolicySecret
    /// - `POLICY_FAIL` at `auth`: no valid signature of the key over nonceTPM, expiration, cpHashA and policyRef
    ///
    /// A negative expiration asks for a ticket. There is none by a key for which [`Tpm::hierarchy_of`] has none. The
    /// key need not have sign: its private part may be anywhere. That of an HMAC key must be loaded.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        const AT: AssertionAt =
            AssertionAt { nonce_tpm: Params::nonce_tpm, cp_hash_a: Params::cp_hash_a, expiration: Params::expiration };
        let (key, session) = (h.auth_object.handle(), h.session.handle());
        let assertion = Assertion {
            code: Self::CODE,
            name: tpm.name_of(key),
            nonce_tpm: p.nonce_tpm,
            cp_hash_a: p.cp_hash_a,
            policy_ref: p.policy_ref,
            expiration: p.expiration,
        };
        let timeout_ms = tpm.check_assertion(session, &assertion, &AT)?;
        if !tpm.ram.sessions.get(session).ok_or(Rc::reference_h(1))?.is_trial() {
            verify(tpm, key, &assertion, &p.auth).map_err(|_| Fmt1::POLICY_FAIL.at(Params::auth))?;
        }
        let hierarchy = tpm.hierarchy_of(key);
        let (timeout, ticket) = tpm.assert(session, &assertion, timeout_ms, (st::AUTH_SIGNED, hierarchy))?;
        Ok(Answer { timeout, ticket: TkAuth(ticket) })
    }
}

/// Whether the key signed nonceTPM ‖ expiration ‖ cpHashA ‖ policyRef: its digest by the hash of the signature, or
/// ML-DSA itself.
fn verify(tpm: &Tpm, key: Handle, assertion: &Assertion, signature: &Signature) -> Result<(), Fmt1> {
    let expiration = assertion.expiration.to_be_bytes();
    let to_be_signed =
        [assertion.nonce_tpm.as_slice(), &expiration, assertion.cp_hash_a.as_slice(), assertion.policy_ref.as_slice()];
    let object = tpm.object(key).ok_or(Fmt1::HANDLE)?;
    if let Some(mu) = object.mu(&to_be_signed) {
        return sign::verify_ml_dsa(object, &mu, signature);
    }
    let hasher = Hasher::new(signature.hash().ok_or(Fmt1::SCHEME)?);
    let a_hash = to_be_signed.iter().fold(hasher, |hasher, part| hasher.chain(part)).finish();
    sign::verify(object, a_hash.as_slice(), signature)
}
