//! Certificates as verifiers of others judge them: their rules, written down here once more.

use super::authority::Authority;
use super::keys::{KEYS, Key, Purpose};
use super::{KeyPlace, Wanted, certificate, choose};
use crate::engine::Engine;
use crate::provision::caller::Caller;
use crate::provision::certificate::Issuer;
use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::{Decode, Encode};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectDirectoryAttributes,
};

const SAN: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";

fn oid(text: &str) -> ObjectIdentifier {
    text.parse().unwrap()
}

fn extension<'a>(certificate: &'a Certificate, id: &str) -> &'a Extension {
    let extensions = certificate.tbs_certificate().extensions().unwrap();
    extensions.iter().find(|extension| extension.extn_id == oid(id)).unwrap()
}

fn get<'a, T: Decode<'a, Error = der::Error>>(certificate: &'a Certificate, id: &str) -> T {
    T::from_der(extension(certificate, id).extn_value.as_bytes()).unwrap()
}

/// A TPM that was provisioned with these keys, and what was said.
struct Provisioned {
    engine: Engine,
    authority: Authority,
    said: Vec<String>,
}

fn provision(folder: &Path, names: &[&str]) -> Provisioned {
    let authority = Authority::development(&folder.join("ca")).unwrap();
    let mut engine = Engine::new(Some("provision"), None).unwrap();
    crate::start(&mut engine).unwrap();
    let said = wanted(&authority, false).make(&mut engine, &named(names)).unwrap();
    Provisioned { engine, authority, said }
}

fn wanted(authority: &Authority, replace: bool) -> Wanted<'_> {
    let issuer = Issuer { authority, url: Some("http://localhost/ca.der"), machine: None };
    Wanted { issuer: Some(issuer), replace, lock: false, kept: false }
}

fn named(names: &[&str]) -> Vec<&'static Key> {
    let names: Vec<String> = names.iter().map(|name| String::from(*name)).collect();
    choose(&names).unwrap()
}

impl Provisioned {
    fn certificate(&mut self, name: &str) -> Certificate {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let mut caller = Caller(&mut self.engine);
        let known = caller.index(key.index).unwrap().unwrap();
        Certificate::from_der(&caller.read(key.index, &known).unwrap().unwrap()).unwrap()
    }
}

/// go-attestation, x509/ekcert.go, restated: version 3, a positive serial number, an issuer; exactly one directory name
/// with manufacturer, model and version and nothing else, critical if there is no subject; basicConstraints critical
/// and no CA; keyUsage critical and right for the algorithm; a key identifier of the authority; tcg-kp-EKCertificate in
/// an extendedKeyUsage that is not critical; TPMSpecification as a set of one.
#[test]
fn an_ek_certificate_has_what_go_attestation_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["rsa2048", "p256", "p384", "mlkem512", "mlkem768", "mlkem1024"];
    let mut tpm = provision(folder.path(), &names);
    for name in names {
        let certificate = tpm.certificate(name);
        let tbs = certificate.tbs_certificate();
        assert_eq!(tbs.version(), x509_cert::Version::V3);
        let serial = tbs.serial_number().as_bytes();
        assert!(serial.len() <= 20 && serial[0] > 0 && serial[0] < 0x80, "{serial:x?}");
        assert!(!tbs.issuer().is_empty() && tbs.issuer().to_string().contains("development"));
        assert!(tbs.subject().is_empty() && extension(&certificate, SAN).critical);
        let SubjectAltName(names) = get(&certificate, SAN);
        let [GeneralName::DirectoryName(tpm_name)] = &names[..] else { panic!("{names:?}") };
        let parts: Vec<_> = tpm_name.iter().map(|part| (part.oid.to_string(), text(part.value.to_der()))).collect();
        let expected =
            [("2.23.133.2.1", "id:51554F49"), ("2.23.133.2.2", "Quoin vTPM"), ("2.23.133.2.3", "id:00000001")];
        assert_eq!(parts, expected.map(|(id, text)| (id.to_owned(), text.to_owned())));
        assert!(extension(&certificate, BASIC_CONSTRAINTS).critical);
        assert!(!get::<BasicConstraints>(&certificate, BASIC_CONSTRAINTS).ca);
        let usage: KeyUsage = get(&certificate, KEY_USAGE);
        let agrees = name.starts_with('p');
        assert!(extension(&certificate, KEY_USAGE).critical);
        let usages = (usage.key_encipherment(), usage.key_agreement(), usage.digital_signature());
        assert_eq!(usages, (!agrees, agrees, false), "{name}");
        assert!(!extension(&certificate, AUTHORITY_KEY_IDENTIFIER).critical);
        let authority: AuthorityKeyIdentifier = get(&certificate, AUTHORITY_KEY_IDENTIFIER);
        assert_eq!(authority.key_identifier.unwrap().as_bytes().len(), 20);
        assert!(!extension(&certificate, EXTENDED_KEY_USAGE).critical);
        assert_eq!(get::<ExtendedKeyUsage>(&certificate, EXTENDED_KEY_USAGE).0, [oid("2.23.133.8.1")]);
        let SubjectDirectoryAttributes(attributes) = get(&certificate, "2.5.29.9");
        let attribute = attributes.iter().find(|attribute| attribute.oid == oid("2.23.133.2.16")).unwrap();
        assert_eq!(attribute.values.len(), 1);
        // SEQUENCE of "2.0", level 0, revision 185.
        let specification = attribute.values.get(0).unwrap().to_der().unwrap();
        assert_eq!(specification, [0x30, 12, 12, 3, b'2', b'.', b'0', 2, 1, 0, 2, 2, 0, 185]);
    }
}

/// FIPS 203, table 3, and RFC 9935: the encapsulation key as it is, under an identifier without parameters; swtpm's
/// templates, which are H-26 to H-28 of EK Credential Profile 2.7.
#[test]
fn an_ek_of_ml_kem_is_certified_as_the_key_that_its_template_makes() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [("mlkem512", 1, 800, 0xb, 128), ("mlkem768", 2, 1184, 0xc, 256), ("mlkem1024", 3, 1568, 0xd, 256_u16)];
    let mut tpm = provision(folder.path(), &sets.map(|(name, ..)| name));
    for (name, set, octets, hash, bits) in sets {
        let certificate = tpm.certificate(name);
        let key = certificate.tbs_certificate().subject_public_key_info();
        assert_eq!(key.algorithm.oid, oid(&format!("2.16.840.1.101.3.4.4.{set}")));
        assert!(key.algorithm.parameters.is_none());
        let template = KEYS.iter().find(|key| key.name == name).unwrap().template();
        assert_eq!(template[..4], [0, 0xa0, 0, hash]);
        let [.., aes_hi, aes_lo, bits_hi, bits_lo, mode_hi, mode_lo, set_hi, set_lo, 0, 0] = template[..] else {
            panic!("{template:x?}")
        };
        assert_eq!([aes_hi, aes_lo, mode_hi, mode_lo, set_hi, set_lo], [0, 6, 0, 0x43, 0, set]);
        assert_eq!([bits_hi, bits_lo], bits.to_be_bytes());
        let (handle, public) = Caller(&mut tpm.engine).create_primary(super::ENDORSEMENT, &template).unwrap();
        Caller(&mut tpm.engine).flush(handle).unwrap();
        let raw = key.subject_public_key.as_bytes().unwrap();
        assert_eq!(raw.len(), octets);
        assert!(public.ends_with(raw), "{name}");
    }
}

/// FAPI of tpm2-tss, restated: it walks the range of EK certificates downwards to that of its own key, and gives up at
/// one whose key is neither RSA nor of a NIST curve (docs/decisions.md).
#[test]
fn in_the_range_of_ek_certificates_are_keys_that_its_walkers_know() {
    for key in KEYS {
        let template = key.template();
        // TPMS_ECC_PARMS, behind the policy: symmetric, scheme, curve.
        let curve = || template[10 + policy(key.name).len() + 8..][..2].try_into().map(u16::from_be_bytes).unwrap();
        let is_known = match template[..2] {
            [0, 0x01] => true,
            [0, 0x23] => (3..=5).contains(&curve()),
            _ => false,
        };
        let is_walked = (0x01c0_0000..=0x01c0_7fff).contains(&key.index);
        assert_eq!(is_walked, is_known && key.purpose == Purpose::Endorsement, "{}: {:#x}", key.name, key.index);
    }
}

fn text(der: der::Result<Vec<u8>>) -> String {
    Utf8StringRef::from_der(&der.unwrap()).unwrap().as_str().to_owned()
}

/// keylime's registrar, restated: the certificate is DER and nothing more, its key is the EK's, its issuer is the
/// subject of a trusted certificate. keylime's agent: the IAK and the IDevID are at their handles, and their
/// certificates are of them.
#[test]
fn certificates_are_of_the_keys_that_keylime_finds() {
    let folder = tempfile::tempdir().unwrap();
    let mut tpm = provision(folder.path(), &["rsa2048", "iak", "idevid"]);
    let ek = tpm.certificate("rsa2048");
    for (name, handle) in [("iak", 0x8102_0001), ("idevid", 0x8102_0000)] {
        let certificate = tpm.certificate(name);
        let public = Caller(&mut tpm.engine).public(handle).unwrap().unwrap();
        assert_eq!(*certificate.tbs_certificate().subject_public_key_info(), certificate::public_key(&public).unwrap());
        assert!(tpm.authority.is_issuer(&certificate));
        let SubjectAltName(names) = get(&certificate, SAN);
        let [GeneralName::OtherName(other)] = &names[..] else { panic!("{names:?}") };
        let module = HardwareModuleName::from_other_name(other).unwrap().unwrap();
        assert_eq!(module.hw_type, oid("2.23.133.1.2"));
        let serial = super::authority::hex(ek.tbs_certificate().serial_number().as_bytes());
        let expected = format!("QUOI:{}:{serial}", tpm.authority.key_identifier());
        assert_eq!(module.hw_serial_num.as_bytes(), expected.as_bytes());
        let policies: Vec<String> = get::<CertificatePolicies>(&certificate, "2.5.29.32")
            .0
            .iter()
            .map(|p| p.policy_identifier.to_string())
            .collect();
        let restricted = name == "iak";
        assert_eq!(policies.contains(&String::from("2.23.133.11.1.3")), restricted);
        assert!(get::<KeyUsage>(&certificate, KEY_USAGE).digital_signature());
    }
}

#[test]
fn a_second_run_leaves_what_is_there_and_replaces_only_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut tpm = provision(folder.path(), &["p256"]);
    assert!(tpm.said[0].starts_with("made     EK NIST P-256 (L-2)  certificate at 0x01c0000a"), "{:?}", tpm.said);
    let first = tpm.certificate("p256");
    let again = wanted(&tpm.authority, false).make(&mut tpm.engine, &named(&["p256"])).unwrap();
    assert!(again[0].starts_with("is there") && tpm.certificate("p256") == first, "{again:?}");
    let other = Authority::development(&folder.path().join("other")).unwrap();
    // Its name is the same, but not its key.
    let again = wanted(&other, true).make(&mut tpm.engine, &named(&["p256"])).unwrap();
    assert!(again[0].starts_with("replaced"), "{again:?}");
    assert_ne!(tpm.certificate("p256"), first);
}

#[test]
fn a_certificate_of_another_key_and_an_owners_password_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut tpm = provision(folder.path(), &["p256"]);
    let refused = |tpm: &mut Provisioned| {
        let error = wanted(&tpm.authority, false).make(&mut tpm.engine, &named(&["p256"])).unwrap_err();
        format!("{error:#}")
    };
    // TPM2_ChangeEPS, by the platform: there are other endorsement keys then.
    let change =
        [&[0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x24, 0x40, 0, 0, 0xc, 0, 0, 0, 9][..], &[0x40, 0, 0, 9, 0, 0, 0, 0, 0]];
    let response = tpm_ports::Backend::execute(&mut tpm.engine, 0, &change.concat()).unwrap();
    assert_eq!(response[6..10], [0; 4]);
    let said = refused(&mut tpm);
    assert!(said.contains("of another key") && said.contains("--replace"), "{said}");
    // TPM2_HierarchyChangeAuth(TPM_RH_ENDORSEMENT)
    let change = [
        &[0x80, 2, 0, 0, 0, 33, 0, 0, 1, 0x29, 0x40, 0, 0, 0xb, 0, 0, 0, 9][..],
        &[0x40, 0, 0, 9, 0, 0, 0, 0, 0],
        &[0, 4, 1, 2, 3, 4],
    ];
    let response = tpm_ports::Backend::execute(&mut tpm.engine, 0, &change.concat()).unwrap();
    assert_eq!(response[6..10], [0; 4]);
    let said = refused(&mut tpm);
    assert!(said.contains("the endorsement hierarchy has a password"), "{said}");
}

#[test]
fn a_development_ca_is_made_once_and_nobody_else_may_read_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca");
    let name = Authority::development(&path).unwrap().name();
    assert!(name.contains("development"), "{name}");
    let mode = |file: &str| fs::metadata(path.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca-key.pem"), fs::metadata(&path).unwrap().permissions().mode() & 0o777), (0o600, 0o700));
    let before = fs::read(path.join("ca-key.pem")).unwrap();
    Authority::development(&path).unwrap();
    assert_eq!(fs::read(path.join("ca-key.pem")).unwrap(), before);
    let refused = || format!("{:#}", Authority::development(&path).err().unwrap());
    fs::set_permissions(path.join("ca-key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(refused().contains("others may read"), "{}", refused());
    fs::remove_file(path.join("ca-key.pem")).unwrap();
    assert!(refused().contains("only one"), "{}", refused());
}

#[test]
fn a_ca_that_is_none_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    Authority::development(&at("one")).unwrap();
    Authority::development(&at("two")).unwrap();
    let open = |key: &str, certificate: &str| Authority::open(&KeyPlace::File(at(key)), &at(certificate));
    let refused = |key: &str, certificate: &str| format!("{:#}", open(key, certificate).err().unwrap());
    open("one/ca-key.pem", "one/ca.pem").unwrap();
    fs::write(at("ec.pem"), "-----BEGIN EC PRIVATE KEY-----\n").unwrap();
    fs::write(at("locked.pem"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    for (key, certificate, why) in [
        ("one/ca-key.pem", "two/ca.pem", "the private key is another's"),
        ("none.pem", "one/ca.pem", "cannot read"),
        ("one/ca.pem", "one/ca.pem", "no PKCS #8"),
        ("ec.pem", "one/ca.pem", "no PKCS #8"),
        ("locked.pem", "one/ca.pem", "encrypted"),
        ("one/ca-key.pem", "one/ca-key.pem", "no certificate of a CA"),
    ] {
        let said = refused(key, certificate);
        assert!(said.contains(why), "{said}");
    }
}

/// H(policyDigest ‖ …), of any of the three hashes.
fn extend<D: Digest>(old: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new_with_prefix(old);
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

/// PolicyA and PolicyB of the profile, B.6, step by step, and those of IAK and IDevID (7.3.6 there).
fn policies<D: Digest>(name_alg: u16, nv: u32) -> [Vec<u8>; 3] {
    const SECRET: [u8; 4] = [0, 0, 1, 0x51];
    const AUTHORIZE_NV: [u8; 4] = [0, 0, 1, 0x92];
    const OR: [u8; 4] = [0, 0, 1, 0x71];
    const COMMAND_CODE: [u8; 4] = [0, 0, 1, 0x6c];
    let zero = vec![0; <D as Digest>::output_size()];
    let secret = extend::<D>(&extend::<D>(&zero, &[&SECRET, &[0x40, 0, 0, 0xb]]), &[]);
    let name = {
        let attributes = 1_u32 << 3 | 1 << 12 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 25 | 1 << 29;
        let size = u16::try_from(zero.len() + 2).unwrap();
        let policy = super::keys::sized(&secret);
        let public =
            [&nv.to_be_bytes()[..], &name_alg.to_be_bytes(), &attributes.to_be_bytes(), &policy, &size.to_be_bytes()];
        [&name_alg.to_be_bytes()[..], &extend::<D>(&[], &public)].concat()
    };
    let other = extend::<D>(&zero, &[&AUTHORIZE_NV, &name]);
    let or = |branches: &[&[u8]]| extend::<D>(&zero, &[&[&OR[..]], branches].concat());
    let only = |command: [u8; 4]| extend::<D>(&secret, &[&COMMAND_CODE, &command]);
    let (certify, activate) = (only([0, 0, 1, 0x48]), only([0, 0, 1, 0x47]));
    [secret.clone(), or(&[&secret, &other]), or(&[&secret, &certify, &activate, &other])]
}

/// The policy is behind type, nameAlg and attributes.
fn policy(name: &str) -> Vec<u8> {
    let template = KEYS.iter().find(|key| key.name == name).unwrap().template();
    let size = usize::from(u16::from_be_bytes(template[8..10].try_into().unwrap()));
    template[10..10 + size].to_vec()
}

#[test]
fn policies_are_what_the_specifications_compute() {
    let [a, b, _] = policies::<Sha256>(0xb, 0x01c0_7f01);
    assert_eq!([policy("rsa2048"), policy("p256")], [a.clone(), a]);
    assert_eq!([policy("rsa2048-high"), policy("p256-high"), policy("mlkem512")], [b.clone(), b.clone(), b]);
    let [_, b, _] = policies::<Sha384>(0xc, 0x01c0_7f02);
    for name in ["p384", "rsa3072", "rsa4096", "mlkem768"] {
        assert_eq!(policy(name), b, "{name}");
    }
    let [_, b, _] = policies::<Sha512>(0xd, 0x01c0_7f03);
    assert_eq!([policy("p521"), policy("mlkem1024")], [b.clone(), b]);
    let [.., attestation] = policies::<Sha256>(0xb, 0x01c9_0018);
    assert_eq!(policy("iak"), attestation);
    let [.., identity] = policies::<Sha256>(0xb, 0x01c9_0010);
    assert_eq!(policy("idevid"), identity);
}

/// The profile's L-1 and L-2 are also known to the engine (`Tpm::endorsement_key`), and H-3.
#[test]
fn templates_have_the_lengths_that_their_fields_add_up_to() {
    let lengths: Vec<_> = KEYS.iter().map(|key| (key.name, key.template().len())).collect();
    assert!(lengths.contains(&("rsa2048", 314)) && lengths.contains(&("p256", 122)), "{lengths:?}");
    assert!(KEYS.iter().filter(|key| key.purpose == Purpose::Endorsement).all(|key| key.index & 1 == 0));
}
