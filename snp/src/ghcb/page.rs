//! Layout of the GHCB page (GHCB specification, 2.6).

/// A field of the save area; the value is its offset in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Field {
    Xss = 0x140,
    Rax = 0x1F8,
    Rcx = 0x308,
    Rdx = 0x310,
    Rbx = 0x318,
    SwExitCode = 0x390,
    SwExitInfo1 = 0x398,
    SwExitInfo2 = 0x3A0,
    SwScratch = 0x3A8,
    Xcr0 = 0x3E8,
}

impl Field {
    /// Bytes from the start of the page.
    #[must_use]
    pub const fn offset(self) -> usize {
        self as usize
    }

    /// The field's bit in VALID_BITMAP: one for each 8 bytes of the save area.
    #[must_use]
    pub const fn valid_bit(self) -> u128 {
        1 << (self.offset() / 8)
    }
}

/// VALID_BITMAP, 16 bytes.
pub const VALID_BITMAP: usize = 0x3F0;
/// The part that the host may answer in: from RAX to the end of VALID_BITMAP.
pub const ANSWER_START: usize = Field::Rax.offset();
/// End of the save area.
pub const ANSWER_END: usize = 0x400;
/// Shared buffer.
pub const BUFFER: usize = 0x800;
/// Bytes of the shared buffer.
pub const BUFFER_SIZE: usize = 0x7F0;
/// Protocol version, u16.
pub const PROTOCOL_VERSION: usize = 0xFFA;
/// Usage, u32; 0 is the layout described here.
pub const USAGE: usize = 0xFFC;
/// The one version that an SNP guest can use.
pub const VERSION: u16 = 2;

const _: () = assert!(VALID_BITMAP + 16 == ANSWER_END);
const _: () = assert!(BUFFER + BUFFER_SIZE == 0xFF0);
const _: () = assert!(Field::Xcr0.offset() / 8 < 128);

#[cfg(test)]
mod tests {
    use super::*;

    /// facts: "Bitmap bit = offset/8".
    #[test]
    fn valid_bits_are_the_offsets_by_eight() {
        for (field, bit) in [
            (Field::Rax, 63),
            (Field::Rcx, 97),
            (Field::Rdx, 98),
            (Field::Rbx, 99),
            (Field::SwExitCode, 114),
            (Field::SwExitInfo1, 115),
            (Field::SwExitInfo2, 116),
            (Field::SwScratch, 117),
            (Field::Xcr0, 125),
            (Field::Xss, 40),
        ] {
            assert_eq!(field.valid_bit(), 1 << bit);
        }
    }
}
