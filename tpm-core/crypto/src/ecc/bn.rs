//! BN P-256 (TPM_ECC_BN_P256; ISO/IEC 15946-5): y² = x³ + 3. No library that is kept offers it, so its arithmetic is
//! here, over the constant-time Montgomery arithmetic of crypto-bigint. What depends on a private scalar takes the same
//! steps and memory accesses for every value of it.
//!
//! Points are projective, with the complete formulas for a = 0 of Renes, Costello and Batina (Complete addition
//! formulas for prime order elliptic curves, algorithms 7 and 9): no case is special, the point at infinity (0 : 1 : 0)
//! included.

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U256, const_monty_params};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::curve::Curve;
use super::point::{Number, Point, Scalar, Signature};
use super::weierstrass::Ops;
use crate::{Error, num};

const_monty_params!(
    FieldPrime,
    U256,
    "fffffffffffcf0cd46e5f25eee71a49f0cdc65fb12980a82d3292ddbaed33013",
    "The prime of the field."
);
const_monty_params!(
    Order,
    U256,
    "fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d",
    "The order of the group."
);

/// An element of the field.
type Fe = ConstMontyForm<FieldPrime, { U256::LIMBS }>;
/// A number modulo the order.
type Sc = ConstMontyForm<Order, { U256::LIMBS }>;

const SIZE: usize = 32;
const B: Fe = Fe::new(&U256::from_u8(3));
/// 3·b
const B3: Fe = Fe::new(&U256::from_u8(9));

/// The curve's operations.
pub(super) struct Bn;

/// (X : Y : Z)
#[derive(Clone, Copy)]
struct Projective {
    x: Fe,
    y: Fe,
    z: Fe,
}

impl Zeroize for Projective {
    fn zeroize(&mut self) {
        self.x.zeroize();
        self.y.zeroize();
        self.z.zeroize();
    }
}

impl Projective {
    const INFINITY: Self = Self { x: Fe::ZERO, y: Fe::ONE, z: Fe::ZERO };
    const GENERATOR: Self = Self { x: Fe::ONE, y: Fe::new(&U256::from_u8(2)), z: Fe::ONE };

    fn of(point: &Point) -> Result<Self, Error> {
        Ok(Self { x: element(point.x.as_slice())?, y: element(point.y.as_slice())?, z: Fe::ONE })
    }

    fn add(&self, other: &Self) -> Self {
        let (xx, yy, zz) = (self.x * other.x, self.y * other.y, self.z * other.z);
        let xy = (self.x + self.y) * (other.x + other.y) - (xx + yy);
        let yz = (self.y + self.z) * (other.y + other.z) - (yy + zz);
        let xz = (self.x + self.z) * (other.x + other.z) - (xx + zz);
        let (xx3, bzz3, bxz3) = (xx.double() + xx, B3 * zz, B3 * xz);
        let (sum, difference) = (yy + bzz3, yy - bzz3);
        Self { x: xy * difference - yz * bxz3, y: difference * sum + bxz3 * xx3, z: sum * yz + xx3 * xy }
    }

    fn double(&self) -> Self {
        let (yy, bzz3) = (self.y.square(), B3 * self.z.square());
        let yy8 = yy.double().double().double();
        let difference = yy - (bzz3.double() + bzz3);
        Self {
            x: (difference * (self.x * self.y)).double(),
            y: bzz3 * yy8 + difference * (yy + bzz3),
            z: self.y * self.z * yy8,
        }
    }

    /// scalar · self: four bits at a time, each multiple read from the whole table.
    fn multiply(&self, scalar: &Sc) -> Self {
        let mut table = Zeroizing::new([Self::INFINITY; 16]);
        let mut multiple = Self::INFINITY;
        for entry in table.iter_mut() {
            *entry = multiple;
            multiple = multiple.add(self);
        }
        let words = Zeroizing::new(scalar.retrieve());
        let mut sum = Self::INFINITY;
        for word in words.as_words().iter().rev() {
            for digit in (0..crypto_bigint::Word::BITS / 4).rev() {
                sum = sum.double().double().double().double();
                sum = sum.add(&select(&table, word >> (4 * digit) & 0xF));
            }
        }
        multiple.zeroize();
        sum
    }

    /// The point, unless it is at infinity.
    fn affine(&self) -> Result<Point, Error> {
        let inverse = self.z.invert().into_option().ok_or(Error::Range)?;
        Ok(Point { curve: Curve::BnP256, x: number(&(self.x * inverse))?, y: number(&(self.y * inverse))? })
    }
}

/// The entry with this index; all are read.
fn select(table: &[Projective; 16], index: crypto_bigint::Word) -> Projective {
    let mut found = Projective::INFINITY;
    for (i, entry) in (0..).zip(table) {
        let same = crypto_bigint::Word::ct_eq(&i, &index);
        found.x.conditional_assign(&entry.x, same);
        found.y.conditional_assign(&entry.y, same);
        found.z.conditional_assign(&entry.z, same);
    }
    found
}

/// A big-endian number as an integer of 256 bits.
fn integer(bytes: &[u8]) -> Result<U256, Error> {
    let mut words = Zeroizing::new([0; U256::LIMBS]);
    num::from_be_bytes(bytes, &mut *words)?;
    Ok(U256::from_words(*words))
}

/// A number below the modulus.
fn residue<M: ConstMontyParams<{ U256::LIMBS }>>(bytes: &[u8]) -> Result<ConstMontyForm<M, { U256::LIMBS }>, Error> {
    let value = Zeroizing::new(integer(bytes)?);
    if &*value < M::PARAMS.modulus().as_ref() { Ok(ConstMontyForm::new(&value)) } else { Err(Error::Range) }
}

fn element(bytes: &[u8]) -> Result<Fe, Error> {
    residue(bytes)
}

fn number<M: ConstMontyParams<{ U256::LIMBS }>>(value: &ConstMontyForm<M, { U256::LIMBS }>) -> Result<Number, Error> {
    let mut bytes = [0; SIZE];
    num::to_be_bytes(value.retrieve().as_words(), &mut bytes);
    Number::new(&bytes, SIZE)
}

fn secret(value: &Sc) -> Result<Scalar, Error> {
    let (mut scalar, words) = (Scalar::zeroed(SIZE)?, Zeroizing::new(value.retrieve()));
    num::to_be_bytes(words.as_words(), scalar.as_mut_slice());
    Ok(scalar)
}

/// A private scalar: 0 < d < n.
fn scalar(d: &[u8]) -> Result<Zeroizing<Sc>, Error> {
    let scalar = Zeroizing::new(residue::<Order>(d)?);
    if bool::from(scalar.ct_eq(&Sc::ZERO)) { Err(Error::Range) } else { Ok(scalar) }
}

fn inverse(a: &Sc) -> Result<Zeroizing<Sc>, Error> {
    a.invert().into_option().map(Zeroizing::new).ok_or(Error::Range)
}

/// The leftmost bits of a digest, as many as the order has, modulo the order.
fn message(digest: &[u8]) -> Result<Sc, Error> {
    Ok(Sc::new(&integer(digest.get(..SIZE).unwrap_or(digest))?))
}

/// The x coordinate modulo the order.
fn x_of(point: &Point) -> Result<Sc, Error> {
    Ok(Sc::new(&integer(point.x.as_slice())?))
}

impl Ops for Bn {
    fn contains(&self, point: &Point) -> bool {
        match (element(point.x.as_slice()), element(point.y.as_slice())) {
            (Ok(x), Ok(y)) => y.square() == x.square() * x + B,
            _ => false,
        }
    }

    fn base_multiply(&self, d: &[u8]) -> Result<Point, Error> {
        Zeroizing::new(Projective::GENERATOR.multiply(&*scalar(d)?)).affine()
    }

    fn multiply(&self, d: &[u8], point: &Point) -> Result<Point, Error> {
        Zeroizing::new(Projective::of(point)?.multiply(&*scalar(d)?)).affine()
    }

    fn ecdsa_sign(&self, d: &[u8], nonce: &[u8], digest: &[u8]) -> Result<Option<Signature>, Error> {
        let (d, k) = (scalar(d)?, scalar(nonce)?);
        let r = x_of(&self.base_multiply(nonce)?)?;
        let s = *inverse(&k)? * (message(digest)? + r * *d);
        if bool::from(r.ct_eq(&Sc::ZERO) | s.ct_eq(&Sc::ZERO)) {
            return Ok(None);
        }
        Ok(Some(Signature { r: number(&r)?, s: number(&s)? }))
    }

    fn ecdsa_verify(&self, public: &Point, digest: &[u8], signature: &Signature) -> Result<(), Error> {
        let half = |number: &Number| scalar(number.as_slice()).map_err(|_| Error::Invalid);
        let (r, s) = (half(&signature.r)?, half(&signature.s)?);
        let inverse = inverse(&s)?;
        let (u, v) = (message(digest)? * *inverse, *r * *inverse);
        let sum = self.combine(number(&u)?.as_slice(), number(&v)?.as_slice(), public).map_err(|_| Error::Invalid)?;
        if x_of(&sum)? == *r { Ok(()) } else { Err(Error::Invalid) }
    }

    fn mul_add(&self, a: &[u8], b: &[u8], c: &[u8]) -> Result<Scalar, Error> {
        let read = |bytes| residue::<Order>(bytes).map(Zeroizing::new);
        secret(&Zeroizing::new(*read(a)? * *read(b)? + *read(c)?))
    }

    fn invert(&self, a: &[u8]) -> Result<Scalar, Error> {
        secret(&*inverse(&*scalar(a)?)?)
    }

    fn combine(&self, u: &[u8], v: &[u8], point: &Point) -> Result<Point, Error> {
        let (u, v) = (residue(u)?, residue(v)?);
        Projective::GENERATOR.multiply(&u).add(&Projective::of(point)?.multiply(&v)).affine()
    }

    fn add_multiple(&self, p: &Point, v: &[u8], q: &Point) -> Result<Point, Error> {
        Projective::of(p)?.add(&Projective::of(q)?.multiply(&residue(v)?)).affine()
    }
}
