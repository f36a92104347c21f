//! Multiples of the base points of P-256 and P-384, from tables that the compiler computes.
//!
//! A scalar is Σ e · 16^i with digits from −8 to 8. A row of a table holds 1 to 8 times 256^i · G for two digits; the
//! sum of what the odd digits choose is doubled four times at the end. Time and addresses do not depend on the scalar:
//! each look-up reads a whole row, and the formulas (complete for a = −3, after Renes, Costello and Batina, 2016) have
//! no special cases.
//!
//! The field's arithmetic is the curve's crate's. Its elements are in Montgomery form, as the tables are.

mod table;

use p256::elliptic_curve::FieldBytes;
use p256::elliptic_curve::ff::{Field as _, PrimeField as _};
use p256::elliptic_curve::hazmat::FieldArithmetic;
use primefield::MontyFieldElement;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::curve::Curve;
use super::point::{Number, Point};
use crate::Error;
use table::{MULTIPLES, Table};

static P256: Table<4, 33> = Table::new(Curve::NistP256.parameters());
static P384: Table<6, 49> = Table::new(Curve::NistP384.parameters());
/// The rows of the longest table.
const MAX_ROWS: usize = 49;

/// `d` · G on P-256, for a big-endian `d`.
///
/// # Errors
/// `Error::Range` for a multiple of n.
pub(super) fn p256(d: &[u8]) -> Result<Point, Error> {
    let field = |words| MontyFieldElement::from_montgomery_words(words).into();
    multiply::<p256::NistP256, 4, 33>(Curve::NistP256, &P256, field, d)
}

/// As [`fn@p256`], on P-384.
pub(super) fn p384(d: &[u8]) -> Result<Point, Error> {
    let field = |words| MontyFieldElement::from_montgomery_words(words).into();
    multiply::<p384::NistP384, 6, 49>(Curve::NistP384, &P384, field, d)
}

type Field<C> = <C as FieldArithmetic>::FieldElement;

/// A point in projective coordinates.
struct Projective<C: FieldArithmetic> {
    x: Field<C>,
    y: Field<C>,
    z: Field<C>,
}

/// A sum in progress, with the curve's b.
struct Sum<C: FieldArithmetic> {
    b: Field<C>,
    point: Projective<C>,
}

fn multiply<C: FieldArithmetic, const L: usize, const ROWS: usize>(
    curve: Curve,
    table: &Table<L, ROWS>,
    field: fn([u64; L]) -> Field<C>,
    d: &[u8],
) -> Result<Point, Error> {
    let (mut even, mut odd) = (Sum::<C>::zero(field(table.b)), Sum::<C>::zero(field(table.b)));
    for (row, [low, high]) in table.rows.iter().zip(digits(d).iter()) {
        even.add_multiple(row, field, *low);
        odd.add_multiple(row, field, *high);
    }
    for _ in 0..4 {
        odd.point = odd.plus(&odd.point);
    }
    even.plus(&odd.point).to_affine(curve)
}

/// The digits of a big-endian scalar, the least significant pair first. Those below zero are in two's complement.
fn digits(scalar: &[u8]) -> Zeroizing<[[u8; 2]; MAX_ROWS]> {
    let mut digits = Zeroizing::new([[0; 2]; MAX_ROWS]);
    let mut carry = 0;
    for (pair, byte) in digits.iter_mut().zip(scalar.iter().rev().chain([&0])) {
        for (digit, half) in pair.iter_mut().zip([byte & 15, byte >> 4]) {
            let sum = half.wrapping_add(carry);
            carry = sum.wrapping_add(8) >> 4;
            *digit = sum.wrapping_sub(carry << 4);
        }
    }
    digits
}

impl<C: FieldArithmetic> Sum<C> {
    fn zero(b: Field<C>) -> Self {
        Self { b, point: Projective { x: Field::<C>::ZERO, y: Field::<C>::ONE, z: Field::<C>::ZERO } }
    }

    /// Adds the multiple that a digit chooses.
    fn add_multiple<const L: usize>(
        &mut self,
        row: &[[[u64; L]; 2]; MULTIPLES],
        field: fn([u64; L]) -> Field<C>,
        digit: u8,
    ) {
        let negative = Choice::from(digit >> 7);
        let size = u8::conditional_select(&digit, &digit.wrapping_neg(), negative);
        let mut chosen = [[0; L]; 2];
        for (multiple, entry) in (1_u8..).zip(row) {
            let mask = u64::conditional_select(&0, &u64::MAX, multiple.ct_eq(&size));
            let words = chosen.as_flattened_mut().iter_mut().zip(entry.as_flattened());
            words.for_each(|(to, from)| *to |= from & mask);
        }
        let [x, mut y] = chosen.map(field);
        y.conditional_assign(&-y, negative);
        let next = self.plus_affine(x, y);
        let any = !size.ct_eq(&0);
        self.point.x.conditional_assign(&next.x, any);
        self.point.y.conditional_assign(&next.y, any);
        self.point.z.conditional_assign(&next.z, any);
    }

    /// The sum and any point.
    fn plus(&self, q: &Projective<C>) -> Projective<C> {
        let p = &self.point;
        let (xx, yy, zz) = (p.x * q.x, p.y * q.y, p.z * q.z);
        let xy = (p.x + p.y) * (q.x + q.y) - xx - yy;
        let xz = (p.x + p.z) * (q.x + q.z) - xx - zz;
        let yz = (p.y + p.z) * (q.y + q.z) - yy - zz;
        self.sum_of_products([xx, yy, zz], [xy, xz, yz])
    }

    /// The sum and a point with these affine coordinates.
    fn plus_affine(&self, x: Field<C>, y: Field<C>) -> Projective<C> {
        let p = &self.point;
        let (xx, yy) = (p.x * x, p.y * y);
        let xy = (p.x + p.y) * (x + y) - xx - yy;
        self.sum_of_products([xx, yy, p.z], [xy, x * p.z + p.x, y * p.z + p.y])
    }

    /// The sum of two points from the products of their coordinates of one name, and from those of two names,
    /// crosswise.
    fn sum_of_products(&self, [xx, yy, zz]: [Field<C>; 3], [xy, xz, yz]: [Field<C>; 3]) -> Projective<C> {
        let s = triple(self.b * zz - xz);
        let t = triple(self.b * xz - xx - triple(zz));
        let u = triple(xx - zz);
        let (minus, plus) = (yy - s, yy + s);
        Projective { x: xy * minus - yz * t, y: plus * minus + u * t, z: yz * plus + xy * u }
    }
}

impl<C: FieldArithmetic> Projective<C> {
    fn to_affine(&self, curve: Curve) -> Result<Point, Error> {
        let inverse: Field<C> = self.z.invert().into_option().ok_or(Error::Range)?;
        let number = |coordinate: Field<C>| {
            let bytes: FieldBytes<C> = (coordinate * inverse).to_repr();
            Number::new(&bytes, curve.size())
        };
        Ok(Point { curve, x: number(self.x)?, y: number(self.y)? })
    }
}

fn triple<F: p256::elliptic_curve::ff::Field>(a: F) -> F {
    a.double() + a
}
