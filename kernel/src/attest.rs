//! What the firmware attests: the manifests of its services, and reports whose REPORT_DATA binds them (SVSM
//! specification, attestation protocol).

use alloc::vec::Vec;

use snp::guid::Guid;
use snp::message::MessageError;
use snp::message::certificates::CertificateTable;
use snp::report::Report;
use snp::svsm::attestation::{INTERRUPTS_SERVICE, VTPM_SERVICE, services_manifest};

use crate::interrupts::{Interrupts, MANIFEST_SIZE};

/// Manifest version of the vTPM service: a marshalled TPMT_PUBLIC of the RSA-2048 EK.
pub const VTPM_MANIFEST_VERSION: u32 = 0;
/// Manifest version of the interrupts service: [`Interrupts::manifest`].
pub const INTERRUPTS_MANIFEST_VERSION: u32 = 0;
/// Room for the host's certificates, in bytes.
const CERTIFICATES_MAX: usize = 4 * 4096;
/// Room for a services manifest around those of the services, in bytes.
const SERVICES_OVERHEAD: usize = 128;

/// There is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// The PSP refused, or the host did not deliver a verified answer.
    Message(MessageError),
    /// There is no way to the host.
    NoHost,
}

snp::error_words! { ReportError {
    Self::Message(why) => "{why}",
    Self::NoHost => "there is no way to the host",
} }

/// Where reports come from.
pub trait Reports {
    /// A report of VMPL0 over `report_data`; with `certificates`, the host is also asked for its certificate table.
    fn report(
        &mut self,
        report_data: &[u8; 64],
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError>;
}

/// A private copy of the host's certificate table: hints for a verifier, never evidence.
pub struct Certificates {
    buffer: Vec<u8>,
    used: usize,
}

impl Certificates {
    /// None yet.
    #[must_use]
    pub fn new() -> Certificates {
        Certificates { buffer: Vec::new(), used: 0 }
    }

    /// Copies the table in and keeps it if it is well formed.
    pub fn fill(&mut self, copy: impl FnOnce(&mut [u8])) {
        self.buffer = alloc::vec![0; CERTIFICATES_MAX];
        copy(&mut self.buffer);
        self.used = CertificateTable::parse(&self.buffer).map_or(0, |table| table.used());
    }

    /// The table and the certificates, empty if there are none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Certificates::new()
    }
}

/// The services that a guest can have attested: the vTPM, by its endorsement key, and how the host can interrupt.
pub struct Services {
    endorsement_key: Vec<u8>,
    interrupts: [u8; MANIFEST_SIZE],
    all: Vec<u8>,
}

impl Services {
    /// The services of a firmware whose vTPM has this endorsement key (marshalled TPMT_PUBLIC). `None` if there is no
    /// memory for the manifest.
    #[must_use]
    pub fn new(endorsement_key: &[u8], interrupts: Interrupts) -> Option<Services> {
        let interrupts = interrupts.manifest();
        let mut all = alloc::vec![0; endorsement_key.len().checked_add(SERVICES_OVERHEAD)?];
        let each = [(VTPM_SERVICE, endorsement_key), (INTERRUPTS_SERVICE, &interrupts[..])];
        let len = services_manifest(&each, &mut all)?;
        all.truncate(len);
        Some(Services { endorsement_key: endorsement_key.to_vec(), interrupts, all })
    }

    /// The manifest of all services.
    #[must_use]
    pub fn all(&self) -> &[u8] {
        &self.all
    }

    /// The manifest of one service in this version, `None` if there is no such.
    #[must_use]
    pub fn single(&self, service: Guid, version: u32) -> Option<&[u8]> {
        match (service, version) {
            (VTPM_SERVICE, VTPM_MANIFEST_VERSION) => Some(&self.endorsement_key),
            (INTERRUPTS_SERVICE, INTERRUPTS_MANIFEST_VERSION) => Some(&self.interrupts),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_services_in_one_version_each() {
        let services = Services::new(b"public area", Interrupts::Restricted).unwrap();
        assert_eq!(services.single(VTPM_SERVICE, 0), Some(b"public area".as_slice()));
        assert_eq!(services.single(VTPM_SERVICE, 1), None);
        assert_eq!(services.single(INTERRUPTS_SERVICE, 0), Some(&[1, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(services.single(INTERRUPTS_SERVICE, 1), None);
        assert_eq!(services.single(Guid::ZERO, 0), None);
    }

    #[test]
    fn the_services_manifest_holds_key_and_interrupts_after_head_and_entries() {
        let services = Services::new(b"public area", Interrupts::Any).unwrap();
        let all = services.all();
        assert_eq!(all.len(), 24 + 2 * 24 + 11 + 8);
        assert_eq!(all[16..24], [91, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(all[24..40], VTPM_SERVICE.to_bytes());
        assert_eq!(all[40..48], [72, 0, 0, 0, 11, 0, 0, 0]);
        assert_eq!(all[48..64], INTERRUPTS_SERVICE.to_bytes());
        assert_eq!(all[64..72], [83, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!((&all[72..83], &all[83..]), (&b"public area"[..], &[0; 8][..]));
    }

    #[test]
    fn a_malformed_certificate_table_is_no_table() {
        let mut certificates = Certificates::new();
        certificates.fill(|out| out.fill(0xff));
        assert_eq!(certificates.bytes(), b"");
    }
}
