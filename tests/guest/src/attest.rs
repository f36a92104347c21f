//! `SVSM_ATTEST_SERVICES` and `SVSM_ATTEST_SINGLE_SERVICE`.

use crate::ghcb::HostError;
use crate::page::{Area, Page};
use crate::svsm::{self, Registers, Taken, protocol};

/// Bytes of the manifest's and of the certificates' area: 16 KiB, which is what Linux gives.
pub(crate) const AREA: usize = 16 * 1024;

/// The operation structure.
pub(crate) static OPERATION: Page = Page::new();
/// The nonce.
pub(crate) static NONCE: Page = Page::new();
/// The attestation report.
pub(crate) static REPORT: Page = Page::new();
/// The services manifest.
pub(crate) static MANIFEST: Area<AREA> = Area::new();
/// The host's certificate table.
pub(crate) static CERTIFICATES: Area<AREA> = Area::new();

/// Offsets in the operation structure.
pub(crate) mod field {
    pub(crate) const REPORT_GPA: usize = 0;
    pub(crate) const REPORT_SIZE: usize = 8;
    pub(crate) const NONCE_GPA: usize = 0x10;
    pub(crate) const NONCE_SIZE: usize = 0x18;
    pub(crate) const MANIFEST_GPA: usize = 0x20;
    pub(crate) const MANIFEST_SIZE: usize = 0x28;
    pub(crate) const CERTIFICATES_GPA: usize = 0x30;
    pub(crate) const CERTIFICATES_SIZE: usize = 0x38;
    pub(crate) const GUID: usize = 0x40;
    pub(crate) const MANIFEST_VERSION: usize = 0x50;
}

/// Fills the operation structure with areas of ours.
pub(crate) fn request(guid: [u8; 16], version: u32, nonce: &[u8]) {
    NONCE.copy_in(0, nonce);
    OPERATION.fill(0);
    OPERATION.write(field::REPORT_GPA, REPORT.gpa());
    OPERATION.write(field::REPORT_SIZE, 4096);
    OPERATION.write(field::NONCE_GPA, NONCE.gpa());
    OPERATION.write(field::NONCE_SIZE, nonce.len() as u64);
    OPERATION.write(field::MANIFEST_GPA, MANIFEST.gpa());
    OPERATION.write(field::MANIFEST_SIZE, AREA as u64);
    OPERATION.write(field::CERTIFICATES_GPA, CERTIFICATES.gpa());
    OPERATION.write(field::CERTIFICATES_SIZE, AREA as u64);
    OPERATION.copy_in(field::GUID, &guid);
    OPERATION.write(field::MANIFEST_VERSION, u64::from(version));
}

/// Makes call `number` with what [`request`] has filled; RAX is the result, RCX, RDX, R8 the sizes of manifest,
/// certificates and report.
pub(crate) fn send(number: u8) -> Result<(Taken, Registers), HostError> {
    let mut registers = Registers::call(protocol::ATTESTATION, u64::from(number), OPERATION.gpa());
    let taken = svsm::call(&mut registers)?;
    Ok((taken, registers))
}
