//! The multiples of a base point, computed when the engine is compiled: nothing here is secret, or takes time when the
//! engine runs.

#![expect(clippy::indexing_slicing, reason = "only the compiler runs this, and it has no iterators")]
#![expect(clippy::cast_possible_truncation, reason = "the lower half of a product is meant")]

use crate::ecc::params::Parameters;

/// Multiples in a row.
pub(super) const MULTIPLES: usize = 8;
/// Doublings from a row to the next.
const STEP: usize = 8;

/// A curve's b, and in row i the affine coordinates of 1 to 8 times 256^i · G; all in Montgomery form, of L words, the
/// least significant first.
pub(super) struct Table<const L: usize, const ROWS: usize> {
    pub(super) b: [u64; L],
    pub(super) rows: [[[[u64; L]; 2]; MULTIPLES]; ROWS],
}

impl<const L: usize, const ROWS: usize> Table<L, ROWS> {
    /// For a curve with a = −3.
    pub(super) const fn new(of: &Parameters) -> Self {
        let field = Field::<L>::new(of.p);
        let mut base = [field.number(of.gx), field.number(of.gy), field.number(&[1])];
        let mut points = [[base; MULTIPLES]; ROWS];
        let mut row = 0;
        while row < ROWS {
            points[row][0] = base;
            points[row][1] = field.double_point(base);
            let mut n = 2;
            while n < MULTIPLES {
                points[row][n] = field.add_points(points[row][n - 1], base);
                n += 1;
            }
            let mut doublings = 0;
            while doublings < STEP {
                base = field.double_point(base);
                doublings += 1;
            }
            row += 1;
        }
        Self { b: field.number(of.b), rows: field.to_affine(&points) }
    }
}

/// Arithmetic modulo a prime p, of numbers a · 2^(64 L), in Montgomery form.
struct Field<const L: usize> {
    p: [u64; L],
    /// −1 / p modulo 2^64
    inverse: u64,
    /// 2^(128 L) modulo p
    square: [u64; L],
}

type Jacobian<const L: usize> = [[u64; L]; 3];

impl<const L: usize> Field<L> {
    const fn new(p: &[u8]) -> Self {
        let p = words::<L>(p);
        // Each step doubles the bits that are right; of an odd number three are its own inverse's.
        let (mut inverse, mut bits) = (p[0], 3);
        while bits < 64 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(p[0].wrapping_mul(inverse)));
            bits *= 2;
        }
        let mut field = Self { p, inverse: inverse.wrapping_neg(), square: [0; L] };
        field.square[0] = 1;
        let mut doublings = 0;
        while doublings < 128 * L {
            field.square = field.add(field.square, field.square);
            doublings += 1;
        }
        field
    }

    /// A big-endian number, in Montgomery form.
    const fn number(&self, bytes: &[u8]) -> [u64; L] {
        self.multiply(words(bytes), self.square)
    }

    const fn add(&self, a: [u64; L], b: [u64; L]) -> [u64; L] {
        let (sum, carry) = sum(a, b);
        self.reduce(sum, carry)
    }

    const fn subtract(&self, a: [u64; L], b: [u64; L]) -> [u64; L] {
        let (difference, borrow) = difference(a, b);
        if borrow { sum(difference, self.p).0 } else { difference }
    }

    /// A number below 2p, modulo p.
    const fn reduce(&self, a: [u64; L], carry: bool) -> [u64; L] {
        let (less, borrow) = difference(a, self.p);
        if carry || !borrow { less } else { a }
    }

    /// a · b / 2^(64 L)
    const fn multiply(&self, a: [u64; L], b: [u64; L]) -> [u64; L] {
        let (mut sum, mut top, mut i) = ([0; L], 0, 0);
        while i < L {
            // The sums with a · b and with the multiple of p that makes the lowest word zero; each carries on its own.
            let mut with_b = a[i] as u128 * b[0] as u128 + sum[0] as u128;
            let factor = (with_b as u64).wrapping_mul(self.inverse);
            let mut with_p = factor as u128 * self.p[0] as u128 + (with_b as u64) as u128;
            let mut j = 1;
            while j < L {
                with_b = a[i] as u128 * b[j] as u128 + sum[j] as u128 + (with_b >> 64);
                with_p = factor as u128 * self.p[j] as u128 + (with_b as u64) as u128 + (with_p >> 64);
                sum[j - 1] = with_p as u64;
                j += 1;
            }
            top += (with_b >> 64) + (with_p >> 64);
            sum[L - 1] = top as u64;
            top >>= 64;
            i += 1;
        }
        self.reduce(sum, top != 0)
    }

    /// 1 / a, as a to the power of p − 2; p ends in more than one bit.
    const fn invert(&self, a: [u64; L]) -> [u64; L] {
        let (mut power, mut bit) = (self.number(&[1]), 64 * L);
        while bit > 0 {
            bit -= 1;
            power = self.multiply(power, power);
            let word = if bit < 64 { self.p[0] - 2 } else { self.p[bit / 64] };
            if word >> (bit % 64) & 1 == 1 {
                power = self.multiply(power, a);
            }
        }
        power
    }

    const fn times(&self, factor: usize, a: [u64; L]) -> [u64; L] {
        let (mut product, mut n) = (a, 1);
        while n < factor {
            product = self.add(product, a);
            n += 1;
        }
        product
    }

    /// 2 · P, for a = −3.
    const fn double_point(&self, [x, y, z]: Jacobian<L>) -> Jacobian<L> {
        let (yy, zz) = (self.multiply(y, y), self.multiply(z, z));
        let xyy = self.multiply(x, yy);
        let slope = self.times(3, self.multiply(self.subtract(x, zz), self.add(x, zz)));
        let x3 = self.subtract(self.multiply(slope, slope), self.times(8, xyy));
        let y3 = self.multiply(slope, self.subtract(self.times(4, xyy), x3));
        [x3, self.subtract(y3, self.times(8, self.multiply(yy, yy))), self.times(2, self.multiply(y, z))]
    }

    /// P + Q, which are neither equal nor opposite.
    const fn add_points(&self, [x1, y1, z1]: Jacobian<L>, [x2, y2, z2]: Jacobian<L>) -> Jacobian<L> {
        let (zz1, zz2) = (self.multiply(z1, z1), self.multiply(z2, z2));
        let (u1, u2) = (self.multiply(x1, zz2), self.multiply(x2, zz1));
        let s1 = self.multiply(y1, self.multiply(z2, zz2));
        let s2 = self.multiply(y2, self.multiply(z1, zz1));
        let (h, r) = (self.subtract(u2, u1), self.subtract(s2, s1));
        let hh = self.multiply(h, h);
        let (hhh, v) = (self.multiply(h, hh), self.multiply(u1, hh));
        let x3 = self.subtract(self.subtract(self.multiply(r, r), hhh), self.times(2, v));
        let y3 = self.subtract(self.multiply(r, self.subtract(v, x3)), self.multiply(s1, hhh));
        [x3, y3, self.multiply(h, self.multiply(z1, z2))]
    }

    /// Affine coordinates, with one inversion for all.
    const fn to_affine<const N: usize, const ROWS: usize>(
        &self,
        points: &[[Jacobian<L>; N]; ROWS],
    ) -> [[[[u64; L]; 2]; N]; ROWS] {
        // the products of all z before each point
        let mut products = [[[0; L]; N]; ROWS];
        let (mut product, mut i) = (self.number(&[1]), 0);
        while i < ROWS * N {
            products[i / N][i % N] = product;
            product = self.multiply(product, points[i / N][i % N][2]);
            i += 1;
        }
        let mut inverse = self.invert(product);
        let mut affine = [[[[0; L]; 2]; N]; ROWS];
        while i > 0 {
            i -= 1;
            let [x, y, z] = points[i / N][i % N];
            let z_inverse = self.multiply(inverse, products[i / N][i % N]);
            let square = self.multiply(z_inverse, z_inverse);
            affine[i / N][i % N] = [self.multiply(x, square), self.multiply(y, self.multiply(z_inverse, square))];
            inverse = self.multiply(inverse, z);
        }
        affine
    }
}

/// The words of a big-endian number.
const fn words<const L: usize>(bytes: &[u8]) -> [u64; L] {
    let (mut words, mut i) = ([0; L], 0);
    while i < bytes.len() {
        words[i / 8] |= (bytes[bytes.len() - 1 - i] as u64) << (i % 8 * 8);
        i += 1;
    }
    words
}

/// a + b modulo 2^(64 L), and whether there is a carry.
const fn sum<const L: usize>(a: [u64; L], b: [u64; L]) -> ([u64; L], bool) {
    let (mut sum, mut carry, mut i) = ([0; L], false, 0);
    while i < L {
        let (once, first) = a[i].overflowing_add(b[i]);
        let (twice, second) = once.overflowing_add(carry as u64);
        (sum[i], carry) = (twice, first || second);
        i += 1;
    }
    (sum, carry)
}

/// a − b modulo 2^(64 L), and whether b is larger.
const fn difference<const L: usize>(a: [u64; L], b: [u64; L]) -> ([u64; L], bool) {
    let (mut difference, mut borrow, mut i) = ([0; L], false, 0);
    while i < L {
        let (once, first) = a[i].overflowing_sub(b[i]);
        let (twice, second) = once.overflowing_sub(borrow as u64);
        (difference[i], borrow) = (twice, first || second);
        i += 1;
    }
    (difference, borrow)
}
