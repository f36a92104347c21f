//! Splitting of words: the only place where bits are dropped on purpose.

/// Bits 31:0.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

/// Bits 63:32.
pub(crate) const fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

/// Bits 7:0 of the value shifted right by `shift`.
#[expect(clippy::cast_possible_truncation, reason = "one byte is what is asked for")]
pub(crate) const fn byte_at(value: u64, shift: u32) -> u8 {
    (value >> shift) as u8
}

/// `high` and `low` as one word.
pub(crate) const fn join(high: u32, low: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

/// Bits 15:0 of the value shifted right by `shift`.
#[expect(clippy::cast_possible_truncation, reason = "16 bits are what is asked for")]
pub(crate) const fn word_at(value: u64, shift: u32) -> u16 {
    (value >> shift) as u16
}
