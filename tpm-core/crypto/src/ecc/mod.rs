//! Elliptic curves: [`Curve`] is the table.
//!
//! | module | is |
//! |---|---|
//! | `params` | the constants of each curve |
//! | `fixed` | multiples of the base points of P-256 and P-384, from tables |
//! | `weierstrass`, `bn` | what every curve computes: over the RustCrypto curves, and our own for the BN curve |
//! | `scheme` | what is written once over these: ECDAA, ECSchnorr, SM2, ECMQV |
//!
//! Scalars and coordinates are big-endian and of the curve's full size; shorter ones from outside are taken as numbers.

mod bn;
mod fixed;
mod params;
mod scheme;
mod weierstrass;

pub use params::Parameters;

use weierstrass::{Ops, Weierstrass};

use super::drbg::Drbg;
use super::{Error, Rng, num, pad_left};
use crate::secret::Secret;
use zeroize::Zeroizing;

/// The longest coordinate or scalar, in bytes.
pub const MAX_SIZE: usize = 66;
/// Limbs for the numbers that a scalar is reduced from.
const WIDE_LIMBS: usize = MAX_SIZE.div_ceil(num::LIMB) + 1;

/// How often a nonce may turn out useless, which it does with a probability of about 2^-256 each time.
const NONCE_TRIES: usize = 4;

/// A private scalar of any curve.
pub type Scalar = Secret<MAX_SIZE>;

/// From one row per curve: the names, the sizes and the dispatch to the implementation.
macro_rules! curves {
    ($($(#[$doc:meta])* $name:ident = $id:literal, bits $bits:literal, $ops:expr;)*) => {
        /// An elliptic curve (TPMI_ECC_CURVE).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Curve {
            $($(#[$doc])* $name = $id,)*
        }

        impl Curve {
            /// Every curve, in the order of identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The curve with this TPM_ECC_CURVE, if it is one of ours.
            #[must_use]
            pub const fn from_id(id: u16) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The TPM_ECC_CURVE.
            #[must_use]
            pub const fn id(self) -> u16 {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// The bits of the field (TPMS_ALGORITHM_DETAIL_ECC.keySize).
            #[must_use]
            pub const fn bits(self) -> u16 {
                match self {
                    $(Self::$name => $bits,)*
                }
            }

            /// The bytes of a coordinate or scalar.
            #[must_use]
            pub const fn size(self) -> usize {
                match self {
                    $(Self::$name => usize::div_ceil($bits, 8),)*
                }
            }

            fn ops(self) -> &'static dyn Ops {
                match self {
                    $(Self::$name => &$ops,)*
                }
            }
        }
    };
}

curves! {
    /// NIST P-192.
    NistP192 = 0x0001, bits 192, Weierstrass::<p192::NistP192>::NEW;
    /// NIST P-224.
    NistP224 = 0x0002, bits 224, Weierstrass::<p224::NistP224>::NEW;
    /// NIST P-256.
    NistP256 = 0x0003, bits 256, Weierstrass::<p256::NistP256>::NEW;
    /// NIST P-384.
    NistP384 = 0x0004, bits 384, Weierstrass::<p384::NistP384>::NEW;
    /// NIST P-521.
    NistP521 = 0x0005, bits 521, Weierstrass::<p521::NistP521>::NEW;
    /// BN P-256, a curve with a pairing, for ECDAA.
    BnP256 = 0x0010, bits 256, bn::Bn;
    /// SM2 P-256.
    Sm2P256 = 0x0020, bits 256, Weierstrass::<sm2::Sm2>::NEW;
}

/// A number of a curve's size that is not secret: a coordinate, or half a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    bytes: [u8; MAX_SIZE],
    len: usize,
}

impl Number {
    /// `from` as a number of `len` bytes.
    fn new(from: &[u8], len: usize) -> Result<Self, Error> {
        let mut number = Self { bytes: [0; MAX_SIZE], len };
        pad_left(from, number.bytes.get_mut(..len).ok_or(Error::Length)?)?;
        Ok(number)
    }

    /// The bytes, big-endian, of the curve's size.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Number {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// A point that is on its curve and is not the point at infinity (TPMS_ECC_POINT, checked).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    curve: Curve,
    x: Number,
    y: Number,
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

    /// The curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// The x coordinate.
    #[must_use]
    pub const fn x(&self) -> &Number {
        &self.x
    }

    /// The y coordinate.
    #[must_use]
    pub const fn y(&self) -> &Number {
        &self.y
    }
}

/// An ECDSA or ECSchnorr signature (TPMS_SIGNATURE_ECC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// r
    pub r: Number,
    /// s
    pub s: Number,
}

impl Signature {
    /// A signature from outside; shorter numbers are taken as numbers.
    ///
    /// # Errors
    /// `Error::Length` for a number longer than the curve's size.
    pub fn new(curve: Curve, r: &[u8], s: &[u8]) -> Result<Self, Error> {
        Ok(Self { r: Number::new(r, curve.size())?, s: Number::new(s, curve.size())? })
    }
}

impl Curve {
    /// A new key pair: FIPS 186-5, A.2.1 (extra random bits).
    ///
    /// Draws size + 8 bytes from `rng` as a big-endian number c; the private scalar is (c mod (n − 1)) + 1. This is
    /// also the frozen derivation of primary keys ([`super::primary`]).
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
    fn reduce(self, value: &[u8], modulus: &[u8]) -> Result<Number, Error> {
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
    pub(crate) fn number_mod_n(self, value: &[u8]) -> Number {
        self.reduce(value, self.parameters().n).unwrap()
    }

    pub(crate) fn sum(self, p: &Point, q: &Point) -> Result<Point, Error> {
        self.ops().add_multiple(p, &[1], q)
    }
}

/// The source of nonces of a signature: what `rng` gives, the key and the digest. A bad `rng` alone does not reveal the
/// key.
fn hedged(d: &[u8], digest: &[u8], rng: &mut dyn Rng) -> Result<Drbg, Error> {
    let mut random = Secret::<32>::zeroed(32)?;
    rng.fill(random.as_mut_slice())?;
    Ok(Drbg::from_seed(&[random.as_slice(), d, digest]))
}
