use std::string::ToString;
use std::vec::Vec;

use ::der::{Decode, Encode};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{DerSignature, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};
use snp::guid::Guid;
use snp::report::Report;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use zerocopy::FromZeros;

use super::*;
use crate::hooks::{Keeper, Platform};
use crate::svsm;
use crate::testing::{Counted, FakeReports, Stopped};

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const HANDLE: u32 = 0x18b;
const PLATFORM: u32 = 0x4000_000c;
const OWNER: u32 = 0x4000_0001;
const RSA_EK: u32 = 0x01c0_0002;
const P256_EK: u32 = 0x01c0_000a;
const P384_EK: u32 = 0x01c0_0016;
const RSA_AK: u32 = 0x01c1_0000;
const P256_AK: u32 = 0x01c1_0002;
/// Those of the manifest, in its order.
const LEAVES: [u32; 5] = [RSA_EK, P256_EK, P384_EK, RSA_AK, P256_AK];
/// Endorsement keys whose certificates are there for who asks: index, template, key usage, algorithm (and curve).
const OTHERS: [(u32, EkTemplate, u16, &str); 8] = [
    (0x01c0_0012, EkTemplate::Rsa2048High, 1 << 2, "1.2.840.113549.1.1.1"),
    (0x01c0_0014, EkTemplate::EccP256High, 1 << 4, "1.2.840.10045.3.1.7"),
    (0x01c0_0018, EkTemplate::EccP521, 1 << 4, "1.3.132.0.35"),
    (0x01c0_001c, EkTemplate::Rsa3072, 1 << 2, "1.2.840.113549.1.1.1"),
    (0x01c0_001e, EkTemplate::Rsa4096, 1 << 2, "1.2.840.113549.1.1.1"),
    (0x0100_0060, EkTemplate::MlKem512, 1 << 2, "2.16.840.1.101.3.4.4.1"),
    (0x0100_0062, EkTemplate::MlKem768, 1 << 2, "2.16.840.1.101.3.4.4.2"),
    (0x0100_0064, EkTemplate::MlKem1024, 1 << 2, "2.16.840.1.101.3.4.4.3"),
];

type Vtpm = Platform<Counted, Stopped>;

/// A TPM and a PSP whose host has these certificates.
struct Scene {
    tpm: Vtpm,
    reports: Mutex<FakeReports>,
}

/// As long as a real one, with its length in it.
fn certificate_like(fill: u8, length: u16) -> Vec<u8> {
    let mut certificate = std::vec![fill; usize::from(length)];
    certificate[..2].copy_from_slice(&[0x30, 0x82]);
    certificate[2..4].copy_from_slice(&(length - 4).to_be_bytes());
    certificate
}

fn table(certificates: &[(Guid, Vec<u8>)]) -> Vec<u8> {
    let (mut head, mut data) = (Vec::new(), Vec::new());
    let start = 24 * (certificates.len() + 1);
    for (guid, certificate) in certificates {
        head.extend(guid.to_bytes());
        head.extend(u32::try_from(start + data.len()).unwrap().to_le_bytes());
        head.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        data.extend(certificate);
    }
    head.resize(start, 0);
    [head, data].concat()
}

impl Scene {
    fn new() -> Scene {
        let mut scene = Scene {
            tpm: Platform::manufacture(Counted(0), Stopped, |_| {}).ok().unwrap(),
            reports: Mutex::new(FakeReports::new()),
        };
        let certificates =
            [(VCEK, certificate_like(1, 1360)), (ASK, certificate_like(2, 1638)), (ARK, certificate_like(3, 1640))];
        scene.reports.get_mut().certificates = table(&certificates);
        assert_eq!(scene.run(STARTUP).ok(), Some(Vec::new()));
        scene
    }

    /// As the vTPM protocol does it: the response's parameters, or the response code.
    fn run(&mut self, command: &[u8]) -> Result<Vec<u8>, u32> {
        svsm::Tpm::prepare(&mut self.tpm, command, &self.reports).unwrap();
        let mut response = [0; 4096];
        let len = svsm::Tpm::execute(&mut self.tpm, command, &mut response);
        match u32::from_be_bytes(response[6..10].try_into().unwrap()) {
            0 => Ok(response[10..len].to_vec()),
            code => Err(code),
        }
    }

    /// A command with one password session of an empty password.
    fn authorized(&mut self, code: u8, handles: &[u32], parameters: &[u8]) -> Result<Vec<u8>, u32> {
        let handles: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
        let size = u8::try_from(10 + handles.len() + 13 + parameters.len()).unwrap();
        let head = [0x80, 2, 0, 0, 0, size, 0, 0, 1, code];
        let session = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        self.run(&[&head[..], &handles, &session, parameters].concat())
    }

    /// TPMS_NV_PUBLIC by TPM2_NV_ReadPublic.
    fn public(&mut self, index: u32) -> Result<Vec<u8>, u32> {
        let head = [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69];
        let answer = self.run(&[&head[..], &index.to_be_bytes()].concat())?;
        let size = usize::from(u16::from_be_bytes(answer[..2].try_into().unwrap()));
        Ok(answer[2..2 + size].to_vec())
    }

    /// What is in an index, by TPM2_NV_ReadPublic and as many TPM2_NV_Read as it takes.
    fn read(&mut self, index: u32) -> Result<Vec<u8>, u32> {
        let public = self.public(index)?;
        let size = u16::from_be_bytes(public[public.len() - 2..].try_into().unwrap());
        let mut contents = Vec::new();
        while contents.len() < size.into() {
            let offset = u16::try_from(contents.len()).unwrap();
            let part = (size - offset).min(1024);
            let parameters = [part.to_be_bytes(), offset.to_be_bytes()].concat();
            let answer = self.authorized(0x4e, &[index, index], &parameters)?;
            contents.extend(&answer[6..6 + usize::from(part)]);
        }
        Ok(contents)
    }

    fn certificate(&mut self, index: u32) -> Certificate {
        // Nothing is behind it: Go's parser wants that.
        Certificate::from_der(&self.read(index).unwrap()).unwrap()
    }

    /// How many reports the PSP was asked for.
    fn asked(&self) -> u32 {
        self.reports.lock().asked
    }
}

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let key = issuer.tbs_certificate().subject_public_key_info();
    let key = VerifyingKey::from_sec1_bytes(key.subject_public_key.raw_bytes()).unwrap();
    let signature = DerSignature::try_from(certificate.signature().raw_bytes()).unwrap();
    key.verify(&certificate.tbs_certificate().to_der().unwrap(), &signature).is_ok()
}

/// What id-pe-cmw holds.
fn wrapper(certificate: &Certificate) -> Vec<u8> {
    let list = certificate.tbs_certificate().extensions().unwrap();
    let found: Vec<_> = list.iter().filter(|one| one.extn_id.to_string() == "1.3.6.1.5.5.7.1.35").collect();
    let [extension] = found[..] else { panic!("{} extensions", found.len()) };
    assert!(!extension.critical);
    ::der::asn1::OctetString::from_der(extension.extn_value.as_bytes()).unwrap().into_bytes().to_vec()
}

/// Each certificate is of the key that the TPM makes by the template, and signed by the issuer; the issuer is what
/// REPORT_DATA is of.
#[test]
fn every_certificate_is_of_its_key_and_leads_to_the_report() {
    let mut scene = Scene::new();
    let issuer = scene.certificate(ISSUER_INDEX);
    assert!(signed_by(&issuer, &issuer));
    let statement = [&STATEMENT[..], &issuer.tbs_certificate().subject_public_key_info().to_der().unwrap()].concat();
    let keys = svsm::Tpm::keys(&mut scene.tpm).unwrap();
    let mut report = Report::new_zeroed();
    report.report_data = Sha512::digest(&statement).into();
    for (index, key) in LEAVES.into_iter().zip(keys) {
        let certificate = scene.certificate(index);
        assert!(signed_by(&certificate, &issuer), "{index:#x}");
        let body = certificate.tbs_certificate();
        assert_eq!(body.issuer(), issuer.tbs_certificate().subject());
        let of_key = body.subject_public_key_info().subject_public_key.raw_bytes();
        match key[1] {
            1 => assert_eq!(of_key[9..265], key[key.len() - 256..], "{index:#x}"),
            _ if index == P384_EK => assert_eq!(of_key[49..], key[key.len() - 48..]),
            _ => assert_eq!(
                (&of_key[1..33], &of_key[33..]),
                (&key[key.len() - 66..key.len() - 34], &key[key.len() - 32..])
            ),
        }
        let wrapper = wrapper(&certificate);
        let has = |octets: &[u8]| wrapper.windows(octets.len()).any(|window| window == octets);
        assert!(has(&statement) && has(report.as_bytes()) && has(&certificate_like(1, 1360)), "{index:#x}");
    }
    assert_eq!(scene.asked(), 1);
    let above = [certificate_like(2, 1638), certificate_like(3, 1640)].concat();
    assert_eq!(scene.read(ABOVE_INDEX), Ok(above));
}

/// TCG EK Credential Profile 2.6, 3.2; RFC 5280.
#[test]
fn certificates_say_what_their_keys_are_for() {
    let mut scene = Scene::new();
    for (index, usage, purpose) in [
        (RSA_EK, 1 << 2, "2.23.133.8.1"),
        (P256_EK, 1 << 4, "2.23.133.8.1"),
        (P384_EK, 1 << 4, "2.23.133.8.1"),
        (RSA_AK, 1 << 0, "2.23.133.8.3"),
        (P256_AK, 1 << 0, "2.23.133.8.3"),
    ] {
        let certificate = scene.certificate(index);
        let body = certificate.tbs_certificate();
        let (critical, found) = body.get_extension::<KeyUsage>().unwrap().unwrap();
        assert!(critical && found.0.bits() == usage, "{index:#x}");
        let (_, purposes) = body.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
        assert_eq!(purposes.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [purpose]);
        let (critical, constraints) = body.get_extension::<BasicConstraints>().unwrap().unwrap();
        assert!(critical && !constraints.ca);
        let (critical, names) = body.get_extension::<SubjectAltName>().unwrap().unwrap();
        assert!(critical && body.subject().is_empty());
        let [x509_cert::ext::pkix::name::GeneralName::DirectoryName(name)] = &names.0[..] else { panic!("{names:?}") };
        let name = name.to_string();
        assert!(name.contains("51554F49") || name.contains("2.23.133.2.1"), "{name}");
        // RFC 5280, 4.1.2.2: positive, and at most 20 octets; another for each.
        assert!(body.serial_number().as_bytes()[0] < 0x80);
    }
    let issuer = scene.certificate(ISSUER_INDEX);
    let (_, constraints) = issuer.tbs_certificate().get_extension::<BasicConstraints>().unwrap().unwrap();
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
}

/// The key is what TPM2_CreatePrimary makes by the template, as the algorithm's own document has it in a certificate.
#[test]
fn every_other_endorsement_key_has_a_certificate_too() {
    let mut scene = Scene::new();
    let issuer = scene.certificate(ISSUER_INDEX);
    for (index, template, usage, algorithm) in OTHERS {
        assert!(template.is_offered(), "{template:?}");
        let certificate = scene.certificate(index);
        assert!(signed_by(&certificate, &issuer), "{index:#x}");
        let mut public = [0; MAX_EK_PUBLIC];
        let len = scene.tpm.with(|tpm, _| tpm.endorsement_key(template, &mut public)).unwrap();
        let body = certificate.tbs_certificate();
        let info = body.subject_public_key_info();
        let of_key = info.subject_public_key.raw_bytes();
        let ends_with = |size: usize| public[..len].ends_with(&of_key[of_key.len() - size..]);
        match info.algorithm.oid.to_string().as_str() {
            // The exponent is behind the modulus.
            "1.2.840.113549.1.1.1" => {
                let modulus = &of_key[..of_key.len() - 5];
                assert!(public[..len].ends_with(&modulus[modulus.len() - 256..]) && of_key.ends_with(&[2, 3, 1, 0, 1]));
                assert_eq!(algorithm, "1.2.840.113549.1.1.1");
            }
            "1.2.840.10045.2.1" => {
                assert!(ends_with((of_key.len() - 1) / 2), "{index:#x}");
                assert_eq!(
                    ::der::referenced::OwnedToRef::owned_to_ref(&info.algorithm).parameters_oid().unwrap().to_string(),
                    algorithm
                );
            }
            own => {
                assert!(ends_with(of_key.len()) && info.algorithm.parameters.is_none(), "{index:#x}");
                assert_eq!(own, algorithm);
            }
        }
        let (_, found) = body.get_extension::<KeyUsage>().unwrap().unwrap();
        assert_eq!(found.0.bits(), usage, "{index:#x}");
        assert!(wrapper(&certificate).windows(96).any(|window| window == STATEMENT));
    }
    assert_eq!(scene.asked(), 1, "one report for all");
}

/// FAPI of tpm2-tss walks the range of EK certificates downwards to that of its own key, and gives up at one whose key
/// is neither RSA nor of a NIST curve (docs/decisions.md): there may be none.
#[test]
fn in_the_range_of_ek_certificates_are_keys_that_its_walkers_know() {
    for known in KNOWN.iter().filter(|known| known.purpose() == Purpose::Endorsement) {
        let is_walked = (0x01c0_0000..=0x01c0_7fff).contains(&known.index);
        let is_known = matches!(known.kind, Kind::Rsa(_) | Kind::P256 | Kind::P384 | Kind::P521);
        assert_eq!(is_walked, is_known, "{:#x}: {:?}", known.index, known.kind);
    }
}

#[test]
fn what_is_written_is_der() {
    let mut scene = Scene::new();
    for index in LEAVES.into_iter().chain([ISSUER_INDEX]) {
        let octets = scene.read(index).unwrap();
        assert_eq!(Certificate::from_der(&octets).unwrap().to_der().unwrap(), octets);
    }
}

/// The template is where clients look for it, and makes the key of the certificate.
#[test]
fn an_attestation_key_has_its_template_beside_its_certificate() {
    let mut scene = Scene::new();
    for (index, template) in [(RSA_AK + 1, AkTemplate::Rsa2048), (P256_AK + 1, AkTemplate::EccP256)] {
        let mut public = [0; MAX_EK_PUBLIC];
        let len = template.marshal(&mut public).unwrap();
        assert_eq!(scene.read(index).unwrap(), public[..len]);
    }
    assert_eq!(scene.asked(), 0, "a template takes no report");
}

/// TPM2_GetCapability lists them, and TPM2_NV_DefineSpace finds them, before anything has been made.
#[test]
fn the_indices_are_there_from_the_beginning() {
    let mut scene = Scene::new();
    let list = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 64];
    let listed = scene.run(&list).unwrap();
    let mut all = [RSA_EK, P256_EK, P384_EK, ISSUER_INDEX, ABOVE_INDEX, RSA_AK, RSA_AK + 1, P256_AK, P256_AK + 1]
        .into_iter()
        .chain(OTHERS.map(|(index, ..)| index))
        .collect::<Vec<u32>>();
    all.sort_unstable();
    let all: Vec<u8> = all.into_iter().flat_map(u32::to_be_bytes).collect();
    assert_eq!(listed[9..], all);
    let public = [&[0, 0, 0, 14][..], &RSA_EK.to_be_bytes(), &[0, 0xb, 0, 2, 0, 2, 0, 0, 0, 1]].concat();
    assert_eq!(scene.authorized(0x2a, &[OWNER], &public), Err(0x14c), "TPM_RC_NV_DEFINED");
    assert_eq!(scene.asked(), 0);
}

/// The guest has all of NV, and they are there when it has used it.
#[test]
fn they_take_nothing_of_the_guests_nv() {
    use tpm_core::profile::NV_MEMORY_SIZE;
    let mut scene = azure();
    for number in 0..u32::try_from(NV_MEMORY_SIZE / 1024).unwrap() {
        let index = (0x0180_0000 + number).to_be_bytes();
        let public = [&[0, 0, 0, 14][..], &index, &[0, 0xb, 0, 2, 0, 2, 0, 0, 4, 0]].concat();
        assert!(scene.authorized(0x2a, &[OWNER], &public).is_ok(), "only {number} KiB are the guest's");
    }
    for index in LEAVES.into_iter().chain([ISSUER_INDEX, 0x01c1_01d0]) {
        scene.certificate(index);
    }
    scene.azure_report();
}

#[test]
fn a_key_is_searched_for_when_its_own_index_is_named() {
    let mut scene = Scene::new();
    scene.certificate(P256_EK);
    let made = |scene: &Scene| scene.tpm.identity().keys.each_ref().map(Option::is_some);
    assert_eq!(made(&scene)[..2], [false, true]);
    scene.certificate(RSA_EK);
    assert_eq!(made(&scene)[..2], [true, true]);
    assert!(!made(&scene)[2..].contains(&true));
}

/// The size that TPM2_NV_ReadPublic names, and so the Name, is that of what is there.
#[test]
fn the_public_area_is_of_the_contents_and_does_not_change_any_more() {
    let mut scene = Scene::new();
    let first = scene.public(P256_EK).unwrap();
    let contents = scene.read(P256_EK).unwrap();
    assert_eq!(first[first.len() - 2..], u16::try_from(contents.len()).unwrap().to_be_bytes());
    scene.certificate(RSA_EK);
    assert_eq!((scene.public(P256_EK), scene.read(P256_EK)), (Ok(first), Ok(contents)));
}

#[test]
fn while_host_or_psp_are_busy_nothing_has_happened() {
    let mut scene = Scene::new();
    let command = [&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69][..], &P256_EK.to_be_bytes()].concat();
    scene.reports.get_mut().broken = Some(ReportError::Message(MessageError::Busy));
    assert_eq!(svsm::Tpm::prepare(&mut scene.tpm, &command, &scene.reports), Err(Busy));
    scene.reports.get_mut().broken = None;
    let working = scene.reports.lock();
    assert_eq!(svsm::Tpm::prepare(&mut scene.tpm, &command, &scene.reports), Err(Busy));
    drop(working);
    scene.certificate(P256_EK);
}

/// Nor is an index there that was never written.
#[test]
fn without_a_report_there_is_no_index() {
    let mut scene = Scene::new();
    scene.reports.get_mut().broken = Some(ReportError::Message(MessageError::Burned));
    assert_eq!(scene.public(P256_EK), Err(HANDLE));
    scene.reports.get_mut().broken = None;
    assert_eq!(scene.public(P256_EK), Err(HANDLE), "for good");
    scene.certificate(P384_EK);
}

/// Part 3, 24.5: other keys, and other certificates; those of a TPM that has been cleared (24.6) are as before.
#[test]
fn another_seed_has_other_certificates_and_the_same_issuer() {
    let mut scene = Scene::new();
    let first = scene.read(P256_EK).unwrap();
    scene.authorized(0x26, &[PLATFORM], &[]).unwrap();
    assert_eq!(scene.read(P256_EK).unwrap(), first);
    scene.authorized(0x24, &[PLATFORM], &[]).unwrap();
    let (second, issuer) = (scene.certificate(P256_EK), scene.certificate(ISSUER_INDEX));
    assert_ne!(second.to_der().unwrap(), first);
    assert!(signed_by(&second, &issuer));
    assert_eq!(scene.asked(), 1);
}

/// Who has the platform may have the room for something else.
#[test]
fn what_the_platform_has_undefined_stays_so() {
    let mut scene = Scene::new();
    let undefine = |scene: &mut Scene| scene.authorized(0x22, &[PLATFORM, P256_EK], &[]);
    undefine(&mut scene).unwrap();
    assert_eq!(scene.public(P256_EK), Err(HANDLE));
    scene.authorized(0x24, &[PLATFORM], &[]).unwrap();
    assert_eq!(scene.public(P256_EK), Err(HANDLE));
}

/// Indices of a guest's own, at handles of ours, are left as they are.
#[test]
fn what_a_guest_defines_in_their_place_is_its_own() {
    for index in [P256_EK, 0x01c1_01d0, AZURE_REPORT] {
        let mut scene = Scene::new();
        if index == P256_EK {
            scene.authorized(0x22, &[PLATFORM, index], &[]).unwrap();
        }
        let public = [&[0, 0, 0, 14][..], &index.to_be_bytes(), &[0, 0xb, 0, 6, 0, 6, 0, 0, 0, 4]].concat();
        scene.authorized(0x2a, &[OWNER], &public).unwrap();
        scene.authorized(0x37, &[OWNER, index], &[0, 4, b'm', b'i', b'n', b'e', 0, 0]).unwrap();
        assert_eq!(scene.read(index), Ok(b"mine".to_vec()), "{index:#x}");
        scene.authorized(0x24, &[PLATFORM], &[]).unwrap();
        assert_eq!(scene.read(index), Ok(b"mine".to_vec()), "{index:#x}, with another seed");
    }
}

/// In a state that was kept, too, and the others are there as ever.
#[test]
fn what_a_guest_has_in_their_place_outlives_the_boot() {
    for index in [RSA_EK, RSA_AK + 1, ISSUER_INDEX] {
        let mut scene = Scene::new();
        scene.authorized(0x22, &[PLATFORM, index], &[]).unwrap();
        let public = [&[0, 0, 0, 14][..], &index.to_be_bytes(), &[0, 0xb, 0, 6, 0, 6, 0, 0, 0, 4]].concat();
        scene.authorized(0x2a, &[OWNER], &public).unwrap();
        scene.authorized(0x37, &[OWNER, index], &[0, 4, b'm', b'i', b'n', b'e', 0, 0]).unwrap();
        let mut state = std::vec![0; tpm_core::MAX_STATE_SIZE];
        let len = scene.tpm.with(|tpm, _| tpm.export(tpm_core::StateForm::PoweredOff, &mut state)).unwrap();
        scene.tpm = Platform::resume(&state[..len], Counted(1), Stopped, |_| {}).ok().unwrap();
        scene.run(STARTUP).unwrap();
        assert_eq!(scene.read(index), Ok(b"mine".to_vec()), "{index:#x}");
        scene.certificate(P256_EK);
        assert!(scene.read(ABOVE_INDEX).is_ok());
    }
}

#[test]
fn what_of_the_hosts_is_no_certificate_or_too_long_is_left_out() {
    for certificates in [
        std::vec![],
        std::vec![(VCEK, b"text".to_vec()), (ASK, Vec::new())],
        std::vec![(VCEK, certificate_like(1, 3000))],
        std::vec![(VCEK, certificate_like(1, 1360)[..1359].to_vec())],
    ] {
        let mut scene = Scene::new();
        scene.reports.get_mut().certificates = table(&certificates);
        let wrapper = wrapper(&scene.certificate(RSA_EK));
        assert_eq!(wrapper[0], 0xa2, "statement and report");
        assert_eq!(scene.public(ABOVE_INDEX), Err(HANDLE));
    }
    let mut scene = Scene::new();
    assert_eq!(wrapper(&scene.certificate(RSA_EK))[0], 0xa3);
    scene.reports.get_mut().certificates = table(&[(VLEK, certificate_like(9, 1300))]);
    assert_eq!(wrapper(&scene.certificate(P256_EK))[0], 0xa3, "as it was at the report");
}

#[test]
fn each_boot_has_an_issuer_of_its_own() {
    let issuer = |start: u8| {
        let tpm = Platform::manufacture(Counted(start), Stopped, |_| {}).ok().unwrap();
        let mut scene = Scene { tpm, ..Scene::new() };
        scene.run(STARTUP).unwrap();
        Sha256::digest(scene.read(ISSUER_INDEX).unwrap())
    };
    assert_eq!(issuer(0), issuer(0));
    assert_ne!(issuer(0), issuer(1));
}

mod operator;

const AZURE_REPORT: u32 = 0x0140_0001;
const USER_DATA: u32 = 0x0140_0002;
const AZURE_AK: u32 = 0x8100_0003;

fn azure() -> Scene {
    let mut scene = Scene::new();
    scene.tpm.become_azure().unwrap();
    scene
}

impl Scene {
    /// TPM2_ReadPublic.
    fn object(&mut self, handle: u32) -> Result<Vec<u8>, u32> {
        let head = [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73];
        let answer = self.run(&[&head[..], &handle.to_be_bytes()].concat())?;
        let size = usize::from(u16::from_be_bytes(answer[..2].try_into().unwrap()));
        Ok(answer[2..2 + size].to_vec())
    }

    /// As az-cvm-vtpm does it: the owner's index, as long as the data.
    fn write_user_data(&mut self, data: &[u8]) {
        let size = u16::try_from(data.len()).unwrap().to_be_bytes();
        let public = [&[0, 0, 0, 14][..], &USER_DATA.to_be_bytes(), &[0, 0xb, 0, 2, 0, 2, 0, 0], &size].concat();
        let _ = self.authorized(0x22, &[OWNER, USER_DATA], &[]);
        self.authorized(0x2a, &[OWNER], &public).unwrap();
        self.authorized(0x37, &[OWNER, USER_DATA], &[&size[..], data, &[0, 0]].concat()).unwrap();
    }

    /// The report's header, the report, and the claims.
    fn azure_report(&mut self) -> (Vec<u32>, Vec<u8>, std::string::String) {
        let blob = self.read(AZURE_REPORT).unwrap();
        assert_eq!((blob.len(), &blob[..4]), (2900, &b"HCLA"[..]));
        let word = |at: usize| u32::from_le_bytes(*blob[at..].first_chunk().unwrap());
        let claims = blob[1236..1236 + word(1232) as usize].to_vec();
        assert!(blob[1236 + claims.len()..].iter().all(|octet| *octet == 0));
        let words = (4..32).chain(1216..1236).step_by(4).map(word).collect();
        (words, blob[32..1216].to_vec(), std::string::String::from_utf8(claims).unwrap())
    }
}

/// The modulus as the claims have it.
fn web(public: &[u8]) -> std::string::String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let modulus = &public[public.len() - 256..];
    let bit = |at: usize| modulus.get(at / 8).is_some_and(|octet| octet >> (7 - at % 8) & 1 == 1);
    let letter = |at: usize| ALPHABET[(0..6).fold(0, |number, n| number << 1 | usize::from(bit(6 * at + n)))];
    (0..(256_usize * 8).div_ceil(6)).map(|at| char::from(letter(at))).collect()
}

#[test]
fn azures_report_is_over_claims_that_name_both_keys() {
    let mut scene = azure();
    let (words, report, claims) = scene.azure_report();
    let length = u32::try_from(claims.len()).unwrap();
    assert_eq!(words, [2, 1236 + length, 2, 0, 0, 0, 0, 20 + length, 1, 2, 1, length]);
    assert_eq!(report[0x50..0x90], [&Sha256::digest(&claims)[..], &[0; 32]].concat());
    let keys = svsm::Tpm::keys(&mut scene.tpm).unwrap();
    let key = |name: &str, operation: &str, public: &[u8]| {
        let n = web(public);
        std::format!(r#"{{"kid":"{name}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#)
    };
    let wanted = std::format!(
        r#"{{"keys":[{},{}],"vm-configuration":{{"#,
        key("HCLAkPub", "sign", &keys[3]),
        key("HCLEkPub", "encrypt", &keys[0])
    );
    assert!(claims.starts_with(&wanted), "{claims}");
    assert!(claims.ends_with(&std::format!(r#","user-data":"{}"}}"#, "0".repeat(128))), "{claims}");
    assert_eq!(scene.object(AZURE_AK).unwrap(), keys[3]);
}

#[test]
fn azures_report_is_made_anew_when_the_guest_has_written_other_data() {
    let mut scene = azure();
    let first = scene.azure_report();
    assert_eq!((scene.azure_report(), scene.asked()), (first.clone(), 1));
    scene.write_user_data(&[0xab; 48]);
    let (_, report, claims) = scene.azure_report();
    let data = ["ab".repeat(48), "00".repeat(16)].concat();
    assert!(claims.ends_with(&std::format!(r#""user-data":"{data}"}}"#)), "{claims}");
    assert_eq!(report[0x50..0x70], Sha256::digest(&claims)[..]);
    assert_eq!((scene.azure_report().2, scene.asked()), (claims, 2));
    scene.write_user_data(&[0; 64]);
    assert_eq!((scene.azure_report(), scene.asked()), (first, 3));
}

/// A read in parts is of one report.
#[test]
fn azures_report_is_not_made_anew_amid_a_read() {
    let mut scene = azure();
    let first = scene.read(AZURE_REPORT).unwrap();
    let part = |scene: &mut Scene, offset: u16| {
        let parameters = [400_u16.to_be_bytes(), offset.to_be_bytes()].concat();
        scene.authorized(0x4e, &[OWNER, AZURE_REPORT], &parameters).unwrap()[6..406].to_vec()
    };
    assert_eq!(part(&mut scene, 0), first[..400]);
    scene.write_user_data(b"other");
    assert_eq!(part(&mut scene, 2_100), first[2_100..2_500]);
    assert_ne!(part(&mut scene, 0), first[..400]);
    assert_ne!(part(&mut scene, 2_100), first[2_100..2_500]);
}

/// The firmware reads the user data by no authorization of the guest's.
#[test]
fn azures_report_has_the_user_data_of_a_guest_that_owns_the_hierarchy() {
    let mut scene = azure();
    scene.write_user_data(&[0xcd; 64]);
    // TPM2_HierarchyChangeAuth
    scene.authorized(0x29, &[OWNER], &[0, 3, b'o', b'w', b'n']).unwrap();
    assert!(scene.azure_report().2.contains(&"cd".repeat(64)));
}

/// CVE-2025-49707: whatever the guest puts at the handle, the claims and the certificate are of the key that the seed
/// gives.
#[test]
fn a_key_that_the_guest_puts_at_the_attestation_keys_handle_gets_no_report() {
    let mut scene = azure();
    let own = scene.object(AZURE_AK).unwrap();
    scene.authorized(0x20, &[OWNER, AZURE_AK], &AZURE_AK.to_be_bytes()).unwrap();
    assert_eq!(scene.object(AZURE_AK), Err(HANDLE));
    // TPM2_CreatePrimary by the same template, but for the first octet of unique.
    let mut template = [0; MAX_EK_PUBLIC];
    let len = AkTemplate::Rsa2048.marshal(&mut template).unwrap();
    template[len - 256] = 1;
    let size = u16::try_from(len).unwrap().to_be_bytes();
    let parameters = [&[0, 4, 0, 0, 0, 0][..], &size, &template[..len], &[0; 6]].concat();
    let whole = u16::try_from(27 + parameters.len()).unwrap().to_be_bytes();
    let session = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let head = [0x80, 2, 0, 0, whole[0], whole[1], 0, 0, 1, 0x31, 0x40, 0, 0, 0xb];
    let made = scene.run(&[&head[..], &session, &parameters].concat()).unwrap();
    let object = u32::from_be_bytes(made[..4].try_into().unwrap());
    scene.authorized(0x20, &[OWNER, object], &AZURE_AK.to_be_bytes()).unwrap();
    let other = scene.object(AZURE_AK).unwrap();
    assert_ne!(other, own);
    scene.write_user_data(b"anew");
    let (_, _, claims) = scene.azure_report();
    assert!(claims.contains(&web(&own)) && !claims.contains(&web(&other)));
    let certificate = scene.certificate(0x01c1_01d0);
    let key = certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    assert_eq!(key[9..265], own[own.len() - 256..]);
}

/// CVE-2025-49707, where the state outlives the boot: the key of the boot is in its place whatever the guest before has
/// put there, and whoever owns the TPM since.
#[test]
fn azures_attestation_key_takes_its_place_at_every_boot() {
    struct Kept;
    impl Keeper for Kept {
        fn keep(&mut self, _: &tpm_core::Tpm) -> Option<()> {
            Some(())
        }
        fn kept(&self) -> crate::state::Kept {
            unreachable!("nobody asks")
        }
    }
    let mut scene = azure();
    let own = scene.object(AZURE_AK).unwrap();
    assert!(scene.azure_report().2.contains(r#""tpm-persisted":false"#));
    scene.authorized(0x20, &[OWNER, AZURE_AK], &AZURE_AK.to_be_bytes()).unwrap();
    // TPM2_CreatePrimary of a P-256 signing key in the owner hierarchy, and TPM2_EvictControl.
    let template = [0, 0x23, 0, 0xb, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0xb, 0, 3, 0, 0x10, 0, 0, 0, 0];
    let parameters = [&[0, 4, 0, 0, 0, 0, 0, 24][..], &template, &[0; 6]].concat();
    let size = u8::try_from(27 + parameters.len()).unwrap();
    let head = [0x80, 2, 0, 0, 0, size, 0, 0, 1, 0x31, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let made = scene.run(&[&head[..], &parameters].concat()).unwrap();
    let object = u32::from_be_bytes(made[..4].try_into().unwrap());
    scene.authorized(0x20, &[OWNER, object], &AZURE_AK.to_be_bytes()).unwrap();
    let others = scene.object(AZURE_AK).unwrap();
    assert_ne!(others, own);
    // TPM2_HierarchyChangeAuth
    for hierarchy in [OWNER, 0x4000_000b] {
        scene.authorized(0x29, &[hierarchy], &[0, 3, b'o', b'w', b'n']).unwrap();
    }
    let mut state = std::vec![0; tpm_core::MAX_STATE_SIZE];
    let len = scene.tpm.with(|tpm, _| tpm.export(tpm_core::StateForm::PoweredOff, &mut state)).unwrap();
    let mut scene = Scene::new();
    scene.tpm = Platform::resume(&state[..len], Counted(1), Stopped, |_| {}).ok().unwrap();
    scene.tpm.keep_by(std::boxed::Box::new(Kept)).unwrap();
    assert!(scene.tpm.become_azure().unwrap());
    assert_eq!(scene.object(AZURE_AK).unwrap(), own);
    let (_, _, claims) = scene.azure_report();
    assert!(claims.contains(&web(&own)) && claims.contains(r#""tpm-persisted":true"#), "{claims}");
}

#[test]
fn azures_platform_hierarchy_is_closed_and_its_indices_stay() {
    let mut scene = azure();
    let hierarchy = Err(0x185);
    assert_eq!(scene.authorized(0x26, &[PLATFORM], &[]), hierarchy, "TPM2_Clear");
    assert_eq!(scene.authorized(0x24, &[PLATFORM], &[]), hierarchy, "TPM2_ChangeEPS");
    assert_eq!(scene.authorized(0x22, &[PLATFORM, AZURE_REPORT], &[]), hierarchy, "TPM2_NV_UndefineSpace");
    assert!(scene.authorized(0x22, &[OWNER, AZURE_REPORT], &[]).is_err());
    scene.azure_report();
    let leaf = scene.read(0x01c1_01d0).unwrap();
    assert_eq!(leaf.len(), scene.read(RSA_AK).unwrap().len());
    assert!(signed_by(&Certificate::from_der(&leaf).unwrap(), &scene.certificate(ISSUER_INDEX)));
}

#[test]
fn without_a_report_azures_index_is_gone_and_while_the_host_is_busy_it_waits() {
    let mut scene = azure();
    let command = [&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69][..], &AZURE_REPORT.to_be_bytes()].concat();
    scene.reports.get_mut().broken = Some(ReportError::Message(MessageError::Busy));
    assert_eq!(svsm::Tpm::prepare(&mut scene.tpm, &command, &scene.reports), Err(Busy));
    scene.reports.get_mut().broken = Some(ReportError::Message(MessageError::Burned));
    assert_eq!(scene.public(AZURE_REPORT), Err(HANDLE));
}

/// The guest of another image finds nothing of it.
#[test]
fn without_the_personality_there_is_none_of_it() {
    let mut scene = Scene::new();
    assert_eq!(scene.public(AZURE_REPORT), Err(HANDLE));
    assert_eq!(scene.public(0x01c1_01d0), Err(HANDLE));
    assert_eq!(scene.object(AZURE_AK), Err(HANDLE));
    assert!(scene.authorized(0x26, &[PLATFORM], &[]).is_ok());
}

#[test]
fn a_tpm_that_nobody_has_started_becomes_azures_too() {
    let tpm = Platform::manufacture(Counted(0), Stopped, |_| {}).ok().unwrap();
    let mut scene = Scene { tpm, ..Scene::new() };
    scene.tpm.become_azure().unwrap();
    assert_eq!(scene.run(STARTUP), Err(0x100), "TPM_RC_INITIALIZE");
    scene.azure_report();
}
