//! What the firmware attests: the manifests of its services, and reports whose REPORT_DATA binds them (SVSM
//! specification, attestation protocol).

use alloc::vec::Vec;

use snp::guid::Guid;
use snp::message::MessageError;
use snp::message::certificates::CertificateTable;
use snp::report::Report;
use snp::svsm::attestation::{INTERRUPTS_SERVICE, VTPM_SERVICE, WEAKNESSES_SERVICE, services_manifest};

use crate::interrupts::Interrupts;
use crate::state::Kept;

/// Manifest version of the vTPM service: a marshalled TPMT_PUBLIC of the RSA-2048 EK.
pub const VTPM_MANIFEST_VERSION: u32 = 0;
/// Another: u32 1, u32 number of keys, and the keys, each a TPM2B_PUBLIC; all big-endian.
pub const VTPM_KEYS_MANIFEST_VERSION: u32 = 1;
/// Another, of a vTPM whose state is kept: u32 2, then as version 1, and behind the keys what is attested of the state
/// ([`Kept::to_bytes`]).
pub const VTPM_STATE_MANIFEST_VERSION: u32 = 2;
/// Manifest version of the interrupts service: [`Interrupts::manifest`].
pub const INTERRUPTS_MANIFEST_VERSION: u32 = 0;
/// Manifest version of the service that names weaknesses: [`crate::policy::manifest`].
pub const WEAKNESSES_MANIFEST_VERSION: u32 = 0;
/// Room for the host's certificates, in bytes.
const CERTIFICATES_MAX: usize = 4 * 4096;
/// Room for an endorsement key's public area, in bytes.
pub const EK_MAX: usize = 512;

/// There is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// The PSP refused, or the host did not deliver a verified answer.
    Message(MessageError),
    /// There is no way to the host.
    NoHost,
    /// It says something else than the first report of this boot.
    Differs(Differs),
}

snp::error_words! { ReportError {
    Self::Message(why) => "{why}",
    Self::NoHost => "there is no way to the host",
    Self::Differs(what) => "{what}",
} }

/// A field that is not as in the first report of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// Another chip.
    ChipId,
    /// Another launch digest.
    Measurement,
    /// Another guest policy.
    Policy,
    /// A level of the TCB is lower.
    ReportedTcb,
}

snp::error_words! { Differs {
    Self::ChipId => "CHIP_ID is another than in this boot's first report",
    Self::Measurement => "MEASUREMENT is another than in this boot's first report",
    Self::Policy => "POLICY is another than in this boot's first report",
    Self::ReportedTcb => "REPORTED_TCB is lower than in this boot's first report",
} }

/// Where reports come from.
pub trait Reports {
    /// A report of VMPL0 over `report_data`; with `certificates`, the host is also asked for its certificate table.
    fn report(
        &mut self,
        report_data: &[u8; 64],
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError>;

    /// The same by the chip's own key (VCEK), also where the host's provider has loaded one of its own.
    fn report_of_chip(
        &mut self,
        report_data: &[u8; 64],
        certificates: &mut Certificates,
    ) -> Result<Report, ReportError> {
        self.report(report_data, Some(certificates))
    }
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
    /// The vTPM alone, by manifest version 1.
    VtpmKeys,
    /// The vTPM alone, by manifest version 2.
    VtpmState,
    /// How the host can interrupt, by manifest version 0.
    Interrupts,
    /// What the platform does not meet of the firmware's policy, by manifest version 0.
    Weaknesses,
}

impl Attested {
    /// One service by a version of its manifest; `None` if there is no such.
    #[must_use]
    pub fn single(service: Guid, version: u32) -> Option<Attested> {
        match (service, version) {
            (VTPM_SERVICE, VTPM_MANIFEST_VERSION) => Some(Attested::Vtpm),
            (VTPM_SERVICE, VTPM_KEYS_MANIFEST_VERSION) => Some(Attested::VtpmKeys),
            (VTPM_SERVICE, VTPM_STATE_MANIFEST_VERSION) => Some(Attested::VtpmState),
            (INTERRUPTS_SERVICE, INTERRUPTS_MANIFEST_VERSION) => Some(Attested::Interrupts),
            (WEAKNESSES_SERVICE, WEAKNESSES_MANIFEST_VERSION) => Some(Attested::Weaknesses),
            _ => None,
        }
    }

    /// Which keys are part of it.
    #[must_use]
    pub const fn keys(self) -> Keys {
        match self {
            Attested::Interrupts | Attested::Weaknesses => Keys::None,
            Attested::Vtpm => Keys::Endorsement,
            Attested::VtpmKeys | Attested::VtpmState | Attested::All => Keys::All,
        }
    }

    /// The manifest of a firmware whose vTPM has these keys and this state, if that is kept, and that can be
    /// interrupted so. The first key is the endorsement key. The vTPM stands twice among all services, first by its
    /// manifest of version 0, and where its state is kept once more, last, by that of version 2. `weaknesses` is
    /// [`crate::policy::manifest`]; a firmware without a policy has none, and does not have that service.
    #[must_use]
    pub fn manifest(
        self,
        keys: &[Vec<u8>],
        interrupts: Interrupts,
        weaknesses: Option<&[u8]>,
        kept: Option<&Kept>,
    ) -> Option<Vec<u8>> {
        let interrupts = interrupts.manifest();
        let endorsement = || keys.first().map(|key| &key[..]);
        match self {
            Attested::Vtpm => endorsement().map(<[u8]>::to_vec),
            Attested::VtpmKeys => keys_manifest(keys),
            Attested::VtpmState => state_manifest(keys, kept?),
            Attested::Interrupts => Some(interrupts.to_vec()),
            Attested::Weaknesses => weaknesses.map(<[u8]>::to_vec),
            Attested::All => {
                let all = keys_manifest(keys)?;
                let state = kept.and_then(|kept| state_manifest(keys, kept));
                let state = state.as_deref().map(|state| (VTPM_SERVICE, state));
                let vtpm = [(VTPM_SERVICE, endorsement()?), (INTERRUPTS_SERVICE, &interrupts), (VTPM_SERVICE, &all)];
                let weaknesses = weaknesses.map(|weaknesses| (WEAKNESSES_SERVICE, weaknesses));
                let each: Vec<(Guid, &[u8])> = vtpm.into_iter().chain(weaknesses).chain(state).collect();
                let mut manifest = alloc::vec![0; 24 + each.iter().map(|(_, one)| 24 + one.len()).sum::<usize>()];
                services_manifest(&each, &mut manifest)?;
                Some(manifest)
            }
        }
    }
}

/// Keys of the vTPM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None.
    None,
    /// The RSA-2048 endorsement key.
    Endorsement,
    /// Endorsement and attestation keys.
    All,
}

/// The manifest of version 2.
fn state_manifest(keys: &[Vec<u8>], kept: &Kept) -> Option<Vec<u8>> {
    let mut manifest = list(VTPM_STATE_MANIFEST_VERSION, keys)?;
    manifest.extend(kept.to_bytes());
    Some(manifest)
}

/// The manifest of version 1.
fn keys_manifest(keys: &[Vec<u8>]) -> Option<Vec<u8>> {
    list(VTPM_KEYS_MANIFEST_VERSION, keys)
}

fn list(version: u32, keys: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut manifest = version.to_be_bytes().to_vec();
    manifest.extend(u32::try_from(keys.len()).ok()?.to_be_bytes());
    for key in keys {
        manifest.extend(u16::try_from(key.len()).ok()?.to_be_bytes());
        manifest.extend(key);
    }
    Some(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [Vec<u8>; 2] {
        [b"public area".to_vec(), b"another".to_vec()]
    }

    #[test]
    fn two_services_one_of_them_in_two_versions() {
        let vtpm = Attested::single(VTPM_SERVICE, 0).unwrap();
        assert_eq!(vtpm.manifest(&keys(), Interrupts::Restricted, None, None).unwrap(), b"public area");
        assert_eq!(vtpm.keys(), Keys::Endorsement);
        let interrupts = Attested::single(INTERRUPTS_SERVICE, 0).unwrap();
        let manifest = interrupts.manifest(&[], Interrupts::Restricted, None, None).unwrap();
        assert_eq!((&manifest[..], interrupts.keys()), (&[1, 0, 0, 0, 0, 0, 0, 0][..], Keys::None));
        assert_eq!(Attested::single(INTERRUPTS_SERVICE, 1), None);
        for version in [3, 0x0100_0000, u32::MAX] {
            assert_eq!(Attested::single(VTPM_SERVICE, version), None);
        }
        assert_eq!(Attested::single(Guid::ZERO, 0), None);
        assert_eq!(Attested::single(Guid::ZERO, 1), None);
    }

    #[test]
    fn version_1_is_a_count_and_the_keys_in_big_endian() {
        let vtpm = Attested::single(VTPM_SERVICE, 1).unwrap();
        let manifest = vtpm.manifest(&keys(), Interrupts::Any, None, None).unwrap();
        let wanted = [&[0, 0, 0, 1, 0, 0, 0, 2, 0, 11][..], b"public area", &[0, 7], b"another"].concat();
        assert_eq!((manifest, vtpm.keys()), (wanted, Keys::All));
    }

    #[test]
    fn the_services_manifest_holds_keys_and_interrupts_after_head_and_entries() {
        let all = Attested::All.manifest(&keys(), Interrupts::Any, None, None).unwrap();
        assert_eq!(all.len(), 24 + 3 * 24 + 11 + 8 + 30);
        assert_eq!(all[16..24], [145, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(all[24..40], VTPM_SERVICE.to_bytes());
        assert_eq!(all[40..48], [96, 0, 0, 0, 11, 0, 0, 0]);
        assert_eq!(all[48..64], INTERRUPTS_SERVICE.to_bytes());
        assert_eq!(all[64..72], [107, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(all[72..88], VTPM_SERVICE.to_bytes());
        assert_eq!(all[88..96], [115, 0, 0, 0, 30, 0, 0, 0]);
        assert_eq!((&all[96..107], &all[107..115]), (&b"public area"[..], &[0; 8][..]));
        assert_eq!(Some(&all[115..]), Attested::VtpmKeys.manifest(&keys(), Interrupts::Any, None, None).as_deref());
    }

    #[test]
    fn weaknesses_are_a_service_of_a_firmware_that_has_a_policy() {
        let single = Attested::single(WEAKNESSES_SERVICE, 0).unwrap();
        assert_eq!((Attested::single(WEAKNESSES_SERVICE, 1), single.keys()), (None, Keys::None));
        assert_eq!(single.manifest(&[], Interrupts::Any, None, None), None);
        assert_eq!(single.manifest(&[], Interrupts::Any, Some(b"named"), None).as_deref(), Some(&b"named"[..]));
        let without = Attested::All.manifest(&keys(), Interrupts::Any, None, None).unwrap();
        let all = Attested::All.manifest(&keys(), Interrupts::Any, Some(b"named"), None).unwrap();
        assert_eq!((all.len(), all[20]), (without.len() + 24 + 5, 4));
        assert_eq!(all[96..112], WEAKNESSES_SERVICE.to_bytes());
        assert!(all.ends_with(b"named"));
    }

    /// Version 2 is version 1 with the state behind it, and stands behind all others among all services.
    #[test]
    fn version_2_has_the_state_behind_the_keys() {
        let kept = Kept {
            identity: [1; 32],
            epoch: 0x0203_0405_0607_0809,
            boot_nonce: [2; 32],
            digest: [3; 32],
            flags: 5,
            origin: [4; 32],
        };
        let vtpm = Attested::single(VTPM_SERVICE, 2).unwrap();
        let manifest = vtpm.manifest(&keys(), Interrupts::Any, None, Some(&kept)).unwrap();
        let first = Attested::VtpmKeys.manifest(&keys(), Interrupts::Any, None, Some(&kept)).unwrap();
        let (list, state) = manifest.split_at(first.len());
        assert_eq!((&list[..4], &list[4..]), (&[0, 0, 0, 2][..], &first[4..]));
        let wanted = [&[1; 32][..], &[2, 3, 4, 5, 6, 7, 8, 9], &[2; 32], &[3; 32], &[0, 0, 0, 5], &[4; 32]].concat();
        assert_eq!((state, vtpm.keys()), (&wanted[..], Keys::All));
        assert!(vtpm.manifest(&keys(), Interrupts::Any, None, None).is_none(), "nothing is kept");
        let all = Attested::All.manifest(&keys(), Interrupts::Any, None, Some(&kept)).unwrap();
        assert_eq!((all[20], &all[all.len() - manifest.len()..]), (4, &manifest[..]));
    }

    #[test]
    fn without_a_key_there_is_no_manifest_that_names_one() {
        assert!(Attested::Vtpm.manifest(&[], Interrupts::Any, None, None).is_none());
        assert!(Attested::All.manifest(&[], Interrupts::Any, None, None).is_none());
    }

    #[test]
    fn a_malformed_certificate_table_is_no_table() {
        let mut certificates = Certificates::new();
        certificates.fill(|out| out.fill(0xff));
        assert_eq!(certificates.bytes(), b"");
    }
}
