//! What a certificate says: EK Credential Profile 2.6, 3.2, and "TPM 2.0 Keys for Device Identity and Attestation", 8.

use super::authority::{Authority, Extensions, Form, extensions, hex, serial};
use super::caller::Rest;
use super::keys::{Key, Purpose};
use anyhow::{Context, Result, bail};
use der::asn1::{Any, BitString, Ia5String, Null, ObjectIdentifier, OctetString, SetOfVec, UintRef, Utf8StringRef};
use der::{Decode, Encode, Sequence};
use tpm_codes::profile::{FIRMWARE_VERSION, MANUFACTURER, SPEC_REVISION, VENDOR_STRING};
use tpm_codes::{AlgId, EccCurve, MlKemSet};
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::name::{GeneralName, HardwareModuleName, OtherName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage,
    KeyUsages, SubjectAltName, SubjectDirectoryAttributes,
};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Below tcg (2.23.133).
const MANUFACTURER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");
const VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.3");
const SPECIFICATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.16");
const KP_EK: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
const KP_AIK: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");
const HW_TYPE_TPM_20: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.1.2");
/// tcg-cap-verifiedTPMResidency, tcg-cap-verifiedTPMFixed, tcg-cap-verifiedTPMRestricted
const RESIDENCY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.1");
const FIXED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.2");
const RESTRICTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.11.1.3");

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// A parameter set's identifier in X.509 (RFC 9935).
const KEMS: &[(MlKemSet, ObjectIdentifier)] = &[
    (MlKemSet::MLKEM_512, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.1")),
    (MlKemSet::MLKEM_768, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.2")),
    (MlKemSet::MLKEM_1024, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.3")),
];

/// A curve's identifier in X.509, and octets of a coordinate.
const CURVES: &[(EccCurve, ObjectIdentifier, usize)] = &[
    (EccCurve::NIST_P256, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), 32),
    (EccCurve::NIST_P384, ObjectIdentifier::new_unwrap("1.3.132.0.34"), 48),
    (EccCurve::NIST_P521, ObjectIdentifier::new_unwrap("1.3.132.0.35"), 66),
];

/// TPMSpecification of the profile's Annex A.
#[derive(Sequence)]
struct TpmSpecification<'a> {
    family: Utf8StringRef<'a>,
    level: u32,
    revision: u32,
}

/// RSAPublicKey
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: u32,
}

/// SubjectPublicKeyInfo of a TPMT_PUBLIC.
pub(super) fn public_key(public: &[u8]) -> Result<SubjectPublicKeyInfoOwned> {
    let mut rest = Rest(public);
    let kind = AlgId(rest.u16()?);
    rest.take(2 + 4)?;
    rest.sized()?;
    // symmetric: with an algorithm, keyBits and a mode go with it; scheme: with an algorithm, a hash does.
    if AlgId(rest.u16()?) != AlgId::NULL {
        rest.take(4)?;
    }
    if kind == AlgId::MLKEM {
        return kem(MlKemSet(rest.u16()?), rest.sized()?);
    }
    if AlgId(rest.u16()?) != AlgId::NULL {
        rest.take(2)?;
    }
    match kind {
        AlgId::RSA => {
            rest.take(2 + 4)?;
            rsa(rest.sized()?)
        }
        AlgId::ECC => {
            let curve = EccCurve(rest.u16()?);
            rest.take(2)?;
            ecc(curve, rest.sized()?, rest.sized()?)
        }
        _ => bail!("a key of another algorithm"),
    }
}

fn rsa(modulus: &[u8]) -> Result<SubjectPublicKeyInfoOwned> {
    let key = RsaPublicKey { modulus: UintRef::new(modulus)?, exponent: 0x1_0001 };
    let algorithm = AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(Null.into()) };
    Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&key.to_der()?)? })
}

/// The encapsulation key as it is, under an algorithm without parameters.
fn kem(set: MlKemSet, key: &[u8]) -> Result<SubjectPublicKeyInfoOwned> {
    let (_, oid) = KEMS.iter().find(|(known, _)| *known == set).context("a key of another parameter set")?;
    let algorithm = AlgorithmIdentifierOwned { oid: *oid, parameters: None };
    Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(key)? })
}

/// An uncompressed point.
fn ecc(curve: EccCurve, x: &[u8], y: &[u8]) -> Result<SubjectPublicKeyInfoOwned> {
    let known = CURVES.iter().find(|(known, ..)| *known == curve);
    let (_, oid, size) = known.context("a key on another curve")?;
    let mut point = vec![4];
    for coordinate in [x, y] {
        point.resize(point.len() + size.checked_sub(coordinate.len()).context("a coordinate is too long")?, 0);
        point.extend(coordinate);
    }
    let algorithm = AlgorithmIdentifierOwned { oid: EC_PUBLIC_KEY, parameters: Some(oid.into()) };
    Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&point)? })
}

/// Who makes certificates, and what all of them say.
pub(super) struct Issuer<'a> {
    pub(super) authority: &'a Authority,
    /// Where the CA's certificate is fetched (authorityInfoAccess).
    pub(super) url: Option<&'a str>,
    /// The virtual machine, which is the subject's name in certificates of endorsement keys; else there is none.
    pub(super) machine: Option<&'a str>,
}

impl Issuer<'_> {
    /// The certificate of an endorsement key.
    pub(super) fn endorsement(&self, key: SubjectPublicKeyInfoOwned) -> Result<Vec<u8>> {
        let agrees = key.algorithm.oid == EC_PUBLIC_KEY;
        let usage = if agrees { KeyUsages::KeyAgreement } else { KeyUsages::KeyEncipherment };
        let names = SubjectAltName(vec![GeneralName::DirectoryName(tpm()?)]);
        let attributes = SubjectDirectoryAttributes(vec![specification()?]);
        let subject = self.machine.map_or(Ok(Name::default()), |machine| name(&[(COMMON_NAME, machine)]))?;
        let extensions = extensions(&subject, |list| {
            list.add(&names)?;
            list.add(&BasicConstraints { ca: false, path_len_constraint: None })?;
            list.add(&attributes)?;
            self.pointers(list)?;
            list.add(&KeyUsage(usage.into()))?;
            list.add(&ExtendedKeyUsage(vec![KP_EK]))
        })?;
        self.authority.issue(key, serial()?, Form { subject, extensions })
    }

    /// That of the IAK or the IDevID, of a TPM whose EK certificate has this serial number.
    pub(super) fn device(&self, of: &Key, key: SubjectPublicKeyInfoOwned, ek_serial: &SerialNumber) -> Result<Vec<u8>> {
        let ek_serial = hex(ek_serial.as_bytes());
        let manufacturer = String::from_utf8_lossy(&MANUFACTURER);
        let number = format!("{manufacturer}:{}:{ek_serial}", self.authority.key_identifier());
        let module =
            HardwareModuleName { hw_type: HW_TYPE_TPM_20, hw_serial_num: OctetString::new(number.as_bytes())? };
        let names = SubjectAltName(vec![GeneralName::OtherName(OtherName::try_from(&module)?)]);
        let attests = of.purpose == Purpose::Attestation;
        let mut verified = vec![RESIDENCY, FIXED];
        verified.extend(attests.then_some(RESTRICTED));
        let policies =
            verified.into_iter().map(|oid| PolicyInformation { policy_identifier: oid, policy_qualifiers: None });
        let policies = CertificatePolicies(policies.collect());
        let common = if attests { "Quoin vTPM IAK" } else { "Quoin vTPM IDevID" };
        let subject = name(&[(COMMON_NAME, common), (SERIAL_NUMBER, &ek_serial)])?;
        let extensions = extensions(&subject, |list| {
            list.add(&names)?;
            list.add(&BasicConstraints { ca: false, path_len_constraint: None })?;
            self.pointers(list)?;
            list.add(&policies)?;
            list.add(&KeyUsage(KeyUsages::DigitalSignature.into()))?;
            if attests { list.add(&ExtendedKeyUsage(vec![KP_AIK])) } else { Ok(()) }
        })?;
        self.authority.issue(key, serial()?, Form { subject, extensions })
    }

    /// authorityKeyIdentifier and authorityInfoAccess.
    fn pointers(&self, list: &mut Extensions<'_>) -> der::Result<()> {
        list.add(&self.authority.authority_key_identifier())?;
        let Some(url) = self.url else { return Ok(()) };
        let access_location = GeneralName::UniformResourceIdentifier(Ia5String::new(url)?);
        list.add(&AuthorityInfoAccessSyntax(vec![AccessDescription { access_method: CA_ISSUERS, access_location }]))
    }
}

/// What TPM this is: as TPM2_GetCapability says it.
fn tpm() -> Result<Name> {
    let model: Vec<u8> =
        VENDOR_STRING.iter().flat_map(|part| part.iter().copied()).filter(|octet| *octet != 0).collect();
    let [version, _] = FIRMWARE_VERSION;
    name(&[
        (MANUFACTURER_ID, &format!("id:{}", hex(&MANUFACTURER).to_uppercase())),
        (MODEL, &String::from_utf8_lossy(&model)),
        (VERSION, &format!("id:{version:08X}")),
    ])
}

/// tcg-at-tpmSpecification
fn specification() -> Result<Attribute> {
    let specification = TpmSpecification { family: Utf8StringRef::new("2.0")?, level: 0, revision: SPEC_REVISION };
    let value = Any::encode_from(&specification)?;
    Ok(Attribute { oid: SPECIFICATION, values: SetOfVec::try_from(vec![value])? })
}

/// A name of several parts, each alone.
fn name(parts: &[(ObjectIdentifier, &str)]) -> Result<Name> {
    let part = |(oid, text): &(ObjectIdentifier, &str)| -> Result<RelativeDistinguishedName> {
        let value = Any::encode_from(&Utf8StringRef::new(text)?)?;
        Ok(RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid: *oid, value }])?)
    };
    let parts: Vec<_> = parts.iter().map(part).collect::<Result<_>>()?;
    Ok(Name::hazmat_from_rdn_sequence(RdnSequence::from(parts)))
}

/// A certificate of an NV Index; what may follow it there is not looked at.
pub(super) fn parse(octets: &[u8]) -> Result<Certificate> {
    let mut reader = der::SliceReader::new(octets)?;
    Certificate::decode(&mut reader).context("no certificate")
}
