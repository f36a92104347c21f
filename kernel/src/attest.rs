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
/// Room for an endorsement key's public area, in bytes.
pub const EK_MAX: usize = 512;
/// Room for a manifest: of all services, with a head and an entry around the one service's.
pub const MANIFEST_MAX: usize = EK_MAX + 64;

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

/// A marshalled TPMT_PUBLIC of an endorsement key.
pub type EndorsementKey = heapless::Vec<u8, EK_MAX>;

/// What a guest can have attested. There is one service: the vTPM, by its endorsement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attested {
    /// All services.
    All,
    /// The vTPM alone, by manifest version 0.
    Vtpm,
}

impl Attested {
    /// One service by a version of its manifest; `None` if there is no such.
    #[must_use]
    pub fn single(service: Guid, version: u32) -> Option<Attested> {
        (service == VTPM_SERVICE && version == VTPM_MANIFEST_VERSION).then_some(Attested::Vtpm)
    }

    /// The manifest of a firmware whose vTPM has this endorsement key.
    #[must_use]
    pub fn manifest(self, key: &EndorsementKey) -> Option<heapless::Vec<u8, MANIFEST_MAX>> {
        match self {
            Attested::Vtpm => heapless::Vec::from_slice(key).ok(),
            Attested::All => {
                let mut manifest = heapless::Vec::from_array([0; MANIFEST_MAX]);
                let len = services_manifest(&[(VTPM_SERVICE, key)], &mut manifest)?;
                manifest.truncate(len);
                Some(manifest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EndorsementKey {
        EndorsementKey::from_slice(b"public area").unwrap()
    }

    #[test]
    fn one_service_in_one_version() {
        let vtpm = Attested::single(VTPM_SERVICE, 0).unwrap();
        assert_eq!(vtpm.manifest(&key()).unwrap(), b"public area");
        assert_eq!(Attested::single(VTPM_SERVICE, 1), None);
        assert_eq!(Attested::single(Guid::ZERO, 0), None);
    }

    #[test]
    fn the_services_manifest_holds_the_key_after_head_and_entry() {
        let all = Attested::All.manifest(&key()).unwrap();
        assert_eq!(all.len(), 24 + 24 + 11);
        assert_eq!(all[16..24], [59, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(all[24..40], VTPM_SERVICE.to_bytes());
        assert_eq!(all[40..48], [48, 0, 0, 0, 11, 0, 0, 0]);
        assert_eq!(&all[48..], b"public area");
    }

    #[test]
    fn the_longest_key_fits_into_both_manifests() {
        let longest = EndorsementKey::from_array([7; EK_MAX]);
        assert!(Attested::Vtpm.manifest(&longest).is_some() && Attested::All.manifest(&longest).is_some());
    }

    #[test]
    fn a_malformed_certificate_table_is_no_table() {
        let mut certificates = Certificates::new();
        certificates.fill(|out| out.fill(0xff));
        assert_eq!(certificates.bytes(), b"");
    }
}
