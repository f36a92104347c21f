//! Do the public and sensitive areas of an object belong together? (Part 3, 12.2 and 12.3)

use super::create::{max_keyed_hash, ml_dsa_public, ml_kem_public, symmetric_unique};
use super::template;
use crate::crypto::ecc::Point;
use crate::crypto::hash::HashAlg;
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::crypto::{mldsa, mlkem};
use crate::data::object::Object;
use crate::fault::Fault;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{
    EccPoint, HashMlDsaParms, MlDsaParms, ObjectAttributes as A, Parms, Public, Sensitive, SensitiveComposite, Unique,
};

/// Which parameters are to blame.
pub(crate) struct Blame {
    /// the public area
    pub(crate) public: At,
    /// the sensitive area
    pub(crate) sensitive: At,
}

/// Checks of an object that is to be loaded. What a parent with fixedTPM has protected came from this TPM, and is not
/// checked again.
///
/// - `KEY_SIZE` at the sensitive area: a seedValue longer than nameAlg's digests
/// - at the public area: what [`template::check_attributes`] says; without Name what [`template::check_external`] and
///   [`template::check_scheme`] say, and without sensitive area only the latter
/// - what [`check_keys`] says
/// - `BINDING`: the prime is not one of the modulus
pub(crate) fn check(
    parent: Option<&Object>,
    public: &Public,
    sensitive: Option<&Sensitive>,
    blame: &Blame,
) -> Result<(), Rc> {
    match (sensitive, public.name_alg) {
        (Some(sensitive), Some(alg)) => {
            if sensitive.seed.len() > alg.digest_size() {
                return Err(Fmt1::KEY_SIZE.at(blame.sensitive));
            }
            template::check_attributes(parent, public).map_err(|e| e.at(blame.public))?;
        }
        (Some(_), None) => template::check_external(public)
            .and_then(|()| template::check_scheme(None, public))
            .map_err(|e| e.at(blame.public))?,
        (None, _) => template::check_scheme(None, public).map_err(|e| e.at(blame.public))?,
    }
    if parent.is_none_or(|p| !p.has(A::FIXED_TPM)) {
        check_keys(public, sensitive, blame)?;
    }
    match (&public.unique, sensitive) {
        (Unique::Rsa(_), Some(sensitive)) => rsa_private(public, sensitive).map(drop),
        _ => Ok(()),
    }
}

/// - `TYPE`, `SIZE` at the sensitive area: of another type, or its authValue is longer than nameAlg's digests
/// - `KEY`, `VALUE`, `ECC_POINT` at the public area: a public key that cannot be one
/// - `KEY_SIZE`, `SIZE` at the sensitive area: a secret or seedValue of the wrong size
/// - `BINDING`: the public area is not that of the secret
fn check_keys(public: &Public, sensitive: Option<&Sensitive>, blame: &Blame) -> Result<(), Rc> {
    let digest_size = public.name_alg.map_or(0, HashAlg::digest_size);
    if let Some(sensitive) = sensitive {
        if sensitive.composite.object_type() != public.object_type() {
            return Err(Fmt1::TYPE.at(blame.sensitive));
        }
        if digest_size > 0 && sensitive.auth.len() > digest_size {
            return Err(Fmt1::SIZE.at(blame.sensitive));
        }
    }
    match (&public.parms, &public.unique) {
        (Parms::Rsa(p), Unique::Rsa(n)) => {
            check_rsa(&public.parms, usize::from(p.key_bits.0 / 8), n.as_slice(), sensitive, blame)?;
        }
        (Parms::Ecc(_), Unique::Ecc(point)) => check_ecc(public, point, sensitive, blame)?,
        (Parms::MlKem(p), Unique::MlKem(key)) => {
            if p.set.check_public(key.as_slice()).is_err() {
                return Err(Fmt1::KEY.at(blame.public));
            }
            let own = sensitive.map(|s| ml_kem_public(p.set, s.composite.as_slice()));
            check_ml(own.map(|own| own.is_ok_and(|own| own == *key)), sensitive, mlkem::SEED, blame)?;
        }
        (Parms::MlDsa(MlDsaParms { set, .. }), Unique::MlDsa(key))
        | (Parms::HashMlDsa(HashMlDsaParms { set, .. }), Unique::HashMlDsa(key)) => {
            if key.len() != set.public_size() {
                return Err(Fmt1::KEY.at(blame.public));
            }
            let own = sensitive.map(|s| ml_dsa_public(*set, s.composite.as_slice()));
            check_ml(own.map(|own| own.is_ok_and(|own| own == *key)), sensitive, mldsa::SEED, blame)?;
        }
        _ => check_symmetric(public, digest_size, sensitive, blame)?,
    }
    let storage = public.attributes.has(A::RESTRICTED.with(A::DECRYPT));
    match sensitive.filter(|_| storage && digest_size > 0) {
        Some(s) if s.seed.len() < digest_size / 2 || s.seed.len() > digest_size => Err(Fmt1::SIZE.at(blame.sensitive)),
        _ => Ok(()),
    }
}

fn has_top_bit(number: &[u8]) -> bool {
    number.first().is_some_and(|b| b & 0x80 != 0)
}

fn check_rsa(
    parms: &Parms,
    size: usize,
    modulus: &[u8],
    sensitive: Option<&Sensitive>,
    blame: &Blame,
) -> Result<(), Rc> {
    if modulus.len() != size || !has_top_bit(modulus) {
        return Err(Fmt1::KEY.at(blame.public));
    }
    template::check_exponent(parms).map_err(|e| e.at(blame.public))?;
    let Some(sensitive) = sensitive else { return Ok(()) };
    let prime = sensitive.composite.as_slice();
    if prime.len().saturating_mul(2) != size || !has_top_bit(prime) {
        Err(Fmt1::KEY_SIZE.at(blame.sensitive))
    } else {
        Ok(())
    }
}

fn check_ecc(public: &Public, point: &EccPoint, sensitive: Option<&Sensitive>, blame: &Blame) -> Result<(), Rc> {
    let Parms::Ecc(parms) = &public.parms else { return Err(Fault::Areas.into()) };
    let curve = parms.curve;
    let Some(sensitive) = sensitive else {
        if point.x.len() != curve.size() || point.y.len() != curve.size() {
            return Err(Fmt1::KEY.at(blame.public));
        }
        return ecc_public(public).map(drop).map_err(|e| e.at(blame.public));
    };
    let own = curve.public(sensitive.composite.as_slice()).map_err(|_| Fmt1::KEY_SIZE.plain())?;
    let same = |a: &[u8], b: &[u8]| trimmed(a) == trimmed(b);
    let bound = same(own.x().as_slice(), point.x.as_slice()) && same(own.y().as_slice(), point.y.as_slice());
    if bound { Ok(()) } else { Err(Fmt1::BINDING.plain()) }
}

/// - `KEY_SIZE` at the sensitive area: no seed of this type of key
/// - `BINDING`: the public key is not that of the seed
fn check_ml(bound: Option<bool>, sensitive: Option<&Sensitive>, seed: usize, blame: &Blame) -> Result<(), Rc> {
    if sensitive.is_some_and(|s| s.composite.as_slice().len() != seed) {
        return Err(Fmt1::KEY_SIZE.at(blame.sensitive));
    }
    if bound.unwrap_or(true) { Ok(()) } else { Err(Fmt1::BINDING.plain()) }
}

/// A public number without leading zeros.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn check_symmetric(
    public: &Public,
    digest_size: usize,
    sensitive: Option<&Sensitive>,
    blame: &Blame,
) -> Result<(), Rc> {
    let (Unique::KeyedHash(unique) | Unique::SymCipher(unique)) = &public.unique else {
        return Err(Fault::Areas.into());
    };
    let Some(sensitive) = sensitive else {
        return if unique.len() == digest_size { Ok(()) } else { Err(Fmt1::KEY.at(blame.public)) };
    };
    let fits = match (&public.parms, &sensitive.composite) {
        (Parms::SymCipher(cipher), SensitiveComposite::Sym(key)) => key.len() == cipher.key_size(),
        (Parms::KeyedHash(scheme), SensitiveComposite::Bits(bits)) => bits.len() <= max_keyed_hash(*scheme),
        _ => return Err(Fault::Areas.into()),
    };
    if !fits {
        return Err(Fmt1::KEY_SIZE.at(blame.sensitive));
    }
    let Some(alg) = public.name_alg else { return Ok(()) };
    if sensitive.seed.len() != digest_size {
        return Err(Fmt1::KEY_SIZE.at(blame.sensitive));
    }
    if symmetric_unique(alg, public, sensitive) == public.unique { Ok(()) } else { Err(Fmt1::BINDING.plain()) }
}

/// The RSA public key of an object.
///
/// - `KEY`: no RSA key, or none that can be used
pub(crate) fn rsa_public(public: &Public) -> Result<RsaPublic, Fmt1> {
    match (&public.parms, &public.unique) {
        (Parms::Rsa(p), Unique::Rsa(n)) => RsaPublic::new(n.as_slice(), p.exponent).map_err(|_| Fmt1::KEY),
        _ => Err(Fmt1::KEY),
    }
}

/// The RSA private key of an object.
///
/// - `BINDING`: the prime is not one of the modulus
pub(crate) fn rsa_private(public: &Public, sensitive: &Sensitive) -> Result<RsaPrivate, Rc> {
    let key = rsa_public(public).map_err(|_| Fmt1::BINDING.plain())?;
    RsaPrivate::new(&key, sensitive.composite.as_slice()).map_err(|_| Fmt1::BINDING.plain())
}

/// The ECC public key of an object.
///
/// - `KEY`: no ECC key
/// - `ECC_POINT`: not on its curve
pub(crate) fn ecc_public(public: &Public) -> Result<Point, Fmt1> {
    match (&public.parms, &public.unique) {
        (Parms::Ecc(p), Unique::Ecc(point)) => {
            Point::new(p.curve, point.x.as_slice(), point.y.as_slice()).map_err(|_| Fmt1::ECC_POINT)
        }
        _ => Err(Fmt1::KEY),
    }
}
