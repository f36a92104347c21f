//! Signature checks over raw bytes, with graviola: a library that neither the firmware nor the `sev` crate uses.

use crate::evidence::wire::Curve;
use anyhow::{Context, Result, anyhow, bail, ensure};
use graviola::{
    hashing::{Sha256, Sha384, Sha512},
    signing::{
        ecdsa::{self, P256, P384},
        rsa,
    },
};

/// RSASSA-PSS with SHA-384 and a salt of 48 bytes; `key` is an `RSAPublicKey` in DER.
pub(super) fn rsa_pss_sha384(key: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
    rsa::VerifyingKey::from_pkcs1_der(key)
        .map_err(|error| anyhow!("unusable RSA key: {error:?}"))?
        .verify_pss_sha384(signature, message)
        .map_err(|_| anyhow!("the RSASSA-PSS signature is wrong"))
}

/// RSASSA-PKCS1-v1_5 with SHA-256; `key` is an `RSAPublicKey` in DER.
pub(super) fn rsa_pkcs1_sha256(key: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
    rsa::VerifyingKey::from_pkcs1_der(key)
        .map_err(|error| anyhow!("unusable RSA key: {error:?}"))?
        .verify_pkcs1_sha256(signature, message)
        .map_err(|_| anyhow!("the RSASSA signature is wrong"))
}

/// ECDSA over P-384 with SHA-384; `point` is uncompressed, `signature` is r ‖ s, big-endian.
pub(super) fn ecdsa_p384(point: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
    ecdsa::VerifyingKey::<P384>::from_x962_uncompressed(point)
        .map_err(|error| anyhow!("unusable P-384 key: {error:?}"))?
        .verify::<Sha384>(&[message], signature)
        .map_err(|_| anyhow!("the ECDSA signature is wrong"))
}

/// ECDSA over P-256 with SHA-256; x, y, r and s are big-endian.
pub(super) fn ecdsa_p256(key: (&[u8], &[u8]), message: &[u8], (r, s): (&[u8], &[u8])) -> Result<()> {
    let (x, y) = key;
    let point = [&[4], x, y].concat();
    let signature = [scalar(r)?, scalar(s)?].concat();
    ecdsa::VerifyingKey::<P256>::from_x962_uncompressed(&point)
        .map_err(|error| anyhow!("unusable P-256 key: {error:?}"))?
        .verify::<Sha256>(&[message], &signature)
        .map_err(|_| anyhow!("the ECDSA signature is wrong"))
}

/// A certificate's signature by an algorithm of its identifier (RFC 4055, RFC 5758): RSASSA-PKCS1-v1_5, or ECDSA over
/// P-256 or P-384, which `curve` says.
pub(super) fn of_certificate(
    algorithm: &str,
    curve: Option<&str>,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<()> {
    const P256_OID: &str = "1.2.840.10045.3.1.7";
    const P384_OID: &str = "1.3.132.0.34";
    let unusable = |error: graviola::Error| anyhow!("unusable key: {error:?}");
    let rsa = || rsa::VerifyingKey::from_pkcs1_der(key).map_err(unusable);
    let p256 = || ecdsa::VerifyingKey::<P256>::from_x962_uncompressed(key).map_err(unusable);
    let p384 = || ecdsa::VerifyingKey::<P384>::from_x962_uncompressed(key).map_err(unusable);
    let message = &[message];
    let verdict = match (algorithm, curve) {
        ("1.2.840.113549.1.1.11", _) => rsa()?.verify_pkcs1_sha256(signature, message[0]),
        ("1.2.840.113549.1.1.12", _) => rsa()?.verify_pkcs1_sha384(signature, message[0]),
        ("1.2.840.113549.1.1.13", _) => rsa()?.verify_pkcs1_sha512(signature, message[0]),
        ("1.2.840.10045.4.3.2", Some(P256_OID)) => p256()?.verify_asn1::<Sha256>(message, signature),
        ("1.2.840.10045.4.3.3", Some(P256_OID)) => p256()?.verify_asn1::<Sha384>(message, signature),
        ("1.2.840.10045.4.3.4", Some(P256_OID)) => p256()?.verify_asn1::<Sha512>(message, signature),
        ("1.2.840.10045.4.3.2", Some(P384_OID)) => p384()?.verify_asn1::<Sha256>(message, signature),
        ("1.2.840.10045.4.3.3", Some(P384_OID)) => p384()?.verify_asn1::<Sha384>(message, signature),
        ("1.2.840.10045.4.3.4", Some(P384_OID)) => p384()?.verify_asn1::<Sha512>(message, signature),
        _ => bail!("signed by an algorithm that is unknown here ({algorithm})"),
    };
    verdict.map_err(|_| anyhow!("the signature is wrong"))
}

/// Is (x, y) a point of the curve?
pub(super) fn on_curve(curve: Curve, x: &[u8], y: &[u8]) -> Result<()> {
    let size = curve.size();
    ensure!(x.len() == size && y.len() == size, "coordinates of {size} bytes each");
    let point = [&[4], x, y].concat();
    match curve {
        Curve::P256 => {
            ecdsa::VerifyingKey::<P256>::from_x962_uncompressed(&point)
                .map_err(|error| anyhow!("not a point of P-256: {error:?}"))?;
        }
        Curve::P384 => {
            ecdsa::VerifyingKey::<P384>::from_x962_uncompressed(&point)
                .map_err(|error| anyhow!("not a point of P-384: {error:?}"))?;
        }
        // graviola has no P-521.
        Curve::P521 => {
            p521::PublicKey::from_sec1_bytes(&point).map_err(|_| anyhow!("not a point of P-521"))?;
        }
    }
    Ok(())
}

/// A scalar in 32 bytes: TPMs write it with or without leading zeros.
fn scalar(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut padded = [0; 32];
    let start = 32_usize.checked_sub(bytes.len()).context("an ECDSA value of more than 32 bytes")?;
    padded[start..].copy_from_slice(bytes);
    Ok(padded)
}
