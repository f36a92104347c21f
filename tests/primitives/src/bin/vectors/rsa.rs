//! RSA signatures, decryption, and keys.

use super::hashes::named;
use super::records::{Record, labelled, paragraphs};
use super::{File, Outcome};
use anyhow::{Context, Result};
use tpm_crypto::drbg::Drbg;
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::rsa::padding::{CryptScheme, SignScheme};
use tpm_crypto::rsa::{RsaPrivate, RsaPublic, has_key_bits};

const NO_SIZE: &str = "an RSA key of a size that no TPM here has";
const NO_EXPONENT: &str = "a public exponent that is no prime above 2^16";

fn trimmed(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

fn public(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublic, &'static str> {
    let modulus = trimmed(modulus);
    if modulus.first().is_none_or(|first| *first < 0x80) || !u16::try_from(8 * modulus.len()).is_ok_and(has_key_bits) {
        return Err(NO_SIZE);
    }
    let exponent = trimmed(exponent).iter().try_fold(0_u32, |e, byte| Some(e.checked_mul(256)? | u32::from(*byte)));
    RsaPublic::new(modulus, exponent.filter(|e| *e > 1).ok_or(NO_EXPONENT)?).map_err(|_| NO_EXPONENT)
}

/// A case of CAVP: verified, if there is a verdict against that, otherwise good.
fn signature(record: &Record, scheme: fn(HashAlg) -> SignScheme) -> Result<Outcome> {
    let parts = public(&record.bytes("n")?, &record.bytes("e")?).and_then(|key| Ok((key, named(record_hash(record))?)));
    let (key, hash) = match parts {
        Ok(parts) => parts,
        Err(reason) => return Ok(Err(reason)),
    };
    let expected = !record.has("Result") || record.text("Result")?.starts_with('P');
    let message = digest(hash, &[&record.bytes("Msg")?]);
    Ok(Ok(key.verify(scheme(hash), message.as_slice(), &record.bytes("S")?).is_ok() == expected))
}

fn record_hash(record: &Record) -> &str {
    record.text("SHAAlg").unwrap_or_default()
}

pub(crate) fn pkcs1(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["S"], |record| signature(record, SignScheme::Rsassa))
}

pub(crate) fn pss(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["S"], |record| signature(record, SignScheme::Rsapss))
}

/// Keys made elsewhere are taken, the second prime is the file's, and the private operation undoes the public one.
pub(crate) fn keys(file: &File) -> Result<Vec<Outcome>> {
    let mut rng = generator()?;
    paragraphs(&file.text, &["p"], |record| {
        let key = public(&record.bytes("n")?, &record.bytes("e")?);
        let (p, q) = (record.bytes("p")?, record.bytes("q")?);
        Ok(key.map(|public| {
            let good = |prime: &[u8]| RsaPrivate::new(&public, trimmed(prime)).ok();
            let (Some(one), Some(_)) = (good(&p), good(&q)) else { return false };
            let mut block = vec![0x55; public.size()];
            block[0] = 0;
            let before = block.clone();
            let done = one.raw(&mut rng, &mut block).and_then(|()| public.raw(&mut block));
            done.is_ok() && block == before
        }))
    })
}

fn generator() -> Result<Drbg> {
    Drbg::new(&[7; 32], b"", b"vectors").ok().context("no generator")
}

fn private(record: &Record) -> Result<Result<RsaPrivate, &'static str>> {
    let key = public(&record.bytes("Modulus")?, &record.bytes("Public exponent")?);
    let prime = record.bytes("Prime 1")?;
    Ok(key.and_then(|key| RsaPrivate::new(&key, trimmed(&prime)).map_err(|_| "primes of different lengths")))
}

fn decrypted(file: &File, scheme: CryptScheme<'_>) -> Result<Vec<Outcome>> {
    let mut rng = generator()?;
    labelled(&file.text, "Encryption", |record| {
        let (message, encrypted) = (record.bytes("Message")?, record.bytes("Encryption")?);
        Ok(private(record)?
            .map(|key| key.decrypt(&mut rng, scheme, &encrypted).is_ok_and(|found| found.as_slice() == message)))
    })
}

pub(crate) fn rsaes(file: &File) -> Result<Vec<Outcome>> {
    decrypted(file, CryptScheme::Rsaes)
}

/// The file's name has the hash of MGF1 and that of the label, unless it is the old one, of SHA-1.
pub(crate) fn oaep(file: &File) -> Result<Vec<Outcome>> {
    let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".txt");
    let hash = match name.split('-').collect::<Vec<_>>().as_slice() {
        ["oaep", mgf, label] if mgf == label => named(label),
        ["oaep", "vect"] => Ok(HashAlg::Sha1),
        _ => Err("MGF1 with another hash than the scheme's"),
    };
    match hash {
        Ok(hash) => decrypted(file, CryptScheme::Oaep(hash, b"")),
        Err(reason) => labelled(&file.text, "Encryption", |_| Ok(Err(reason))),
    }
}

fn examples(file: &File, message: &str, scheme: SignScheme) -> Result<Vec<Outcome>> {
    labelled(&file.text, "Signature", |record| {
        let message = digest(HashAlg::Sha1, &[&record.bytes(message)?]);
        let (key, signature) =
            (public(&record.bytes("Modulus")?, &record.bytes("Public exponent")?), record.bytes("Signature")?);
        Ok(key.map(|key| key.verify(scheme, message.as_slice(), &signature).is_ok()))
    })
}

pub(crate) fn pss_examples(file: &File) -> Result<Vec<Outcome>> {
    examples(file, "Message to be signed", SignScheme::Rsapss(HashAlg::Sha1))
}

pub(crate) fn pkcs1_examples(file: &File) -> Result<Vec<Outcome>> {
    examples(file, "Message to be signed", SignScheme::Rsassa(HashAlg::Sha1))
}
