//! What the firmware attests: the manifests of its services, and reports whose REPORT_DATA binds them (SVSM
//! specification, attestation protocol).

use alloc::vec::Vec;

use snp::guid::Guid;
use snp::message::MessageError;
use snp::message::certificates::CertificateTable;
use snp::report::Report;
use snp::svsm::attestation::{VTPM_SERVICE, services_manifest};

/// Manifest version of the vTPM service: a marshalled TPMT_PUBLIC of the RSA-2048 EK.
pub const VTPM_MANIFEST_VERSION: u32 = 0;
/// Room for the host's certificates, in bytes.
const CERTIFICATES_MAX: usize = 4 * 4096;
/// Room for a services manifest around one service's, in bytes.
const SERVICES_OVERHEAD: usize = 64;

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

/// The services that a guest can have attested. There is one: the vTPM, by its endorsement key.
pub struct Services {
    endorsement_key: Vec<u8>,
    all: Vec<u8>,
}

impl Services {
    /// The services of a firmware whose vTPM has this endorsement key (marshalled TPMT_PUBLIC). `None` if there is no
    /// memory for the manifest.
    #[must_use]
    pub fn new(endorsement_key: &[u8]) -> Option<Services> {
        let mut all = alloc::vec![0; endorsement_key.len().checked_add(SERVICES_OVERHEAD)?];
        let len = services_manifest(&[(VTPM_SERVICE, endorsement_key)], &mut all)?;
        all.truncate(len);
        Some(Services { endorsement_key: endorsement_key.to_vec(), all })
    }

    /// The manifest of all services.
    #[must_use]
    pub fn all(&self) -> &[u8] {
        &self.all
    }

    /// The manifest of one service in this version, `None` if there is no such.
    #[must_use]
    pub fn single(&self, service: Guid, version: u32) -> Option<&[u8]> {
        let known = service == VTPM_SERVICE && version == VTPM_MANIFEST_VERSION;
        known.then_some(self.endorsement_key.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_in_one_version() {
        let services = Services::new(b"public area").unwrap();
        assert_eq!(services.single(VTPM_SERVICE, 0), Some(b"public area".as_slice()));
        assert_eq!(services.single(VTPM_SERVICE, 1), None);
        assert_eq!(services.single(Guid::ZERO, 0), None);
    }

    #[test]
    fn the_services_manifest_holds_the_key_after_head_and_entry() {
        let services = Services::new(b"public area").unwrap();
        let all = services.all();
        assert_eq!(all.len(), 24 + 24 + 11);
        assert_eq!(all[16..24], [59, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(all[24..40], VTPM_SERVICE.to_bytes());
        assert_eq!(all[40..48], [48, 0, 0, 0, 11, 0, 0, 0]);
        assert_eq!(&all[48..], b"public area");
    }

    #[test]
    fn a_malformed_certificate_table_is_no_table() {
        let mut certificates = Certificates::new();
        certificates.fill(|out| out.fill(0xff));
        assert_eq!(certificates.bytes(), b"");
    }
}
