//! Attestation protocol (protocol 1).

use core::mem::{offset_of, size_of};
use sha2::{Digest, Sha512};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ResultCode;
use crate::guid::Guid;

/// Call numbers.
pub mod call {
    /// SVSM_ATTEST_SERVICES: RCX = GPA of [`super::AttestServices`].
    pub const SERVICES: u32 = 0;
    /// SVSM_ATTEST_SINGLE_SERVICE: RCX = GPA of [`super::AttestSingleService`].
    pub const SINGLE_SERVICE: u32 = 1;
}

/// Head of a services manifest.
pub const SERVICES_MANIFEST: Guid = Guid::new(0x6384_9ebb, 0x3d92, 0x4670, 0xa1ff_58f9_c94b_87bb);
/// The vTPM service.
pub const VTPM_SERVICE: Guid = Guid::new(0xc476_f1eb, 0x0123, 0x45a5, 0x9641_b4e7_dde5_bfe3);
/// How the host can interrupt the firmware and the guest: a service of this project's own.
pub const INTERRUPTS_SERVICE: Guid = Guid::new(0xa7ce_f41f, 0x46a5, 0x4de3, 0xa77a_ccf6_bfca_be58);
/// What the platform does not meet of what the firmware demands: a service of this project's own.
pub const WEAKNESSES_SERVICE: Guid = Guid::new(0xa93e_328a, 0xf313, 0x4f12, 0x99e6_3780_cb08_aad6);

/// Bytes of a nonce, neither more nor less: REPORT_DATA is the hash of nonce and manifest one after the other, so that
/// with nonces of two lengths one REPORT_DATA could stand for two manifests. Linux' configfs-tsm takes 64 bytes and no
/// others.
pub const NONCE_SIZE: usize = 64;

/// The attestation operation, 0x40 bytes, as the guest wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub struct AttestServices {
    pub report_gpa: U64,
    pub report_size: U32,
    pub reserved_0c: U32,
    pub nonce_gpa: U64,
    pub nonce_size: U16,
    pub reserved_1a: [u8; 6],
    pub manifest_gpa: U64,
    pub manifest_size: U32,
    pub reserved_2c: U32,
    /// Certificate buffer; size 0 if none is wanted.
    pub certificates_gpa: U64,
    pub certificates_size: U32,
    pub reserved_3c: U32,
}

const _: () = assert!(size_of::<AttestServices>() == 0x40);
const _: () = assert!(offset_of!(AttestServices, report_size) == 0x08);
const _: () = assert!(offset_of!(AttestServices, nonce_gpa) == 0x10);
const _: () = assert!(offset_of!(AttestServices, nonce_size) == 0x18);
const _: () = assert!(offset_of!(AttestServices, manifest_gpa) == 0x20);
const _: () = assert!(offset_of!(AttestServices, manifest_size) == 0x28);
const _: () = assert!(offset_of!(AttestServices, certificates_gpa) == 0x30);
const _: () = assert!(offset_of!(AttestServices, certificates_size) == 0x38);

/// The operation for one service, 0x58 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub struct AttestSingleService {
    pub common: AttestServices,
    pub service: Guid,
    pub manifest_version: U32,
    pub reserved_54: U32,
}

const _: () = assert!(size_of::<AttestSingleService>() == 0x58);
const _: () = assert!(offset_of!(AttestSingleService, service) == 0x40);
const _: () = assert!(offset_of!(AttestSingleService, manifest_version) == 0x50);

impl AttestServices {
    /// Checks what can be checked without knowing the guest's memory: reserved bytes, alignment, nonce.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: reserved bytes not zero; a report, manifest or certificate buffer that is not page aligned;
    /// a nonce that is not of [`NONCE_SIZE`] or crosses a page.
    pub fn check(&self) -> Result<(), ResultCode> {
        const PAGE: u64 = crate::PAGE_SIZE as u64;
        let reserved =
            self.reserved_0c == 0 && self.reserved_1a == [0; 6] && self.reserved_2c == 0 && self.reserved_3c == 0;
        let buffers = [self.report_gpa, self.manifest_gpa, self.certificates_gpa];
        let wanted = if self.certificates_size == 0 { 2 } else { 3 };
        let aligned = buffers.iter().take(wanted).all(|gpa| gpa.get().is_multiple_of(PAGE));
        let nonce = usize::from(self.nonce_size.get()) == NONCE_SIZE
            && super::within_page(self.nonce_gpa.get(), self.nonce_size.get().into());
        if reserved && aligned && nonce { Ok(()) } else { Err(ResultCode::INVALID_PARAMETER) }
    }
}

impl AttestSingleService {
    /// As [`AttestServices::check`], and the reserved word of this structure. Which service and version exist is for
    /// the kernel.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`.
    pub fn check(&self) -> Result<(), ResultCode> {
        self.common.check()?;
        if self.reserved_54 == 0 { Ok(()) } else { Err(ResultCode::INVALID_PARAMETER) }
    }
}

/// Registers and result of an attestation call, once report, manifest and certificates are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestAnswer {
    /// Bytes of the report (R8).
    pub report: u32,
    /// Bytes of the manifest (RCX).
    pub manifest: u32,
    /// Bytes of the certificates (RDX), 0 if there are none.
    pub certificates: u32,
}

impl AttestAnswer {
    /// `INVALID_PARAMETER` if a buffer of the guest's is too small. The registers are written in either case: Linux
    /// learns the sizes from them.
    pub fn fits(&self, operation: &AttestServices) -> ResultCode {
        let certificates_wanted = operation.certificates_size != 0;
        let fits = self.report <= operation.report_size.get()
            && self.manifest <= operation.manifest_size.get()
            && (!certificates_wanted || self.certificates <= operation.certificates_size.get());
        if fits { ResultCode::SUCCESS } else { ResultCode::INVALID_PARAMETER }
    }
}

/// REPORT_DATA of both calls: SHA-512 of nonce and manifest.
#[must_use]
pub fn report_data(nonce: &[u8; NONCE_SIZE], manifest: &[u8]) -> [u8; 64] {
    Sha512::new().chain_update(nonce).chain_update(manifest).finalize().into()
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ManifestHead {
    guid: Guid,
    size: U32,
    count: U32,
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ManifestEntry {
    guid: Guid,
    offset: U32,
    length: U32,
}

const HEAD: usize = size_of::<ManifestHead>();
const ENTRY: usize = size_of::<ManifestEntry>();
const _: () = assert!(HEAD == 24 && ENTRY == 24);

/// Writes the services manifest to `out`: head, an entry per service, then their manifests one after the other. Returns
/// its length, `None` if `out` is too small.
#[must_use]
pub fn services_manifest(services: &[(Guid, &[u8])], out: &mut [u8]) -> Option<usize> {
    let first = HEAD + ENTRY * services.len();
    let total = services.iter().try_fold(first, |sum, (_, blob)| sum.checked_add(blob.len()))?;
    let head = ManifestHead {
        guid: SERVICES_MANIFEST,
        size: U32::new(u32::try_from(total).ok()?),
        count: U32::new(u32::try_from(services.len()).ok()?),
    };
    put(out, 0, head.as_bytes())?;
    let mut offset = first;
    for (index, (guid, blob)) in services.iter().enumerate() {
        let entry = ManifestEntry {
            guid: *guid,
            offset: U32::new(u32::try_from(offset).ok()?),
            length: U32::new(u32::try_from(blob.len()).ok()?),
        };
        put(out, HEAD + ENTRY * index, entry.as_bytes())?;
        put(out, offset, blob)?;
        offset += blob.len();
    }
    Some(total)
}

fn put(out: &mut [u8], offset: usize, bytes: &[u8]) -> Option<()> {
    out.get_mut(offset..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}
