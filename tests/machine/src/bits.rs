//! Narrowing and little-endian fields, in one place.

/// The low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) const fn lo32(x: u64) -> u32 {
    x as u32
}

/// The low 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
pub(crate) const fn lo16(x: u64) -> u16 {
    x as u16
}

/// The low 8 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
pub(crate) const fn lo8(x: u64) -> u8 {
    x as u8
}

/// A `u64` as an index: this program is 64-bit only.
#[expect(clippy::cast_possible_truncation, reason = "x86-64: usize is 64 bits")]
pub(crate) const fn us(x: u64) -> usize {
    x as usize
}

/// `N` bytes at `offset`, zeros where `bytes` ends.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(from) = bytes.get(offset..) {
        let n = from.len().min(N);
        out[..n].copy_from_slice(&from[..n]);
    }
    out
}

/// Little-endian `u16` at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array(bytes, offset))
}

/// Little-endian `u32` at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

/// Little-endian `u64` at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

/// Writes `value` at `offset` of `bytes`; what lies beyond the end is dropped.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(offset..) {
        let n = to.len().min(value.len());
        to[..n].copy_from_slice(&value[..n]);
    }
}
