//! What the firmware reads of a certificate of somebody else's (RFC 5280): who has signed it, for which key, and
//! whether that key may sign others. There is no clock, so that the time is not looked at: whoever verifies the TPM's
//! certificates does that.

use der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use der::{Reader, SliceReader, Tag};
use tpm_crypto::ecc::{Curve, Point, Signature};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::rsa::RsaPublic;
use tpm_crypto::rsa::padding::SignScheme;

/// Why something is no certificate that can be judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no certificate in DER, or has octets behind it.
    Encoding,
    /// It is not of version 3, or has unique identifiers, which that version's profile does not have.
    Version,
    /// Signed by an algorithm that is not known here, or that it names in two ways.
    Algorithm,
    /// An extension is critical and not known here.
    Extension,
    /// An extension is there twice.
    Twice,
}

snp::error_words! { Unreadable {
    Self::Encoding => "no certificate in DER, or octets behind it",
    Self::Version => "not of version 3 of X.509",
    Self::Algorithm => "an unknown signature algorithm, or two",
    Self::Extension => "a critical extension that is not known here",
    Self::Twice => "an extension that is there twice",
} }

impl From<der::Error> for Unreadable {
    fn from(_: der::Error) -> Self {
        Unreadable::Encoding
    }
}

/// A kind of key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    Elliptic(Curve),
}

/// A signature's algorithm: whether of RSA (RSASSA-PKCS1-v1_5) or ECDSA, and the hash.
#[derive(Clone, Copy)]
struct Algorithm {
    is_rsa: bool,
    hash: HashAlg,
}

/// AlgorithmIdentifier of signatures, as RFC 4055 and RFC 5758 encode it.
const ALGORITHMS: [(&[u8], Algorithm); 6] = [
    (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", Algorithm { is_rsa: false, hash: HashAlg::Sha256 }),
    (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", Algorithm { is_rsa: false, hash: HashAlg::Sha384 }),
    (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04", Algorithm { is_rsa: false, hash: HashAlg::Sha512 }),
    (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\0", Algorithm { is_rsa: true, hash: HashAlg::Sha256 }),
    (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\0", Algorithm { is_rsa: true, hash: HashAlg::Sha384 }),
    (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\0", Algorithm { is_rsa: true, hash: HashAlg::Sha512 }),
];
/// AlgorithmIdentifier of keys (RFC 3279, RFC 5480).
const KEYS: [(&[u8], KeyKind); 3] = [
    (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0", KeyKind::Rsa),
    (
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        KeyKind::Elliptic(Curve::NistP256),
    ),
    (b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22", KeyKind::Elliptic(Curve::NistP384)),
];
/// Octets of the shortest RSA modulus that is trusted.
const MIN_MODULUS: usize = 256;

/// [0] version 3
const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
/// extensions [3]
const EXTENSIONS: u8 = 0xa3;
/// id-ce
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// keyCertSign of KeyUsage
const KEY_CERT_SIGN: usize = 5;

/// A certificate, as far as it is looked at.
pub(super) struct Certificate<'a> {
    /// All of it.
    pub(super) whole: &'a [u8],
    /// Name of who has signed it, in DER.
    pub(super) issuer: &'a [u8],
    /// Name of whose key it is, in DER.
    pub(super) subject: &'a [u8],
    /// SubjectPublicKeyInfo.
    pub(super) key_info: &'a [u8],
    /// What its extensions say.
    pub(super) says: Extensions<'a>,
    body: &'a [u8],
    algorithm: Algorithm,
    signature: &'a [u8],
}

/// What the extensions say that are looked at.
#[derive(Default)]
pub(super) struct Extensions<'a> {
    /// cA of basicConstraints
    pub(super) is_authority: bool,
    /// pathLenConstraint of basicConstraints
    pub(super) path_length: Option<u32>,
    /// keyCertSign of keyUsage, if there is one
    pub(super) signs_certificates: Option<bool>,
    /// subjectKeyIdentifier
    pub(super) key_id: Option<&'a [u8]>,
}

/// Reads one SEQUENCE that is all of `octets`.
fn sequence<'a, T>(
    octets: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let mut reader = SliceReader::new(octets)?;
    let value = reader.sequence(read)?;
    reader.finish()?;
    Ok(value)
}

/// A value with its header, which has this tag.
fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8], Unreadable> {
    Tag::peek(reader)?.assert_eq(tag)?;
    Ok(reader.tlv_bytes()?)
}

impl<'a> Certificate<'a> {
    /// The certificate that all of `whole` is.
    pub(super) fn parse(whole: &'a [u8]) -> Result<Self, Unreadable> {
        let (body, algorithm, signature) = sequence(whole, |reader| {
            let body = tagged(reader, Tag::Sequence)?;
            let algorithm = tagged(reader, Tag::Sequence)?;
            let signature = reader.decode::<BitStringRef<'_>>()?.as_bytes().ok_or(Unreadable::Encoding)?;
            Ok((body, algorithm, signature))
        })?;
        let known = ALGORITHMS.iter().find(|(of, _)| *of == algorithm).ok_or(Unreadable::Algorithm)?.1;
        sequence(body, |reader| {
            if reader.tlv_bytes()? != VERSION_3 {
                return Err(Unreadable::Version);
            }
            tagged(reader, Tag::Integer)?;
            if tagged(reader, Tag::Sequence)? != algorithm {
                return Err(Unreadable::Algorithm);
            }
            let issuer = tagged(reader, Tag::Sequence)?;
            // Validity.
            tagged(reader, Tag::Sequence)?;
            let subject = tagged(reader, Tag::Sequence)?;
            let key_info = tagged(reader, Tag::Sequence)?;
            let says = if reader.is_finished() {
                Extensions::default()
            } else {
                let last = reader.tlv_bytes()?;
                if last.first() != Some(&EXTENSIONS) {
                    return Err(Unreadable::Version);
                }
                Extensions::parse(last)?
            };
            Ok(Certificate { whole, issuer, subject, key_info, says, body, algorithm: known, signature })
        })
    }

    /// Whether this key, a SubjectPublicKeyInfo, has signed it.
    pub(super) fn is_signed_by(&self, key_info: &[u8]) -> bool {
        Key::parse(key_info).is_some_and(|key| key.verifies(self.algorithm, self.body, self.signature))
    }

    /// Whether its key is one by which certificates are verified here.
    pub(super) fn has_usable_key(&self) -> bool {
        Key::parse(self.key_info).is_some()
    }
}

impl<'a> Extensions<'a> {
    /// `octets` are the field of TBSCertificate, with its tag.
    fn parse(octets: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = SliceReader::new(octets)?;
        let list: AnyRef<'a> = reader.decode()?;
        reader.finish()?;
        let mut all = Extensions::default();
        let mut seen = alloc::vec::Vec::new();
        sequence(list.value(), |reader| {
            while !reader.is_finished() {
                let (oid, is_critical, value) = extension(tagged(reader, Tag::Sequence)?)?;
                if seen.contains(&oid) {
                    return Err(Unreadable::Twice);
                }
                seen.push(oid);
                match oid {
                    BASIC_CONSTRAINTS => (all.is_authority, all.path_length) = basic_constraints(value)?,
                    KEY_USAGE => all.signs_certificates = Some(key_usage(value)?),
                    SUBJECT_KEY_IDENTIFIER => all.key_id = Some(key_identifier(value)?),
                    _ if is_critical => return Err(Unreadable::Extension),
                    _ => (),
                }
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// extnID, critical, and what is in extnValue.
fn extension(octets: &[u8]) -> Result<(&[u8], bool, &[u8]), Unreadable> {
    sequence(octets, |reader| {
        let oid: AnyRef<'_> = reader.decode()?;
        oid.header().tag().assert_eq(Tag::ObjectIdentifier)?;
        let is_critical = Tag::peek(reader)? == Tag::Boolean && reader.decode()?;
        let value: AnyRef<'_> = reader.decode()?;
        value.header().tag().assert_eq(Tag::OctetString)?;
        Ok((oid.value(), is_critical, value.value()))
    })
}

fn basic_constraints(value: &[u8]) -> Result<(bool, Option<u32>), Unreadable> {
    sequence(value, |reader| {
        let is_authority = !reader.is_finished() && Tag::peek(reader)? == Tag::Boolean && reader.decode()?;
        let length = if reader.is_finished() { None } else { Some(reader.decode()?) };
        Ok((is_authority, length))
    })
}

/// keyCertSign
fn key_usage(value: &[u8]) -> Result<bool, Unreadable> {
    let mut reader = SliceReader::new(value)?;
    let bits: BitStringRef<'_> = reader.decode()?;
    reader.finish()?;
    Ok(bits.get(KEY_CERT_SIGN).unwrap_or(false))
}

fn key_identifier(value: &[u8]) -> Result<&[u8], Unreadable> {
    let mut reader = SliceReader::new(value)?;
    let id: &OctetStringRef = reader.decode()?;
    reader.finish()?;
    Ok(id.as_bytes())
}

/// A key that verifies.
enum Key {
    Rsa(RsaPublic),
    Elliptic(Curve, Point),
}

impl Key {
    /// Of a SubjectPublicKeyInfo.
    fn parse(key_info: &[u8]) -> Option<Key> {
        let (algorithm, key) = sequence(key_info, |reader| {
            let algorithm = tagged(reader, Tag::Sequence)?;
            Ok((algorithm, reader.decode::<BitStringRef<'_>>()?.as_bytes().ok_or(Unreadable::Encoding)?))
        })
        .ok()?;
        match KEYS.iter().find(|(of, _)| *of == algorithm)?.1 {
            KeyKind::Rsa => {
                let (modulus, exponent) =
                    sequence(key, |reader| Ok((reader.decode::<UintRef<'_>>()?, reader.decode::<u32>()?))).ok()?;
                // Zero would be the TPM's word for 65537.
                let is_long = modulus.as_bytes().len() >= MIN_MODULUS && exponent != 0;
                RsaPublic::new(modulus.as_bytes(), exponent).ok().filter(|_| is_long).map(Key::Rsa)
            }
            KeyKind::Elliptic(curve) => {
                let (4, point) = key.split_first()? else { return None };
                let half = curve.size();
                let (x, y) = point.split_at_checked(half).filter(|(_, y)| y.len() == half)?;
                Point::new(curve, x, y).ok().map(|point| Key::Elliptic(curve, point))
            }
        }
    }

    fn verifies(&self, by: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let digest = digest(by.hash, &[message]);
        match self {
            Key::Rsa(key) => by.is_rsa && key.verify(SignScheme::Rsassa(by.hash), digest.as_slice(), signature).is_ok(),
            Key::Elliptic(curve, key) => {
                let pair = sequence(signature, |reader| {
                    Ok((reader.decode::<UintRef<'_>>()?, reader.decode::<UintRef<'_>>()?))
                });
                let signature = pair.ok().and_then(|(r, s)| Signature::new(*curve, r.as_bytes(), s.as_bytes()).ok());
                !by.is_rsa && signature.is_some_and(|pair| curve.ecdsa_verify(key, digest.as_slice(), &pair).is_ok())
            }
        }
    }
}
