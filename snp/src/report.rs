//! The attestation report (SNP firmware ABI, table 23) and its signature.

use core::mem::{offset_of, size_of};
use p384::ecdsa::signature::hazmat::PrehashVerifier;
use p384::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha384};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a report of any version.
pub const REPORT_SIZE: usize = 0x4A0;
/// Bytes that the signature covers: everything before it.
pub const SIGNED_SIZE: usize = 0x2A0;
/// SIGNATURE_ALGO: ECDSA on P-384 with SHA-384.
pub const ECDSA_P384_SHA384: u32 = 1;

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

/// Order of the bytes in a TCB_VERSION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbLayout {
    /// Milan, Genoa: boot loader, TEE, four reserved, SNP firmware, microcode.
    Milan,
    /// Turin, Venice: FMC, boot loader, TEE, SNP firmware, three reserved, microcode.
    Turin,
}

/// The parts of a TCB_VERSION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub struct TcbParts {
    /// Turin and later only.
    pub fmc: Option<u8>,
    pub boot_loader: u8,
    pub tee: u8,
    pub snp: u8,
    pub microcode: u8,
}

impl TcbVersion {
    /// The parts, read as the product lays them out.
    #[must_use]
    pub const fn parts(self, layout: TcbLayout) -> TcbParts {
        let [a, b, c, d, _, _, g, h] = self.0;
        match layout {
            TcbLayout::Milan => TcbParts { fmc: None, boot_loader: a, tee: b, snp: g, microcode: h },
            TcbLayout::Turin => TcbParts { fmc: Some(a), boot_loader: b, tee: c, snp: d, microcode: h },
        }
    }
}

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

/// Why a report's signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// SIGNATURE_ALGO is not ECDSA P-384 with SHA-384.
    Algorithm(u32),
    /// The key is not a point of P-384.
    Key,
    /// R or S is longer than 48 bytes or out of range, or reserved bytes of the signature are not zero.
    Form,
    /// It is not the signature of these bytes by this key.
    Wrong,
}

crate::error_words! { SignatureError {
    Self::Algorithm(algorithm) => "algorithm {algorithm} is not ECDSA P-384 with SHA-384",
    Self::Key => "the key is no point of P-384",
    Self::Form => "it is malformed",
    Self::Wrong => "it is not genuine",
} }

impl Report {
    /// The report in the first bytes of `bytes`, `None` if they are too few.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::read_from_prefix(bytes).ok().map(|(report, _)| report)
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        self.as_bytes().get(..SIGNED_SIZE).unwrap_or_default()
    }

    /// SIGNING_KEY: 0 VCEK, 1 VLEK, 7 none.
    #[must_use]
    pub const fn signing_key(&self) -> u32 {
        self.key_info.get() >> 2 & 7
    }

    /// Verifies the signature with the VCEK (or VLEK), given as an uncompressed SEC 1 point (97 bytes).
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, key: &[u8]) -> Result<(), SignatureError> {
        if self.signature_algo != ECDSA_P384_SHA384 {
            return Err(SignatureError::Algorithm(self.signature_algo.get()));
        }
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| SignatureError::Key)?;
        let signature = self.signature().ok_or(SignatureError::Form)?;
        let digest = Sha384::digest(self.signed_bytes());
        key.verify_prehash(&digest, &signature).map_err(|_| SignatureError::Wrong)
    }

    fn signature(&self) -> Option<Signature> {
        let reserved_zero = self.signature_reserved.iter().all(|byte| *byte == 0);
        let scalars = (scalar(&self.signature_r)?, scalar(&self.signature_s)?);
        Signature::from_scalars(scalars.0, scalars.1).ok().filter(|_| reserved_zero)
    }
}

/// 48 bytes big-endian of 72 bytes little-endian; `None` if the upper 24 are not zero.
fn scalar(little_endian: &[u8; 72]) -> Option<[u8; 48]> {
    let (low, high) = little_endian.split_first_chunk::<48>()?;
    let mut big_endian = *low;
    big_endian.reverse();
    high.iter().all(|byte| *byte == 0).then_some(big_endian)
}
