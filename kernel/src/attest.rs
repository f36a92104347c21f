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
/// Room for an endorsement key's public area, in bytes.
pub const EK_MAX: usize = 512;
/// Room for a manifest: of all services, with a head and entries around those of the services.
pub const MANIFEST_MAX: usize = EK_MAX + MANIFEST_SIZE + 24 + 2 * 24;

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

/// What a guest can have attested: the vTPM, by its endorsement key, and how the host can interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attested {
    /// All services.
    All,
    /// The vTPM alone, by manifest version 0.
    Vtpm,
    /// How the host can interrupt, by manifest version 0.
    Interrupts,
}

impl Attested {
    /// One service by a version of its manifest; `None` if there is no such.
    #[must_use]
    pub fn single(service: Guid, version: u32) -> Option<Attested> {
        match (service, version) {
            (VTPM_SERVICE, VTPM_MANIFEST_VERSION) => Some(Attested::Vtpm),
            (INTERRUPTS_SERVICE, INTERRUPTS_MANIFEST_VERSION) => Some(Attested::Interrupts),
            _ => None,
        }
    }

    /// Whether the endorsement key is part of it.
    #[must_use]
    pub const fn has_key(self) -> bool {
        matches!(self, Attested::All | Attested::Vtpm)
    }

    /// The manifest of a firmware whose vTPM has this endorsement key, and that can be interrupted so.
    #[must_use]
    pub fn manifest(self, key: &EndorsementKey, interrupts: Interrupts) -> Option<heapless::Vec<u8, MANIFEST_MAX>> {
        let interrupts = interrupts.manifest();
        match self {
            Attested::Vtpm => heapless::Vec::from_slice(key).ok(),
            Attested::Interrupts => heapless::Vec::from_slice(&interrupts).ok(),
            Attested::All => {
                let mut manifest = heapless::Vec::from_array([0; MANIFEST_MAX]);
                let each = [(VTPM_SERVICE, &key[..]), (INTERRUPTS_SERVICE, &interrupts[..])];
                let len = services_manifest(&each, &mut manifest)?;
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
    fn two_services_in_one_version_each() {
        let vtpm = Attested::single(VTPM_SERVICE, 0).unwrap();
        assert_eq!(vtpm.manifest(&key(), Interrupts::Restricted).unwrap(), b"public area");
        assert_eq!(Attested::single(VTPM_SERVICE, 1), None);
        let interrupts = Attested::single(INTERRUPTS_SERVICE, 0).unwrap();
        let manifest = interrupts.manifest(&EndorsementKey::new(), Interrupts::Restricted).unwrap();
        assert_eq!((&manifest[..], interrupts.has_key()), (&[1, 0, 0, 0, 0, 0, 0, 0][..], false));
        assert_eq!(Attested::single(INTERRUPTS_SERVICE, 1), None);
        assert_eq!(Attested::single(Guid::ZERO, 0), None);
    }

    #[test]
    fn the_services_manifest_holds_key_and_interrupts_after_head_and_entries() {
        let all = Attested::All.manifest(&key(), Interrupts::Any).unwrap();
        assert_eq!(all.len(), 24 + 2 * 24 + 11 + 8);
        assert_eq!(all[16..24], [91, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(all[24..40], VTPM_SERVICE.to_bytes());
        assert_eq!(all[40..48], [72, 0, 0, 0, 11, 0, 0, 0]);
        assert_eq!(all[48..64], INTERRUPTS_SERVICE.to_bytes());
        assert_eq!(all[64..72], [83, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!((&all[72..83], &all[83..]), (&b"public area"[..], &[0; 8][..]));
    }

    #[test]
    fn the_longest_key_fits_into_both_manifests() {
        let longest = EndorsementKey::from_array([7; EK_MAX]);
        let fits = |attested: Attested| attested.manifest(&longest, Interrupts::Any).is_some();
        assert!(fits(Attested::Vtpm) && fits(Attested::All));
    }

    #[test]
    fn a_malformed_certificate_table_is_no_table() {
        let mut certificates = Certificates::new();
        certificates.fill(|out| out.fill(0xff));
        assert_eq!(certificates.bytes(), b"");
    }
}
