//! What every curve can do: keys, ECDH, ECDSA, and the dispatch to the arithmetic of each.

use super::bn;
use super::curve::Curve;
use super::point::{MAX_SIZE, Number, Point, Scalar, Signature};
use super::weierstrass::{Ops, Weierstrass};
use crate::drbg::Drbg;
use crate::secret::Secret;
use crate::{Error, Rng, num};
use zeroize::Zeroizing;

/// Limbs for the numbers that a scalar is reduced from.
const WIDE_LIMBS: usize = MAX_SIZE.div_ceil(num::LIMB) + 1;

/// How often a nonce may turn out useless, which it does with a probability of about 2^-256 each time.
pub(super) const NONCE_TRIES: usize = 4;

impl Curve {
    pub(super) fn ops(self) -> &'static dyn Ops {
        match self {
            Self::NistP192 => &Weierstrass::<p192::NistP192>::NEW,
            Self::NistP224 => &Weierstrass::<p224::NistP224>::NEW,
            Self::NistP256 => &Weierstrass::<p256::NistP256>::NEW,
            Self::NistP384 => &Weierstrass::<p384::NistP384>::NEW,
            Self::NistP521 => &Weierstrass::<p521::NistP521>::NEW,
            Self::BnP256 => &bn::Bn,
            Self::Sm2P256 => &Weierstrass::<sm2::Sm2>::NEW,
        }
    }
}

impl Point {
    /// The point with these coordinates, if it is on the curve. Shorter coordinates are taken as numbers.
    ///
    /// # Errors
    /// `Error::Length` for a coordinate longer than the curve's size, `Error::Range` for a point that is not on the
    /// curve.
    pub fn new(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let point = Self { curve, x: Number::new(x, curve.size())?, y: Number::new(y, curve.size())? };
        if curve.ops().contains(&point) { Ok(point) } else { Err(Error::Range) }
    }
}

impl Curve {
    /// A new key pair: FIPS 186-5, A.2.1 (extra random bits).
    ///
    /// Draws size + 8 bytes from `rng` as a big-endian number c; the private scalar is (c mod (n − 1)) + 1. This is
    /// also the frozen derivation of primary keys ([`crate::primary`]).
    ///
    /// # Errors
    /// `Error::Reseed` from `rng`.
    pub fn generate(self, rng: &mut dyn Rng) -> Result<(Scalar, Point), Error> {
        let d = self.random_scalar(rng)?;
        let public = self.public(d.as_slice())?;
        Ok((d, public))
    }

    /// A private scalar, drawn as [`Curve::generate`] does.
    ///
    /// # Errors
    /// `Error::Reseed` from `rng`.
    pub fn random_scalar(self, rng: &mut dyn Rng) -> Result<Scalar, Error> {
        let mut wide = Secret::<{ MAX_SIZE + 8 }>::zeroed(self.size() + 8)?;
        rng.fill(wide.as_mut_slice())?;
        let (mut value, mut rest) = (Zeroizing::new([0; WIDE_LIMBS]), Zeroizing::new([0; WIDE_LIMBS]));
        let mut last = [0; WIDE_LIMBS];
        num::from_be_bytes(wide.as_slice(), &mut *value)?;
        num::from_be_bytes(self.parameters().n, &mut last)?;
        num::sub_masked(&mut last, &[1], u64::MAX);
        num::reduce_slowly(&*value, &last, &mut *rest);
        num::add_word(&mut *rest, 1);
        let mut scalar = Scalar::zeroed(self.size())?;
        num::to_be_bytes(&*rest, scalar.as_mut_slice());
        Ok(scalar)
    }

    /// `value`, which is not secret (a digest), modulo the order or the field's prime.
    pub(crate) fn reduce(self, value: &[u8], modulus: &[u8]) -> Result<Number, Error> {
        let (mut wide, mut rest, mut limbs) = ([0; WIDE_LIMBS], [0; WIDE_LIMBS], [0; WIDE_LIMBS]);
        num::from_be_bytes(value, &mut wide)?;
        num::from_be_bytes(modulus, &mut limbs)?;
        num::reduce_slowly(&wide, &limbs, &mut rest);
        let mut number = Number { bytes: [0; MAX_SIZE], len: self.size() };
        num::to_be_bytes(&rest, number.bytes.get_mut(..self.size()).unwrap_or_default());
        Ok(number)
    }

    /// The public point of a private scalar.
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d` < n, `Error::Length` if `d` is longer than the curve's size.
    pub fn public(self, d: &[u8]) -> Result<Point, Error> {
        self.ops().base_multiply(d)
    }

    /// ECDH: `d` · `point`, both coordinates of it (TPM2_ECDH_ZGen).
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d` < n, or if `point` is on another curve; `Error::Length` if `d` is longer than the
    /// curve's size.
    pub fn multiply(self, d: &[u8], point: &Point) -> Result<Point, Error> {
        if point.curve != self {
            return Err(Error::Range);
        }
        self.ops().multiply(d, point)
    }

    /// Signs a digest with ECDSA (FIPS 186-5, 6.4.1). The nonce comes from `rng`, hedged: a bad `rng` alone does not
    /// reveal the key.
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d` < n, `Error::Reseed` from `rng`.
    pub fn ecdsa_sign(self, d: &[u8], digest: &[u8], rng: &mut dyn Rng) -> Result<Signature, Error> {
        let mut hedged = hedged(d, digest, rng)?;
        for _ in 0..NONCE_TRIES {
            let nonce = self.random_scalar(&mut hedged)?;
            if let Some(signature) = self.ops().ecdsa_sign(d, nonce.as_slice(), digest)? {
                return Ok(signature);
            }
        }
        Err(Error::Fault)
    }

    /// Verifies an ECDSA signature of a digest (FIPS 186-5, 6.4.2).
    ///
    /// # Errors
    /// `Error::Invalid` if it does not verify, for whatever reason.
    pub fn ecdsa_verify(self, public: &Point, digest: &[u8], signature: &Signature) -> Result<(), Error> {
        if public.curve != self {
            return Err(Error::Invalid);
        }
        self.ops().ecdsa_verify(public, digest, signature)
    }
}

#[cfg(test)]
impl Curve {
    pub(crate) fn sum(self, p: &Point, q: &Point) -> Result<Point, Error> {
        self.ops().add_multiple(p, &[1], q)
    }
}

/// The source of nonces of a signature: what `rng` gives, the key and the digest. A bad `rng` alone does not reveal the
/// key.
pub(super) fn hedged(d: &[u8], digest: &[u8], rng: &mut dyn Rng) -> Result<Drbg, Error> {
    let mut random = Secret::<32>::zeroed(32)?;
    rng.fill(random.as_mut_slice())?;
    Ok(Drbg::from_seed(&[random.as_slice(), d, digest]))
}
