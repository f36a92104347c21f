//! Constant-time arithmetic on big numbers: slices of 64-bit limbs, least significant first. Loops run over lengths, never over values.

use super::Error;

/// The bytes of a limb.
pub(super) const LIMB: usize = 8;

/// Reads a big-endian number.
///
/// # Errors
/// `Error::Length` if it has more bytes than `out`.
pub(super) fn from_be_bytes(bytes: &[u8], out: &mut [u64]) -> Result<(), Error> {
    if bytes.len() > out.len() * LIMB {
        return Err(Error::Length);
    }
    out.fill(0);
    for (limb, chunk) in out.iter_mut().zip(bytes.rchunks(LIMB)) {
        *limb = chunk.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    }
    Ok(())
}

/// Writes the low bytes of `limbs` as a big-endian number that fills `out`.
pub(super) fn to_be_bytes(limbs: &[u64], out: &mut [u8]) {
    for (chunk, limb) in out.rchunks_mut(LIMB).zip(limbs) {
        let bytes = limb.to_be_bytes();
        chunk.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
    }
}

/// All ones if `bit` is 1, zero if it is 0.
pub(super) const fn mask(bit: u64) -> u64 {
    core::hint::black_box(bit).wrapping_neg()
}

/// 1 if `value` is zero, else 0.
pub(super) const fn is_zero_word(value: u64) -> u64 {
    ((value | value.wrapping_neg()) >> 63) ^ 1
}

/// 1 if the numbers are equal, else 0.
pub(super) fn equal(a: &[u64], b: &[u64]) -> u64 {
    is_zero_word(a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)))
}

/// 1 if a < b, else 0.
pub(super) fn less(a: &[u64], b: &[u64]) -> u64 {
    u64::from(a.iter().zip(b).fold(false, |borrow, (&a, &b)| a.borrowing_sub(b, borrow).1))
}

/// a += b & mask; the carry.
pub(super) fn add_masked(a: &mut [u64], b: &[u64], mask: u64) -> u64 {
    u64::from(a.iter_mut().zip(b).fold(false, |carry, (a, b)| {
        let (sum, carry) = a.carrying_add(b & mask, carry);
        *a = sum;
        carry
    }))
}

/// a −= b & mask; the borrow.
pub(super) fn sub_masked(a: &mut [u64], b: &[u64], mask: u64) -> u64 {
    u64::from(a.iter_mut().zip(b).fold(false, |borrow, (a, b)| {
        let (difference, borrow) = a.borrowing_sub(b & mask, borrow);
        *a = difference;
        borrow
    }))
}

/// a += word; the carry.
pub(super) fn add_word(a: &mut [u64], word: u64) -> u64 {
    a.iter_mut().fold(word, |carry, a| {
        let (sum, carry) = a.overflowing_add(carry);
        *a = sum;
        u64::from(carry)
    })
}

/// a = 2a where mask is all ones; the carry.
pub(super) fn double_masked(a: &mut [u64], mask: u64) -> u64 {
    let mut carry = false;
    for a in a {
        (*a, carry) = a.carrying_add(*a & mask, carry);
    }
    u64::from(carry)
}

/// a = 2a + bit; the carry.
pub(super) fn double(a: &mut [u64], bit: u64) -> u64 {
    a.iter_mut().fold(bit, |carry, a| {
        let top = *a >> 63;
        *a = *a << 1 | carry;
        top
    })
}

/// a /= 2
pub(super) fn halve(a: &mut [u64]) {
    a.iter_mut().rev().fold(0, |carry, a| {
        let low = *a << 63;
        *a = *a >> 1 | carry;
        low
    });
}

/// a = b, for numbers of equal length.
pub(super) fn copy(a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = *b);
}

/// a = b where mask is all ones.
pub(super) fn select(a: &mut [u64], b: &[u64], mask: u64) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= (*a ^ b) & mask);
}

/// a = carry·2^(64·len) + a, reduced once by m: a value below 2m becomes one below m.
pub(super) fn reduce_once(a: &mut [u64], carry: u64, m: &[u64]) {
    let smaller = less(a, m) & (carry ^ 1);
    sub_masked(a, m, mask(smaller ^ 1));
}

/// acc += a · b for one limb b; the carry out of `acc`, which is as long as `a`.
pub(super) fn mul_add_row(acc: &mut [u64], a: &[u64], b: u64) -> u64 {
    let mut carry = 0;
    for (acc, &a) in acc.iter_mut().zip(a) {
        (*acc, carry) = a.carrying_mul_add(b, *acc, carry);
    }
    carry
}

/// Limbs that are multiplied at a time: the numbers of RSA have multiples of it.
pub(super) const BLOCK: usize = 8;

/// A block of limbs.
pub(super) type Block = [u64; BLOCK];

/// acc = (acc + a · b + add) / 2^64; the limb that the division loses. The products first, then two chains of additions: compiled,
/// each is a row of add-with-carry, and all of `acc` stays in registers from one limb b to the next. No loops: the firmware is optimised
/// for size, and would not unroll them.
#[inline(always)]
pub(super) fn mul_add_shift(acc: &mut Block, a: &Block, b: u64, add: u64) -> u64 {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
    let (l0, h0) = a0.carrying_mul(b, add);
    let (l1, h1) = a1.carrying_mul(b, 0);
    let (l2, h2) = a2.carrying_mul(b, 0);
    let (l3, h3) = a3.carrying_mul(b, 0);
    let (l4, h4) = a4.carrying_mul(b, 0);
    let (l5, h5) = a5.carrying_mul(b, 0);
    let (l6, h6) = a6.carrying_mul(b, 0);
    let (l7, h7) = a7.carrying_mul(b, 0);
    let mut low = [l0, l1, l2, l3, l4, l5, l6, l7];
    let carry = add_block(&mut low, acc, false);
    let [lost, l1, l2, l3, l4, l5, l6, l7] = low;
    *acc = [l1, l2, l3, l4, l5, l6, l7, u64::from(carry)];
    add_block(acc, &[h0, h1, h2, h3, h4, h5, h6, h7], false);
    lost
}

/// acc += b + carry; the new carry.
#[inline(always)]
pub(super) fn add_block(acc: &mut Block, b: &Block, carry: bool) -> bool {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *acc;
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *b;
    let (s0, carry) = a0.carrying_add(b0, carry);
    let (s1, carry) = a1.carrying_add(b1, carry);
    let (s2, carry) = a2.carrying_add(b2, carry);
    let (s3, carry) = a3.carrying_add(b3, carry);
    let (s4, carry) = a4.carrying_add(b4, carry);
    let (s5, carry) = a5.carrying_add(b5, carry);
    let (s6, carry) = a6.carrying_add(b6, carry);
    let (s7, carry) = a7.carrying_add(b7, carry);
    *acc = [s0, s1, s2, s3, s4, s5, s6, s7];
    carry
}

/// acc −= b & mask + borrow; the new borrow.
#[inline(always)]
fn sub_block(acc: &mut Block, b: &Block, mask: u64, borrow: bool) -> bool {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *acc;
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *b;
    let (d0, borrow) = a0.borrowing_sub(b0 & mask, borrow);
    let (d1, borrow) = a1.borrowing_sub(b1 & mask, borrow);
    let (d2, borrow) = a2.borrowing_sub(b2 & mask, borrow);
    let (d3, borrow) = a3.borrowing_sub(b3 & mask, borrow);
    let (d4, borrow) = a4.borrowing_sub(b4 & mask, borrow);
    let (d5, borrow) = a5.borrowing_sub(b5 & mask, borrow);
    let (d6, borrow) = a6.borrowing_sub(b6 & mask, borrow);
    let (d7, borrow) = a7.borrowing_sub(b7 & mask, borrow);
    *acc = [d0, d1, d2, d3, d4, d5, d6, d7];
    borrow
}

/// [`reduce_once`] for numbers of whole blocks.
pub(super) fn reduce_blocks_once(a: &mut [u64], carry: u64, m: &[u64]) {
    let (a, m) = (a.as_chunks_mut().0, m.as_chunks().0);
    let borrow = a.iter().zip(m).fold(false, |borrow, (a, m)| {
        let mut difference = *a;
        sub_block(&mut difference, m, u64::MAX, borrow)
    });
    let mask = mask(u64::from(!borrow) | carry);
    a.iter_mut().zip(m).fold(false, |borrow, (a, m)| sub_block(a, m, mask, borrow));
}

/// out = a · b; `a` and `b` have whole blocks, `out` the limbs of both.
pub(super) fn multiply(a: &[u64], b: &[u64], out: &mut [u64]) {
    out.fill(0);
    for (i, a) in a.as_chunks().0.iter().enumerate() {
        let mut acc = [0; BLOCK];
        let (out, end) = out.get_mut(i * BLOCK..).and_then(|out| out.split_at_mut_checked(b.len())).unwrap_or_default();
        for (out, &b) in out.iter_mut().zip(b) {
            *out = mul_add_shift(&mut acc, a, b, *out);
        }
        end.iter_mut().zip(acc).for_each(|(end, acc)| *end = acc);
    }
}

/// out = a²; `a` has whole blocks, `out` twice its limbs. The products of different blocks are taken once and doubled.
pub(super) fn square(a: &[u64], out: &mut [u64]) {
    out.fill(0);
    let (mut rest, mut to) = (a, out.get_mut(BLOCK..).unwrap_or_default());
    while let Some((block, others)) = rest.split_first_chunk() {
        let mut acc = [0; BLOCK];
        let (low, high) = to.split_at_mut_checked(others.len()).unwrap_or_default();
        for (low, &limb) in low.iter_mut().zip(others) {
            *low = mul_add_shift(&mut acc, block, limb, *low);
        }
        high.iter_mut().zip(acc).for_each(|(high, acc)| *high = acc);
        rest = others;
        to = core::mem::take(&mut to).get_mut(2 * BLOCK..).unwrap_or_default();
    }
    double(out, 0);
    let mut carry = false;
    for (block, [low, high]) in a.as_chunks().0.iter().zip(out.as_chunks_mut::<BLOCK>().0.as_chunks_mut().0) {
        let mut acc = [u64::from(carry), 0, 0, 0, 0, 0, 0, 0];
        for (low, &limb) in low.iter_mut().zip(block) {
            *low = mul_add_shift(&mut acc, block, limb, *low);
        }
        carry = add_block(high, &acc, false);
    }
}

/// out = a mod m, a bit at a time: for values whose size does not matter much. `out` is as long as `m`, whose top bit may be clear.
pub(super) fn reduce_slowly(a: &[u64], m: &[u64], out: &mut [u64]) {
    out.fill(0);
    for &limb in a.iter().rev() {
        for bit in (0..64).rev() {
            let carry = double(out, limb >> bit & 1);
            reduce_once(out, carry, m);
        }
    }
}

/// The inverse of an odd word modulo 2^64, by Newton's iteration.
pub(super) const fn invert_word(odd: u64) -> u64 {
    // Right modulo 2^3, then twice as many bits each time.
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// a := a / divisor, low limbs only: exact if the divisor (odd) divides a and the quotient has the limbs of `out`.
pub(super) fn divide_exact(a: &mut [u64], divisor: &[u64], out: &mut [u64]) {
    let inverse = invert_word(divisor.first().copied().unwrap_or(1));
    for i in 0..out.len() {
        let rest = a.get_mut(i..).unwrap_or_default();
        let digit = rest.first().copied().unwrap_or(0).wrapping_mul(inverse);
        if let Some(to) = out.get_mut(i) {
            *to = digit;
        }
        sub_row(rest, divisor, digit);
    }
}

/// acc −= a · b for one limb b, modulo 2^(64·len of acc).
fn sub_row(acc: &mut [u64], a: &[u64], b: u64) {
    let mut high = 0;
    let mut borrow = false;
    for (i, acc) in acc.iter_mut().enumerate() {
        let (low, next) = a.get(i).copied().unwrap_or(0).carrying_mul(b, high);
        (*acc, borrow) = acc.borrowing_sub(low, borrow);
        high = next;
    }
}

/// Reduction modulo a public word of at most 32 bits, without a division whose time depends on the value.
#[derive(Clone, Copy)]
pub(super) struct SmallModulus {
    modulus: u64,
    /// ⌊2^64 / modulus⌋
    reciprocal: u64,
}

impl SmallModulus {
    /// `modulus` is odd and at least 3.
    pub(super) const fn new(modulus: u32) -> Self {
        let modulus = if modulus < 3 { 3 } else { modulus as u64 };
        Self { modulus, reciprocal: u64::MAX / modulus }
    }

    /// value mod modulus
    pub(super) fn reduce(self, value: u64) -> u64 {
        // The quotient is right or 1 too small: value · (2^64 / modulus − reciprocal) < 2^64.
        let quotient = value.carrying_mul(self.reciprocal, 0).1;
        let (rest, borrow) = value.wrapping_sub(quotient.wrapping_mul(self.modulus)).overflowing_sub(self.modulus);
        rest.wrapping_add(self.modulus & mask(borrow as u64))
    }

    /// a mod modulus
    pub(super) fn reduce_number(self, a: &[u64]) -> u64 {
        a.iter().rev().fold(0, |rest, &limb| {
            let rest = self.reduce(rest << 32 | limb >> 32);
            self.reduce(rest << 32 | limb & 0xFFFF_FFFF)
        })
    }

    /// base^exponent mod modulus; the exponent is public.
    pub(super) fn power(self, base: u64, exponent: u64) -> u64 {
        (0..64).rev().fold(1, |value, bit| {
            let square = self.reduce(value.wrapping_mul(value));
            if exponent >> bit & 1 == 1 { self.reduce(square.wrapping_mul(base)) } else { square }
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{vec, vec::Vec};

    /// Limbs that look random, and limbs full of ones: carries from everywhere.
    fn numbers(limbs: usize) -> [Vec<u64>; 3] {
        let mixed = (1_u64..).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29));
        let sparse = (0_u64..).map(|i| if i % 3 == 0 { u64::MAX } else { 0 });
        [mixed.take(limbs).collect(), sparse.take(limbs).collect(), vec![u64::MAX; limbs]]
    }

    #[test]
    fn a_square_is_a_product() {
        for limbs in [8, 16, 24, 32, 64] {
            for a in numbers(limbs) {
                let (mut square_of, mut product) = (vec![1; 2 * limbs], vec![2; 2 * limbs]);
                square(&a, &mut square_of);
                multiply(&a, &a, &mut product);
                assert_eq!(square_of, product, "{limbs} limbs");
            }
        }
    }

    #[test]
    fn blocks_are_reduced_as_limbs_are() {
        for limbs in [8, 16, 64] {
            let [mixed, sparse, ones] = numbers(limbs);
            for (a, m) in [(&mixed, &sparse), (&sparse, &mixed), (&ones, &mixed), (&mixed, &mixed), (&mixed, &ones)] {
                for carry in [0, 1] {
                    let (mut by_limb, mut by_block) = (a.clone(), a.clone());
                    reduce_once(&mut by_limb, carry, m);
                    reduce_blocks_once(&mut by_block, carry, m);
                    assert_eq!(by_limb, by_block);
                }
            }
        }
    }
}
