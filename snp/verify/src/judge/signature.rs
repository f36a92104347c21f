//! Signature checks over raw bytes, with graviola: a library that neither the firmware nor the `sev` crate uses.

use anyhow::{Context, Result, anyhow, bail, ensure};
use graviola::{
    hashing::{Sha256, Sha384},
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

/// Is (x, y) a point of P-256?
pub(super) fn on_p256(x: &[u8], y: &[u8]) -> Result<()> {
    ensure!(x.len() == 32 && y.len() == 32, "coordinates of 32 bytes each");
    match ecdsa::VerifyingKey::<P256>::from_x962_uncompressed(&[&[4], x, y].concat()) {
        Ok(_) => Ok(()),
        Err(error) => bail!("not a point of P-256: {error:?}"),
    }
}

/// A scalar in 32 bytes: TPMs write it with or without leading zeros.
fn scalar(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut padded = [0; 32];
    let start = 32_usize.checked_sub(bytes.len()).context("an ECDSA value of more than 32 bytes")?;
    padded[start..].copy_from_slice(bytes);
    Ok(padded)
}
