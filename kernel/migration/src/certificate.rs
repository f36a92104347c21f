//! What of an X.509 certificate of AMD's is needed (AMD 57230, 3.2): who has signed it, its key, and AMD's extensions.

use der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use tpm_crypto::ecc::{Curve, Point};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::rsa::RsaPublic;
use tpm_crypto::rsa::padding::SignScheme;

/// The contents of the object identifier rsassaPss (RFC 4055).
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// Those of AMD's extensions, 1.3.6.1.4.1.3704.1, up to what follows.
const AMD: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];
/// \[3\] EXPLICIT Extensions.
const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };
/// HWID.
const HWID: &[u8] = &[4];
/// CSP_ID, of a VLEK.
const CSP_ID: &[u8] = &[5];

/// A certificate. Its octets are those that were signed: nothing is encoded anew.
pub(crate) struct Certificate<'a> {
    signed: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    key: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a whole certificate, signed with RSASSA-PSS.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        read(der).ok()
    }

    /// Whether the key of `issuer` has signed this, and the names say so. RSASSA-PSS with SHA-384, as all of AMD's
    /// authorities sign.
    pub(crate) fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let hash = digest(HashAlg::Sha384, &[self.signed]);
        let good =
            |key: RsaPublic| key.verify(SignScheme::Rsapss(HashAlg::Sha384), hash.as_slice(), self.signature).is_ok();
        self.issuer == issuer.subject && issuer.rsa_key().is_some_and(good)
    }

    /// The key of an authority.
    fn rsa_key(&self) -> Option<RsaPublic> {
        let read = |r: &mut SliceReader<'a>| der::Result::Ok((UintRef::decode(r)?, UintRef::decode(r)?));
        let (modulus, exponent) = AnyRef::from_der(self.key).ok()?.sequence(read).ok()?;
        let exponent = exponent
            .as_bytes()
            .iter()
            .try_fold(0_u32, |all, octet| all.checked_mul(256)?.checked_add((*octet).into()))?;
        RsaPublic::new(modulus.as_bytes(), exponent).ok()
    }

    /// The key of a chip, an uncompressed point of P-384.
    pub(crate) fn chip_key(&self) -> Option<Point> {
        let (x, y) = self.key.strip_prefix(&[4])?.split_at_checked(48)?;
        if y.len() == 48 { Point::new(Curve::NistP384, x, y).ok() } else { None }
    }

    /// Whether a provider is named, as in a VLEK's.
    pub(crate) fn names_a_provider(&self) -> bool {
        !matches!(self.extension(CSP_ID), Ok(None))
    }

    /// The chip's identity, which has `len` octets. Some certificates have it as an OCTET STRING.
    pub(crate) fn hardware_id(&self, len: usize) -> Option<&'a [u8]> {
        let value = self.extension(HWID).ok()??;
        let inner =
            <&OctetStringRef>::from_der(value).ok().map(OctetStringRef::as_bytes).filter(|inner| inner.len() == len);
        Some(inner.unwrap_or(value)).filter(|id| id.len() == len)
    }

    /// A level of the TCB, by the last component of its identifier.
    pub(crate) fn level(&self, number: u8) -> Option<u8> {
        u8::from_der(self.extension(&[3, number]).ok()??).ok()
    }

    /// The contents of an extension of AMD's, if there is one; to have it twice is an error.
    fn extension(&self, suffix: &[u8]) -> der::Result<Option<&'a [u8]>> {
        let mut all = SliceReader::new(self.extensions)?;
        let mut found = None;
        while !all.is_finished() {
            let (oid, value) = all.sequence(|r| {
                let oid = AnyRef::decode(r)?;
                // BOOLEAN critical, where it is not the default.
                let next = AnyRef::decode(r)?;
                let value = if next.header().tag() == Tag::Boolean { AnyRef::decode(r)? } else { next };
                value.header().tag().assert_eq(Tag::OctetString)?;
                der::Result::Ok((oid.value(), value.value()))
            })?;
            if oid.strip_prefix(AMD) == Some(suffix) && found.replace(value).is_some() {
                return Err(Tag::ObjectIdentifier.value_error().into());
            }
        }
        Ok(found)
    }
}

fn read(der: &[u8]) -> der::Result<Certificate<'_>> {
    let mut reader = SliceReader::new(der)?;
    let (signed, algorithm, signature) =
        reader.sequence(|r| der::Result::Ok((r.tlv_bytes()?, r.tlv_bytes()?, BitStringRef::decode(r)?)))?;
    reader.finish()?;
    AnyRef::from_der(signed)?.sequence(|r| {
        let (_version, _serial, inner) = (r.tlv_bytes()?, r.tlv_bytes()?, r.tlv_bytes()?);
        let (issuer, _validity, subject) = (r.tlv_bytes()?, r.tlv_bytes()?, r.tlv_bytes()?);
        let key = r.sequence(|r| {
            let _algorithm = r.tlv_bytes()?;
            BitStringRef::decode(r)
        })?;
        let extensions = AnyRef::decode(r)?;
        let is_pss = AnyRef::from_der(inner)?.sequence(|r| {
            let oid = AnyRef::decode(r)?;
            let _parameters = r.tlv_bytes()?;
            der::Result::Ok(oid.value() == RSASSA_PSS)
        })?;
        let (Some(signature), Some(key)) = (signature.as_bytes(), key.as_bytes()) else {
            return Err(Tag::BitString.value_error().into());
        };
        // [3] EXPLICIT, and the algorithm of RFC 5280, 4.1.1.2: twice the same.
        if der.is_empty() || !is_pss || inner != algorithm || extensions.header().tag() != EXTENSIONS {
            return Err(Tag::Sequence.value_error().into());
        }
        let extensions = AnyRef::from_der(extensions.value())?;
        extensions.header().tag().assert_eq(Tag::Sequence)?;
        Ok(Certificate { signed, signature, issuer, subject, key, extensions: extensions.value() })
    })
}
