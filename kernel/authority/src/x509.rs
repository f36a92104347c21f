//! What the firmware reads of a certificate of somebody else's (RFC 5280): who has signed it, for which key, and
//! whether that key may sign others. There is no clock, so that the time is not looked at: whoever verifies the TPM's
//! certificates does that.

use der::asn1::AnyRef;
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
/// keyCertSign of KeyUsage, in its first octet.
const KEY_CERT_SIGN: u8 = 1 << 2;

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

/// What is in the SEQUENCE that all of `octets` is, to be read to its end.
fn inside(octets: &[u8]) -> Result<SliceReader<'_>, Unreadable> {
    let mut reader = SliceReader::new(octets)?;
    let contents = contents(&mut reader, Tag::Sequence)?;
    reader.finish()?;
    Ok(SliceReader::new(contents)?)
}

/// A value with its header, which has this tag.
fn whole<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8], Unreadable> {
    Tag::peek(&*reader)?.assert_eq(tag)?;
    Ok(reader.tlv_bytes()?)
}

/// A value without its header, which has this tag.
fn contents<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<&'a [u8], Unreadable> {
    let value: AnyRef<'a> = reader.decode()?;
    value.header().tag().assert_eq(tag)?;
    Ok(value.value())
}

/// BIT STRING of whole octets.
fn bits<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], Unreadable> {
    match contents(reader, Tag::BitString)?.split_first() {
        Some((0, octets)) => Ok(octets),
        _ => Err(Unreadable::Encoding),
    }
}

/// INTEGER that is not negative, in its shortest form: without the zero that only says so.
fn unsigned<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], Unreadable> {
    match contents(reader, Tag::Integer)? {
        [0] => Ok(&[]),
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
        number @ [1..0x80, ..] => Ok(number),
        _ => Err(Unreadable::Encoding),
    }
}

/// INTEGER of at most 32 bits.
fn number(reader: &mut SliceReader<'_>) -> Result<u32, Unreadable> {
    let octets = unsigned(reader)?;
    if octets.len() > size_of::<u32>() {
        return Err(Unreadable::Encoding);
    }
    Ok(octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
}

/// BOOLEAN DEFAULT FALSE
fn flag(reader: &mut SliceReader<'_>) -> Result<bool, Unreadable> {
    if reader.is_finished() || Tag::peek(&*reader)? != Tag::Boolean {
        return Ok(false);
    }
    match contents(reader, Tag::Boolean)? {
        [0xff] => Ok(true),
        [0] => Ok(false),
        _ => Err(Unreadable::Encoding),
    }
}

impl<'a> Certificate<'a> {
    /// The certificate that all of `octets` is.
    pub(super) fn parse(octets: &'a [u8]) -> Result<Self, Unreadable> {
        let mut outer = inside(octets)?;
        let body = whole(&mut outer, Tag::Sequence)?;
        let algorithm = whole(&mut outer, Tag::Sequence)?;
        let signature = bits(&mut outer)?;
        outer.finish()?;
        let known = ALGORITHMS.iter().find(|(of, _)| *of == algorithm).ok_or(Unreadable::Algorithm)?.1;
        let mut inner = inside(body)?;
        if inner.tlv_bytes()? != VERSION_3 {
            return Err(Unreadable::Version);
        }
        whole(&mut inner, Tag::Integer)?;
        if whole(&mut inner, Tag::Sequence)? != algorithm {
            return Err(Unreadable::Algorithm);
        }
        // Behind the issuer its validity.
        let [issuer, _, subject, key_info] = [(); 4].map(|()| whole(&mut inner, Tag::Sequence));
        let says = if inner.is_finished() { Extensions::default() } else { Extensions::parse(inner.tlv_bytes()?)? };
        inner.finish()?;
        Ok(Certificate {
            whole: octets,
            issuer: issuer?,
            subject: subject?,
            key_info: key_info?,
            says,
            body,
            algorithm: known,
            signature,
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
        if octets.first() != Some(&EXTENSIONS) {
            return Err(Unreadable::Version);
        }
        let mut all = Extensions::default();
        let mut seen = alloc::vec::Vec::new();
        let mut list = inside(list.value())?;
        while !list.is_finished() {
            let (oid, is_critical, value) = extension(whole(&mut list, Tag::Sequence)?)?;
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
        Ok(all)
    }
}

/// extnID, critical, and what is in extnValue.
fn extension(octets: &[u8]) -> Result<(&[u8], bool, &[u8]), Unreadable> {
    let mut reader = inside(octets)?;
    let parts =
        (contents(&mut reader, Tag::ObjectIdentifier)?, flag(&mut reader)?, contents(&mut reader, Tag::OctetString)?);
    reader.finish()?;
    Ok(parts)
}

fn basic_constraints(value: &[u8]) -> Result<(bool, Option<u32>), Unreadable> {
    let mut reader = inside(value)?;
    let is_authority = flag(&mut reader)?;
    let length = if reader.is_finished() { None } else { Some(number(&mut reader)?) };
    reader.finish()?;
    Ok((is_authority, length))
}

/// keyCertSign
fn key_usage(value: &[u8]) -> Result<bool, Unreadable> {
    let mut reader = SliceReader::new(value)?;
    let usage = contents(&mut reader, Tag::BitString)?;
    reader.finish()?;
    match usage {
        [0..8, octets @ ..] => Ok(octets.first().is_some_and(|octet| octet & KEY_CERT_SIGN != 0)),
        _ => Err(Unreadable::Encoding),
    }
}

fn key_identifier(value: &[u8]) -> Result<&[u8], Unreadable> {
    let mut reader = SliceReader::new(value)?;
    let id = contents(&mut reader, Tag::OctetString)?;
    reader.finish()?;
    Ok(id)
}

/// A key that verifies.
#[expect(clippy::large_enum_variant, reason = "one at a time, which lives for one signature")]
enum Key {
    Rsa(RsaPublic),
    Elliptic(Curve, Point),
}

impl Key {
    /// Of a SubjectPublicKeyInfo.
    fn parse(key_info: &[u8]) -> Option<Key> {
        let mut reader = inside(key_info).ok()?;
        let algorithm = whole(&mut reader, Tag::Sequence).ok()?;
        let key = bits(&mut reader).ok()?;
        reader.finish().ok()?;
        match KEYS.iter().find(|(of, _)| *of == algorithm)?.1 {
            KeyKind::Rsa => Key::rsa(key),
            KeyKind::Elliptic(curve) => {
                let (4, point) = key.split_first()? else { return None };
                let (x, y) = point.split_at_checked(curve.size()).filter(|(_, y)| y.len() == curve.size())?;
                Point::new(curve, x, y).ok().map(|point| Key::Elliptic(curve, point))
            }
        }
    }

    /// RSAPublicKey
    fn rsa(key: &[u8]) -> Option<Key> {
        let mut reader = inside(key).ok()?;
        let (modulus, exponent) = (unsigned(&mut reader).ok()?, number(&mut reader).ok()?);
        reader.finish().ok()?;
        // An exponent of zero would be the TPM's word for 65537.
        let is_strong = modulus.len() >= MIN_MODULUS && exponent != 0;
        RsaPublic::new(modulus, exponent).ok().filter(|_| is_strong).map(Key::Rsa)
    }

    fn verifies(&self, by: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let digest = digest(by.hash, &[message]);
        match self {
            Key::Rsa(key) => by.is_rsa && key.verify(SignScheme::Rsassa(by.hash), digest.as_slice(), signature).is_ok(),
            Key::Elliptic(curve, key) => {
                let pair = pair(signature).and_then(|(r, s)| Signature::new(*curve, r, s).ok());
                !by.is_rsa && pair.is_some_and(|pair| curve.ecdsa_verify(key, digest.as_slice(), &pair).is_ok())
            }
        }
    }
}

/// Ecdsa-Sig-Value
fn pair(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = inside(signature).ok()?;
    let pair = (unsigned(&mut reader).ok()?, unsigned(&mut reader).ok()?);
    reader.finish().ok()?;
    Some(pair)
}
