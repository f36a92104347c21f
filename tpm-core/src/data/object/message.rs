//! Messages that are signed, or verified, over several commands (1.85: Part 3, 17.5, 17.6, 20.3 and 20.6), with any key
//! that signs.
//!
//! The scheme is the key's own, which it must have. RSA and ECC keys sign the digest of the message, HMAC keys give the
//! HMAC of the message itself, ML-DSA keys sign μ, which takes the message in as it comes, and Hash-ML-DSA keys the
//! digest.

use super::loaded::Object;
use crate::crypto::hash::{Digest, Hasher};
use crate::crypto::hmac::Hmac;
use crate::crypto::mldsa::{self, Mu};
use crate::rc::Fmt1;
use crate::wire::{
    AlgId, Buffer, GENERATED_VALUE, INTERNAL_HASH, Marshal, Parms, Public, Reader, Scheme, Unique, Unmarshal, Writer,
};

/// A message in progress.
pub(crate) struct Message {
    /// whether it is to be signed, rather than verified
    pub(crate) signs: bool,
    /// which key it is for
    key: Digest,
    /// context of the signature
    pub(crate) context: Context,
    /// its first octets
    start: Buffer<4>,
    /// what is signed of it
    pub(crate) summary: Summary,
    /// the message itself, if it is to be verified: what the ticket is for
    whole: Option<Hasher>,
}

/// TPM2B_SIGNATURE_CTX.
pub(crate) type Context = Buffer<{ mldsa::MAX_CONTEXT }>;

/// What is signed of a message.
pub(crate) enum Summary {
    /// a digest
    Digest(Hasher),
    /// an HMAC
    Hmac(Hmac),
    /// μ of FIPS 204
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
            alg => {
                let hasher: Hasher = r.get()?;
                if hasher.alg().id() != alg.0 {
                    return Err(Fmt1::HASH);
                }
                Summary::Digest(hasher)
            }
        };
        Ok(Self { signs, key, context, start, summary, whole })
    }
}
