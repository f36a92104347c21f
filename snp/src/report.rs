//! The attestation report (SNP firmware ABI, table 23). A verifier elsewhere judges it; this crate only reads it.

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a report of any version.
pub const REPORT_SIZE: usize = 0x4A0;

/// Versions of a firmware component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names say it all")]
pub struct FirmwareVersion {
    pub build: u8,
    pub minor: u8,
    pub major: u8,
    pub reserved: u8,
}

/// TCB_VERSION: security patch levels of the components, a byte each; which byte is which depends on the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct TcbVersion(pub [u8; 8]);

/// The report. Fields are named as in the specification.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub struct Report {
    pub version: U32,
    pub guest_svn: U32,
    pub policy: U64,
    pub family_id: [u8; 16],
    pub image_id: [u8; 16],
    pub vmpl: U32,
    pub signature_algo: U32,
    pub current_tcb: TcbVersion,
    pub platform_info: U64,
    /// Bit 0 AUTHOR_KEY_EN, 1 MASK_CHIP_KEY, 4:2 SIGNING_KEY (0 VCEK, 1 VLEK, 7 none).
    pub key_info: U32,
    pub reserved_04c: U32,
    pub report_data: [u8; 64],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub report_id: [u8; 32],
    pub report_id_ma: [u8; 32],
    pub reported_tcb: TcbVersion,
    /// Version 3 and later.
    pub cpuid_family: u8,
    /// Version 3 and later.
    pub cpuid_model: u8,
    /// Version 3 and later.
    pub cpuid_stepping: u8,
    pub reserved_18b: [u8; 21],
    pub chip_id: [u8; 64],
    pub committed_tcb: TcbVersion,
    pub current_version: FirmwareVersion,
    pub committed_version: FirmwareVersion,
    pub launch_tcb: TcbVersion,
    /// Version 5 and later.
    pub launch_mit_vector: U64,
    /// Version 5 and later.
    pub current_mit_vector: U64,
    pub reserved_208: [u8; 152],
    /// R, 72 bytes little-endian.
    pub signature_r: [u8; 72],
    /// S, 72 bytes little-endian.
    pub signature_s: [u8; 72],
    pub signature_reserved: [u8; 368],
}

macro_rules! report_offsets {
    ($($field:ident $offset:literal),* $(,)?) => {
        $(const _: () = assert!(offset_of!(Report, $field) == $offset);)*
    };
}

const _: () = assert!(size_of::<Report>() == REPORT_SIZE);
report_offsets! {
    version 0x000, guest_svn 0x004, policy 0x008, family_id 0x010, image_id 0x020, vmpl 0x030, signature_algo 0x034,
    current_tcb 0x038, platform_info 0x040, key_info 0x048, report_data 0x050, measurement 0x090, host_data 0x0C0,
    id_key_digest 0x0E0, author_key_digest 0x110, report_id 0x140, report_id_ma 0x160, reported_tcb 0x180,
    cpuid_family 0x188, reserved_18b 0x18B, chip_id 0x1A0, committed_tcb 0x1E0, current_version 0x1E8,
    committed_version 0x1EC, launch_tcb 0x1F0, launch_mit_vector 0x1F8, current_mit_vector 0x200, signature_r 0x2A0,
    signature_s 0x2E8,
}

impl Report {
    /// The report in the first bytes of `bytes`, `None` if they are too few.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::read_from_prefix(bytes).ok().map(|(report, _)| report)
    }
}
