//! Montgomery arithmetic with an odd modulus of 8 to 64 limbs whose top bit is set. In constant time, but for the exponent of
//! [`Monty::power_word`]. R is 2^(64·limbs).

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::num::{self, BLOCK, Block};

/// The limbs of the longest modulus.
pub(super) const MAX_LIMBS: usize = 64;
/// Bits of exponent per multiplication.
const WINDOW: usize = 4;

/// A modulus of at most `CAP` limbs, and scratch space. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Monty<const CAP: usize> {
    modulus: [u64; CAP],
    /// R mod m: 1 in Montgomery form.
    one: [u64; CAP],
    /// R² mod m
    square: [u64; CAP],
    /// A product before its reduction: the low half and the high half, next to each other.
    product: [[u64; CAP]; 2],
    limbs: usize,
    /// −m^-1 mod 2^64
    n0: u64,
}

impl<const CAP: usize> Monty<CAP> {
    /// Prepares for the modulus `m` of at most `CAP` limbs.
    pub(super) fn new(m: &[u64]) -> Self {
        let mut monty = Self {
            modulus: [0; CAP],
            one: [0; CAP],
            square: [0; CAP],
            product: [[0; CAP]; 2],
            limbs: m.len().min(CAP),
            n0: num::invert_word(m.first().copied().unwrap_or(1)).wrapping_neg(),
        };
        monty.modulus.iter_mut().zip(m).for_each(|(to, from)| *to = *from);
        // The top bit of m is set, so R mod m is R − m.
        num::sub_masked(cut(&mut monty.one, monty.limbs), m, u64::MAX);
        monty.prepare_square();
        monty
    }

    /// R² mod m is 2^(64·limbs) in Montgomery form: from 1, as many doublings as limbs and six squarings.
    fn prepare_square(&mut self) {
        let mut value = Zeroizing::new(self.one);
        let value = cut(&mut *value, self.limbs);
        for _ in 0..self.limbs {
            self.double(value);
        }
        for _ in 0..6 {
            self.square(value);
        }
        num::copy(cut(&mut self.square, self.limbs), value);
    }

    /// The modulus.
    pub(super) fn modulus(&self) -> &[u64] {
        self.modulus.get(..self.limbs).unwrap_or_default()
    }

    /// 1 in Montgomery form.
    pub(super) fn one(&self) -> &[u64] {
        self.one.get(..self.limbs).unwrap_or_default()
    }

    /// a = 2a
    pub(super) fn double(&self, a: &mut [u64]) {
        let carry = num::double(a, 0);
        num::reduce_blocks_once(a, carry, self.modulus());
    }

    /// a = a · b / R
    pub(super) fn multiply(&mut self, a: &mut [u64], b: &[u64]) {
        num::multiply(a, b, cut(self.product.as_flattened_mut(), self.limbs.wrapping_mul(2)));
        self.reduce_product(a);
    }

    /// a = a² / R
    pub(super) fn square(&mut self, a: &mut [u64]) {
        num::square(a, cut(self.product.as_flattened_mut(), self.limbs.wrapping_mul(2)));
        self.reduce_product(a);
    }

    /// out = wide / R, for a number of twice the limbs that is below m · R.
    pub(super) fn reduce_wide(&mut self, wide: &[u64], out: &mut [u64]) {
        let product = cut(self.product.as_flattened_mut(), self.limbs.wrapping_mul(2));
        product.iter_mut().zip(wide).for_each(|(to, from)| *to = *from);
        self.reduce_product(out);
    }

    /// Montgomery's reduction of the product, a block of quotient limbs at a time.
    fn reduce_product(&mut self, out: &mut [u64]) {
        let modulus = self.modulus.get(..self.limbs).unwrap_or_default();
        let product = cut(self.product.as_flattened_mut(), self.limbs.wrapping_mul(2));
        let (product, blocks) = (product.as_chunks_mut().0, modulus.as_chunks().0);
        let mut top = false;
        for i in 0..blocks.len() {
            top = reduce_block(product.get_mut(i..).unwrap_or_default(), blocks, self.n0, top);
        }
        num::copy(out, product.as_flattened().get(self.limbs..).unwrap_or_default());
        num::reduce_blocks_once(out, u64::from(top), modulus);
    }

    /// Into Montgomery form: a = a · R
    pub(super) fn enter(&mut self, a: &mut [u64]) {
        let square = Zeroizing::new(self.square);
        self.multiply(a, square.get(..self.limbs).unwrap_or_default());
    }

    /// Out of Montgomery form: a = a / R
    pub(super) fn leave(&mut self, a: &mut [u64]) {
        let product = cut(self.product.as_flattened_mut(), self.limbs.wrapping_mul(2));
        product.fill(0);
        product.iter_mut().zip(&*a).for_each(|(to, from)| *to = *from);
        self.reduce_product(a);
    }

    /// a = a^exponent, in and out of Montgomery form outside; the time depends on the length of the exponent only.
    pub(super) fn power(&mut self, a: &mut [u64], exponent: &[u64]) {
        let mut table = Zeroizing::new([[0; CAP]; 1 << WINDOW]);
        self.fill_table(a, &mut *table);
        let mut factor = Zeroizing::new([0; CAP]);
        let factor = cut(&mut *factor, self.limbs);
        num::copy(a, self.one());
        for &limb in exponent.iter().rev() {
            for shift in (0..64).step_by(WINDOW).rev() {
                (0..WINDOW).for_each(|_| self.square(a));
                look_up(&*table, limb >> shift & ((1 << WINDOW) - 1), factor);
                self.multiply(a, factor);
            }
        }
    }

    /// a = 2^exponent in Montgomery form; the time depends on the length of the exponent only.
    pub(super) fn power_of_two(&mut self, a: &mut [u64], exponent: &[u64]) {
        num::copy(a, self.one());
        for &limb in exponent.iter().rev() {
            for bit in (0..64).rev() {
                self.square(a);
                let carry = num::double_masked(a, num::mask(limb >> bit & 1));
                num::reduce_blocks_once(a, carry, self.modulus());
            }
        }
    }

    /// The powers of `a` from 0 up.
    fn fill_table(&mut self, a: &[u64], table: &mut [[u64; CAP]]) {
        let mut power = Zeroizing::new(self.one);
        let power = cut(&mut *power, self.limbs);
        for entry in table {
            num::copy(cut(entry, self.limbs), power);
            self.multiply(power, a);
        }
    }

    /// a = a^exponent for a public exponent above 1, all outside of Montgomery form: multiplying by what has not entered it leaves it.
    pub(super) fn power_public(&mut self, a: &mut [u64], exponent: u32) {
        let mut outside = Zeroizing::new([0; CAP]);
        let outside = cut(&mut *outside, self.limbs);
        num::copy(outside, a);
        self.enter(a);
        self.power_word(a, exponent.saturating_sub(1));
        self.multiply(a, outside);
    }

    /// a = a^exponent for a public exponent, in and out of Montgomery form outside.
    pub(super) fn power_word(&mut self, a: &mut [u64], exponent: u32) {
        let mut base = Zeroizing::new([0; CAP]);
        let base = cut(&mut *base, self.limbs);
        num::copy(base, a);
        for bit in (0..exponent.checked_ilog2().unwrap_or(0)).rev() {
            self.square(a);
            if exponent >> bit & 1 == 1 {
                self.multiply(a, base);
            }
        }
    }
}

/// Adds the multiple of the modulus that makes the product's first block zero. `top` is the carry into the block after the modulus' length,
/// the answer the carry out of it.
fn reduce_block(product: &mut [Block], modulus: &[Block], n0: u64, top: bool) -> bool {
    let (Some((first, product)), Some((lowest, modulus))) = (product.split_first_mut(), modulus.split_first()) else {
        return top;
    };
    let (mut quotient, mut acc) = ([0; BLOCK], [0; BLOCK]);
    for (quotient, limb) in quotient.iter_mut().zip(first) {
        let [low, ..] = acc;
        *quotient = limb.wrapping_add(low).wrapping_mul(n0);
        *limb = num::mul_add_shift(&mut acc, lowest, *quotient, *limb);
    }
    let (Some((last, product)), mut carry) =
        (product.get_mut(..=modulus.len()).and_then(<[Block]>::split_last_mut), false)
    else {
        return top;
    };
    for (block, modulus) in product.iter_mut().zip(modulus) {
        carry = num::add_block(block, &acc, carry);
        acc = [0; BLOCK];
        for (limb, &quotient) in block.iter_mut().zip(&quotient) {
            *limb = num::mul_add_shift(&mut acc, modulus, quotient, *limb);
        }
    }
    let first = num::add_block(last, &acc, carry);
    let second = num::add_block(last, &[0; BLOCK], top);
    first | second
}

/// out = table\[index\], reading all of the table.
fn look_up<const CAP: usize>(table: &[[u64; CAP]], index: u64, out: &mut [u64]) {
    out.fill(0);
    for (i, entry) in (0..).zip(table) {
        let mask = num::mask(num::is_zero_word(index ^ i));
        out.iter_mut().zip(entry).for_each(|(out, entry)| *out |= entry & mask);
    }
}

fn cut(limbs: &mut [u64], len: usize) -> &mut [u64] {
    limbs.get_mut(..len).unwrap_or_default()
}
