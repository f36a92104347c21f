//! Public exponents.

/// The exponent that a template means by 0.
pub const DEFAULT_EXPONENT: u32 = 65537;

/// Whether `exponent` may be a public exponent: 0 for 65537, or an odd prime.
#[must_use]
pub fn is_exponent(exponent: u32) -> bool {
    exponent == 0 || exponent > 2 && is_prime_word(exponent)
}

/// Whether a word is prime, by trial division: for public exponents.
pub(super) fn is_prime_word(word: u32) -> bool {
    let word = u64::from(word);
    let no_divisor = |divisor: u64| !word.is_multiple_of(divisor);
    word == 2
        || word > 2
            && no_divisor(2)
            && (3..1_u64 << 16).step_by(2).take_while(|d| d.wrapping_mul(*d) <= word).all(no_divisor)
}
