//! Authorities that sign whatever a test wants.

use std::vec::Vec;

use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::{Curve, Scalar};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::rsa::padding::SignScheme;

use crate::write::{self as der, bits, explicit, unsigned, value};

const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

#[expect(clippy::large_enum_variant, reason = "there are a few of them, in tests")]
enum Key {
    Elliptic(Curve, Scalar),
    Rsa(RsaPrivate),
}

/// A key with a name.
pub struct Ca {
    key: Key,
    /// Name in DER.
    pub name: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub key_info: Vec<u8>,
}

/// What a certificate says. Nothing of it needs to be right.
#[derive(Clone)]
pub struct Says {
    /// What stands for the version.
    pub version: Vec<u8>,
    /// The algorithm that the body names; None for that of the signature.
    pub algorithm: Option<Vec<u8>>,
    /// The issuer's name; None for that of who signs.
    pub issuer: Option<Vec<u8>>,
    /// cA and pathLenConstraint; None for no such extension.
    pub constraints: Option<(bool, Option<u8>)>,
    /// keyUsage: unused bits and octet.
    pub usage: Option<[u8; 2]>,
    /// subjectKeyIdentifier
    pub key_id: Option<Vec<u8>>,
    /// More extensions, in DER.
    pub more: Vec<u8>,
    /// By which hash it is signed.
    pub hash: HashAlg,
}

impl Default for Says {
    fn default() -> Self {
        Says {
            version: [0xa0, 3, 2, 1, 2].to_vec(),
            algorithm: None,
            issuer: None,
            constraints: Some((true, None)),
            usage: Some([1, 0x06]),
            key_id: None,
            more: Vec::new(),
            hash: HashAlg::Sha384,
        }
    }
}

/// A Name of one part, commonName.
#[must_use]
pub fn name(text: &str) -> Vec<u8> {
    let part =
        value(der::SEQUENCE, &[&value(der::OID, &[&[0x55, 4, 3]]), &value(der::UTF8_STRING, &[text.as_bytes()])]);
    value(der::SEQUENCE, &[&value(der::SET, &[&part])])
}

/// An Extension.
#[must_use]
pub fn extension(oid: &[u8], is_critical: bool, contents: &[u8]) -> Vec<u8> {
    let critical = if is_critical { value(der::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    value(der::SEQUENCE, &[&value(der::OID, &[oid]), &critical, &value(der::OCTET_STRING, &[contents])])
}

fn key_info(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    value(der::SEQUENCE, &[&value(der::SEQUENCE, algorithm), &bits(key)])
}

impl Ca {
    /// With a key on this curve, always the same for a name.
    ///
    /// # Panics
    /// If there is no such key.
    #[must_use]
    pub fn elliptic(text: &str, curve: Curve) -> Ca {
        let mut random = Drbg::new(&[7; 48], text.as_bytes(), &[]).unwrap();
        let (key, public) = curve.generate(&mut random).unwrap();
        let point = [&[4], public.x().as_slice(), public.y().as_slice()].concat();
        let oid = if curve == Curve::NistP256 { P256 } else { P384 };
        let key_info = key_info(&[&value(der::OID, &[EC]), &value(der::OID, &[oid])], &point);
        Ca { key: Key::Elliptic(curve, key), name: name(text), key_info }
    }

    /// With an RSA key of this size, always the same for a name.
    ///
    /// # Panics
    /// If there is no such key.
    #[must_use]
    pub fn rsa(text: &str, size: u16) -> Ca {
        let mut random = Drbg::new(&[7; 48], text.as_bytes(), &[]).unwrap();
        let mut witnesses = Drbg::new(&[8; 48], &[], &[]).unwrap();
        let key = RsaPrivate::generate(size, 0, &mut random, &mut witnesses).unwrap();
        let mut modulus = [0; 512];
        let modulus = unsigned(key.public().modulus(&mut modulus).unwrap());
        let public = value(der::SEQUENCE, &[&modulus, &unsigned(&[1, 0, 1])]);
        let key_info = key_info(&[&value(der::OID, &[RSA]), &value(der::NULL, &[])], &public);
        Ca { key: Key::Rsa(key), name: name(text), key_info }
    }

    /// A certificate of a key.
    pub fn certify(&self, subject: &[u8], key_info: &[u8], says: &Says) -> Vec<u8> {
        let algorithm = self.algorithm(says.hash);
        let mut extensions = Vec::new();
        if let Some((is_authority, length)) = says.constraints {
            let authority = if is_authority { value(der::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
            let length = length.map_or_else(Vec::new, |length| unsigned(&[length]));
            extensions.extend(extension(&[0x55, 0x1d, 0x13], true, &value(der::SEQUENCE, &[&authority, &length])));
        }
        if let Some(usage) = says.usage {
            extensions.extend(extension(&[0x55, 0x1d, 0x0f], true, &value(der::BIT_STRING, &[&usage])));
        }
        if let Some(id) = &says.key_id {
            extensions.extend(extension(&[0x55, 0x1d, 0x0e], false, &value(der::OCTET_STRING, &[id])));
        }
        extensions.extend(&says.more);
        let time = value(der::UTC_TIME, &[b"260101000000Z"]);
        let extensions = value(explicit(3), &[&value(der::SEQUENCE, &[&extensions])]);
        let body = [
            &says.version[..],
            &unsigned(&[9]),
            says.algorithm.as_ref().unwrap_or(&algorithm),
            says.issuer.as_ref().unwrap_or(&self.name),
            &value(der::SEQUENCE, &[&time, &time]),
            subject,
            key_info,
            &extensions,
        ];
        let body = value(der::SEQUENCE, &body);
        let signature = self.sign(says.hash, &body);
        value(der::SEQUENCE, &[&body, &algorithm, &bits(&signature)])
    }

    /// Its own certificate.
    pub fn own(&self, says: &Says) -> Vec<u8> {
        let (name, key_info) = (self.name.clone(), self.key_info.clone());
        self.certify(&name, &key_info, says)
    }

    /// AlgorithmIdentifier of its signatures.
    #[must_use]
    pub fn algorithm(&self, hash: HashAlg) -> Vec<u8> {
        let last = match hash {
            HashAlg::Sha256 => 0,
            HashAlg::Sha384 => 1,
            _ => 2,
        };
        match self.key {
            Key::Elliptic(..) => {
                let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2 + last];
                value(der::SEQUENCE, &[&value(der::OID, &[&oid])])
            }
            Key::Rsa(_) => {
                let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b + last];
                value(der::SEQUENCE, &[&value(der::OID, &[&oid]), &value(der::NULL, &[])])
            }
        }
    }

    /// The same signature of the same message always.
    fn sign(&self, hash: HashAlg, message: &[u8]) -> Vec<u8> {
        let digest = digest(hash, &[message]);
        let mut random = Drbg::new(&[9; 48], digest.as_slice(), &[]).unwrap();
        match &self.key {
            Key::Elliptic(curve, key) => {
                let pair = curve.ecdsa_sign(key.as_slice(), digest.as_slice(), &mut random).unwrap();
                value(der::SEQUENCE, &[&unsigned(pair.r.as_slice()), &unsigned(pair.s.as_slice())])
            }
            Key::Rsa(key) => {
                let mut out = [0; 512];
                let scheme = SignScheme::Rsassa(hash);
                let len = key.sign(&mut random, scheme, digest.as_slice(), &mut out).unwrap();
                out[..len].to_vec()
            }
        }
    }
}
