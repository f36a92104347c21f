//! Products of blocks, on which the arithmetic of RSA stands. A block is 512 bits in nine limbs of 58 bits, so that
//! products of limbs can be summed without carries: a number has a column for each limb of its product, and the sum of
//! all that ever comes into one is below 2^128.
//!
//! No loops over the limbs of a block: the firmware is optimised for size, and would not unroll them. Written in this
//! order each product costs a multiplication and two additions, and nothing waits for a carry.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::num;

/// 64-bit limbs of a block.
pub(super) const LIMBS: usize = 8;
/// Bits of a limb.
const BITS: u32 = 58;
/// Limbs of a block.
pub(super) const BLOCK: usize = 9;
/// Bits of a block's limbs.
pub(super) const BLOCK_BITS: usize = 58 * BLOCK;
/// How many of them are beyond the block's 512.
pub(super) const SPARE: usize = BLOCK_BITS - 512;
/// The bits of a limb.
const MASK: u64 = (1 << BITS) - 1;

/// A block of limbs, all below 2^58.
pub(super) type Block = [u64; BLOCK];

/// The columns of a product of blocks.
pub(super) type Columns = [u128; 2 * BLOCK];

#[inline(always)]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(b.into())
}

/// A sum of products.
macro_rules! sum {
    ($a:ident $b:ident $(, $c:ident $d:ident)*) => {
        product($a, $b)$(.wrapping_add(product($c, $d)))*
    };
}

/// A sum, and for each two limbs of a and those of b what the two products of unequal index have more than those of
/// equal index: (a − c) · (d − b) = a · d + c · b − a · b − c · d.
macro_rules! cross {
    ($own:ident $(, $a:ident $c:ident $b:ident $d:ident)*) => {
        $own$(.wrapping_add(signed_product($a.wrapping_sub($c), $d.wrapping_sub($b))))*
    };
}

#[inline(always)]
fn signed_product(a: u64, b: u64) -> u128 {
    i128::from(a.cast_signed()).wrapping_mul(b.cast_signed().into()).cast_unsigned()
}

#[inline(always)]
fn add(column: &mut u128, sum: u128) {
    *column = column.wrapping_add(sum);
}

/// Adds a · b to the columns. By Karatsuba's way for each two limbs, which spares 36 of 81 multiplications: two
/// products that meet in a column are one, and two of limbs with equal index, of which each column has a run.
/// Intermediate sums may be above 2^128; the last are not.
#[inline(never)]
fn multiply_block(a: &Block, b: &Block, columns: &mut [u128]) {
    let Some([c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16]) = columns.first_chunk_mut()
    else {
        return;
    };
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8] = *a;
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = *b;
    let d0 = product(a0, b0);
    let d1 = product(a1, b1);
    let d2 = product(a2, b2);
    let d3 = product(a3, b3);
    let d4 = product(a4, b4);
    let d5 = product(a5, b5);
    let d6 = product(a6, b6);
    let d7 = product(a7, b7);
    let d8 = product(a8, b8);
    let own = d0;
    add(c0, own);
    let own = own.wrapping_add(d1);
    add(c1, cross!(own, a0 a1 b0 b1));
    let own = own.wrapping_add(d2);
    add(c2, cross!(own, a0 a2 b0 b2));
    let own = own.wrapping_add(d3);
    add(c3, cross!(own, a0 a3 b0 b3, a1 a2 b1 b2));
    let own = own.wrapping_add(d4);
    add(c4, cross!(own, a0 a4 b0 b4, a1 a3 b1 b3));
    let own = own.wrapping_add(d5);
    add(c5, cross!(own, a0 a5 b0 b5, a1 a4 b1 b4, a2 a3 b2 b3));
    let own = own.wrapping_add(d6);
    add(c6, cross!(own, a0 a6 b0 b6, a1 a5 b1 b5, a2 a4 b2 b4));
    let own = own.wrapping_add(d7);
    add(c7, cross!(own, a0 a7 b0 b7, a1 a6 b1 b6, a2 a5 b2 b5, a3 a4 b3 b4));
    let own = own.wrapping_add(d8);
    add(c8, cross!(own, a0 a8 b0 b8, a1 a7 b1 b7, a2 a6 b2 b6, a3 a5 b3 b5));
    let own = own.wrapping_sub(d0);
    add(c9, cross!(own, a1 a8 b1 b8, a2 a7 b2 b7, a3 a6 b3 b6, a4 a5 b4 b5));
    let own = own.wrapping_sub(d1);
    add(c10, cross!(own, a2 a8 b2 b8, a3 a7 b3 b7, a4 a6 b4 b6));
    let own = own.wrapping_sub(d2);
    add(c11, cross!(own, a3 a8 b3 b8, a4 a7 b4 b7, a5 a6 b5 b6));
    let own = own.wrapping_sub(d3);
    add(c12, cross!(own, a4 a8 b4 b8, a5 a7 b5 b7));
    let own = own.wrapping_sub(d4);
    add(c13, cross!(own, a5 a8 b5 b8, a6 a7 b6 b7));
    let own = own.wrapping_sub(d5);
    add(c14, cross!(own, a6 a8 b6 b8));
    let own = own.wrapping_sub(d6);
    add(c15, cross!(own, a7 a8 b7 b8));
    let own = own.wrapping_sub(d7);
    add(c16, own);
}

/// Adds a · b to the columns.
#[inline(always)]
fn multiply_limb(a: u64, b: &Block, columns: &mut [u128]) {
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = *b;
    let Some([c0, c1, c2, c3, c4, c5, c6, c7, c8]) = columns.first_chunk_mut() else { return };
    add(c0, product(a, b0));
    add(c1, product(a, b1));
    add(c2, product(a, b2));
    add(c3, product(a, b3));
    add(c4, product(a, b4));
    add(c5, product(a, b5));
    add(c6, product(a, b6));
    add(c7, product(a, b7));
    add(c8, product(a, b8));
}

/// columns = a²
#[inline(never)]
fn square_block(a: &Block, columns: &mut Columns) {
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8] = *a;
    let [d0, d1, d2, d3, d4, d5, d6, d7] = [a0 << 1, a1 << 1, a2 << 1, a3 << 1, a4 << 1, a5 << 1, a6 << 1, a7 << 1];
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17] = columns;
    *c0 = sum!(a0 a0);
    *c1 = sum!(d0 a1);
    *c2 = sum!(d0 a2, a1 a1);
    *c3 = sum!(d0 a3, d1 a2);
    *c4 = sum!(d0 a4, d1 a3, a2 a2);
    *c5 = sum!(d0 a5, d1 a4, d2 a3);
    *c6 = sum!(d0 a6, d1 a5, d2 a4, a3 a3);
    *c7 = sum!(d0 a7, d1 a6, d2 a5, d3 a4);
    *c8 = sum!(d0 a8, d1 a7, d2 a6, d3 a5, a4 a4);
    *c9 = sum!(d1 a8, d2 a7, d3 a6, d4 a5);
    *c10 = sum!(d2 a8, d3 a7, d4 a6, a5 a5);
    *c11 = sum!(d3 a8, d4 a7, d5 a6);
    *c12 = sum!(d4 a8, d5 a7, a6 a6);
    *c13 = sum!(d5 a8, d6 a7);
    *c14 = sum!(d6 a8, a7 a7);
    *c15 = sum!(d7 a8);
    *c16 = sum!(a8 a8);
    *c17 = 0;
}

/// A step of Montgomery's reduction for each of the quotients: adds a multiple of a modulus that is −1 mod 2^58, which
/// brings zeros into their columns; what they carry goes into the column after them. `modulus` is the block above that
/// lowest limb, less the borrow of the −1. So a quotient is the limb of its column, and waits for nothing but one
/// product with the quotient before it.
#[inline(never)]
fn reduce_block(columns: &mut [u128], modulus: &Block, quotients: &mut [u64]) {
    let [m0, m1, m2, m3, m4, m5, m6, m7, m8] = *modulus;
    let mut column = columns.first().copied().unwrap_or(0);
    let mut rest = columns;
    for quotient in quotients {
        let Some([_, c1, c2, c3, c4, c5, c6, c7, c8, c9]) = rest.first_chunk_mut() else { return };
        *quotient = cut(column);
        column = c1.wrapping_add(product(*quotient, m0)).wrapping_add(column >> BITS);
        add(c2, product(*quotient, m1));
        add(c3, product(*quotient, m2));
        add(c4, product(*quotient, m3));
        add(c5, product(*quotient, m4));
        add(c6, product(*quotient, m5));
        add(c7, product(*quotient, m6));
        add(c8, product(*quotient, m7));
        add(c9, product(*quotient, m8));
        rest = core::mem::take(&mut rest).get_mut(1..).unwrap_or_default();
    }
    if let Some(next) = rest.first_mut() {
        *next = column;
    }
}

/// columns = a · b
pub(super) fn multiply(a: &[Block], b: &[Block], columns: &mut [Columns]) {
    let columns = columns.as_flattened_mut();
    columns.fill(0);
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            multiply_block(a, b, from(columns, BLOCK.wrapping_mul(i.wrapping_add(j))));
        }
    }
}

/// columns = a². The products of different blocks are taken once, with one of them doubled: limbs have room for that.
pub(super) fn square(a: &[Block], columns: &mut [Columns]) {
    for (block, columns) in a.iter().zip(&mut *columns) {
        square_block(block, columns);
    }
    let (mut rest, mut columns) = (a, columns.as_flattened_mut());
    while let Some((block, others)) = rest.split_first() {
        let doubled = double(block);
        let mut to = from(columns, BLOCK);
        for other in others {
            multiply_block(&doubled, other, to);
            to = from(to, BLOCK);
        }
        rest = others;
        columns = from(columns, 2 * BLOCK);
    }
}

#[inline(always)]
const fn double(a: &Block) -> Block {
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8] = *a;
    [a0 << 1, a1 << 1, a2 << 1, a3 << 1, a4 << 1, a5 << 1, a6 << 1, a7 << 1, a8 << 1]
}

/// An odd modulus of at most `N` blocks, as Montgomery's reduction takes it. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Modulus<const N: usize> {
    blocks: [Block; N],
    /// (modulus · n0 + 1) / 2^58: what a multiple of the modulus that is −1 mod 2^58 has above its lowest limb, and 1.
    multiple: [Block; N],
    /// −modulus^-1 mod 2^58
    n0: u64,
    len: usize,
}

impl<const N: usize> Modulus<N> {
    /// The modulus from 64-bit limbs of whole blocks.
    pub(super) fn new(limbs: &[u64]) -> Self {
        let n0 = num::invert_word(limbs.first().copied().unwrap_or(1)).wrapping_neg() & MASK;
        let len = (limbs.len() / LIMBS).min(N);
        let mut modulus = Self { blocks: [[0; BLOCK]; N], multiple: [[0; BLOCK]; N], n0, len };
        read(limbs, modulus.blocks.get_mut(..len).unwrap_or_default());
        let mut limbs = modulus.blocks.as_flattened().iter().copied();
        let mut column = product(limbs.next().unwrap_or(0), n0).wrapping_add(1);
        for (to, limb) in modulus.multiple.as_flattened_mut().iter_mut().zip(limbs.chain([0])) {
            column = (column >> BITS).wrapping_add(product(limb, n0));
            *to = cut(column);
        }
        modulus
    }

    /// How many blocks it has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// out = columns / R mod the modulus, by Montgomery's reduction; R is 2^58 for each limb of the modulus. The answer
    /// is below columns / R + 2 · the modulus: all steps but the last add less than R · modulus together, and so does
    /// the last, which takes the modulus as it is.
    pub(super) fn reduce(&self, columns: &mut [Columns], out: &mut [Block]) {
        let columns = columns.as_flattened_mut();
        let Some((lowest, others)) = self.multiple.get(..self.len).unwrap_or_default().split_first() else { return };
        let last = self.len.wrapping_mul(BLOCK).wrapping_sub(1);
        for i in 0..self.len {
            let start = i.wrapping_mul(BLOCK);
            let steps = last.wrapping_sub(start).min(BLOCK);
            let mut quotients = [0; BLOCK];
            reduce_block(from(columns, start), lowest, quotients.get_mut(..steps).unwrap_or_default());
            let mut to = from(columns, start.wrapping_add(BLOCK + 1));
            for block in others {
                multiply_block(&quotients, block, to);
                to = from(to, BLOCK);
            }
        }
        let mut to = from(columns, last);
        let quotient = cut(to.first().copied().unwrap_or(0)).wrapping_mul(self.n0) & MASK;
        for block in self.blocks.get(..self.len).unwrap_or_default() {
            multiply_limb(quotient, block, to);
            to = from(to, BLOCK);
        }
        let (done, rest) = columns.split_at_mut_checked(last.wrapping_add(1)).unwrap_or_default();
        let mut carry = done.last().map_or(0, |column| column >> BITS);
        for (block, columns) in out.iter_mut().zip(rest.as_chunks().0) {
            (*block, carry) = carry_block(columns, carry);
        }
    }
}

/// The limbs of columns, with what the columns before carry; what these carry.
#[inline(always)]
const fn carry_block(columns: &[u128; BLOCK], carry: u128) -> (Block, u128) {
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8] = *columns;
    let c0 = c0.wrapping_add(carry);
    let c1 = c1.wrapping_add(c0 >> BITS);
    let c2 = c2.wrapping_add(c1 >> BITS);
    let c3 = c3.wrapping_add(c2 >> BITS);
    let c4 = c4.wrapping_add(c3 >> BITS);
    let c5 = c5.wrapping_add(c4 >> BITS);
    let c6 = c6.wrapping_add(c5 >> BITS);
    let c7 = c7.wrapping_add(c6 >> BITS);
    let c8 = c8.wrapping_add(c7 >> BITS);
    let limbs = [cut(c0), cut(c1), cut(c2), cut(c3), cut(c4), cut(c5), cut(c6), cut(c7), cut(c8)];
    (limbs, c8 >> BITS)
}

/// The limb of a column.
#[inline(always)]
const fn cut(column: u128) -> u64 {
    low(column) & MASK
}

/// The columns from one on.
#[inline(always)]
fn from(columns: &mut [u128], first: usize) -> &mut [u128] {
    columns.get_mut(first..).unwrap_or_default()
}

/// a = a · 2^k, for k below 58 and a product that has not more blocks.
pub(super) fn shift(a: &mut [Block], k: u32) {
    let mut carry = 0;
    for limb in a.as_flattened_mut() {
        let shifted = u128::from(*limb).wrapping_shl(k) | carry;
        *limb = cut(shifted);
        carry = shifted >> BITS;
    }
}

/// Reads a number of 64-bit limbs into blocks, as far as they go.
pub(super) fn read(from: &[u64], to: &mut [Block]) {
    let (mut from, mut acc, mut bits) = (from.iter(), 0, 0);
    for limb in to.as_flattened_mut() {
        if bits < BITS {
            acc |= u128::from(from.next().copied().unwrap_or(0)).wrapping_shl(bits);
            bits = bits.wrapping_add(u64::BITS);
        }
        *limb = cut(acc);
        acc >>= BITS;
        bits = bits.wrapping_sub(BITS);
    }
}

/// Writes blocks as a number of 64-bit limbs; what is above them.
pub(super) fn write(from: &[Block], to: &mut [u64]) -> u64 {
    let (mut from, mut acc, mut bits) = (from.as_flattened().iter(), 0, 0);
    let mut next = |bits: &mut u32| {
        let limb = u128::from(from.next().copied().unwrap_or(0)).wrapping_shl(*bits);
        *bits = bits.wrapping_add(BITS);
        limb
    };
    for limb in to {
        while bits < u64::BITS {
            acc |= next(&mut bits);
        }
        *limb = low(acc);
        acc >>= u64::BITS;
        bits = bits.wrapping_sub(u64::BITS);
    }
    low(acc | next(&mut bits))
}

#[expect(clippy::cast_possible_truncation, reason = "the low half")]
#[inline(always)]
const fn low(number: u128) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{vec, vec::Vec};

    /// Limbs that look random, and limbs full of ones: the largest sums.
    fn numbers(limbs: usize) -> [Vec<u64>; 3] {
        let mixed = (1_u64..).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
        let sparse = (0_u64..).map(|i| if i % 3 == 0 { u64::MAX } else { 0 });
        [mixed.take(limbs).collect(), sparse.take(limbs).collect(), vec![u64::MAX; limbs]]
    }

    fn blocks(number: &[u64]) -> Vec<Block> {
        let mut blocks = vec![[0; BLOCK]; number.len() / 8];
        read(number, &mut blocks);
        blocks
    }

    /// The columns as a number of 64-bit limbs.
    fn number(columns: &[Columns]) -> Vec<u64> {
        let (mut carry, mut limbs) = (0, vec![[0; BLOCK]; 2 * columns.len()]);
        for (limb, column) in limbs.as_flattened_mut().iter_mut().zip(columns.as_flattened()) {
            let column = column + carry;
            *limb = cut(column);
            carry = column >> BITS;
        }
        let mut number = vec![0; 16 * columns.len()];
        assert_eq!(write(&limbs, &mut number), 0);
        number
    }

    #[test]
    fn what_is_read_is_written() {
        for limbs in [8, 16, 24, 32, 48, 64] {
            for from in numbers(limbs) {
                let mut to = vec![1; limbs];
                assert_eq!(write(&blocks(&from), &mut to), 0);
                assert_eq!(to, from);
                let mut shifted = blocks(&from);
                shift(&mut shifted, 7);
                assert_eq!(write(&shifted, &mut to), from[limbs - 1] >> 57);
                assert!(to[0] == from[0] << 7 && to[1] == from[1] << 7 | from[0] >> 57);
            }
        }
    }

    #[test]
    fn products_and_squares_are_those_of_the_schoolbook() {
        for limbs in [8, 16, 24, 32, 48, 64] {
            for a in numbers(limbs) {
                let mut columns = vec![[1; 2 * BLOCK]; limbs / 8];
                let mut expected = vec![0; 2 * limbs];
                for b in numbers(limbs) {
                    multiply(&blocks(&a), &blocks(&b), &mut columns);
                    num::multiply(&a, &b, &mut expected);
                    assert_eq!(number(&columns), expected, "{limbs} limbs");
                }
                square(&blocks(&a), &mut columns);
                num::multiply(&a, &a, &mut expected);
                assert_eq!(number(&columns), expected, "{limbs} limbs");
            }
        }
    }

    #[test]
    fn a_reduction_divides_by_r() {
        for limbs in [8, 16, 24, 32, 48, 64] {
            for mut modulus in numbers(limbs) {
                modulus[0] |= 1;
                let modulus = Modulus::<8>::new(&modulus);
                // R · x / R is x, when R · x is given as columns.
                let x = blocks(&numbers(limbs)[0]);
                let mut columns = vec![[0; 2 * BLOCK]; limbs / 8];
                for (column, &limb) in columns.as_flattened_mut().iter_mut().skip(x.len() * BLOCK).zip(x.as_flattened())
                {
                    *column = limb.into();
                }
                let mut out = vec![[7; BLOCK]; x.len()];
                modulus.reduce(&mut columns, &mut out);
                assert_eq!(out, x);
            }
        }
    }
}
