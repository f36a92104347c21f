//! Which public areas an object may have (Part 1, 22; Part 2, 12.2; Part 3, 12.1.2).

use crate::crypto::rsa::is_exponent;
use crate::crypto::sym::Mode;
use crate::data::object::Object;
use crate::rc::Fmt1;
use crate::wire::{EccParms, KdfAlg, ObjectAttributes as A, ObjectType, Parms, Public, RsaParms, Scheme, SymDefObject};

/// Checks of a template from which an object is to be created, with `data_size` octets of sensitive data from the
/// caller.
///
/// - `ATTRIBUTES`: sensitiveDataOrigin does not tell whether there are data from the caller; or a type for which its
///   value is not possible
/// - what [`check_attributes`] says
pub(crate) fn check_creation(parent: Option<&Object>, public: &Public, data_size: usize) -> Result<(), Fmt1> {
    let origin = public.attributes.has(A::SENSITIVE_DATA_ORIGIN);
    // A Primary Object may depend on data that are not its secret.
    if !origin && data_size == 0 || parent.is_some() && origin && data_size != 0 {
        return Err(Fmt1::ATTRIBUTES);
    }
    let a = public.attributes;
    let is_data = public.object_type() == ObjectType::KeyedHash && !a.any(A::SIGN.with(A::DECRYPT));
    let is_bound = a.any(A::FIXED_PARENT.with(A::FIXED_TPM));
    let possible = match public.object_type() {
        _ if is_data => !origin,
        ObjectType::KeyedHash | ObjectType::SymCipher => origin || !a.has(A::RESTRICTED) || !is_bound,
        _ => origin,
    };
    if !possible {
        return Err(Fmt1::ATTRIBUTES);
    }
    check_attributes(parent, public)
}

/// Checks of the attributes of an object with a Name and a sensitive area; `parent` is None for a Primary Object.
///
/// - `HASH`: no nameAlg
/// - `SIZE`: authPolicy is neither empty nor of the size of nameAlg's digests
/// - `ATTRIBUTES`: attributes that do not go together, or not with those of the parent
/// - what [`check_scheme`] says
pub(crate) fn check_attributes(parent: Option<&Object>, public: &Public) -> Result<(), Fmt1> {
    let name_alg = public.name_alg.ok_or(Fmt1::HASH)?;
    if !public.auth_policy.is_empty() && public.auth_policy.len() != name_alg.digest_size() {
        return Err(Fmt1::SIZE);
    }
    if !is_consistent(public) || !fits_parent(parent, public.attributes) {
        return Err(Fmt1::ATTRIBUTES);
    }
    check_scheme(parent, public)
}

fn is_consistent(public: &Public) -> bool {
    let a = public.attributes;
    let (sign, decrypt) = (a.has(A::SIGN), a.has(A::DECRYPT));
    let useless = !sign && !decrypt && public.object_type() != ObjectType::KeyedHash;
    let pointless = !sign && !decrypt && a.has(A::RESTRICTED);
    let never_duplicated = a.has(A::FIXED_TPM) && a.has(A::ENCRYPTED_DUPLICATION);
    !useless && !pointless && !never_duplicated && is_possible(public)
}

/// Attributes that exclude each other in every object, wherever it comes from (Part 2, 8.3.3).
fn is_possible(public: &Public) -> bool {
    let a = public.attributes;
    let ambiguous = a.has(A::SIGN.with(A::DECRYPT).with(A::RESTRICTED));
    // No hierarchy of this TPM is limited to a firmware or its SVN, so no object can be.
    let limited = a.any(A::FIRMWARE_LIMITED.with(A::SVN_LIMITED));
    let certifies = a.has(A::SIGN) && public.object_type().is_asymmetric();
    !ambiguous && !limited && (certifies || !a.has(A::X509_SIGN))
}

/// The rules for an object of which both areas come from outside, with or without a Name (Part 2, 8.3.3: External).
/// Those of fixedTPM, fixedParent and restricted are the caller's.
///
/// - `ATTRIBUTES`: attributes that exclude each other
pub(crate) fn check_external(public: &Public) -> Result<(), Fmt1> {
    if is_possible(public) { Ok(()) } else { Err(Fmt1::ATTRIBUTES) }
}

/// The rules for an object that is imported below a parent without fixedTPM, where all else waits until it is loaded
/// (Part 2, 8.3.3: Import). Those of fixedTPM and fixedParent are the caller's.
///
/// - `ATTRIBUTES`: attributes that exclude each other, or encryptedDuplication is not as in the parent
/// - `VALUE`: an RSA exponent that cannot be one
pub(crate) fn check_import(parent: &Object, public: &Public) -> Result<(), Fmt1> {
    if !is_possible(public) || !fits_parent(Some(parent), public.attributes) {
        return Err(Fmt1::ATTRIBUTES);
    }
    check_exponent(&public.parms)
}

/// - `VALUE`: an RSA exponent that cannot be one
pub(crate) fn check_exponent(parms: &Parms) -> Result<(), Fmt1> {
    match parms {
        Parms::Rsa(p) if !is_exponent(p.exponent) => Err(Fmt1::VALUE),
        _ => Ok(()),
    }
}

/// fixedTPM, fixedParent and encryptedDuplication follow from the parent (Part 1, 20.6); seeds are fixedTPM.
fn fits_parent(parent: Option<&Object>, a: A) -> bool {
    let fixed_tpm = parent.is_none_or(|p| p.has(A::FIXED_TPM));
    let fixed = if fixed_tpm { a.has(A::FIXED_PARENT) == a.has(A::FIXED_TPM) } else { !a.has(A::FIXED_TPM) };
    let duplication =
        fixed_tpm || parent.is_none_or(|p| p.has(A::ENCRYPTED_DUPLICATION) == a.has(A::ENCRYPTED_DUPLICATION));
    let derivation = parent.filter(|p| p.is_derivation_parent());
    let derived = derivation.is_none_or(|p| p.has(A::FIXED_TPM) == a.has(A::FIXED_TPM) && a.has(A::FIXED_PARENT));
    fixed && duplication && derived
}

/// Checks of schemes and algorithms, which also hold for an object without Name.
///
/// - `SCHEME`: not one for what the object does
/// - `ATTRIBUTES`: an ML-KEM key that signs, an ML-DSA key that decrypts, or a restricted one that signs an external μ
///   (Part 3, 20.1)
/// - `HASH`: a storage key with fixedParent and another nameAlg than its parent's
/// - `KDF`: an ECC key with a KDF, but one that makes it a key with which secrets are encapsulated
/// - `SYMMETRIC`: a storage key without algorithm for its children, another key with one, or a storage key with
///   fixedParent and another algorithm than its parent's
pub(crate) fn check_scheme(parent: Option<&Object>, public: &Public) -> Result<(), Fmt1> {
    match &public.parms {
        Parms::Rsa(RsaParms { scheme, symmetric, .. }) => {
            check_asymmetric(public.attributes, scheme.0)?;
            check_symmetric(parent, public, *symmetric)
        }
        Parms::Ecc(parms) => {
            check_asymmetric(public.attributes, parms.scheme.0)?;
            check_kdf(public.attributes, parms)?;
            check_symmetric(parent, public, parms.symmetric)
        }
        Parms::SymCipher(symmetric) if public.attributes.has(A::DECRYPT) && symmetric.mode == Some(Mode::Cmac) => {
            Err(Fmt1::SCHEME)
        }
        Parms::SymCipher(symmetric) => check_symmetric(parent, public, Some(*symmetric)),
        Parms::KeyedHash(scheme) => check_keyed_hash(public.attributes, scheme.0),
        Parms::MlKem(p) => {
            if public.attributes.has(A::SIGN) {
                return Err(Fmt1::ATTRIBUTES);
            }
            check_symmetric(parent, public, p.symmetric)
        }
        Parms::MlDsa(p) if p.allow_external_mu && public.attributes.has(A::RESTRICTED) => Err(Fmt1::ATTRIBUTES),
        Parms::MlDsa(_) | Parms::HashMlDsa(_) if public.attributes.has(A::DECRYPT) => Err(Fmt1::ATTRIBUTES),
        Parms::MlDsa(_) | Parms::HashMlDsa(_) => Ok(()),
    }
}

/// A restricted signing key names its scheme, a storage key has none; a key that does both has none either.
fn check_asymmetric(a: A, scheme: Scheme) -> Result<(), Fmt1> {
    let none = scheme == Scheme::Null;
    let fits = match (a.has(A::SIGN), a.has(A::DECRYPT)) {
        (true, false) => scheme.signs() || none && !a.has(A::RESTRICTED),
        (false, true) => none || scheme.decrypts() && !a.has(A::RESTRICTED),
        _ => none,
    };
    if fits { Ok(()) } else { Err(Fmt1::SCHEME) }
}

/// Only an unrestricted key for ECDH may have a KDF, that of its curve's KEM (1.85). A key without scheme is one, too.
fn check_kdf(a: A, parms: &EccParms) -> Result<(), Fmt1> {
    let exchanges = matches!(parms.scheme.0, Scheme::Null | Scheme::Ecdh(_));
    let encapsulates = exchanges && a.has(A::DECRYPT) && !a.has(A::RESTRICTED);
    if parms.kdf.is_none() || encapsulates && parms.kem().is_some() { Ok(()) } else { Err(Fmt1::KDF) }
}

fn check_keyed_hash(a: A, scheme: Scheme) -> Result<(), Fmt1> {
    let fits = match (a.has(A::SIGN), a.has(A::DECRYPT), scheme) {
        (true, false, Scheme::Hmac(_)) => true,
        (false, true, Scheme::Xor(_, kdf)) => !a.has(A::RESTRICTED) || kdf == Some(KdfAlg::Kdf1Sp800_108),
        (sign, decrypt, Scheme::Null) => sign == decrypt,
        _ => false,
    };
    if fits { Ok(()) } else { Err(Fmt1::SCHEME) }
}

fn check_symmetric(parent: Option<&Object>, public: &Public, symmetric: Option<SymDefObject>) -> Result<(), Fmt1> {
    let a = public.attributes;
    if !a.has(A::RESTRICTED.with(A::DECRYPT)) {
        let misplaced = symmetric.is_some() && public.object_type() != ObjectType::SymCipher;
        return if misplaced { Err(Fmt1::SYMMETRIC) } else { Ok(()) };
    }
    let symmetric = symmetric.ok_or(Fmt1::SYMMETRIC)?;
    let Some(parent) = parent.filter(|_| a.has(A::FIXED_PARENT)) else { return Ok(()) };
    if public.name_alg != parent.public.name_alg {
        return Err(Fmt1::HASH);
    }
    if parent.public.symmetric() != Some(symmetric) { Err(Fmt1::SYMMETRIC) } else { Ok(()) }
}
