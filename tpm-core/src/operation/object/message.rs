//! Messages that were taken in over several commands are signed and verified (1.85: Part 3, 17.5, 17.6, 20.3 and 20.6).

use super::sign::{self, Signer};
use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::mldsa::{self, Mu};
use crate::data::object::Object;
use crate::data::object::message::{Message, Summary};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Ha, Handle, ObjectAttributes, ObjectType, Parms, Signature, Unique};

impl Tpm {
    /// Signs what a message has come to.
    ///
    /// - what [`Tpm::sign`] says
    /// - `BINDING`: the private part is not loaded
    pub(crate) fn sign_message(&mut self, key: Handle, message: &Message) -> Result<Signature, Rc> {
        let object = self.object(key).ok_or(Fmt1::KEY.plain())?;
        match (&message.summary, &object.public.parms) {
            (Summary::Hmac(hmac), _) => Ok(Signature::Hmac(Ha { alg: hmac.alg(), digest: hmac.duplicate().finish() })),
            (Summary::Mu(mu), Parms::MlDsa(_)) => {
                let mu = mu.clone().finish();
                self.sign_ml_dsa(key, &mu)
            }
            (Summary::Digest(hasher), Parms::HashMlDsa(parms)) => {
                let mu = hashed_mu(object, message, parms.hash, hasher).ok_or(Fmt1::KEY.plain())?;
                self.sign_ml_dsa(key, &mu)
            }
            (Summary::Digest(hasher), _) => {
                let scheme = object.scheme_with(message.context.as_slice()).map_err(Fmt1::plain)?;
                let digest = hasher.clone().finish();
                self.sign(&Signer::new(key, scheme), digest.as_slice())
            }
            (Summary::Mu(_), _) => Err(Fmt1::KEY.plain()),
        }
    }
}

/// Whether a signature of what a message has come to is the key's.
///
/// - `SCHEME`: not the key's own scheme and hash
/// - `SIGNATURE`: it is not genuine
pub(crate) fn verify_message(key: &Object, message: &Message, signature: &Signature) -> Result<(), Fmt1> {
    match (&message.summary, &key.public.parms, &key.public.unique, signature) {
        (Summary::Hmac(hmac), _, _, Signature::Hmac(ha)) if ha.alg == hmac.alg() => {
            if hmac.duplicate().verify(ha.digest.as_slice()) { Ok(()) } else { Err(Fmt1::SIGNATURE) }
        }
        (Summary::Mu(mu), Parms::MlDsa(parms), Unique::MlDsa(public), Signature::MlDsa(signature)) => {
            let mu = mu.clone().finish();
            parms.set.verify(public.as_slice(), &mu, signature.as_slice()).map_err(|_| Fmt1::SIGNATURE)
        }
        (
            Summary::Digest(hasher),
            Parms::HashMlDsa(parms),
            Unique::HashMlDsa(public),
            Signature::HashMlDsa(hash, signature),
        ) if *hash == parms.hash => {
            let mu = hashed_mu(key, message, *hash, hasher).ok_or(Fmt1::KEY)?;
            parms.set.verify(public.as_slice(), &mu, signature.as_slice()).map_err(|_| Fmt1::SIGNATURE)
        }
        (Summary::Digest(hasher), ..) if key.public.object_type() != ObjectType::HashMlDsa => {
            let own = key.own_scheme();
            if own.id() != signature.id() || own.hash() != signature.hash() {
                return Err(Fmt1::SCHEME);
            }
            sign::verify(key, hasher.clone().finish().as_slice(), signature)
        }
        _ => Err(Fmt1::SCHEME),
    }
}

fn hashed_mu(key: &Object, message: &Message, hash: HashAlg, hasher: &Hasher) -> Option<[u8; mldsa::MU]> {
    let Unique::HashMlDsa(public) = &key.public.unique else { return None };
    let digest = hasher.clone().finish();
    Mu::pre_hashed(public.as_slice(), message.context.as_slice(), hash, digest.as_slice()).ok()
}

impl Object {
    /// Whether a message from outside may be signed by this key, if it does not begin with TPM_GENERATED_VALUE. Not by
    /// a restricted HMAC key: the TPM signs what it makes with it by an HMAC of the digest, and that digest, taken for
    /// a message, would have the same signature.
    pub(crate) fn signs_messages(&self) -> bool {
        self.public.object_type() != ObjectType::KeyedHash || !self.has(ObjectAttributes::RESTRICTED)
    }
}

/// Whether signatures of this key take a context: only those of FIPS 204 do.
pub(crate) fn takes_context(key: &Object) -> bool {
    matches!(key.public.object_type(), ObjectType::MlDsa | ObjectType::HashMlDsa)
}
