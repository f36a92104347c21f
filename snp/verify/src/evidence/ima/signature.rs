//! Signatures in IMA's list (templates `ima-sig`, `ima-sigv2`): the extended attribute security.ima of a file, as
//! Linux (security/integrity/integrity.h) and ima-evm-utils have it.
//!
//! | octets | are |
//! |---|---|
//! | 1 | what it is: 3 a signature, 6 one of fs-verity; others are digests |
//! | 1 | version: 2 signs the digest, 3 a hash of the first octet, the hash's number and the digest |
//! | 1 | the hash, by its number in Linux |
//! | 4 | the key: the last octets of its subjectKeyIdentifier |
//! | 2 | how long the signature is, which follows: RSASSA-PKCS1-v1_5, or ECDSA in DER |

use super::Entry;
use anyhow::{Context, Result, bail, ensure};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

/// `EVM_IMA_XATTR_DIGSIG` and `IMA_VERITY_DIGSIG`.
const SIGNATURE: u8 = 3;
const VERITY: u8 = 6;
/// rsaEncryption; secp256r1, secp384r1.
const RSA: &str = "1.2.840.113549.1.1.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// What became of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// By a key that the verifier has brought, and of this digest.
    pub right: usize,
    /// By keys that nobody has brought.
    pub unknown: usize,
    /// Of a digest that the list does not have.
    pub other: usize,
}

impl Tally {
    /// All of them.
    pub const fn all(&self) -> usize {
        self.right + self.unknown + self.other
    }
}

/// A key that signs files, of a certificate.
pub struct Key {
    id: [u8; 4],
    public: Public,
}

enum Public {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

/// A signature's parts.
struct Signature<'a> {
    kind: u8,
    version: u8,
    hash: Hash,
    key: [u8; 4],
    bytes: &'a [u8],
}

/// Hashes, as IMA's list names them, and their numbers in Linux (include/uapi/linux/hash_info.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sha224,
}

const HASHES: [(u8, &str, Hash); 5] = [
    (2, "sha1", Hash::Sha1),
    (4, "sha256", Hash::Sha256),
    (5, "sha384", Hash::Sha384),
    (6, "sha512", Hash::Sha512),
    (7, "sha224", Hash::Sha224),
];

impl Hash {
    fn of(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1::Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
            Self::Sha224 => Sha224::digest(data).to_vec(),
        }
    }

    /// DigestInfo is before the digest (RFC 8017, 9.2).
    fn padding(self) -> Pkcs1v15Sign {
        match self {
            Self::Sha1 => Pkcs1v15Sign::new::<sha1::Sha1>(),
            Self::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Self::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
            Self::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
            Self::Sha224 => Pkcs1v15Sign::new::<Sha224>(),
        }
    }
}

impl Key {
    /// Of a certificate in DER: RSA, P-256 or P-384.
    pub fn of_certificate(der: &[u8]) -> Result<Self> {
        let certificate = Certificate::from_der(der).context("a certificate of a key that signs files")?;
        let tbs = &certificate.tbs_certificate;
        let info = &tbs.subject_public_key_info;
        let bytes = info.subject_public_key.as_bytes().context("a key that is no whole number of bytes")?;
        let identifier = match tbs.get::<SubjectKeyIdentifier>()? {
            Some((_, identifier)) => identifier.0.into_bytes(),
            None => sha1::Sha1::digest(bytes).to_vec(),
        };
        let id = identifier.last_chunk().context("a subjectKeyIdentifier of less than four octets")?;
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let public = match (info.algorithm.oid.to_string().as_str(), curve.map(|oid| oid.to_string()).as_deref()) {
            (RSA, _) => Public::Rsa(RsaPublicKey::from_pkcs1_der(bytes)?),
            (_, Some(P256)) => Public::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes)?),
            (_, Some(P384)) => Public::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes)?),
            _ => bail!("a key that is neither RSA nor P-256 nor P-384 ({})", tbs.subject),
        };
        Ok(Self { id: *id, public })
    }

    fn has_signed(&self, signed: &[u8], signature: &Signature<'_>) -> bool {
        match &self.public {
            Public::Rsa(key) => key.verify(signature.hash.padding(), signed, signature.bytes).is_ok(),
            Public::P256(key) => p256::ecdsa::DerSignature::from_bytes(signature.bytes)
                .is_ok_and(|signature| key.verify_prehash(signed, &signature).is_ok()),
            Public::P384(key) => p384::ecdsa::DerSignature::from_bytes(signature.bytes)
                .is_ok_and(|signature| key.verify_prehash(signed, &signature).is_ok()),
        }
    }
}

impl<'a> Signature<'a> {
    /// `None` for an attribute that is no signature.
    fn parse(attribute: &'a [u8]) -> Result<Option<Self>> {
        let [kind @ (SIGNATURE | VERITY), version, hash, a, b, c, d, high, low, bytes @ ..] = attribute else {
            ensure!(!matches!(attribute.first(), Some(&(SIGNATURE | VERITY))), "a signature that is cut short");
            return Ok(None);
        };
        ensure!(matches!((*kind, *version), (SIGNATURE, 2 | 3) | (VERITY, 3)), "a signature of version {version}");
        let known = HASHES.iter().find(|(number, ..)| number == hash);
        let (_, _, hash) = known.with_context(|| format!("a signature by the hash with number {hash}"))?;
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        ensure!(size == bytes.len(), "a signature of {} octets that says {size}", bytes.len());
        Ok(Some(Self { kind: *kind, version: *version, hash: *hash, key: [*a, *b, *c, *d], bytes }))
    }

    /// What was signed, as a digest.
    fn signed(&self, digest: &[u8]) -> Vec<u8> {
        let number = HASHES.iter().find(|(.., hash)| *hash == self.hash).map_or(0, |(number, ..)| *number);
        if self.version == 2 { digest.to_vec() } else { self.hash.of(&[&[self.kind, number], digest].concat()) }
    }
}

/// How many entries have signatures, which nobody judges here.
pub fn count(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| matches!(entry.signature.first(), Some(&(SIGNATURE | VERITY)))).count()
}

/// Judges the signatures of entries by keys that the verifier has brought. A wrong one is an error.
pub fn judge(entries: &[Entry], keys: &[Key]) -> Result<Tally> {
    let mut tally = Tally::default();
    for (entry, number) in entries.iter().zip(1_usize..) {
        one(entry, keys, &mut tally).with_context(|| format!("IMA: entry {number} ({})", entry.name.escape_debug()))?;
    }
    Ok(tally)
}

fn one(entry: &Entry, keys: &[Key], tally: &mut Tally) -> Result<()> {
    let Some(signature) = Signature::parse(&entry.signature)? else { return Ok(()) };
    let own: Vec<&Key> = keys.iter().filter(|key| key.id == signature.key).collect();
    let name = HASHES.iter().find(|(.., hash)| *hash == signature.hash).map_or("", |(_, name, _)| *name);
    // A digest of fs-verity has another name before that of its hash.
    let is_named = entry.algorithm.rsplit(':').next() == Some(name);
    let has_digest = is_named && entry.algorithm.contains("verity") == (signature.kind == VERITY);
    if own.is_empty() {
        tally.unknown += 1;
    } else if !has_digest || entry.is_violation {
        tally.other += 1;
    } else {
        let signed = signature.signed(&entry.digest);
        ensure!(own.iter().any(|key| key.has_signed(&signed, &signature)), "its signature is wrong");
        tally.right += 1;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::Measurements;
    use super::super::tests::{entry_of, file};
    use super::{Hash, Key, Tally, judge};
    use crate::evidence::wire::alg;
    use crate::judge::tests::issuer;
    use p256::ecdsa::signature::hazmat::PrehashSigner;
    use rsa::Pkcs1v15Sign;
    use sha2::{Digest, Sha256};

    const DIGEST: [u8; 32] = [7; 32];

    /// security.ima with a signature by the key with this identifier.
    fn attribute(version: u8, by: &[u8], signature: &[u8]) -> Vec<u8> {
        let size = u16::try_from(signature.len()).unwrap().to_be_bytes();
        [&[3, version, 4], by, &size, signature].concat()
    }

    /// A list of one file with this attribute.
    fn list(attribute: Vec<u8>) -> Vec<u8> {
        let fields = [&file(&DIGEST, "/bin/sh")[..], &[attribute]].concat();
        entry_of(alg::SHA256, "ima-sig", &fields)
    }

    /// An entry of a file whose digest is sevens, signed over this digest by [`issuer::file_signer`]'s first.
    pub(crate) fn signed_file(signed_digest: &[u8]) -> Vec<u8> {
        let (key, certificate) = issuer::file_signer(1);
        let attribute = attribute(2, &key_id(&certificate), &signed(&key, signed_digest));
        entry_of(alg::SHA1, "ima-sig", &[&file(&DIGEST, "/bin/sh")[..], &[attribute]].concat())
    }

    fn keys() -> [(p256::ecdsa::SigningKey, Vec<u8>); 2] {
        [1, 2].map(issuer::file_signer)
    }

    fn key_id(certificate: &[u8]) -> [u8; 4] {
        Key::of_certificate(certificate).unwrap().id
    }

    fn signed(key: &p256::ecdsa::SigningKey, data: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::DerSignature = key.sign_prehash(data).unwrap();
        signature.as_bytes().to_vec()
    }

    fn judged(list: &[u8], certificates: &[&[u8]]) -> anyhow::Result<Tally> {
        let keys: Vec<Key> = certificates.iter().map(|der| Key::of_certificate(der).unwrap()).collect();
        judge(&Measurements::parse(list).unwrap().entries, &keys)
    }

    #[test]
    fn a_signature_is_judged_by_the_key_that_it_names() {
        let [(key, certificate), (_, other)] = keys();
        let id = key_id(&certificate);
        let right = list(attribute(2, &id, &signed(&key, &DIGEST)));
        assert_eq!(judged(&right, &[&certificate]).unwrap(), Tally { right: 1, ..Tally::default() });
        assert_eq!(judged(&right, &[&other]).unwrap(), Tally { unknown: 1, ..Tally::default() });
        let wrong = list(attribute(2, &id, &signed(&key, &[8; 32])));
        let said = format!("{:#}", judged(&wrong, &[&certificate]).unwrap_err());
        assert_eq!(said, "IMA: entry 1 (/bin/sh): its signature is wrong");
        // Version 3 has what it signs bound to its kind (struct ima_file_id).
        let bound = Sha256::digest([&[3, 4], &DIGEST[..]].concat());
        let third = list(attribute(3, &id, &signed(&key, &bound)));
        assert_eq!(judged(&third, &[&certificate]).unwrap().right, 1);
        judged(&list(attribute(3, &id, &signed(&key, &DIGEST))), &[&certificate]).unwrap_err();
    }

    #[test]
    fn an_rsa_signature_is_judged_likewise() {
        let (key, certificate) = (issuer::ek(), issuer::ek_certificate());
        let signature = key.sign(Pkcs1v15Sign::new::<Sha256>(), &DIGEST).unwrap();
        let id = key_id(&certificate);
        assert_eq!(judged(&list(attribute(2, &id, &signature)), &[&certificate]).unwrap().right, 1);
        let mut wrong = signature;
        wrong[100] ^= 1;
        judged(&list(attribute(2, &id, &wrong)), &[&certificate]).unwrap_err();
        assert_eq!(Hash::Sha256.of(b"")[..], Sha256::digest(b"")[..]);
    }

    #[test]
    fn each_flipped_bit_is_wrong_of_no_form_or_of_another_key_or_digest() {
        let [(key, certificate), _] = keys();
        let right = attribute(2, &key_id(&certificate), &signed(&key, &DIGEST));
        for bit in 0..8 * right.len() {
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verdict = judged(&list(flipped), &[&certificate]);
            assert!(verdict.is_err() || verdict.unwrap().right == 0, "bit {bit}");
        }
        // What is no signature is none.
        assert_eq!(judged(&list(vec![4, 4, 1]), &[&certificate]).unwrap(), Tally::default());
        judged(&list(vec![3, 2]), &[&certificate]).unwrap_err();
    }
}
