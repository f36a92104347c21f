//! Part 3, 20: Signing and Signature Verification.

pub(crate) mod sign;
pub(crate) mod sign_digest;
pub(crate) mod sign_sequence_complete;
pub(crate) mod verify_digest_signature;
pub(crate) mod verify_sequence_complete;
pub(crate) mod verify_signature;

use crate::crypto::hash::Digest;
use crate::object::Object;
use crate::object::sign::has_size_of;
use crate::rc::{At, Fmt1, Rc};
use crate::tpm::Tpm;
use crate::wire::{Handle, ObjectAttributes, Scheme, Ticket};

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

/// Whether this digest may be signed with this key: a restricted one signs only what the TPM itself has hashed.
///
/// - `TICKET` at the ticket: it is needed, or given, and does not say that the TPM made the digest with the scheme's hash
/// - `SIZE` at the digest: no digest of the scheme's hash
fn check_digest(
    tpm: &Tpm,
    key: &Object,
    scheme: Scheme,
    digest: &Digest,
    ticket: &Ticket,
    at: &Positions,
) -> Result<(), Rc> {
    if !ticket.digest.is_empty() || key.has(ObjectAttributes::RESTRICTED) {
        let checked = scheme.hash().is_some_and(|hash| tpm.is_hash_checked(ticket, hash, digest));
        return if checked { Ok(()) } else { Err(Fmt1::TICKET.at(at.validation)) };
    }
    if has_size_of(digest, scheme) { Ok(()) } else { Err(Fmt1::SIZE.at(at.digest)) }
}
