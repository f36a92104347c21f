//! Products of blocks, on which the arithmetic of RSA stands. A block is 512 bits in nine limbs of 58 bits, so that products of limbs can be summed
//! without carries: a number has a column for each limb of its product, and the sum of all that ever comes into one is below 2^128.
//!
//! No loops over the limbs of a block: the firmware is optimised for size, and would not unroll them. Written in this order each product costs a
//! multiplication and two additions, and nothing waits for a carry.

/// Bits of a limb.
const BITS: u32 = 58;
/// Limbs of a block.
pub(super) const BLOCK: usize = 9;
/// Bits of a block's limbs.
pub(super) const BLOCK_BITS: usize = 58 * BLOCK;
/// How many of them are beyond the block's 512.
pub(super) const SPARE: usize = BLOCK_BITS - 512;
/// The bits of a limb.
pub(super) const MASK: u64 = (1 << BITS) - 1;

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

/// Adds a · b to the columns.
#[inline(never)]
fn multiply_block(a: &Block, b: &Block, columns: &mut [u128]) {
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = *b;
    let mut rest = columns;
    for &a in a {
        let Some([t0, t1, t2, t3, t4, t5, t6, t7, t8]) = rest.first_chunk_mut() else { return };
        *t0 = t0.wrapping_add(product(a, b0));
        *t1 = t1.wrapping_add(product(a, b1));
        *t2 = t2.wrapping_add(product(a, b2));
        *t3 = t3.wrapping_add(product(a, b3));
        *t4 = t4.wrapping_add(product(a, b4));
        *t5 = t5.wrapping_add(product(a, b5));
        *t6 = t6.wrapping_add(product(a, b6));
        *t7 = t7.wrapping_add(product(a, b7));
        *t8 = t8.wrapping_add(product(a, b8));
        rest = core::mem::take(&mut rest).get_mut(1..).unwrap_or_default();
    }
}

/// a²
#[inline(never)]
fn square_block(a: &Block) -> Columns {
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8] = *a;
    let [d0, d1, d2, d3, d4, d5, d6, d7] = [a0 << 1, a1 << 1, a2 << 1, a3 << 1, a4 << 1, a5 << 1, a6 << 1, a7 << 1];
    [
        sum!(a0 a0),
        sum!(d0 a1),
        sum!(d0 a2, a1 a1),
        sum!(d0 a3, d1 a2),
        sum!(d0 a4, d1 a3, a2 a2),
        sum!(d0 a5, d1 a4, d2 a3),
        sum!(d0 a6, d1 a5, d2 a4, a3 a3),
        sum!(d0 a7, d1 a6, d2 a5, d3 a4),
        sum!(d0 a8, d1 a7, d2 a6, d3 a5, a4 a4),
        sum!(d1 a8, d2 a7, d3 a6, d4 a5),
        sum!(d2 a8, d3 a7, d4 a6, a5 a5),
        sum!(d3 a8, d4 a7, d5 a6),
        sum!(d4 a8, d5 a7, a6 a6),
        sum!(d5 a8, d6 a7),
        sum!(d6 a8, a7 a7),
        sum!(d7 a8),
        sum!(a8 a8),
        0,
    ]
}

/// Montgomery's reduction of a block: adds a multiple of `modulus` that brings zeros into the first nine columns; what they carry goes into the tenth.
/// The multiple, for the rest of the modulus. `n0` is −modulus^-1 mod 2^58.
#[inline(never)]
fn reduce_block(columns: &mut [u128], modulus: &Block, n0: u64) -> Block {
    let [m0, m1, m2, m3, m4, m5, m6, m7, m8] = *modulus;
    let (mut quotients, mut carry) = ([0; BLOCK], 0);
    let mut rest = columns;
    for quotient in &mut quotients {
        let Some([t0, t1, t2, t3, t4, t5, t6, t7, t8]) = rest.first_chunk_mut() else { return quotients };
        let column = t0.wrapping_add(carry);
        *quotient = low(column).wrapping_mul(n0) & MASK;
        carry = column.wrapping_add(product(*quotient, m0)) >> BITS;
        *t1 = t1.wrapping_add(product(*quotient, m1));
        *t2 = t2.wrapping_add(product(*quotient, m2));
        *t3 = t3.wrapping_add(product(*quotient, m3));
        *t4 = t4.wrapping_add(product(*quotient, m4));
        *t5 = t5.wrapping_add(product(*quotient, m5));
        *t6 = t6.wrapping_add(product(*quotient, m6));
        *t7 = t7.wrapping_add(product(*quotient, m7));
        *t8 = t8.wrapping_add(product(*quotient, m8));
        rest = core::mem::take(&mut rest).get_mut(1..).unwrap_or_default();
    }
    if let Some(next) = rest.first_mut() {
        *next = next.wrapping_add(carry);
    }
    quotients
}

/// columns = a · b
pub(super) fn multiply(a: &[Block], b: &[Block], columns: &mut [Columns]) {
    columns.as_flattened_mut().fill(0);
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            multiply_block(a, b, from_block(columns, i.wrapping_add(j)));
        }
    }
}

/// columns = a². The products of different blocks are taken once, with one of them doubled: limbs have room for that.
pub(super) fn square(a: &[Block], columns: &mut [Columns]) {
    for (block, columns) in a.iter().zip(&mut *columns) {
        *columns = square_block(block);
    }
    let (mut rest, mut from) = (a, columns.as_flattened_mut());
    while let Some((block, others)) = rest.split_first() {
        let doubled = double(block);
        let mut to = from.get_mut(BLOCK..).unwrap_or_default();
        for other in others {
            multiply_block(&doubled, other, to);
            to = core::mem::take(&mut to).get_mut(BLOCK..).unwrap_or_default();
        }
        rest = others;
        from = core::mem::take(&mut from).get_mut(2 * BLOCK..).unwrap_or_default();
    }
}

#[inline(always)]
const fn double(a: &Block) -> Block {
    let [a0, a1, a2, a3, a4, a5, a6, a7, a8] = *a;
    [a0 << 1, a1 << 1, a2 << 1, a3 << 1, a4 << 1, a5 << 1, a6 << 1, a7 << 1, a8 << 1]
}

/// out = columns / R mod modulus, by Montgomery's reduction; R is 2^58 for each limb of the modulus. The answer is below columns / R + modulus.
pub(super) fn reduce(columns: &mut [Columns], modulus: &[Block], n0: u64, out: &mut [Block]) {
    let Some((lowest, others)) = modulus.split_first() else { return };
    for i in 0..modulus.len() {
        let quotients = reduce_block(from_block(columns, i), lowest, n0);
        for (j, block) in (1..).zip(others) {
            multiply_block(&quotients, block, from_block(columns, i.wrapping_add(j)));
        }
    }
    let mut carry = 0;
    for (block, columns) in out.iter_mut().zip(from_block(columns, modulus.len()).as_chunks().0) {
        (*block, carry) = carry_block(columns, carry);
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

/// The columns from a block on.
#[inline(always)]
fn from_block(columns: &mut [Columns], block: usize) -> &mut [u128] {
    columns.as_flattened_mut().get_mut(block.wrapping_mul(BLOCK)..).unwrap_or_default()
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
    use crate::crypto::num;
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
                let modulus = blocks(&modulus);
                let n0 = num::invert_word(modulus[0][0]).wrapping_neg();
                // R · x / R is x, when R · x is given as columns.
                let x = blocks(&numbers(limbs)[0]);
                let mut columns = vec![[0; 2 * BLOCK]; limbs / 8];
                for (column, &limb) in columns.as_flattened_mut().iter_mut().skip(x.len() * BLOCK).zip(x.as_flattened())
                {
                    *column = limb.into();
                }
                let mut out = vec![[7; BLOCK]; x.len()];
                reduce(&mut columns, &modulus, n0, &mut out);
                assert_eq!(out, x);
            }
        }
    }
}
