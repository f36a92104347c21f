//! An authority as AMD's is, for processors that the mock one is not: other generations, VLEKs, and lists of
//! certificates that were taken back. Its keys are made of a seed, in this process alone.

use core::str::FromStr;
use core::time::Duration;
use host::psp::{Identity, TCB};
use rsa::pss::SigningKey as PssKey;
use rsa::rand_core::{self, CryptoRng, RngCore, impls};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
use rsa::{RsaPrivateKey, pkcs1v15, pkcs8::EncodePublicKey};
use sha2::{Digest, Sha256, Sha384};
use std::sync::LazyLock;
use std::time::SystemTime;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

/// FMC 1, boot loader 2, TEE 3, SNP 4, microcode 5.
pub(crate) const TURIN_TCB: [u8; 8] = [1, 2, 3, 4, 0, 0, 0, 5];
/// The serial number of each intermediate.
const INTERMEDIATE: u8 = 0x77;

/// A processor, and who vouches for it.
pub(crate) struct Processor {
    pub(crate) identity: Identity,
    /// Family and model.
    pub(crate) cpu: [u8; 2],
    pub(crate) is_vlek: bool,
}

static ARK: LazyLock<RsaPrivateKey> = LazyLock::new(|| key(1));
static ASK: LazyLock<RsaPrivateKey> = LazyLock::new(|| key(2));

/// Numbers of a seed.
struct Seeded(u64, u64);

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        for chunk in destination.chunks_mut(32) {
            self.1 += 1;
            let block = Sha256::digest([self.0.to_le_bytes(), self.1.to_le_bytes()].concat());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

impl CryptoRng for Seeded {}

/// 2048 bits, which are made in a second.
pub(super) fn key(seed: u64) -> RsaPrivateKey {
    RsaPrivateKey::new(&mut Seeded(seed, 0), 2048).unwrap()
}

/// The AK of an Azure vTPM.
pub(crate) fn azure_ak() -> RsaPrivateKey {
    static KEY: LazyLock<RsaPrivateKey> = LazyLock::new(|| key(3));
    KEY.clone()
}

/// RSASSA-PKCS1-v1_5 with SHA-256.
pub(crate) fn rsassa(key: &RsaPrivateKey, message: &[u8]) -> Vec<u8> {
    pkcs1v15::SigningKey::<Sha256>::new(key.clone()).sign(message).to_vec()
}

/// RSASSA-PSS with SHA-384 and a salt of 48 bytes, as the mock root is signed.
fn pss() -> AlgorithmIdentifierOwned {
    Certificate::from_der(&Identity::development().ark).unwrap().signature_algorithm
}

fn sign(key: &RsaPrivateKey, message: &[u8]) -> BitString {
    let signature = PssKey::<Sha384>::new(key.clone()).sign_with_rng(&mut Seeded(9, 0), message);
    BitString::from_bytes(&signature.to_vec()).unwrap()
}

pub(super) fn spki(key: &RsaPrivateKey) -> SubjectPublicKeyInfoOwned {
    let der = key.to_public_key().to_public_key_der().unwrap();
    SubjectPublicKeyInfoOwned::from_der(der.as_bytes()).unwrap()
}

fn at(seconds: u64) -> Time {
    Time::try_from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap()
}

/// What a certificate says.
pub(super) fn to_be_signed(
    signature: AlgorithmIdentifierOwned,
    subject: &str,
    issuer: &str,
    serial: u8,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    extensions: Vec<Extension>,
) -> TbsCertificate {
    TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&[serial]).unwrap(),
        signature,
        issuer: Name::from_str(issuer).unwrap(),
        validity: Validity { not_before: at(1_700_000_000), not_after: at(2_000_000_000) },
        subject: Name::from_str(subject).unwrap(),
        subject_public_key_info,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: (!extensions.is_empty()).then_some(extensions),
    }
}

fn certificate(
    subject: &str,
    (issuer, key): (&str, &RsaPrivateKey),
    serial: u8,
    spki: SubjectPublicKeyInfoOwned,
    extensions: Vec<Extension>,
) -> Vec<u8> {
    let tbs = to_be_signed(pss(), subject, issuer, serial, spki, extensions);
    let signature = sign(key, &tbs.to_der().unwrap());
    Certificate { tbs_certificate: tbs, signature_algorithm: pss(), signature }.to_der().unwrap()
}

fn extension(suffix: &str, value: Vec<u8>) -> Extension {
    let extn_id = ObjectIdentifier::new(&format!("1.3.6.1.4.1.3704.1.{suffix}")).unwrap();
    Extension { extn_id, critical: false, extn_value: OctetString::new(value).unwrap() }
}

/// A processor whose chip key is the mock one's, vouched for by this authority in the name of AMD's for `generation`.
fn processor(generation: &str, cpu: [u8; 2], own: Option<Vec<Extension>>) -> Processor {
    let development = Identity::development();
    let (root, intermediate) = (format!("CN=ARK-{generation}"), format!("CN=SEV-{generation}"));
    let is_turin = generation == "Turin";
    let mut chip_id = development.chip_id;
    if is_turin {
        chip_id[8..].fill(0);
    }
    let levels: &[(&str, u8)] = if is_turin {
        &[("3.9", 1), ("3.1", 2), ("3.2", 3), ("3.3", 4), ("3.8", 5)]
    } else {
        &[("3.1", TCB.boot_loader), ("3.2", TCB.tee), ("3.3", TCB.snp), ("3.8", TCB.microcode)]
    };
    let mut extensions: Vec<Extension> =
        levels.iter().map(|(suffix, level)| extension(suffix, level.to_der().unwrap())).collect();
    let is_vlek = own.is_some();
    let hwid = if is_turin { chip_id[..8].to_vec() } else { chip_id.to_vec() };
    extensions.extend(own.unwrap_or_else(|| vec![extension("4", hwid)]));
    let chip = Certificate::from_der(&development.vcek).unwrap().tbs_certificate.subject_public_key_info;
    let issued = certificate("CN=SEV-VCEK", (&intermediate, &ASK), 1, chip, extensions);
    let identity = Identity {
        chip_id,
        ark: certificate(&root, (&root, &ARK), 1, spki(&ARK), Vec::new()),
        ask: certificate(&intermediate, (&root, &ARK), INTERMEDIATE, spki(&ASK), Vec::new()),
        vcek: issued,
        ..development
    };
    Processor { identity, cpu, is_vlek }
}

/// A Genoa.
pub(crate) fn genoa() -> Processor {
    processor("Genoa", [0x19, 0x11], None)
}

/// The certificate of another Genoa's key, by the same authority.
pub(crate) fn another_vcek() -> Vec<u8> {
    let der = p384::ecdsa::SigningKey::from_slice(&[0x21; 48]).unwrap().verifying_key().to_public_key_der().unwrap();
    let key = SubjectPublicKeyInfoOwned::from_der(der.as_bytes()).unwrap();
    certificate("CN=SEV-VCEK", ("CN=SEV-Genoa", &ASK), 2, key, vec![extension("4", vec![0x22; 64])])
}

/// Another ASK of that name, and another root.
pub(crate) fn another_ask() -> Vec<u8> {
    certificate("CN=SEV-Genoa", ("CN=ARK-Genoa", &ARK), 2, spki(&azure_ak()), Vec::new())
}

/// See [`another_ask`].
pub(crate) fn another_ark() -> Vec<u8> {
    let key = azure_ak();
    certificate("CN=ARK-Genoa", ("CN=ARK-Genoa", &key), 2, spki(&key), Vec::new())
}

/// A Bergamo or Siena, which has Genoa's root.
pub(crate) fn bergamo() -> Processor {
    processor("Genoa", [0x19, 0xA0], None)
}

/// A Turin.
pub(crate) fn turin() -> Processor {
    processor("Turin", [0x1A, 0x02], None)
}

/// A Milan whose reports a provider's key signs.
pub(crate) fn vlek() -> Processor {
    let provider = Ia5String::new("example cloud").unwrap().to_der().unwrap();
    processor("Milan", [0x19, 0x01], Some(vec![extension("5", provider)]))
}

/// A Milan whose certificate names a chip and a provider.
pub(crate) fn both() -> Processor {
    let provider = Ia5String::new("example cloud").unwrap().to_der().unwrap();
    let own = vec![extension("5", provider), extension("4", Identity::development().chip_id.to_vec())];
    processor("Milan", [0x19, 0x01], Some(own))
}

/// A Milan whose certificate names neither.
pub(crate) fn nobody() -> Processor {
    Processor { is_vlek: false, ..processor("Milan", [0x19, 0x01], Some(Vec::new())) }
}

/// The roots of all those.
pub(crate) fn roots() -> Vec<Vec<u8>> {
    [genoa(), turin(), vlek()].map(|processor| processor.identity.ark).to_vec()
}

/// A list of this authority's root for a Genoa.
pub(crate) struct Crl {
    pub(crate) root: &'static str,
    pub(crate) serials: Vec<u8>,
    /// In seconds since 1970.
    pub(crate) this_update: u64,
    pub(crate) next_update: u64,
    pub(crate) by_another: bool,
    /// With deltaCRLIndicator (RFC 5280, 5.2.4).
    pub(crate) is_of_a_part: bool,
}

impl Default for Crl {
    fn default() -> Self {
        let (this_update, next_update) = (1_799_000_000, 1_801_000_000);
        let (by_another, is_of_a_part) = (false, false);
        Self { root: "CN=ARK-Genoa", serials: Vec::new(), this_update, next_update, by_another, is_of_a_part }
    }
}

impl Crl {
    pub(crate) fn revoking_the_intermediate() -> Self {
        Self { serials: vec![INTERMEDIATE], ..Self::default() }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let revoked = |serial: &u8| RevokedCert {
            serial_number: SerialNumber::new(&[*serial]).unwrap(),
            revocation_date: at(1_798_000_000),
            crl_entry_extensions: None,
        };
        let entries: Vec<RevokedCert> = self.serials.iter().map(revoked).collect();
        let tbs = TbsCertList {
            version: Version::V2,
            signature: pss(),
            issuer: Name::from_str(self.root).unwrap(),
            this_update: at(self.this_update),
            next_update: Some(at(self.next_update)),
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: self.is_of_a_part.then(|| {
                let extn_id = ObjectIdentifier::new_unwrap("2.5.29.27");
                vec![Extension {
                    extn_id,
                    critical: true,
                    extn_value: OctetString::new(1_u8.to_der().unwrap()).unwrap(),
                }]
            }),
        };
        let signature = sign(if self.by_another { &ASK } else { &ARK }, &tbs.to_der().unwrap());
        CertificateList { tbs_cert_list: tbs, signature_algorithm: pss(), signature }.to_der().unwrap()
    }
}
