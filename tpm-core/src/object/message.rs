//! Messages that are signed, or verified, over several commands (1.85: Part 3, 17.5, 17.6, 20.3 and 20.6), with any key
//! that signs.
//!
//! The scheme is the key's own, which it must have. RSA and ECC keys sign the digest of the message, HMAC keys give the
//! HMAC of the message itself, ML-DSA keys sign μ, which takes the message in as it comes, and Hash-ML-DSA keys the
//! digest.

use super::sign::Signer;
use super::{Object, sign};
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::crypto::mldsa::{self, Mu};
use crate::profile::INTERNAL_HASH;
use crate::rc::{Fmt1, Rc};
use crate::tpm::Tpm;
use crate::wire::{
    AlgId, Buffer, GENERATED_VALUE, Ha, Handle, Marshal, ObjectAttributes, ObjectType, Parms, Public, Reader, Scheme,
    Signature, Unique, Unmarshal, Writer,
};

/// A message in progress.
pub(crate) struct Message {
    /// whether it is to be signed, rather than verified
    pub(crate) signs: bool,
    /// which key it is for
    key: Digest,
    /// context of the signature
    context: Context,
    /// its first octets
    start: Buffer<4>,
    summary: Summary,
    /// the message itself, if it is to be verified: what the ticket is for
    whole: Option<Hasher>,
}

/// TPM2B_SIGNATURE_CTX.
pub(crate) type Context = Buffer<{ mldsa::MAX_CONTEXT }>;

/// What is signed of a message.
enum Summary {
    Digest(Hasher),
    Hmac(Hmac),
    Mu(Mu),
}

impl Message {
    /// A message for a key.
    ///
    /// - `SCHEME`: the key has no scheme of its own
    /// - `KEY`: an HMAC key without its private part
    pub(crate) fn new(signs: bool, key: &Object, context: Context) -> Result<Self, Fmt1> {
        let summary = match (&key.public.parms, &key.public.unique) {
            (Parms::MlDsa(_), Unique::MlDsa(public)) => {
                Summary::Mu(Mu::pure(public.as_slice(), context.as_slice()).map_err(|_| Fmt1::KEY)?)
            }
            (Parms::HashMlDsa(parms), _) => Summary::Digest(Hasher::new(parms.hash)),
            (Parms::KeyedHash(scheme), _) => {
                let Scheme::Hmac(hash) = scheme.0 else { return Err(Fmt1::SCHEME) };
                Summary::Hmac(Hmac::new(hash, key.symmetric_key().ok_or(Fmt1::KEY)?))
            }
            _ => Summary::Digest(Hasher::new(key.own_scheme().hash().ok_or(Fmt1::SCHEME)?)),
        };
        Ok(Self {
            signs,
            key: identity(key),
            context,
            start: Buffer::new(),
            summary,
            whole: (!signs).then(|| Hasher::new(INTERNAL_HASH)),
        })
    }

    /// A second copy.
    pub(crate) fn duplicate(&self) -> Self {
        let Self { signs, key, context, start, summary, whole } = self;
        let summary = match summary {
            Summary::Digest(hasher) => Summary::Digest(hasher.clone()),
            Summary::Hmac(hmac) => Summary::Hmac(hmac.duplicate()),
            Summary::Mu(mu) => Summary::Mu(mu.clone()),
        };
        Self { signs: *signs, key: *key, context: context.clone(), start: start.clone(), summary, whole: whole.clone() }
    }

    /// Takes in data.
    pub(crate) fn update(&mut self, data: &[u8]) {
        let missing = data.get(..4usize.saturating_sub(self.start.len()).min(data.len())).unwrap_or_default();
        if let Ok(start) = Buffer::of(|w| [self.start.as_slice(), missing].iter().for_each(|part| w.put(part))) {
            self.start = start;
        }
        if let Some(whole) = &mut self.whole {
            whole.update(data);
        }
        match &mut self.summary {
            Summary::Digest(hasher) => hasher.update(data),
            Summary::Hmac(hmac) => hmac.update(data),
            Summary::Mu(mu) => mu.update(data),
        }
    }

    /// Whether this is the key for which it was started.
    pub(crate) fn is_for(&self, key: &Object) -> bool {
        self.key == identity(key)
    }

    /// Whether it could be a structure of the TPM: it begins with TPM_GENERATED_VALUE.
    pub(crate) fn looks_generated(&self) -> bool {
        self.start.as_slice() == GENERATED_VALUE.to_be_bytes()
    }

    /// The digest, with our own hash, of a message that is to be verified, for the ticket; None if it is to be signed.
    pub(crate) fn to_verify(&self) -> Option<Digest> {
        self.whole.as_ref().map(|whole| whole.clone().finish())
    }
}

/// The key by its public area, as Names may be empty, and by the secret of an HMAC key: without nameAlg that is not
/// bound to the public area, and the authorization of a key of one's own would do for another's.
fn identity(key: &Object) -> Digest {
    let mut bytes = [0; Public::MAX];
    let mut w = Writer::new(&mut bytes);
    key.public.marshal(&mut w);
    let secret = key.symmetric_key().unwrap_or_default();
    Hasher::new(INTERNAL_HASH).chain(w.written(0)).chain(secret).finish()
}

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

impl Marshal for Message {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.signs.marshal(w);
        self.key.marshal(w);
        self.context.marshal(w);
        self.start.marshal(w);
        if let Some(whole) = &self.whole {
            whole.marshal(w);
        }
        match &self.summary {
            Summary::Digest(hasher) => {
                AlgId(hasher.alg().id()).marshal(w);
                hasher.marshal(w);
            }
            Summary::Hmac(hmac) => {
                let (inner, outer) = hmac.parts();
                AlgId::HMAC.marshal(w);
                inner.marshal(w);
                outer.marshal(w);
            }
            Summary::Mu(mu) => {
                let (state, at) = mu.state();
                AlgId::MLDSA.marshal(w);
                w.put(&state);
                at.marshal(w);
            }
        }
    }
}

impl Unmarshal<'_> for Message {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let (signs, key, context, start) = (r.get()?, r.get()?, r.get()?, r.get()?);
        let whole = if signs { None } else { Some(r.get()?) };
        let summary = match r.get()? {
            AlgId::HMAC => Summary::Hmac(Hmac::from_parts(r.get()?, r.get()?).ok_or(Fmt1::HASH)?),
            AlgId::MLDSA => {
                let state = r.take(mldsa::STATE)?.try_into().map_err(|_| Fmt1::SIZE)?;
                Summary::Mu(Mu::resume(state, r.get()?).ok_or(Fmt1::VALUE)?)
            }
            _ => Summary::Digest(r.get()?),
        };
        Ok(Self { signs, key, context, start, summary, whole })
    }
}
