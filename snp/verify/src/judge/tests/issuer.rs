//! Those who issue certificates of EKs: a root with a P-256 key, and below it an authority with an RSA key.

use super::authority::{key, rsassa, spki, to_be_signed};
use core::str::FromStr;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use rsa::RsaPrivateKey;
use std::sync::LazyLock;
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
const ROOT: &str = "CN=EK root";
const ISSUER: &str = "CN=EK issuer";
const OPERATOR: &str = "CN=Operator";
/// id-pe-cmw.
const CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.35");

static EK: LazyLock<RsaPrivateKey> = LazyLock::new(|| key(4));
static BELOW: LazyLock<RsaPrivateKey> = LazyLock::new(|| key(5));

/// The key of a TPM.
pub(crate) fn ek() -> RsaPrivateKey {
    EK.clone()
}

/// Its certificate.
pub(crate) fn ek_certificate() -> Vec<u8> {
    certificate("CN=EK", ISSUER, spki(&EK), false, SHA256_WITH_RSA, |message| rsassa(&BELOW, message))
}

/// A certificate of another TPM's.
pub(crate) fn another_ek_certificate() -> Vec<u8> {
    certificate("CN=EK", ISSUER, spki(&BELOW), false, SHA256_WITH_RSA, |message| rsassa(&BELOW, message))
}

/// That of the authority which has issued it.
pub(crate) fn ek_issuer() -> Vec<u8> {
    certificate(ISSUER, ROOT, spki(&BELOW), true, ECDSA_WITH_SHA256, |message| ecdsa(1, message))
}

/// The same, which may not issue.
pub(crate) fn ek_issuer_that_may_not() -> Vec<u8> {
    certificate(ISSUER, ROOT, spki(&BELOW), false, ECDSA_WITH_SHA256, |message| ecdsa(1, message))
}

/// The root of that.
pub(crate) fn ek_root() -> Vec<u8> {
    certificate(ROOT, ROOT, spki_p256(1), true, ECDSA_WITH_SHA256, |message| ecdsa(1, message))
}

/// Another root of the same name.
pub(crate) fn another_ek_root() -> Vec<u8> {
    certificate(ROOT, ROOT, spki_p256(2), true, ECDSA_WITH_SHA256, |message| ecdsa(2, message))
}

/// A key that signs files, and its certificate.
pub(crate) fn file_signer(seed: u8) -> (SigningKey, Vec<u8>) {
    (
        p256(seed),
        certificate("CN=files", "CN=files", spki_p256(seed), false, ECDSA_WITH_SHA256, |message| ecdsa(seed, message)),
    )
}

fn p256(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn ecdsa(seed: u8, message: &[u8]) -> Vec<u8> {
    let signature: Signature = p256(seed).sign(message);
    signature.to_der().as_bytes().to_vec()
}

fn spki_p256(seed: u8) -> SubjectPublicKeyInfoOwned {
    let der = p256(seed).verifying_key().to_public_key_der().unwrap();
    SubjectPublicKeyInfoOwned::from_der(der.as_bytes()).unwrap()
}

/// An operator's authority, whose extensions these are.
pub(crate) fn operator(extensions: &[Extension]) -> Vec<u8> {
    let key = spki_p256(3);
    with_extensions(OPERATOR, OPERATOR, key, extensions.to_vec(), ECDSA_WITH_SHA256, |message| ecdsa(3, message))
}

/// Another of the same name.
pub(crate) fn another_operator() -> Vec<u8> {
    let key = spki_p256(4);
    with_extensions(OPERATOR, OPERATOR, key, vec![constraints(true, None)], ECDSA_WITH_SHA256, |message| {
        ecdsa(4, message)
    })
}

/// What that operator issues for a firmware which has asked by its own certificate: of the same key, with the same
/// report.
pub(crate) fn by_the_operator(own: &[u8], extensions: &[Extension]) -> Vec<u8> {
    let own = Certificate::from_der(own).unwrap().tbs_certificate;
    let report = own.extensions.iter().flatten().find(|extension| extension.extn_id == CMW).unwrap().clone();
    let extensions = [extensions, &[report]].concat();
    let subject = own.subject.to_string();
    with_extensions(&subject, OPERATOR, own.subject_public_key_info, extensions, ECDSA_WITH_SHA256, |message| {
        ecdsa(3, message)
    })
}

fn extension(oid: &str, critical: bool, value: &impl Encode) -> Extension {
    let extn_value = OctetString::new(value.to_der().unwrap()).unwrap();
    Extension { extn_id: ObjectIdentifier::new(oid).unwrap(), critical, extn_value }
}

/// basicConstraints.
pub(crate) fn constraints(ca: bool, path_len_constraint: Option<u8>) -> Extension {
    extension("2.5.29.19", true, &BasicConstraints { ca, path_len_constraint })
}

/// keyUsage.
pub(crate) fn usage(usage: KeyUsages) -> Extension {
    extension("2.5.29.15", true, &KeyUsage(usage.into()))
}

/// extKeyUsage.
pub(crate) fn purposes(oids: &[&str]) -> Extension {
    let oids = oids.iter().map(|oid| ObjectIdentifier::new(oid).unwrap()).collect();
    extension("2.5.29.37", false, &ExtendedKeyUsage(oids))
}

/// nameConstraints: what may be, and what may not.
pub(crate) fn names(permitted: &[&str], excluded: &[&str]) -> Extension {
    let subtrees = |names: &[&str]| {
        let subtree = |name: &&str| GeneralSubtree {
            base: GeneralName::DirectoryName(Name::from_str(name).unwrap()),
            minimum: 0,
            maximum: None,
        };
        (!names.is_empty()).then(|| names.iter().map(subtree).collect())
    };
    let (permitted_subtrees, excluded_subtrees) = (subtrees(permitted), subtrees(excluded));
    extension("2.5.29.30", true, &NameConstraints { permitted_subtrees, excluded_subtrees })
}

/// An extension that nobody knows.
pub(crate) fn unknown() -> Extension {
    extension("1.2.3.4", true, &true)
}

fn certificate(
    subject: &str,
    issuer: &str,
    spki: SubjectPublicKeyInfoOwned,
    ca: bool,
    algorithm: &str,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    with_extensions(subject, issuer, spki, vec![constraints(ca, None)], algorithm, sign)
}

fn with_extensions(
    subject: &str,
    issuer: &str,
    spki: SubjectPublicKeyInfoOwned,
    extensions: Vec<Extension>,
    algorithm: &str,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierOwned { oid: ObjectIdentifier::new(algorithm).unwrap(), parameters: None };
    let tbs = to_be_signed(algorithm.clone(), subject, issuer, 1, spki, extensions);
    let signature = BitString::from_bytes(&sign(&tbs.to_der().unwrap())).unwrap();
    Certificate { tbs_certificate: tbs, signature_algorithm: algorithm, signature }.to_der().unwrap()
}
