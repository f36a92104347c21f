//! The header of a guest message, 96 bytes (SNP firmware ABI, table 99).

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 0x60;
/// Most payload that fits the page with its header.
pub const MAX_PAYLOAD: usize = crate::PAGE_SIZE - HEADER_SIZE;
/// AEAD algorithm AES-256-GCM.
pub const AES_256_GCM: u8 = 1;
const HEADER_VERSION: u8 = 1;
const MESSAGE_VERSION: u8 = 1;

/// Kinds of requests. The answer's type is the request's plus 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RequestType {
    /// MSG_CPUID_REQ.
    Cpuid = 1,
    /// MSG_KEY_REQ.
    Key = 3,
    /// MSG_REPORT_REQ.
    Report = 5,
    /// MSG_EXPORT_REQ.
    Export = 7,
    /// MSG_IMPORT_REQ.
    Import = 9,
    /// MSG_ABSORB_REQ.
    Absorb = 11,
    /// MSG_VMRK_REQ.
    Vmrk = 13,
    /// MSG_ABSORB_NOMA_REQ.
    AbsorbNoMa = 15,
    /// MSG_TSC_INFO_REQ.
    TscInfo = 17,
}

impl RequestType {
    /// Type of the answer.
    #[must_use]
    pub const fn answer(self) -> u8 {
        self as u8 + 1
    }
}

/// Message header. Bytes 0x30 to 0x5F are authenticated together with the payload; the rest is checked field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// AUTHTAG; the first 16 bytes are used.
    pub auth_tag: [u8; 16],
    /// The rest of AUTHTAG, zero.
    pub auth_tag_rest: [u8; 16],
    /// MSG_SEQNO; the IV.
    pub seqno: U64,
    /// Zero.
    pub reserved_28: [u8; 8],
    /// ALGO.
    pub algo: u8,
    /// HDR_VERSION.
    pub hdr_version: u8,
    /// HDR_SIZE.
    pub hdr_size: U16,
    /// MSG_TYPE.
    pub msg_type: u8,
    /// MSG_VERSION.
    pub msg_version: u8,
    /// MSG_SIZE: bytes of payload.
    pub msg_size: U16,
    /// Zero.
    pub reserved_38: U32,
    /// MSG_VMPCK: which key.
    pub msg_vmpck: u8,
    /// Zero.
    pub reserved_3d: [u8; 35],
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE);
const _: () = assert!(offset_of!(Header, seqno) == 0x20);
const _: () = assert!(offset_of!(Header, algo) == AAD_START);
const _: () = assert!(offset_of!(Header, hdr_size) == 0x32);
const _: () = assert!(offset_of!(Header, msg_type) == 0x34);
const _: () = assert!(offset_of!(Header, msg_size) == 0x36);
const _: () = assert!(offset_of!(Header, msg_vmpck) == 0x3C);

/// First byte of the header that GCM authenticates.
pub const AAD_START: usize = 0x30;

impl Header {
    /// The header of a message, tag still zero.
    #[must_use]
    pub fn new(msg_type: u8, seqno: u64, vmpck: u8, msg_size: u16) -> Self {
        Self {
            auth_tag: [0; 16],
            auth_tag_rest: [0; 16],
            seqno: U64::new(seqno),
            reserved_28: [0; 8],
            algo: AES_256_GCM,
            hdr_version: HEADER_VERSION,
            #[expect(clippy::cast_possible_truncation, reason = "0x60")]
            hdr_size: U16::new(HEADER_SIZE as u16),
            msg_type,
            msg_version: MESSAGE_VERSION,
            msg_size: U16::new(msg_size),
            reserved_38: U32::ZERO,
            msg_vmpck: vmpck,
            reserved_3d: [0; 35],
        }
    }

    /// Whether this is, but for tag and size, exactly the header of the message expected; this includes all reserved
    /// bytes.
    #[must_use]
    pub fn is_expected(&self, msg_type: u8, seqno: u64, vmpck: u8) -> bool {
        let mut expected = Self::new(msg_type, seqno, vmpck, self.msg_size.get());
        expected.auth_tag = self.auth_tag;
        *self == expected && usize::from(self.msg_size.get()) <= MAX_PAYLOAD
    }

    /// The additional authenticated data: bytes 0x30 to 0x5F.
    #[must_use]
    pub fn aad(&self) -> &[u8] {
        self.as_bytes().get(AAD_START..).unwrap_or_default()
    }
}
