//! GUIDs in their two encodings: mixed-endian in SVSM structures, in the order of the text (RFC 4122) in GHCB
//! certificate tables.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID as its 16 bytes stand in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The zero GUID, which ends a certificate table.
    pub const ZERO: Self = Self([0; 16]);

    /// The GUID that is written `aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee`, mixed-endian: the first three groups
    /// little-endian, the rest in order. `d` holds the last two groups.
    #[must_use]
    pub const fn new(a: u32, b: u16, c: u16, d: u64) -> Self {
        let [a0, a1, a2, a3] = a.to_le_bytes();
        let [b0, b1] = b.to_le_bytes();
        let [c0, c1] = c.to_le_bytes();
        let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7])
    }

    /// The GUID whose text is these 32 hexadecimal digits, in their order (RFC 4122).
    #[must_use]
    pub const fn rfc4122(text: u128) -> Self {
        Self(text.to_be_bytes())
    }

    /// The GUID in these bytes of a structure.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes for a structure.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_mixed_endian() {
        let vtpm = Guid::new(0xc476_f1eb, 0x0123, 0x45a5, 0x9641_b4e7_dde5_bfe3);
        assert_eq!(
            vtpm.to_bytes(),
            [0xeb, 0xf1, 0x76, 0xc4, 0x23, 0x01, 0xa5, 0x45, 0x96, 0x41, 0xb4, 0xe7, 0xdd, 0xe5, 0xbf, 0xe3]
        );
    }

    #[test]
    fn rfc_4122_keeps_the_order_of_the_text() {
        let vcek = Guid::rfc4122(0x63da758d_e664_4564_adc5_f4b93be8accd).to_bytes();
        assert_eq!((vcek[0], vcek[4], vcek[6], vcek[15]), (0x63, 0xE6, 0x45, 0xCD));
    }
}
