//! TPM structures (TPM 2.0 Library, Part 2) as far as evidence needs them, read strictly: no byte too many, no other
//! encoding of the same value.
//!
//! This is a second implementation on purpose: the verifier shares no code with the TPM that it judges.

use anyhow::{Context, Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Algorithm identifiers, `TPM_ALG_ID` (Part 2, 6.3).
pub mod alg {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const RSA: u16 = 0x0001;
    pub const SHA1: u16 = 0x0004;
    pub const AES: u16 = 0x0006;
    pub const SHA256: u16 = 0x000B;
    pub const SHA384: u16 = 0x000C;
    pub const SHA512: u16 = 0x000D;
    pub const NULL: u16 = 0x0010;
    pub const RSASSA: u16 = 0x0014;
    pub const ECDSA: u16 = 0x0018;
    pub const ECC: u16 = 0x0023;
    pub const CFB: u16 = 0x0043;
}

/// Object attributes, `TPMA_OBJECT` (Part 2, 8.3).
pub mod attribute {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const FIXED_TPM: u32 = 1 << 1;
    pub const ST_CLEAR: u32 = 1 << 2;
    pub const FIXED_PARENT: u32 = 1 << 4;
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    pub const NO_DA: u32 = 1 << 10;
    pub const RESTRICTED: u32 = 1 << 16;
    pub const DECRYPT: u32 = 1 << 17;
    pub const SIGN: u32 = 1 << 18;
}

/// `TPM_RH_ENDORSEMENT` (Part 2, 7.4).
pub const RH_ENDORSEMENT: u32 = 0x4000_000B;
/// `TPM_GENERATED_VALUE` (Part 2, 6.2), the magic with which every structure begins that a restricted key signs for the
/// TPM.
pub const GENERATED: u32 = 0xFF54_4347;
/// `TPM_ST_ATTEST_QUOTE` (Part 2, 6.9).
pub const ST_ATTEST_QUOTE: u16 = 0x8018;
/// `TPM_ST_ATTEST_CERTIFY`.
pub const ST_ATTEST_CERTIFY: u16 = 0x8017;
/// Number of PCRs (PC Client Platform TPM Profile, 4.6).
pub const PCR_COUNT: usize = 24;

/// A `TPM2B`: a 16-bit size and the bytes. All that is sent here is far shorter than the limit.
pub fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes(), bytes].concat()
}

/// Reads big-endian values from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .rest
            .split_at_checked(length)
            .with_context(|| format!("ends {} bytes early", length - self.rest.len()))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// A 16-bit integer.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A 32-bit integer.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// The contents of a `TPM2B`.
    pub fn tpm2b(&mut self) -> Result<&'a [u8]> {
        let size = self.u16()?;
        self.take(size.into())
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Says that nothing may be left.
    pub fn end(&self) -> Result<()> {
        ensure!(self.rest.is_empty(), "{} bytes too many at the end", self.rest.len());
        Ok(())
    }
}

/// The public area of a key, `TPMT_PUBLIC` (Part 2, 12.2.4), of the kinds that evidence knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// `nameAlg`; only SHA-256, SHA-384 and SHA-512 are read.
    pub name_alg: u16,
    /// `objectAttributes`.
    pub attributes: u32,
    /// `authPolicy`.
    pub policy: Vec<u8>,
    /// Bits of the key where `symmetric` is AES in CFB mode, 128 or 256; `None` is `TPM_ALG_NULL`.
    pub aes_cfb: Option<u16>,
    /// `scheme` and its hash; `None` is `TPM_ALG_NULL`.
    pub scheme: Option<(u16, u16)>,
    /// The rest of `parameters`, and `unique`.
    pub key: Key,
}

/// What differs between RSA and ECC keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// RSA with exponent 65537 (encoded as 0).
    Rsa {
        /// 2048, 3072 or 4096.
        bits: u16,
        /// The modulus, big-endian, of so many bits; in a template anything.
        modulus: Vec<u8>,
    },
    /// A point of a curve.
    Ecc {
        /// The curve.
        curve: Curve,
        /// Affine x, as long as the curve's coordinates; in a template anything.
        x: Vec<u8>,
        /// Affine y, likewise.
        y: Vec<u8>,
    },
}

/// Algorithm and size of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "program", derive(clap::ValueEnum))]
pub enum Algorithm {
    /// RSA with 2048 bits.
    #[serde(rename = "rsa-2048")]
    #[cfg_attr(feature = "program", value(name = "rsa-2048"))]
    Rsa2048,
    /// RSA with 3072 bits.
    #[serde(rename = "rsa-3072")]
    #[cfg_attr(feature = "program", value(name = "rsa-3072"))]
    Rsa3072,
    /// RSA with 4096 bits.
    #[serde(rename = "rsa-4096")]
    #[cfg_attr(feature = "program", value(name = "rsa-4096"))]
    Rsa4096,
    /// NIST P-256.
    #[serde(rename = "ecc-p256")]
    #[cfg_attr(feature = "program", value(name = "ecc-p256"))]
    EccP256,
    /// NIST P-384.
    #[serde(rename = "ecc-p384")]
    #[cfg_attr(feature = "program", value(name = "ecc-p384"))]
    EccP384,
    /// NIST P-521.
    #[serde(rename = "ecc-p521")]
    #[cfg_attr(feature = "program", value(name = "ecc-p521"))]
    EccP521,
}

impl Algorithm {
    /// As policy files and options have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::EccP256 => "ecc-p256",
            Self::EccP384 => "ecc-p384",
            Self::EccP521 => "ecc-p521",
        }
    }
}

impl Key {
    /// Its algorithm and size.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { bits: 4096, .. } => Algorithm::Rsa4096,
            Self::Rsa { bits: 3072, .. } => Algorithm::Rsa3072,
            Self::Rsa { .. } => Algorithm::Rsa2048,
            Self::Ecc { curve: Curve::P256, .. } => Algorithm::EccP256,
            Self::Ecc { curve: Curve::P384, .. } => Algorithm::EccP384,
            Self::Ecc { curve: Curve::P521, .. } => Algorithm::EccP521,
        }
    }
}

/// Curves, `TPM_ECC_CURVE` (Part 2, 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256 = 0x0003,
    /// `TPM_ECC_NIST_P384`.
    P384 = 0x0004,
    /// `TPM_ECC_NIST_P521`.
    P521 = 0x0005,
}

impl Curve {
    /// Bytes of a coordinate.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn parse(number: u16) -> Result<Self> {
        let known = [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| *curve as u16 == number);
        known.with_context(|| format!("curve {number:#06x} is none of NIST P-256, P-384 and P-521"))
    }
}

/// The digest of `parts`, one behind the other, by a `nameAlg`.
pub fn hash(name_alg: u16, parts: &[&[u8]]) -> Vec<u8> {
    let all = parts.concat();
    match name_alg {
        alg::SHA512 => Sha512::digest(all).to_vec(),
        alg::SHA384 => Sha384::digest(all).to_vec(),
        _ => Sha256::digest(all).to_vec(),
    }
}

impl Public {
    /// Reads a `TPMT_PUBLIC` that is nothing else and has the one encoding that [`Public::to_bytes`] gives.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let object_type = reader.u16()?;
        let name_alg = reader.u16()?;
        ensure!(
            matches!(name_alg, alg::SHA256 | alg::SHA384 | alg::SHA512),
            "nameAlg {name_alg:#06x} is none of SHA-256, SHA-384 and SHA-512"
        );
        let attributes = reader.u32()?;
        let policy = reader.tpm2b()?.to_vec();
        let aes_cfb = symmetric(&mut reader)?;
        let scheme = scheme(&mut reader)?;
        let key = match object_type {
            alg::RSA => rsa_key(&mut reader)?,
            alg::ECC => ecc_key(&mut reader)?,
            other => bail!("key type {other:#06x} is neither RSA nor ECC"),
        };
        reader.end()?;
        Ok(Self { name_alg, attributes, policy, aes_cfb, scheme, key })
    }

    /// Reads a `TPM2B_PUBLIC` that is nothing else.
    pub fn parse_tpm2b(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let public = reader.tpm2b()?;
        reader.end()?;
        Self::parse(public)
    }

    /// The `TPMT_PUBLIC`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let object_type = match self.key {
            Key::Rsa { .. } => alg::RSA,
            Key::Ecc { .. } => alg::ECC,
        };
        let mut bytes = Vec::new();
        bytes.extend(object_type.to_be_bytes());
        bytes.extend(self.name_alg.to_be_bytes());
        bytes.extend(self.attributes.to_be_bytes());
        bytes.extend(tpm2b(&self.policy));
        match self.aes_cfb {
            Some(bits) => bytes.extend(words(&[alg::AES, bits, alg::CFB])),
            None => bytes.extend(words(&[alg::NULL])),
        }
        match self.scheme {
            Some((scheme, hash)) => bytes.extend(words(&[scheme, hash])),
            None => bytes.extend(words(&[alg::NULL])),
        }
        match &self.key {
            Key::Rsa { bits, modulus } => {
                bytes.extend(words(&[*bits, 0, 0]));
                bytes.extend(tpm2b(modulus));
            }
            Key::Ecc { curve, x, y } => {
                bytes.extend(words(&[*curve as u16, alg::NULL]));
                bytes.extend(tpm2b(x));
                bytes.extend(tpm2b(y));
            }
        }
        bytes
    }

    /// The object's Name (Part 1, 14): `nameAlg` and the digest of the public area.
    pub fn name(&self) -> Vec<u8> {
        [self.name_alg.to_be_bytes().as_slice(), &hash(self.name_alg, &[&self.to_bytes()])].concat()
    }

    /// The Qualified Name of a primary key under the endorsement hierarchy (Part 1, 23.5).
    pub fn endorsement_qualified_name(&self) -> Vec<u8> {
        let digest = hash(self.name_alg, &[&RH_ENDORSEMENT.to_be_bytes(), &self.name()]);
        [self.name_alg.to_be_bytes().as_slice(), &digest].concat()
    }
}

impl Public {
    /// The Qualified Name of a key whose parent is a primary key of the endorsement hierarchy.
    pub fn qualified_name_below(&self, parent: &Self) -> Vec<u8> {
        let parent = parent.endorsement_qualified_name();
        let digest = hash(self.name_alg, &[&parent, &self.name()]);
        [self.name_alg.to_be_bytes().as_slice(), &digest].concat()
    }
}

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>> {
    match reader.u16()? {
        alg::NULL => Ok(None),
        alg::AES => {
            let (bits, mode) = (reader.u16()?, reader.u16()?);
            ensure!(
                matches!(bits, 128 | 256) && mode == alg::CFB,
                "symmetric algorithm is neither AES-128-CFB nor AES-256-CFB"
            );
            Ok(Some(bits))
        }
        other => bail!("symmetric algorithm {other:#06x} is neither AES nor NULL"),
    }
}

fn scheme(reader: &mut Reader<'_>) -> Result<Option<(u16, u16)>> {
    match reader.u16()? {
        alg::NULL => Ok(None),
        scheme @ (alg::RSASSA | alg::ECDSA) => Ok(Some((scheme, reader.u16()?))),
        other => bail!("scheme {other:#06x} is not NULL, RSASSA or ECDSA"),
    }
}

fn rsa_key(reader: &mut Reader<'_>) -> Result<Key> {
    let (bits, exponent) = (reader.u16()?, reader.u32()?);
    ensure!(matches!(bits, 2048 | 3072 | 4096), "RSA key of {bits} bits, not 2048, 3072 or 4096");
    ensure!(exponent == 0, "RSA exponent {exponent}, not the default (0)");
    let modulus = reader.tpm2b()?.to_vec();
    Ok(Key::Rsa { bits, modulus })
}

fn ecc_key(reader: &mut Reader<'_>) -> Result<Key> {
    let (curve, kdf) = (Curve::parse(reader.u16()?)?, reader.u16()?);
    ensure!(kdf == alg::NULL, "kdf {kdf:#06x} is not NULL");
    let x = reader.tpm2b()?.to_vec();
    let y = reader.tpm2b()?.to_vec();
    Ok(Key::Ecc { curve, x, y })
}

/// What a quote says, `TPMS_ATTEST` with `TPMS_QUOTE_INFO` (Part 2, 10.12), before anybody has judged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// `magic`.
    pub magic: u32,
    /// `type`.
    pub kind: u16,
    /// `qualifiedSigner`.
    pub qualified_signer: Vec<u8>,
    /// `extraData`: the nonce.
    pub extra_data: Vec<u8>,
    /// `attested`, still to be read: what it is depends on `type`.
    pub attested: Vec<u8>,
}

impl Attest {
    /// Reads the part that all kinds of `TPMS_ATTEST` have in common.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let magic = reader.u32()?;
        let kind = reader.u16()?;
        let qualified_signer = reader.tpm2b()?.to_vec();
        let extra_data = reader.tpm2b()?.to_vec();
        let (_clock, _reset_count, _restart_count) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let safe = reader.u8()?;
        ensure!(safe <= 1, "clockInfo.safe is {safe}, not a TPMI_YES_NO");
        let _firmware_version = reader.u64()?;
        Ok(Self { magic, kind, qualified_signer, extra_data, attested: reader.rest().to_vec() })
    }
}

/// What a quote attests, `TPMS_QUOTE_INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteInfo {
    /// `pcrSelect`: bank and bitmap of each selection.
    pub selections: Vec<(u16, Vec<u8>)>,
    /// `pcrDigest`.
    pub pcr_digest: Vec<u8>,
}

impl QuoteInfo {
    /// Reads [`Attest::attested`] of a quote.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let count = reader.u32()?;
        ensure!(count <= 16, "{count} PCR selections are not plausible");
        let mut selections = Vec::new();
        for _ in 0..count {
            let bank = reader.u16()?;
            let size = reader.u8()?;
            selections.push((bank, reader.take(size.into())?.to_vec()));
        }
        let pcr_digest = reader.tpm2b()?.to_vec();
        reader.end()?;
        Ok(Self { selections, pcr_digest })
    }
}

/// What a certification attests, `TPMS_CERTIFY_INFO`: the object's Name.
pub fn certified_name(attested: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader::new(attested);
    let name = reader.tpm2b()?.to_vec();
    let _qualified_name = reader.tpm2b()?;
    reader.end()?;
    Ok(name)
}

/// `TPML_PCR_SELECTION` of the SHA-256 bank with the PCRs of `bitmap`, PCR 0 in bit 0.
pub fn sha256_selection(bitmap: u32) -> Vec<u8> {
    let [first, second, third, _] = bitmap.to_le_bytes();
    let mut bytes = vec![0, 0, 0, 1];
    bytes.extend(alg::SHA256.to_be_bytes());
    bytes.extend([3, first, second, third]);
    bytes
}

/// A signature, `TPMT_SIGNATURE` (Part 2, 11.3.4), over SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// `TPM_ALG_RSASSA`.
    Rsassa(Vec<u8>),
    /// `TPM_ALG_ECDSA`: r and s as the TPM wrote them.
    Ecdsa(Vec<u8>, Vec<u8>),
}

impl Signature {
    /// Reads a `TPMT_SIGNATURE` that is nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let (scheme, hash) = (reader.u16()?, reader.u16()?);
        ensure!(hash == alg::SHA256, "signature hash {hash:#06x} is not SHA-256");
        let signature = match scheme {
            alg::RSASSA => Self::Rsassa(reader.tpm2b()?.to_vec()),
            alg::ECDSA => Self::Ecdsa(reader.tpm2b()?.to_vec(), reader.tpm2b()?.to_vec()),
            other => bail!("signature scheme {other:#06x} is neither RSASSA nor ECDSA"),
        };
        reader.end()?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Public, Reader, Signature, alg};
    use crate::evidence::template;

    fn ek() -> Vec<u8> {
        let mut public = template::ek_rsa_2048();
        public.key = Key::Rsa { bits: 2048, modulus: vec![0xA5; 256] };
        public.to_bytes()
    }

    #[test]
    fn a_public_area_survives_parsing() {
        let eks = template::EKS.iter().map(template::Ek::public);
        for template in eks.chain([template::ak_p256(), template::ak_rsa_2048()]) {
            assert_eq!(Public::parse(&template.to_bytes()).unwrap(), template);
        }
    }

    #[test]
    fn a_public_area_ends_where_it_ends() {
        let bytes = ek();
        assert!(Public::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
        for length in 0..bytes.len() {
            assert!(Public::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn whatever_parses_has_one_encoding() {
        let bytes = ek();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(public) = Public::parse(&flipped) {
                assert_eq!(public.to_bytes(), flipped, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_size_beyond_the_end_is_refused() {
        assert!(Reader::new(&[0, 4, 1, 2, 3]).tpm2b().is_err());
    }

    #[test]
    fn a_signature_must_use_sha_256() {
        let mut bytes = alg::RSASSA.to_be_bytes().to_vec();
        bytes.extend(alg::SHA1.to_be_bytes());
        bytes.extend([0, 1, 0]);
        assert!(Signature::parse(&bytes).is_err());
    }
}
