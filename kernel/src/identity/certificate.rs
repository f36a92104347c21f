//! What certificates say: of a key of the TPM's as the TCG EK Credential Profile 2.6 has it, of the issuer as RFC 5280
//! wants it. The firmware has no clock: nothing expires, and the boot is told by the issuer's key.

use alloc::vec::Vec;

use tpm_core::profile::{FIRMWARE_VERSION, MANUFACTURER, SPEC_REVISION, VENDOR_STRING};
use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::{Curve, Scalar};
use tpm_crypto::hash::{HashAlg, digest};

use authority::write::{self as der, bits, explicit, implicit, unsigned, value};

/// ecdsa-with-SHA384
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const NIST_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const NIST_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const NIST_P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// id-alg-ml-kem-512, -768 and -1024 (RFC 9935)
const ML_KEM_512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x01];
const ML_KEM_768: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x02];
const ML_KEM_1024: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x03];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SERIAL_NUMBER: &[u8] = &[0x55, 0x04, 0x05];
/// Below tcg (2.23.133): attributes and purposes.
const TPM_MANUFACTURER: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x01];
const TPM_MODEL: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x02];
const TPM_VERSION: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x03];
const TPM_SPECIFICATION: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x10];
const KP_EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const KP_AIK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];
/// id-ce
const SUBJECT_DIRECTORY_ATTRIBUTES: &[u8] = &[0x55, 0x1d, 0x09];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// extensionRequest (RFC 2985, 5.4.2)
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/// id-pe-cmw (RFC 9999)
const CMW: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x23];

/// keyUsage as a BIT STRING: what its bits are, and how many of the octet's are unused.
const DIGITAL_SIGNATURE: [u8; 2] = [7, 0x80];
const KEY_ENCIPHERMENT: [u8; 2] = [5, 0x20];
const KEY_AGREEMENT: [u8; 2] = [3, 0x08];
const KEY_CERT_SIGN: [u8; 2] = [2, 0x04];

/// What a certificate says that its key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An endorsement key.
    Endorsement,
    /// An attestation key.
    Attestation,
}

/// Algorithm of a key, its parameters, and octets of the modulus, of a coordinate, or of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa(usize),
    Ecc(&'static [u8], usize),
    MlKem(&'static [u8], usize),
}

impl Kind {
    pub(super) const P256: Kind = Kind::Ecc(NIST_P256, 32);
    pub(super) const P384: Kind = Kind::Ecc(NIST_P384, 48);
    pub(super) const P521: Kind = Kind::Ecc(NIST_P521, 66);
    pub(super) const ML_KEM_512: Kind = Kind::MlKem(ML_KEM_512, 800);
    pub(super) const ML_KEM_768: Kind = Kind::MlKem(ML_KEM_768, 1184);
    pub(super) const ML_KEM_1024: Kind = Kind::MlKem(ML_KEM_1024, 1568);

    /// What an endorsement key of this kind is for: a seed is encrypted to it, or agreed by it (RFC 9935, 5 has
    /// ML-KEM's as keyEncipherment).
    const fn usage(self) -> [u8; 2] {
        match self {
            Kind::Rsa(_) | Kind::MlKem(..) => KEY_ENCIPHERMENT,
            Kind::Ecc(..) => KEY_AGREEMENT,
        }
    }
}

/// SubjectPublicKeyInfo of a TPMT_PUBLIC, which ends with unique: a TPM2B of the modulus or the key, or two of the
/// coordinates.
pub(super) fn public_key(kind: Kind, public: &[u8]) -> Option<Vec<u8>> {
    let sized = |end: usize, size: usize| {
        let (length, octets) = public.get(end.checked_sub(size + 2)?..end)?.split_at_checked(2)?;
        (*length == u16::try_from(size).ok()?.to_be_bytes()).then_some(octets)
    };
    match kind {
        Kind::Rsa(size) => {
            let modulus = sized(public.len(), size)?;
            let key = value(der::SEQUENCE, &[&unsigned(modulus), &unsigned(&[1, 0, 1])]);
            Some(key_info(RSA_ENCRYPTION, &value(der::NULL, &[]), &key))
        }
        Kind::Ecc(curve, size) => {
            let y = sized(public.len(), size)?;
            let x = sized(public.len().checked_sub(size + 2)?, size)?;
            Some(key_info(EC_PUBLIC_KEY, &value(der::OID, &[curve]), &[&[4], x, y].concat()))
        }
        // There are no parameters.
        Kind::MlKem(set, size) => Some(key_info(set, &[], sized(public.len(), size)?)),
    }
}

fn key_info(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = value(der::SEQUENCE, &[&value(der::OID, &[algorithm]), parameters]);
    value(der::SEQUENCE, &[&algorithm, &bits(key)])
}

/// A key of this boot that issues certificates. It leaves the firmware never, and ends with it.
pub(super) struct Issuer {
    key: Scalar,
    random: Drbg,
    /// Its SubjectPublicKeyInfo.
    pub(super) key_info: Vec<u8>,
    /// Its key identifier: the leftmost 160 bits of SHA-256 of the key (RFC 7093, method 1).
    id: Vec<u8>,
    name: Vec<u8>,
}

impl Issuer {
    /// A new key, of these octets of entropy. `None`: it cannot be made, which does not happen.
    pub(super) fn new(entropy: &[u8; 48]) -> Option<Issuer> {
        let mut random = Drbg::new(entropy, &[], b"Quoin certificate issuer").ok()?;
        let (key, public) = Curve::NistP384.generate(&mut random).ok()?;
        let point = [&[4], public.x().as_slice(), public.y().as_slice()].concat();
        let key_info = key_info(EC_PUBLIC_KEY, &value(der::OID, &[NIST_P384]), &point);
        let id = digest(HashAlg::Sha256, &[&point]).as_slice().get(..20)?.to_vec();
        let number: Vec<u8> = id.iter().flat_map(|octet| [octet >> 4, octet & 15].map(hex)).collect();
        let name = name(&[(COMMON_NAME, b"Quoin vTPM, key of this boot"), (SERIAL_NUMBER, &number)]);
        Some(Issuer { key, random, key_info, id, name })
    }

    /// The certificate of a key of the TPM's; its extension carries `cmw`.
    pub(super) fn issue(&mut self, purpose: Purpose, kind: Kind, key_info: &[u8], cmw: &[u8]) -> Option<Vec<u8>> {
        let (usage, extended) = match purpose {
            Purpose::Attestation => (DIGITAL_SIGNATURE, KP_AIK_CERTIFICATE),
            Purpose::Endorsement => (kind.usage(), KP_EK_CERTIFICATE),
        };
        let names = value(der::SEQUENCE, &[&value(explicit(4), &[&tpm()])]);
        let purposes = value(der::SEQUENCE, &[&value(der::OID, &[extended])]);
        let issuer = value(der::SEQUENCE, &[&value(implicit(0), &[&self.id])]);
        let extensions = [
            critical(SUBJECT_ALT_NAME, &names),
            critical(BASIC_CONSTRAINTS, &value(der::SEQUENCE, &[])),
            extension(SUBJECT_DIRECTORY_ATTRIBUTES, &value(der::SEQUENCE, &[&specification()])),
            extension(AUTHORITY_KEY_IDENTIFIER, &issuer),
            critical(KEY_USAGE, &value(der::BIT_STRING, &[&usage])),
            extension(EXTENDED_KEY_USAGE, &purposes),
            extension(CMW, &value(der::OCTET_STRING, &[cmw])),
        ];
        self.signed(&value(der::SEQUENCE, &[]), key_info, &extensions.concat())
    }

    /// The issuer's own certificate.
    pub(super) fn own(&mut self, cmw: &[u8]) -> Option<Vec<u8>> {
        let (name, key_info, extensions) = (self.name.clone(), self.key_info.clone(), self.own_extensions(cmw));
        self.signed(&name, &key_info, &extensions)
    }

    /// What the issuer's certificate says of its key, whoever signs it.
    fn own_extensions(&self, cmw: &[u8]) -> Vec<u8> {
        let authority = value(der::SEQUENCE, &[&value(der::BOOLEAN, &[&[0xff]]), &unsigned(&[0])]);
        let extensions = [
            critical(BASIC_CONSTRAINTS, &authority),
            critical(KEY_USAGE, &value(der::BIT_STRING, &[&KEY_CERT_SIGN])),
            extension(SUBJECT_KEY_IDENTIFIER, &value(der::OCTET_STRING, &[&self.id])),
            extension(CMW, &value(der::OCTET_STRING, &[cmw])),
        ];
        extensions.concat()
    }

    /// A request for a certificate like its own (PKCS #10, RFC 2986).
    #[cold]
    pub(super) fn request(&mut self, cmw: &[u8]) -> Option<Vec<u8>> {
        let extensions = value(der::SEQUENCE, &[&self.own_extensions(cmw)]);
        let attribute =
            value(der::SEQUENCE, &[&value(der::OID, &[EXTENSION_REQUEST]), &value(der::SET, &[&extensions])]);
        let parts: [&[u8]; 4] = [&unsigned(&[0]), &self.name, &self.key_info, &value(explicit(0), &[&attribute])];
        let body = value(der::SEQUENCE, &parts);
        self.with_signature(&body)
    }

    /// Issues under another name from now on: that of the certificate that an authority has given it, with the key
    /// identifier in there, if there is one.
    pub(super) fn take_name(&mut self, name: Vec<u8>, id: Option<Vec<u8>>) {
        self.name = name;
        self.id = id.unwrap_or_else(|| self.id.clone());
    }

    /// A certificate of this subject, signed. Its serial number is a digest of its key: positive, and of 16 octets.
    fn signed(&mut self, subject: &[u8], key_info: &[u8], extensions: &[u8]) -> Option<Vec<u8>> {
        let digest_of_key = digest(HashAlg::Sha256, &[key_info]);
        let (first, rest) = digest_of_key.as_slice().get(..16)?.split_first()?;
        let serial = [&[first & 0x7f | 0x40][..], rest].concat();
        let algorithm = value(der::SEQUENCE, &[&value(der::OID, &[ECDSA_SHA384])]);
        let from = value(der::UTC_TIME, &[b"000101000000Z"]);
        let to = value(der::GENERALIZED_TIME, &[b"99991231235959Z"]);
        let body = value(
            der::SEQUENCE,
            &[
                &value(explicit(0), &[&unsigned(&[2])]),
                &unsigned(&serial),
                &algorithm,
                &self.name,
                &value(der::SEQUENCE, &[&from, &to]),
                subject,
                key_info,
                &value(explicit(3), &[&value(der::SEQUENCE, &[extensions])]),
            ],
        );
        self.with_signature(&body)
    }

    /// `body`, the algorithm, and the signature of `body`.
    fn with_signature(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let algorithm = value(der::SEQUENCE, &[&value(der::OID, &[ECDSA_SHA384])]);
        let hash = digest(HashAlg::Sha384, &[body]);
        let signature = Curve::NistP384.ecdsa_sign(self.key.as_slice(), hash.as_slice(), &mut self.random).ok()?;
        let signature = value(der::SEQUENCE, &[&unsigned(signature.r.as_slice()), &unsigned(signature.s.as_slice())]);
        Some(value(der::SEQUENCE, &[body, &algorithm, &bits(&signature)]))
    }
}

fn extension(oid: &[u8], contents: &[u8]) -> Vec<u8> {
    value(der::SEQUENCE, &[&value(der::OID, &[oid]), &value(der::OCTET_STRING, &[contents])])
}

fn critical(oid: &[u8], contents: &[u8]) -> Vec<u8> {
    let critical = value(der::BOOLEAN, &[&[0xff]]);
    value(der::SEQUENCE, &[&value(der::OID, &[oid]), &critical, &value(der::OCTET_STRING, &[contents])])
}

/// A name of several parts, each alone.
fn name(parts: &[(&[u8], &[u8])]) -> Vec<u8> {
    let part = |(oid, text): &(&[u8], &[u8])| {
        let part = value(der::SEQUENCE, &[&value(der::OID, &[oid]), &value(der::UTF8_STRING, &[text])]);
        value(der::SET, &[&part])
    };
    let parts: Vec<u8> = parts.iter().flat_map(part).collect();
    value(der::SEQUENCE, &[&parts])
}

/// What TPM this is, as TPM2_GetCapability says it: manufacturer, model and version in the profile's form.
fn tpm() -> Vec<u8> {
    let id = |octets: &[u8]| {
        let digits =
            octets.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(|digit| hex(digit).to_ascii_uppercase());
        b"id:".iter().copied().chain(digits).collect::<Vec<u8>>()
    };
    let model: Vec<u8> =
        VENDOR_STRING.iter().flat_map(|part| part.iter().copied()).filter(|octet| *octet != 0).collect();
    let [version, _] = FIRMWARE_VERSION;
    name(&[(TPM_MANUFACTURER, &id(&MANUFACTURER)), (TPM_MODEL, &model), (TPM_VERSION, &id(&version.to_be_bytes()))])
}

/// tcg-at-tpmSpecification
fn specification() -> Vec<u8> {
    let revision = unsigned(&SPEC_REVISION.to_be_bytes());
    let specification = value(der::SEQUENCE, &[&value(der::UTF8_STRING, &[b"2.0"]), &unsigned(&[0]), &revision]);
    value(der::SEQUENCE, &[&value(der::OID, &[TPM_SPECIFICATION]), &value(der::SET, &[&specification])])
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}
