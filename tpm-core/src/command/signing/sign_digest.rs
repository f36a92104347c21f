//! TPM2_SignDigest (Part 3 of 1.85, 20.7): TPM2_Sign with the key's own scheme, and with a context for those schemes
//! that take one.

use super::{Kind, MAX_SIGNATURE_CONTEXT, MlDsaUse, Positions, check_digest, external_signer};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::object::sign::Signer;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Scheme, Signature, TkHashcheck, Tpm2b};

pub(crate) struct SignDigest;

handles! { pub(crate) struct Handles { key_handle: User<DhObject> } }
params! { pub(crate) struct Params<'a> { context: Tpm2b<'a, MAX_SIGNATURE_CONTEXT>, digest: Digest, validation: TkHashcheck } }

impl Command for SignDigest {
    const CODE: u32 = 0x1a6;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Signature;

    /// - `KEY` at `key_handle`: no signing key
    /// - `ATTRIBUTES` at `key_handle`: it signs certificates only; or pure ML-DSA, and it does not admit external μ
    /// - `SCHEME` at `key_handle`: it has no scheme of its own, or HMAC, which signs messages
    /// - `VALUE` at `context`: not empty, and the scheme has no use for it
    /// - `SIZE` at `context`: the scheme takes a count of TPM2_Commit, and this is not one
    /// - `TICKET` at `validation`: the key is restricted or there is a ticket, and it does not say that the TPM made
    ///   the digest with that hash
    /// - `SIZE` at `digest`: no digest of the scheme's hash, or no μ
    /// - `VALUE`: the key is too small for the digest
    /// - `BINDING`: the private part is not loaded, which cannot be provoked: a key without it has no authorization
    ///
    /// Choice: the codes for a context that the scheme cannot take, of which the specification says nothing.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Signature, Rc> {
        const AT: Positions =
            Positions { key: Handles::key_handle, digest: Params::digest, validation: Params::validation };
        let handle = h.key_handle.handle();
        let key = external_signer(tpm, handle, AT.key)?;
        if let Some(ml_dsa) = MlDsaUse::of(key, p.context.0, AT.key, Params::context)? {
            check_digest(tpm, key, &ml_dsa.kind(key), &p.digest, &p.validation.0, &AT)?;
            let mu = ml_dsa.mu(key, p.context.0, p.digest.as_slice()).ok_or(Fmt1::SIZE.at(AT.digest))?;
            return tpm.sign_ml_dsa(handle, &mu);
        }
        let scheme = key.scheme_with(p.context.0).map_err(|e| match e {
            Fmt1::SCHEME => e.at(AT.key),
            _ => e.at(Params::context),
        })?;
        let hash = scheme.hash().filter(|_| !matches!(scheme, Scheme::Hmac(_))).ok_or(Fmt1::SCHEME.at(AT.key))?;
        let kind = Kind::of(hash);
        check_digest(tpm, key, &kind, &p.digest, &p.validation.0, &AT)?;
        tpm.sign(&Signer::new(handle, scheme), p.digest.as_slice())
    }
}
