//! Montgomery arithmetic with an odd modulus of whole blocks of 512 bits whose top bit is set. In constant time, but
//! for the exponent of [`Monty::power_word`].
//!
//! R is 2^522 for each block: the [blocks](super::block) have bits to spare. Between operations a number is below 3m
//! and in the residue class of what it stands for. The product of two such numbers is again one, for (9m² + 2R·m) / R <
//! 3m, so nothing is ever compared with the modulus but what leaves this module.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::block::{self, BLOCK, BLOCK_BITS, Block, Columns, LIMBS, Modulus, SPARE};
use crate::num;

/// The limbs of the longest modulus, of 64 bits.
pub(super) const MAX_LIMBS: usize = 64;
/// The blocks of the longest modulus.
pub(super) const MAX_BLOCKS: usize = MAX_LIMBS / LIMBS;
/// Bits of exponent per multiplication.
const WINDOW: u32 = 4;

/// A number of at most `N` blocks. Wiped when dropped.
pub(super) type Residue<const N: usize> = Zeroizing<[Block; N]>;

/// A modulus of at most `N` blocks, and scratch space. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Monty<const N: usize> {
    limbs: [[u64; LIMBS]; N],
    modulus: Modulus<N>,
    /// R mod m: 1 in Montgomery form.
    one: [Block; N],
    /// R² mod m
    square: [Block; N],
    /// A product before its reduction.
    product: [Columns; N],
    blocks: usize,
}

impl<const N: usize> Monty<N> {
    /// Prepares for the modulus `m` of at most `N` blocks, given in 64-bit limbs.
    pub(super) fn new(m: &[u64]) -> Self {
        let mut monty = Self::bare(m);
        monty.prepare();
        monty
    }

    /// A modulus without R mod m and R² mod m. Until it is [prepared](Self::prepare), nothing but [`Self::root_of_two`]
    /// is right.
    pub(super) fn bare(m: &[u64]) -> Self {
        let modulus = Modulus::new(m);
        let mut monty = Self {
            limbs: [[0; LIMBS]; N],
            one: [[0; BLOCK]; N],
            square: [[0; BLOCK]; N],
            product: [[0; 2 * BLOCK]; N],
            blocks: modulus.len(),
            modulus,
        };
        num::copy(monty.limbs.as_flattened_mut(), m);
        monty
    }

    /// Finds R mod m and R² mod m.
    pub(super) fn prepare(&mut self) {
        let mut number = Zeroizing::new([[0; LIMBS]; N]);
        let number = cut(&mut *number, self.blocks);
        // The top bit of m is set, so 2^(512·blocks) mod m is that less m. As many doublings as R has bits more.
        num::sub_masked(number.as_flattened_mut(), self.limbs(), u64::MAX);
        let modulus = self.limbs.get(..self.blocks).unwrap_or_default();
        (0..SPARE.wrapping_mul(self.blocks)).for_each(|_| num::double_modulo(number, modulus));
        self.one = *self.residue(number.as_flattened());
        // R is the power of two with this exponent: the first bits of it by doubling, six bits by squaring.
        let exponent = BLOCK_BITS.wrapping_mul(self.blocks);
        (0..exponent >> 6).for_each(|_| num::double_modulo(number, modulus));
        let mut square = self.residue(number.as_flattened());
        for bit in (0..6).rev() {
            self.square(&mut square);
            // Below 6m at most: no matter to the next product.
            block::shift(cut(&mut *square, self.blocks), u32::from(exponent >> bit & 1 == 1));
        }
        self.square = *square;
    }

    fn limbs(&self) -> &[u64] {
        self.limbs.get(..self.blocks).unwrap_or_default().as_flattened()
    }

    /// A number of as many 64-bit limbs as the modulus has, in blocks: not in Montgomery form.
    pub(super) fn residue(&self, limbs: &[u64]) -> Residue<N> {
        let mut residue = Residue::new([[0; BLOCK]; N]);
        block::read(limbs, cut(&mut *residue, self.blocks));
        residue
    }

    /// A number of as many 64-bit limbs as the modulus has, into Montgomery form.
    pub(super) fn enter(&mut self, limbs: &[u64]) -> Residue<N> {
        let mut residue = self.residue(limbs);
        self.raise(&mut residue);
        residue
    }

    /// a = a · R
    pub(super) fn raise(&mut self, a: &mut Residue<N>) {
        let square = Residue::new(self.square);
        self.multiply(a, &square);
    }

    /// Out of Montgomery form: out = a / R, below the modulus.
    pub(super) fn leave(&mut self, a: &Residue<N>, out: &mut [u64]) {
        let product = cut(&mut self.product, self.blocks).as_flattened_mut();
        product.fill(0);
        product.iter_mut().zip(a.as_flattened()).for_each(|(to, from)| *to = u128::from(*from));
        let mut reduced = Residue::new([[0; BLOCK]; N]);
        self.reduce(&mut reduced);
        self.write(&reduced, out);
    }

    /// out = a, below the modulus.
    pub(super) fn write(&self, a: &Residue<N>, out: &mut [u64]) {
        let carry = block::write(a.get(..self.blocks).unwrap_or_default(), out);
        let carry = num::reduce_once(out, carry, self.limbs());
        num::reduce_once(out, carry, self.limbs());
    }

    /// a = a · b / R
    pub(super) fn multiply(&mut self, a: &mut Residue<N>, b: &Residue<N>) {
        let (blocks, product) = (self.blocks, cut(&mut self.product, self.blocks));
        block::multiply(a.get(..blocks).unwrap_or_default(), b.get(..blocks).unwrap_or_default(), product);
        self.reduce(a);
    }

    /// a = a² / R
    pub(super) fn square(&mut self, a: &mut Residue<N>) {
        block::square(a.get(..self.blocks).unwrap_or_default(), cut(&mut self.product, self.blocks));
        self.reduce(a);
    }

    /// wide / R, for a number of twice the 64-bit limbs that is below m · R.
    pub(super) fn reduce_wide(&mut self, wide: &[u64]) -> Residue<N> {
        let mut limbs = Zeroizing::new([[[0; BLOCK]; 2]; N]);
        let limbs = limbs.as_flattened_mut();
        block::read(wide, limbs);
        let product = self.product.as_flattened_mut();
        product.iter_mut().zip(limbs.as_flattened()).for_each(|(to, from)| *to = u128::from(*from));
        let mut reduced = Residue::new([[0; BLOCK]; N]);
        self.reduce(&mut reduced);
        reduced
    }

    /// out = product / R
    fn reduce(&mut self, out: &mut Residue<N>) {
        self.modulus.reduce(cut(&mut self.product, self.blocks), cut(&mut **out, self.blocks));
    }

    /// a = a^exponent, in and out of Montgomery form outside; the time depends on the length of the exponent only.
    pub(super) fn power(&mut self, a: &mut Residue<N>, exponent: &[u64]) {
        let mut table = Zeroizing::new([[[0; BLOCK]; N]; 1 << WINDOW]);
        self.fill_table(a, &mut *table);
        let mut factor = Residue::new([[0; BLOCK]; N]);
        **a = self.one;
        for digit in digits(exponent, WINDOW) {
            (0..WINDOW).for_each(|_| self.square(a));
            look_up(&*table, digit, &mut factor);
            self.multiply(a, &factor);
        }
    }

    /// The powers of `a` from 0 up.
    fn fill_table(&mut self, a: &Residue<N>, table: &mut [[Block; N]]) {
        let mut power = Residue::new(self.one);
        for entry in table {
            *entry = *power;
            self.multiply(&mut power, a);
        }
    }

    /// The inverse of 2^((m − 1)/2) in Montgomery form, which is ±1 if m is prime. For a modulus of at most nine
    /// blocks; the time depends on its length only.
    ///
    /// A power of two below R is the inverse of another in Montgomery form, so that the first eight bits of the
    /// exponent cost nothing. From there on its bits are inverted: −E is −(H + 1) · 2^k + (2^k − 1 − L) + 1, if H is
    /// those bits and L the other k.
    ///
    /// Doubling is shifting, without a reduction: a number of b blocks that was below 3m and then shifted by k bits is
    /// below 3m · 2^k, and its squares, until the next digit is due, are below m · (9 · 2^(2k − 10b) + 2) and so on,
    /// which ends below 3m.
    pub(super) fn root_of_two(&mut self) -> Residue<N> {
        let (window, first) = if self.blocks == 1 { (2, 4) } else { (4, 2) };
        let mut exponent = Zeroizing::new(self.limbs);
        let exponent = cut(&mut *exponent, self.blocks).as_flattened_mut();
        num::halve(exponent);
        let inverted = exponent.last().map_or(0, |limb| u32::try_from(!limb >> 56).unwrap_or(0));

        // R / 2^(H + 1), where H is from 64 to 127: R / 2^128, shifted by what H lacks to 127.
        let mut a = Residue::new([[0; BLOCK]; N]);
        if let Some(limb) = cut(&mut *a, self.blocks).as_flattened_mut().iter_mut().nth_back(2) {
            *limb = 1 << (3 * BLOCK_BITS / BLOCK - 128);
        }
        block::shift(cut(&mut *a, self.blocks), inverted & 15);
        block::shift(cut(&mut *a, self.blocks), inverted & 48);
        for digit in digits(exponent, window).skip(first) {
            (0..window).for_each(|_| self.square(&mut a));
            block::shift(cut(&mut *a, self.blocks), digit ^ !u32::MAX.wrapping_shl(window));
        }
        block::shift(cut(&mut *a, self.blocks), 1);
        a
    }

    /// a = a^exponent for a public exponent above 1, 64-bit limbs outside of Montgomery form: multiplying by what has
    /// not entered it leaves it.
    pub(super) fn power_public(&mut self, a: &mut [u64], exponent: u32) {
        let outside = self.residue(a);
        let mut power = self.enter(a);
        self.power_word(&mut power, exponent.saturating_sub(1));
        self.multiply(&mut power, &outside);
        self.write(&power, a);
    }

    /// a = a^exponent for a public exponent, in and out of Montgomery form outside.
    pub(super) fn power_word(&mut self, a: &mut Residue<N>, exponent: u32) {
        let base = a.clone();
        for bit in (0..exponent.checked_ilog2().unwrap_or(0)).rev() {
            self.square(a);
            if exponent >> bit & 1 == 1 {
                self.multiply(a, &base);
            }
        }
    }
}

/// The digits of `window` bits of an exponent, the highest first.
fn digits(exponent: &[u64], window: u32) -> impl Iterator<Item = u32> {
    let digits = u64::BITS.checked_div(window).unwrap_or(0);
    let mask = !u64::MAX.wrapping_shl(window);
    exponent.iter().rev().flat_map(move |limb| {
        (0..digits).rev().map(move |i| u32::try_from(limb.wrapping_shr(i.wrapping_mul(window)) & mask).unwrap_or(0))
    })
}

/// out = table\[index\], reading all of the table.
fn look_up<const N: usize>(table: &[[Block; N]], index: u32, out: &mut Residue<N>) {
    out.as_flattened_mut().fill(0);
    for (i, entry) in (0..).zip(table) {
        let mask = num::mask(num::is_zero_word(u64::from(index ^ i)));
        let limbs = out.as_flattened_mut().iter_mut().zip(entry.as_flattened());
        limbs.for_each(|(out, entry)| *out |= entry & mask);
    }
}

fn cut<T>(blocks: &mut [T], len: usize) -> &mut [T] {
    blocks.get_mut(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{vec, vec::Vec};

    /// An odd modulus with its top bit set, and a number that may be above it.
    fn numbers(limbs: usize, seed: u64) -> (Vec<u64>, Vec<u64>) {
        let mut limb = (seed..).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
        let mut modulus: Vec<u64> = limb.by_ref().take(limbs).collect();
        modulus[0] |= 1;
        modulus[limbs - 1] |= 1 << 63;
        (modulus, limb.take(limbs).collect())
    }

    #[test]
    fn a_root_of_two_is_a_power() {
        for (limbs, seed) in [(8, 1), (8, 1000), (16, 2), (24, 3), (32, 4), (64, 5)] {
            let (modulus, _) = numbers(limbs, seed);
            let mut least = vec![0; limbs];
            (least[0], least[limbs - 1]) = (1, 1 << 63);
            for modulus in [modulus, vec![u64::MAX; limbs], least] {
                let mut monty = Monty::<MAX_BLOCKS>::new(&modulus);
                let mut exponent = modulus.clone();
                num::halve(&mut exponent);
                let mut two = vec![0; limbs];
                two[0] = 2;
                let mut power = monty.enter(&two);
                monty.power(&mut power, &exponent);
                let root = Monty::bare(&modulus).root_of_two();
                monty.multiply(&mut power, &root);
                let mut product = vec![0; limbs];
                monty.leave(&power, &mut product);
                assert!(product[0] == 1 && product[1..].iter().all(|limb| *limb == 0), "{limbs} limbs");
            }
        }
    }

    #[test]
    fn what_leaves_is_below_the_modulus() {
        for (limbs, seed) in [(8, 6), (16, 7), (48, 9), (64, 8)] {
            let (modulus, number) = numbers(limbs, seed);
            let mut monty = Monty::<MAX_BLOCKS>::new(&modulus);
            for value in [number, modulus.clone(), vec![u64::MAX; limbs]] {
                let mut reduced = value.clone();
                num::reduce_once(&mut reduced, 0, &modulus);
                let inside = monty.enter(&value);
                let mut out = vec![1; limbs];
                monty.leave(&inside, &mut out);
                assert_eq!(out, reduced);
                // The same by a wide number: value · R / R² · R
                let mut wide = value.clone();
                wide.resize(2 * limbs, 0);
                let mut back = monty.reduce_wide(&wide);
                monty.raise(&mut back);
                monty.write(&back, &mut out);
                assert_eq!(out, reduced);
            }
        }
    }

    #[test]
    fn one_is_what_a_product_does_not_change() {
        for (limbs, seed) in [(8, 10), (16, 11), (24, 12), (64, 13)] {
            let (modulus, number) = numbers(limbs, seed);
            let mut monty = Monty::<MAX_BLOCKS>::new(&modulus);
            let mut value = monty.residue(&number);
            let one = Residue::new(monty.one);
            monty.multiply(&mut value, &one);
            let (mut out, mut reduced) = (vec![0; limbs], number);
            monty.write(&value, &mut out);
            num::reduce_once(&mut reduced, 0, &modulus);
            assert_eq!(out, reduced);
        }
    }
}
