//! Part 3, 20: Signing and Signature Verification.

pub(crate) mod sign;
pub(crate) mod sign_digest;
pub(crate) mod sign_sequence_complete;
pub(crate) mod verify_digest_signature;
pub(crate) mod verify_sequence_complete;
pub(crate) mod verify_signature;

use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::mldsa;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{Handle, INTERNAL_HASH, ObjectAttributes, Parms, Ticket, Unique};

/// TPM2B_SIGNATURE_CTX (1.85) holds at most this many octets.
const MAX_SIGNATURE_CONTEXT: usize = 255;

/// Where a command that signs a digest has its parts.
struct Positions {
    key: At,
    digest: At,
    validation: At,
}

/// The key of a command that signs what comes from outside.
///
/// - `KEY` at the key: no signing key
/// - `ATTRIBUTES` at the key: x509sign, it signs certificates only
fn external_signer(tpm: &Tpm, key: Handle, at: At) -> Result<&Object, Rc> {
    let object = tpm.object(key).filter(|o| o.can_sign()).ok_or(Fmt1::KEY.at(at))?;
    if object.has(ObjectAttributes::X509_SIGN) { Err(Fmt1::ATTRIBUTES.at(at)) } else { Ok(object) }
}

/// What kind of digest a key signs: made with this hash, and so long. External μ (1.85) is no digest of a hash; a
/// ticket for it would be one for nameAlg, which is a choice.
struct Kind {
    hash: HashAlg,
    size: usize,
}

impl Kind {
    fn of(hash: HashAlg) -> Self {
        Self { hash, size: hash.digest_size() }
    }
}

/// Whether this digest may be signed with this key: a restricted one signs only what the TPM itself has hashed.
///
/// - `TICKET` at the ticket: it is needed, or given, and does not say that the TPM made the digest with the scheme's
///   hash
/// - `SIZE` at the digest: no digest of the scheme's hash
fn check_digest(
    tpm: &Tpm,
    key: &Object,
    kind: &Kind,
    digest: &Digest,
    ticket: &Ticket,
    at: &Positions,
) -> Result<(), Rc> {
    let needed = !ticket.digest.is_empty() || key.has(ObjectAttributes::RESTRICTED);
    if needed && !tpm.is_hash_checked(ticket, kind.hash, digest) {
        return Err(Fmt1::TICKET.at(at.validation));
    }
    if digest.len() == kind.size { Ok(()) } else { Err(Fmt1::SIZE.at(at.digest)) }
}

/// What an ML-DSA key signs of a digest with a context: None for other keys (1.85).
enum MlDsaUse {
    /// the digest is μ
    ExternalMu,
    /// the digest, made with this hash, takes the message's place
    PreHashed(HashAlg),
}

impl MlDsaUse {
    /// - `ATTRIBUTES` at the key: pure ML-DSA, and it does not admit external μ
    /// - `VALUE` at the context: it is not empty, and μ has been made with one already
    fn of(key: &Object, context: &[u8], at_key: At, at_context: At) -> Result<Option<Self>, Rc> {
        match &key.public.parms {
            Parms::MlDsa(p) if !p.allow_external_mu => Err(Fmt1::ATTRIBUTES.at(at_key)),
            Parms::MlDsa(_) if !context.is_empty() => Err(Fmt1::VALUE.at(at_context)),
            Parms::MlDsa(_) => Ok(Some(Self::ExternalMu)),
            Parms::HashMlDsa(p) => Ok(Some(Self::PreHashed(p.hash))),
            _ => Ok(None),
        }
    }

    fn kind(&self, key: &Object) -> Kind {
        match self {
            Self::ExternalMu => Kind { hash: key.public.name_alg.unwrap_or(INTERNAL_HASH), size: mldsa::MU },
            Self::PreHashed(hash) => Kind::of(*hash),
        }
    }

    /// μ; None if the digest has not the right size.
    fn mu(&self, key: &Object, context: &[u8], digest: &[u8]) -> Option<[u8; mldsa::MU]> {
        match (self, &key.public.unique) {
            (Self::ExternalMu, _) => digest.try_into().ok(),
            (Self::PreHashed(hash), Unique::HashMlDsa(public)) => {
                mldsa::Mu::pre_hashed(public.as_slice(), context, *hash, digest).ok()
            }
            _ => None,
        }
    }
}
