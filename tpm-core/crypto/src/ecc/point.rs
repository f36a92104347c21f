//! Numbers, points and signatures of any curve.

use super::curve::Curve;
use crate::Error;
use crate::num::pad_left;
use crate::secret::Secret;
use zeroize::Zeroize;

/// The longest coordinate or scalar, in bytes.
pub const MAX_SIZE: usize = 66;

/// A private scalar of any curve.
pub type Scalar = Secret<MAX_SIZE>;

/// A number of a curve's size that is not secret: a coordinate, or half a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub(super) bytes: [u8; MAX_SIZE],
    pub(super) len: usize,
}

impl Number {
    /// `from` as a number of `len` bytes.
    pub(super) fn new(from: &[u8], len: usize) -> Result<Self, Error> {
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
    pub(super) curve: Curve,
    pub(super) x: Number,
    pub(super) y: Number,
}

/// Most points are public. One that two sides agree on is not, and is wiped by whoever has it.
impl Zeroize for Point {
    fn zeroize(&mut self) {
        self.x.bytes.zeroize();
        self.y.bytes.zeroize();
    }
}

impl Point {
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
