//! What each curve computes, written once over the RustCrypto curve traits.

use core::marker::PhantomData;

use p256::elliptic_curve::ff::{Field as _, PrimeField as _};
use p256::elliptic_curve::group::{Curve as _, CurveAffine as _, Group as _};
use p256::elliptic_curve::ops::{MulByGeneratorVartime as _, Reduce as _};
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytes, ProjectivePoint, Scalar};
use zeroize::Zeroizing;

use super::curve::Curve;
use super::fixed;
use super::point::{Number, Point, Scalar as SecretScalar, Signature};
use crate::Error;
use crate::num::pad_left;

/// A curve of the table.
pub(super) trait Row: CurveArithmetic {
    /// Its name there.
    const CURVE: Curve;

    /// d · G, for a d that is not zero.
    fn base_multiply(d: &Scalar<Self>) -> Result<Point, Error>;
}

macro_rules! rows {
    ($($curve:ty = $name:ident, $base:expr;)*) => { $(
        impl Row for $curve {
            const CURVE: Curve = Curve::$name;

            fn base_multiply(d: &Scalar<Self>) -> Result<Point, Error> {
                $base(d)
            }
        }
    )* }
}
rows!(
    p192::NistP192 = NistP192, any_multiply::<Self>;
    p224::NistP224 = NistP224, any_multiply::<Self>;
    p256::NistP256 = NistP256, |d: &Scalar<Self>| fixed::p256(&Zeroizing::new(d.to_repr()));
    p384::NistP384 = NistP384, |d: &Scalar<Self>| fixed::p384(&Zeroizing::new(d.to_repr()));
    p521::NistP521 = NistP521, any_multiply::<Self>;
    sm2::Sm2 = Sm2P256, any_multiply::<Self>;
);

/// d · G without a table.
fn any_multiply<C: Row>(d: &Scalar<C>) -> Result<Point, Error> {
    Weierstrass::<C>::point(&ProjectivePoint::<C>::mul_by_generator(d).to_affine())
}

/// The operations of a curve, for dispatch at run time. Private numbers are big-endian.
pub(super) trait Ops {
    /// Whether the coordinates satisfy the curve's equation.
    fn contains(&self, point: &Point) -> bool;
    /// d · G
    fn base_multiply(&self, d: &[u8]) -> Result<Point, Error>;
    /// d · P
    fn multiply(&self, d: &[u8], point: &Point) -> Result<Point, Error>;
    /// ECDSA with a given nonce. `None` if the nonce has to be drawn again (r or s is zero).
    fn ecdsa_sign(&self, d: &[u8], nonce: &[u8], digest: &[u8]) -> Result<Option<Signature>, Error>;
    /// ECDSA verification.
    fn ecdsa_verify(&self, public: &Point, digest: &[u8], signature: &Signature) -> Result<(), Error>;
    /// a · b + c modulo n; each of them below n
    fn mul_add(&self, a: &[u8], b: &[u8], c: &[u8]) -> Result<SecretScalar, Error>;
    /// 1 / a modulo n
    fn invert(&self, a: &[u8]) -> Result<SecretScalar, Error>;
    /// u · G + v · P, in a time that depends on u and v
    fn combine(&self, u: &[u8], v: &[u8], point: &Point) -> Result<Point, Error>;
    /// P + v · Q, in a time that depends on v
    fn add_multiple(&self, p: &Point, v: &[u8], q: &Point) -> Result<Point, Error>;
}

/// The implementation for a curve of the RustCrypto project.
pub(super) struct Weierstrass<C>(PhantomData<C>);

impl<C: Row> Weierstrass<C> {
    pub(super) const NEW: Self = Self(PhantomData);

    /// A private scalar: 0 < d < n.
    fn scalar(d: &[u8]) -> Result<Zeroizing<Scalar<C>>, Error> {
        let scalar = Self::number(d)?;
        if bool::from(scalar.is_zero()) { Err(Error::Range) } else { Ok(scalar) }
    }

    /// A number below n, which may be zero.
    fn number(a: &[u8]) -> Result<Zeroizing<Scalar<C>>, Error> {
        let bytes = Zeroizing::new(field_bytes::<C>(a)?);
        Scalar::<C>::from_repr(*bytes).into_option().map(Zeroizing::new).ok_or(Error::Range)
    }

    fn secret(scalar: &Scalar<C>) -> Result<SecretScalar, Error> {
        let bytes = Zeroizing::new(scalar.to_repr());
        Ok(SecretScalar::from_slice(&bytes)?)
    }

    /// The digest as a number: its leftmost bits, as many as the order has. (The orders of this table have whole bytes,
    /// or more bits than digests.)
    fn message(digest: &[u8]) -> Result<Scalar<C>, Error> {
        let leftmost = digest.get(..Self::size()).unwrap_or(digest);
        Ok(Scalar::<C>::reduce(&field_bytes::<C>(leftmost)?))
    }

    fn size() -> usize {
        C::CURVE.size()
    }

    fn affine(point: &Point) -> Option<AffinePoint<C>> {
        let (x, y) = (field_bytes::<C>(point.x.as_slice()).ok()?, field_bytes::<C>(point.y.as_slice()).ok()?);
        AffinePoint::<C>::from_coordinates(&x, &y).into_option()
    }

    fn point(affine: &AffinePoint<C>) -> Result<Point, Error> {
        if bool::from(affine.is_identity()) {
            return Err(Error::Range);
        }
        let (x, y) = (Number::new(&affine.x(), Self::size())?, Number::new(&affine.y(), Self::size())?);
        Ok(Point { curve: C::CURVE, x, y })
    }
}

impl<C: Row> Ops for Weierstrass<C> {
    fn contains(&self, point: &Point) -> bool {
        Self::affine(point).is_some()
    }

    fn base_multiply(&self, d: &[u8]) -> Result<Point, Error> {
        let d = Self::scalar(d)?;
        C::base_multiply(&d)
    }

    fn multiply(&self, d: &[u8], point: &Point) -> Result<Point, Error> {
        let d = Self::scalar(d)?;
        let point = Self::affine(point).ok_or(Error::Range)?;
        Self::point(&(point.to_curve() * *d).to_affine())
    }

    fn ecdsa_sign(&self, d: &[u8], nonce: &[u8], digest: &[u8]) -> Result<Option<Signature>, Error> {
        let (d, nonce) = (Self::scalar(d)?, Self::scalar(nonce)?);
        let inverse = Zeroizing::new(invert::<C>(&nonce)?);
        let r = Scalar::<C>::reduce(&field_bytes::<C>(C::base_multiply(&nonce)?.x.as_slice())?);
        let s = *inverse * (Self::message(digest)? + r * *d);
        if bool::from(r.is_zero() | s.is_zero()) {
            return Ok(None);
        }
        let (r, s) = (Number::new(&r.to_repr(), Self::size())?, Number::new(&s.to_repr(), Self::size())?);
        Ok(Some(Signature { r, s }))
    }

    fn ecdsa_verify(&self, public: &Point, digest: &[u8], signature: &Signature) -> Result<(), Error> {
        let public = Self::affine(public).ok_or(Error::Invalid)?.to_curve();
        let r = Self::scalar(signature.r.as_slice()).map_err(|_| Error::Invalid)?;
        let s = Self::scalar(signature.s.as_slice()).map_err(|_| Error::Invalid)?;
        let inverse = invert::<C>(&s)?;
        let (u1, u2) = (Self::message(digest)? * inverse, *r * inverse);
        let sum = ProjectivePoint::<C>::mul_by_generator_and_mul_add_vartime(&u1, &u2, &public).to_affine();
        let matches = Scalar::<C>::reduce(&sum.x()) == *r;
        if matches && !bool::from(sum.is_identity()) { Ok(()) } else { Err(Error::Invalid) }
    }

    fn mul_add(&self, a: &[u8], b: &[u8], c: &[u8]) -> Result<SecretScalar, Error> {
        let (a, b, c) = (Self::number(a)?, Self::number(b)?, Self::number(c)?);
        Self::secret(&Zeroizing::new(*a * *b + *c))
    }

    fn invert(&self, a: &[u8]) -> Result<SecretScalar, Error> {
        Self::secret(&Zeroizing::new(invert::<C>(&*Self::scalar(a)?)?))
    }

    fn combine(&self, u: &[u8], v: &[u8], point: &Point) -> Result<Point, Error> {
        let (u, v) = (Self::number(u)?, Self::number(v)?);
        let point = Self::affine(point).ok_or(Error::Range)?.to_curve();
        Self::point(&ProjectivePoint::<C>::mul_by_generator_and_mul_add_vartime(&u, &v, &point).to_affine())
    }

    fn add_multiple(&self, p: &Point, v: &[u8], q: &Point) -> Result<Point, Error> {
        let v = Self::number(v)?;
        let (p, q) = (Self::affine(p).ok_or(Error::Range)?, Self::affine(q).ok_or(Error::Range)?);
        Self::point(&(q.to_curve() * *v + p.to_curve()).to_affine())
    }
}

/// 1 / scalar, which is not zero.
fn invert<C: CurveArithmetic>(scalar: &Scalar<C>) -> Result<Scalar<C>, Error> {
    p256::elliptic_curve::ff::Field::invert(scalar).into_option().ok_or(Error::Range)
}

/// A number as the field element bytes of the curve.
fn field_bytes<C: CurveArithmetic>(number: &[u8]) -> Result<FieldBytes<C>, Error> {
    let mut bytes = FieldBytes::<C>::default();
    pad_left(number, &mut bytes)?;
    Ok(bytes)
}
