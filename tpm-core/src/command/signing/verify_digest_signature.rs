//! TPM2_VerifyDigestSignature (Part 3 of 1.85, 20.4): TPM2_VerifySignature that insists on the key's own scheme.

use super::{MAX_SIGNATURE_CONTEXT, MlDsaUse};
use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::operation::object::sign::{verify, verify_ml_dsa};
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, HandleType, Scheme, Signature, TkVerified, Tpm2b, st};

pub(crate) struct VerifyDigestSignature;

handles! { pub(crate) struct Handles { key_handle: DhObject } }
params! { pub(crate) struct Params<'a> { context: Tpm2b<'a, MAX_SIGNATURE_CONTEXT>, digest: Digest, signature: Signature } }

impl Command for VerifyDigestSignature {
    const CODE: u32 = 0x1a5;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = TkVerified;

    /// - `KEY` at `key_handle`: no signing key
    /// - `ATTRIBUTES` at `key_handle`: pure ML-DSA, and it does not admit external μ
    /// - `SCHEME` at `signature`: not the key's own scheme and hash, or one that cannot be verified
    /// - `VALUE` at `context`: not empty, and the scheme has no use for it
    /// - `SIZE` at `digest`: no digest of the scheme's hash, or no μ
    /// - `SIGNATURE` at `signature`: it is not genuine
    ///
    /// The ticket, which names the hash, is a NULL Ticket if the key is in the NULL hierarchy or has no Name, and for
    /// μ, which is no digest of a hash.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<TkVerified, Rc> {
        let key =
            tpm.object(h.key_handle.handle()).filter(|o| o.can_sign()).ok_or(Fmt1::KEY.at(Handles::key_handle))?;
        match MlDsaUse::of(key, p.context.0, Handles::key_handle, Params::context)? {
            Some(ml_dsa) => {
                let mu = ml_dsa.mu(key, p.context.0, p.digest.as_slice()).ok_or(Fmt1::SIZE.at(Params::digest))?;
                verify_ml_dsa(key, &mu, &p.signature).map_err(|e| e.at(Params::signature))?;
            }
            None => verify_classical(key, &p)?,
        }
        Ok(match p.signature.hash() {
            Some(hash) => tpm.verified(key, st::DIGEST_VERIFIED, &p.digest, Some(hash)),
            None => TkVerified::null(st::DIGEST_VERIFIED),
        })
    }
}

fn verify_classical(key: &Object, p: &Params<'_>) -> Result<(), Rc> {
    let own = key.own_scheme();
    // HMAC keys sign messages, not digests (Table 115).
    let signs_digests = !matches!(own, Scheme::Hmac(_));
    let hash = own.hash().filter(|h| signs_digests && own.id() == p.signature.id() && Some(*h) == p.signature.hash());
    let hash = hash.ok_or(Fmt1::SCHEME.at(Params::signature))?;
    if !p.context.0.is_empty() {
        return Err(Fmt1::VALUE.at(Params::context));
    }
    if p.digest.len() != hash.digest_size() {
        return Err(Fmt1::SIZE.at(Params::digest));
    }
    verify(key, p.digest.as_slice(), &p.signature).map_err(|e| e.at(Params::signature))
}
