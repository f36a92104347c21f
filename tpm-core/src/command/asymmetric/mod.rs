//! Part 3, 14: Asymmetric Primitives.

pub(crate) mod decapsulate;
pub(crate) mod ecc_decrypt;
pub(crate) mod ecc_encrypt;
pub(crate) mod ecc_parameters;
pub(crate) mod ecdh_key_gen;
pub(crate) mod ecdh_z_gen;
pub(crate) mod encapsulate;
pub(crate) mod rsa_decrypt;
pub(crate) mod rsa_encrypt;
pub(crate) mod z_gen_2_phase;

use crate::crypto::ecc::{Curve, Point};
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::rsa::padding::CryptScheme;
use crate::crypto::{ecc, kdf};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{EccParms, Handle, KdfAlg, KdfScheme, ObjectAttributes, RsaParms, Scheme};

/// An RSA key.
///
/// - `KEY` at the handle: no RSA key
fn rsa_key(tpm: &Tpm, h: Handle, at: At) -> Result<(&Object, &RsaParms), Rc> {
    tpm.object(h).and_then(|o| Some((o, o.rsa_parms()?))).ok_or(Fmt1::KEY.at(at))
}

/// An ECC key.
///
/// - `KEY` at the handle: no ECC key
fn ecc_key(tpm: &Tpm, h: Handle, at: At) -> Result<(&Object, &EccParms), Rc> {
    tpm.object(h).and_then(|o| Some((o, o.ecc_parms()?))).ok_or(Fmt1::KEY.at(at))
}

/// - `ATTRIBUTES` at the handle: it is restricted, or does not decrypt
fn check_decrypts(key: &Object, at: At) -> Result<(), Rc> {
    let good = key.has(ObjectAttributes::DECRYPT) && !key.has(ObjectAttributes::RESTRICTED);
    if good { Ok(()) } else { Err(Fmt1::ATTRIBUTES.at(at)) }
}

/// Whether a label ends in a zero octet, which is part of it, if it is there at all (Part 1, B.4).
fn is_label(label: &[u8]) -> bool {
    label.last().is_none_or(|last| *last == 0)
}

/// The scheme of the command, or that of the key, which must be the same if both have one.
fn select_rsa_scheme(key: Scheme, wanted: Scheme) -> Option<Scheme> {
    match (key, wanted) {
        (Scheme::Null, scheme) | (scheme, Scheme::Null) => Some(scheme),
        (key, wanted) => (key == wanted).then_some(wanted),
    }
}

/// The padding that a scheme stands for, unless it is one for signatures.
fn padding(scheme: Scheme, label: &[u8]) -> Option<CryptScheme<'_>> {
    match scheme {
        Scheme::Null => Some(CryptScheme::Null),
        Scheme::Rsaes => Some(CryptScheme::Rsaes),
        Scheme::Oaep(hash) => Some(CryptScheme::Oaep(hash, label)),
        _ => None,
    }
}

/// The hash of KDF2 with which an ECC key encrypts (Part 1, C.8): the scheme of the command, or that of the key, which
/// must be the same if both have one.
///
/// - `SCHEME` at the parameter: neither has one, or they differ
/// - `SCHEME`: it is not KDF2
fn kdf2_hash(key: Option<KdfScheme>, wanted: Option<KdfScheme>, at: At) -> Result<HashAlg, Rc> {
    let scheme = match (key, wanted) {
        (Some(key), Some(wanted)) if key != wanted => None,
        (key, wanted) => wanted.or(key),
    };
    let scheme = scheme.ok_or(Fmt1::SCHEME.at(at))?;
    if scheme.kdf == KdfAlg::Kdf2 { Ok(scheme.hash) } else { Err(Fmt1::SCHEME.plain()) }
}

/// Octets of the largest shared point.
const SHARED_MAX: usize = 2 * ecc::MAX_SIZE;

/// What follows from the shared point of ECC encryption: the mask of the text, and what binds the text (Part 1, C.8).
struct Shared {
    hash: HashAlg,
    x: Secret<{ ecc::MAX_SIZE }>,
    y: Secret<{ ecc::MAX_SIZE }>,
}

impl Shared {
    fn new(hash: HashAlg, curve: Curve, d: &[u8], point: &Point) -> Result<Self, crate::crypto::Error> {
        let shared = curve.multiply(d, point)?;
        let (x, y) = (Secret::from_slice(shared.x().as_slice())?, Secret::from_slice(shared.y().as_slice())?);
        Ok(Self { hash, x, y })
    }

    /// Masks a text, or unmasks it.
    fn mask(&self, text: &mut [u8]) -> Result<(), crate::crypto::Error> {
        let mut z = Secret::<SHARED_MAX>::from_slice(self.x.as_slice())?;
        z.extend(self.y.as_slice())?;
        let mut mask = Secret::<{ crate::profile::MAX_DIGEST_BUFFER }>::zeroed(text.len())?;
        kdf::kdf2(self.hash, z.as_slice(), &[], mask.as_mut_slice());
        text.iter_mut().zip(mask.as_slice()).for_each(|(text, mask)| *text ^= mask);
        Ok(())
    }

    /// H(x ‖ text ‖ y)
    fn binding(&self, text: &[u8]) -> Digest {
        Hasher::new(self.hash).chain(self.x.as_slice()).chain(text).chain(self.y.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rc::Nth;

    const AT: At = At::Param(Nth::new(2));
    const fn kdf2(hash: HashAlg) -> Option<KdfScheme> {
        Some(KdfScheme { kdf: KdfAlg::Kdf2, hash })
    }

    /// No key with a kdf can be loaded, so commands do not reach all of it.
    #[test]
    fn ecc_encryption_takes_the_keys_kdf_or_the_commands() {
        let own = kdf2(HashAlg::Sha256);
        assert_eq!(kdf2_hash(own, None, AT), Ok(HashAlg::Sha256));
        assert_eq!(kdf2_hash(own, own, AT), Ok(HashAlg::Sha256));
        assert_eq!(kdf2_hash(None, own, AT), Ok(HashAlg::Sha256));
        assert_eq!(kdf2_hash(own, kdf2(HashAlg::Sha1), AT), Err(Fmt1::SCHEME.at(AT)));
        assert_eq!(kdf2_hash(None, None, AT), Err(Fmt1::SCHEME.at(AT)));
        let mgf1 = Some(KdfScheme { kdf: KdfAlg::Mgf1, hash: HashAlg::Sha256 });
        assert_eq!(kdf2_hash(None, mgf1, AT), Err(Fmt1::SCHEME.plain()));
    }
}
