//! Elliptic curves: keys, ECDSA, ECDH, and the KEM over them.

use super::hashes::named;
use super::records::{Record, hex, paragraphs};
use super::{File, Outcome};
use anyhow::{Context, Result};
use tpm_crypto::dhkem::DhKem;
use tpm_crypto::ecc::{Curve, Point, Signature};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::{hmac, kdf};

const NO_CURVE: &str = "a curve that no TPM has";

fn curve(name: &str) -> Result<Curve, &'static str> {
    Ok(match name.trim() {
        "P-224" | "EB" => Curve::NistP224,
        "P-256" | "EC" => Curve::NistP256,
        "P-384" | "ED" => Curve::NistP384,
        "P-521" | "EE" => Curve::NistP521,
        _ => return Err(NO_CURVE),
    })
}

/// Files write numbers shorter or with zeros before them.
fn number(curve: Curve, bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let significant = &bytes[zeros..];
    let mut number = vec![0; curve.size().saturating_sub(significant.len())];
    number.extend(significant);
    number
}

fn point(curve: Curve, record: &Record, [x, y]: [&str; 2]) -> Result<Option<Point>> {
    let (x, y) = (number(curve, record.bytes(x)?), number(curve, record.bytes(y)?));
    Ok(Point::new(curve, &x, &y).ok())
}

fn passes(record: &Record) -> Result<bool> {
    Ok(record.text("Result")?.starts_with('P'))
}

fn with_curve(name: &str, run: impl FnOnce(Curve) -> Result<bool>) -> Result<Outcome> {
    curve(name).map_or_else(|reason| Ok(Err(reason)), |curve| run(curve).map(Ok))
}

pub(crate) fn key_pair(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["d"], |record| with_curve(&record.section, |curve| own_key(curve, record)))
}

/// Whether the public key of `d` is the one given.
fn own_key(curve: Curve, record: &Record) -> Result<bool> {
    let (d, given) = (number(curve, record.bytes("d")?), point(curve, record, ["Qx", "Qy"])?);
    let own = curve.public(&d).ok();
    Ok(own.zip(given).is_some_and(|(own, given)| {
        own.x().as_slice() == given.x().as_slice() && own.y().as_slice() == given.y().as_slice()
    }))
}

pub(crate) fn public_key(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["Result"], |record| {
        with_curve(&record.section, |curve| Ok(point(curve, record, ["Qx", "Qy"])?.is_some() == passes(record)?))
    })
}

fn signature(record: &Record, run: impl FnOnce(Curve, HashAlg) -> Result<bool>) -> Result<Outcome> {
    let (name, hash) = record.section.split_once(',').unwrap_or((&record.section, "SHA-1"));
    match curve(name).and_then(|curve| Ok((curve, named(hash)?))) {
        Ok((curve, hash)) => run(curve, hash).map(Ok),
        Err(reason) => Ok(Err(reason)),
    }
}

fn verifies(curve: Curve, hash: HashAlg, record: &Record) -> Result<bool> {
    let Some(public) = point(curve, record, ["Qx", "Qy"])? else { return Ok(false) };
    let (r, s) = (number(curve, record.bytes("R")?), number(curve, record.bytes("S")?));
    let message = digest(hash, &[&record.bytes("Msg")?]);
    Ok(Signature::new(curve, &r, &s).is_ok_and(|s| curve.ecdsa_verify(&public, message.as_slice(), &s).is_ok()))
}

/// Signatures by others: they verify, and where the private key is given, it is that of the public one. The nonces of
/// the engine are its own.
pub(crate) fn generated(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["R"], |record| {
        signature(record, |curve, hash| {
            Ok(verifies(curve, hash, record)? && (!record.has("d") || own_key(curve, record)?))
        })
    })
}

pub(crate) fn verified(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["R"], |record| {
        signature(record, |curve, hash| Ok(verifies(curve, hash, record)? == passes(record)?))
    })
}

/// SP 800-56A, static unified: the shared value, and with a derivation the key and the tag that it gives.
pub(crate) fn ecdh(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["Result"], |record| {
        let (name, hash) = record.section.split_once('-').unwrap_or((&record.section, ""));
        match curve(name).map(|curve| (curve, named(hash))) {
            Ok((curve, hash)) => agrees(curve, hash, record),
            Err(reason) => Ok(Err(reason)),
        }
    })
}

fn agrees(curve: Curve, hash: Result<HashAlg, &'static str>, record: &Record) -> Result<Outcome> {
    let expected = passes(record)?;
    if let (true, Err(reason)) = (record.has("DKM"), hash) {
        return Ok(Err(reason));
    }
    let theirs = point(curve, record, ["QsCAVSx", "QsCAVSy"])?;
    let ours = point(curve, record, ["QsIUTx", "QsIUTy"])?;
    let (Some(theirs), Some(_)) = (theirs, ours) else { return Ok(Ok(!expected)) };
    let d = number(curve, record.bytes("dsIUT")?);
    let shared = curve.public(&d).and_then(|own| Ok((own, curve.multiply(&d, &theirs)?)));
    let Ok((own, shared)) = shared else { return Ok(Ok(!expected)) };
    let mut good = own.x().as_slice() == number(curve, record.bytes("QsIUTx")?)
        && own.y().as_slice() == number(curve, record.bytes("QsIUTy")?)
        && shared.x().as_slice() == number(curve, record.bytes("Z")?);
    if let (true, Ok(hash)) = (record.has("DKM"), hash) {
        let expected = record.bytes("DKM")?;
        let mut key = vec![0; expected.len()];
        kdf::one_step(hash, shared.x().as_slice(), &[&record.bytes("OI")?], &mut key);
        // What is confirmed (SP 800-56A, 8.1); the file's own may have been changed.
        let confirmed = [b"Standard Test Message".as_slice(), &record.bytes("Nonce")?].concat();
        let tag = hmac::hmac(HashAlg::Sha512, &key, &[&confirmed]);
        let given = record.bytes("CAVSTag")?;
        good &= key == expected
            && record.bytes("MacData")? == confirmed
            && tag.as_slice().get(..given.len()) == Some(&given);
    }
    Ok(Ok(good == expected))
}

/// RFC 9180's cases, of which a TPM has the KEM.
pub(crate) fn hpke(file: &File) -> Result<Vec<Outcome>> {
    let cases: serde_json::Value = serde_json::from_str(&file.text)?;
    cases.as_array().context("no list")?.iter().map(kem).collect()
}

fn kem(case: &serde_json::Value) -> Result<Outcome> {
    let of_case = match case["kem_id"].as_u64() {
        Some(0x10) => Some((Curve::NistP256, HashAlg::Sha256)),
        Some(0x11) => Some((Curve::NistP384, HashAlg::Sha384)),
        Some(0x12) => Some((Curve::NistP521, HashAlg::Sha512)),
        _ => None,
    };
    let Some((curve, hash)) = of_case else { return Ok(Err("a KEM over a curve that no TPM has")) };
    if case["mode"].as_u64().is_none_or(|mode| mode > 1) {
        return Ok(Err("the KEM with a sender's key, which a TPM does not have"));
    }
    let field = |name: &str| hex(case[name].as_str().with_context(|| format!("no {name}"))?);
    let (d, public, sent) = (field("skRm")?, field("pkRm")?, field("enc")?);
    let (x, y) = public[1..].split_at(curve.size());
    let public = Point::new(curve, x, y).ok().context("no point")?;
    let kem = DhKem::new(curve, hash).context("no KEM")?;
    let expected = field("shared_secret")?;
    Ok(Ok(kem.decapsulate(&d, &public, &sent).is_ok_and(|secret| secret.ct_eq(&expected))))
}
