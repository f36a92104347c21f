//! Polynomials of 256 coefficients modulo q, and their NTT (FIPS 204, 7.5 and 7.6).
//!
//! Coefficients are signed and reduced late. A product is reduced by Montgomery's method, with 2^32: the roots are kept
//! multiplied by it, and [`Poly::inverse_ntt`] multiplies by it what a product of polynomials has lost.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// q
pub(crate) const Q: i32 = 8_380_417;
/// Coefficients.
pub(crate) const N: usize = 256;
/// The inverse of q modulo 2^32.
const Q_INVERSE: i32 = inverse_of_q();
/// 2^64 / 256 modulo q.
const SCALE: i32 = power(2, 56);
/// A primitive 512th root of unity.
const ROOT: u64 = 1753;

/// By Newton's iteration, which doubles the bits that are right.
const fn inverse_of_q() -> i32 {
    let (mut inverse, mut bits) = (Q, 3);
    while bits < 32 {
        inverse = inverse.wrapping_mul(2_i32.wrapping_sub(Q.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[expect(clippy::cast_possible_truncation, reason = "below q")]
const fn power(base: u64, exponent: u32) -> i32 {
    let (mut result, mut n) = (1, 0);
    while n < exponent {
        result = result * base % Q as u64;
        n += 1;
    }
    result as i32
}

/// The powers of the root in the order in which the NTT takes them (FIPS 204, appendix B), times 2^32.
static ROOTS: [i32; N] = roots();

#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
#[expect(clippy::cast_possible_truncation, reason = "at compile time, below q")]
const fn roots() -> [i32; N] {
    let (mut roots, mut m) = ([0; N], 0);
    while m < N {
        let root = power(ROOT, (m as u8).reverse_bits() as u32) as u64;
        roots[m] = (root * (1 << 32) % Q as u64) as i32;
        m += 1;
    }
    roots
}

/// `a` / 2^32 modulo q, between −q and q, for |a| < 2^31 q.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant, and the high half is a number of 32 bits")]
const fn montgomery(a: i64) -> i32 {
    let low = (a as i32).wrapping_mul(Q_INVERSE);
    (a.wrapping_sub((low as i64).wrapping_mul(Q as i64)) >> 32) as i32
}

#[inline(always)]
const fn multiply(a: i32, b: i32) -> i32 {
    montgomery((a as i64).wrapping_mul(b as i64))
}

/// The same modulo q, at most 6,283,008 either way, for what is below 2^31 − 2^22. What is small comes out as it is.
#[inline(always)]
pub(crate) const fn small(a: i32) -> i32 {
    let quotient = a.wrapping_add(1 << 22) >> 23;
    a.wrapping_sub(quotient.wrapping_mul(Q))
}

/// The same modulo q, from 0 to q − 1; of the same numbers.
#[inline(always)]
pub(crate) const fn canonical(a: i32) -> i32 {
    let a = small(a);
    a.wrapping_add(a >> 31 & Q)
}

/// A polynomial.
#[derive(Zeroize)]
pub(crate) struct Poly(pub(crate) [i32; N]);

impl Poly {
    pub(crate) const ZERO: Self = Self([0; N]);

    pub(crate) fn map(&mut self, f: impl Fn(i32) -> i32) {
        self.0.iter_mut().for_each(|a| *a = f(*a));
    }

    /// Each coefficient made of one of the other.
    pub(crate) fn set(&mut self, other: &Self, f: impl Fn(i32) -> i32) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a = f(*b));
    }

    pub(crate) fn copy(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a = a.wrapping_add(*b));
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a = a.wrapping_sub(*b));
    }

    /// The product of two in NTT form, over 2^32.
    pub(crate) fn multiply(&mut self, a: &Self, b: &Self) {
        self.0.iter_mut().zip(a.0.iter().zip(&b.0)).for_each(|(out, (a, b))| *out = multiply(*a, *b));
    }

    /// Whether all coefficients are less than `bound` either way. Its time says no sign.
    pub(crate) fn is_below(&self, bound: i32) -> bool {
        self.0.iter().fold(0, |most, a| {
            let sign = *a >> 31;
            let size = (*a ^ sign).wrapping_sub(sign);
            most.max(size)
        }) < bound
    }

    /// NTT (algorithm 41): from below q to below 9 q either way.
    pub(crate) fn ntt(&mut self) {
        let mut roots = ROOTS.iter().skip(1);
        self.forward::<128>(&mut roots);
        self.forward::<64>(&mut roots);
        self.forward::<32>(&mut roots);
        self.forward::<16>(&mut roots);
        self.forward::<8>(&mut roots);
        self.forward::<4>(&mut roots);
        self.forward::<2>(&mut roots);
        self.forward::<1>(&mut roots);
    }

    #[inline(always)]
    fn forward<const LENGTH: usize>(&mut self, roots: &mut impl Iterator<Item = &'static i32>) {
        for (block, root) in self.0.chunks_exact_mut(LENGTH.wrapping_mul(2)).zip(roots) {
            let (low, high) = block.split_at_mut(LENGTH);
            for (a, b) in low.iter_mut().zip(high) {
                let turned = multiply(*root, *b);
                *b = a.wrapping_sub(turned);
                *a = a.wrapping_add(turned);
            }
        }
    }

    /// The inverse (algorithm 42), times 2^32: from below q to below q either way.
    pub(crate) fn inverse_ntt(&mut self) {
        let mut roots = ROOTS.iter().rev();
        self.backward::<1>(&mut roots);
        self.backward::<2>(&mut roots);
        self.backward::<4>(&mut roots);
        self.backward::<8>(&mut roots);
        self.backward::<16>(&mut roots);
        self.backward::<32>(&mut roots);
        self.backward::<64>(&mut roots);
        self.backward::<128>(&mut roots);
        self.map(|a| multiply(a, SCALE));
    }

    #[inline(always)]
    fn backward<const LENGTH: usize>(&mut self, roots: &mut impl Iterator<Item = &'static i32>) {
        for (block, root) in self.0.chunks_exact_mut(LENGTH.wrapping_mul(2)).zip(roots) {
            let (low, high) = block.split_at_mut(LENGTH);
            for (a, b) in low.iter_mut().zip(high) {
                let difference = b.wrapping_sub(*a);
                *a = a.wrapping_add(*b);
                *b = multiply(*root, difference);
            }
        }
    }
}

/// Polynomials that are wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Vector<const SIZE: usize>(pub(crate) [Poly; SIZE]);

impl<const SIZE: usize> Vector<SIZE> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self([const { Poly::ZERO }; SIZE])
    }

    /// As many as the set has.
    pub(crate) fn first(&mut self, count: usize) -> &mut [Poly] {
        self.0.get_mut(..count).unwrap_or_default()
    }
}

/// A sum of products in NTT form.
pub(crate) struct Sum([i64; N]);

impl Sum {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self([0; N])
    }

    /// Adds a product of factors of which one is below q, seven times; and one of two below 9 q: 144 q² of the 256 q²
    /// that [`montgomery`] takes.
    pub(crate) fn add(&mut self, a: &Poly, b: &Poly) {
        for (sum, (a, b)) in self.0.iter_mut().zip(a.0.iter().zip(&b.0)) {
            *sum = sum.wrapping_add(i64::from(*a).wrapping_mul(i64::from(*b)));
        }
    }

    /// The sum over 2^32.
    pub(crate) fn reduce(&self, out: &mut Poly) {
        out.0.iter_mut().zip(&self.0).for_each(|(out, sum)| *out = montgomery(*sum));
    }
}

impl Drop for Sum {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::{N, Poly, Q, canonical};

    #[test]
    fn a_product_is_that_of_polynomials_modulo_x_256_plus_1() {
        let (mut a, mut b) = (Poly::ZERO, Poly::ZERO);
        for (n, (a, b)) in (1_i64..).zip(a.0.iter_mut().zip(&mut b.0)) {
            *a = i32::try_from(n * 7_654_321 % i64::from(Q)).unwrap();
            *b = i32::try_from(n * n * 1_234_567 % i64::from(Q)).unwrap() - Q / 2;
        }
        let mut expected = [0_i64; N];
        for i in 0..N {
            for j in 0..N {
                let product = i64::from(a.0[i]) * i64::from(b.0[j]) % i64::from(Q);
                expected[(i + j) % N] += if i + j < N { product } else { -product };
            }
        }
        let mut out = Poly::ZERO;
        a.ntt();
        b.ntt();
        out.multiply(&a, &b);
        out.inverse_ntt();
        for (a, b) in out.0.iter().zip(expected) {
            assert_eq!(i64::from(canonical(*a)), b.rem_euclid(i64::from(Q)));
        }
    }
}
