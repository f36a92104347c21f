//! Constant-time arithmetic on big numbers: slices of 64-bit limbs, least significant first. Loops run over lengths,
//! never over values.

use super::Error;

/// Copies `from` to the end of `to` and zeros before it: a big-endian number in a wider field.
///
/// # Errors
/// `Error::Length` if `from` is longer than `to`.
pub(crate) fn pad_left(from: &[u8], to: &mut [u8]) -> Result<(), Error> {
    let zeros = to.len().checked_sub(from.len()).ok_or(Error::Length)?;
    let (head, tail) = to.split_at_mut_checked(zeros).ok_or(Error::Length)?;
    head.fill(0);
    tail.copy_from_slice(from);
    Ok(())
}

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

/// carry·2^(64·len) + a, reduced once by m, in the same form: a value below 2m becomes one below m. The carry.
pub(super) fn reduce_once(a: &mut [u64], carry: u64, m: &[u64]) -> u64 {
    let smaller = less(a, m) & is_zero_word(carry);
    let borrow = sub_masked(a, m, mask(smaller ^ 1));
    carry.wrapping_sub(borrow)
}

/// acc += a · b for one limb b; the carry out of `acc`, which is as long as `a`.
pub(super) fn mul_add_row(acc: &mut [u64], a: &[u64], b: u64) -> u64 {
    let mut carry = 0;
    for (acc, &a) in acc.iter_mut().zip(a) {
        (*acc, carry) = a.carrying_mul_add(b, *acc, carry);
    }
    carry
}

/// a = 2a mod m, for a below m: numbers of blocks of eight limbs. No loops over these, for what is optimised for size
/// has them as they are written.
pub(super) fn double_modulo(a: &mut [[u64; 8]], m: &[[u64; 8]]) {
    let (mut carry, mut borrow) = (0, false);
    for (a, m) in a.iter_mut().zip(m) {
        carry = double_block(a, carry);
        let mut difference = *a;
        borrow = sub_block(&mut difference, m, u64::MAX, borrow);
    }
    let mask = mask(u64::from(!borrow) | carry);
    a.iter_mut().zip(m).fold(false, |borrow, (a, m)| sub_block(a, m, mask, borrow));
}

#[inline(always)]
const fn double_block(a: &mut [u64; 8], carry: u64) -> u64 {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
    let (low, high) = (a0 << 1 | carry, a7 << 1 | a6 >> 63);
    let (b1, b2, b3) = (a1 << 1 | a0 >> 63, a2 << 1 | a1 >> 63, a3 << 1 | a2 >> 63);
    let (b4, b5, b6) = (a4 << 1 | a3 >> 63, a5 << 1 | a4 >> 63, a6 << 1 | a5 >> 63);
    *a = [low, b1, b2, b3, b4, b5, b6, high];
    a7 >> 63
}

/// a −= b & mask + borrow; the new borrow.
#[inline(always)]
fn sub_block(a: &mut [u64; 8], b: &[u64; 8], mask: u64, borrow: bool) -> bool {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *b;
    let (d0, borrow) = a0.borrowing_sub(b0 & mask, borrow);
    let (d1, borrow) = a1.borrowing_sub(b1 & mask, borrow);
    let (d2, borrow) = a2.borrowing_sub(b2 & mask, borrow);
    let (d3, borrow) = a3.borrowing_sub(b3 & mask, borrow);
    let (d4, borrow) = a4.borrowing_sub(b4 & mask, borrow);
    let (d5, borrow) = a5.borrowing_sub(b5 & mask, borrow);
    let (d6, borrow) = a6.borrowing_sub(b6 & mask, borrow);
    let (d7, borrow) = a7.borrowing_sub(b7 & mask, borrow);
    *a = [d0, d1, d2, d3, d4, d5, d6, d7];
    borrow
}

/// out = a · b; `out` has the limbs of both.
pub(super) fn multiply(a: &[u64], b: &[u64], out: &mut [u64]) {
    out.fill(0);
    for (i, &b) in b.iter().enumerate() {
        let (out, end) = out.get_mut(i..).and_then(|out| out.split_at_mut_checked(a.len())).unwrap_or_default();
        let carry = mul_add_row(out, a, b);
        end.iter_mut().take(1).for_each(|end| *end = carry);
    }
}

/// out = a mod m, a bit at a time: for values whose size does not matter much. `out` is as long as `m`, whose top bit
/// may be clear.
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

/// What `a`, a number of 8, 16, 24 or 32 limbs, lacks to a multiple of an odd public `modulus` below 2^54: from 1 up to
/// twice the modulus. By Montgomery's reduction, of a limb at a time: nothing is divided whose size is secret.
pub(super) fn lack(a: &[u64], modulus: u64) -> u64 {
    let n0 = invert_word(modulus).wrapping_neg();
    // (2^64 · high + low) / 2^64
    let reduce = |low: u64, high: u64| low.wrapping_mul(n0).carrying_mul(modulus, low).1.wrapping_add(high);
    // a / 2^(64 · limbs), at most the modulus + 1
    let scaled = a.iter().fold(0, |rest: u64, &limb| {
        let (low, carry) = rest.overflowing_add(limb);
        reduce(low, carry.into())
    });
    // 2^(64 · (limbs + 1)), by squares that are divided by 2^64: exponents are 64 more than what is doubled, which
    // starts with four to six.
    let bits = a.len().wrapping_mul(64);
    let squares = bits.checked_ilog2().unwrap_or(0).saturating_sub(2);
    let one = u64::MAX.checked_rem(modulus).unwrap_or(0).wrapping_add(1);
    let scale = (0..squares).fold(one << (bits.wrapping_shr(squares) & 7), |scale, _| {
        let (low, high) = scale.carrying_mul(scale, 0);
        reduce(low, high)
    });
    let (low, high) = scaled.carrying_mul(scale, 0);
    modulus.wrapping_mul(2).wrapping_sub(reduce(low, high))
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
