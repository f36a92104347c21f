//! Constants in hexadecimal.

/// The bytes of a hexadecimal constant; a wrong one does not compile.
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
pub(crate) const fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    assert!(digits.len() == 2 * N);
    let (mut bytes, mut i) = ([0; N], 0);
    while i < N {
        bytes[i] = digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}

#[expect(clippy::panic, reason = "at compile time: what would panic does not compile")]
const fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("not a hexadecimal digit"),
    }
}
