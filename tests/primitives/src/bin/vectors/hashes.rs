//! Hashes: messages, and chains of hashes.

use super::records::{Record, paragraphs};
use super::{File, Outcome};
use anyhow::{Context, Result};
use tpm_crypto::hash::{HashAlg, digest};

pub(crate) const NO_HASH: &str = "a hash that no TPM has";

/// A hash by one of the names that files use.
pub(crate) fn named(name: &str) -> Result<HashAlg, &'static str> {
    let plain: String = name.trim().to_uppercase().chars().filter(|c| !"-_ ".contains(*c)).collect();
    Ok(match plain.as_str() {
        "SHA1" => HashAlg::Sha1,
        "SHA256" => HashAlg::Sha256,
        "SHA384" => HashAlg::Sha384,
        "SHA512" => HashAlg::Sha512,
        "SHA3256" => HashAlg::Sha3_256,
        "SHA3384" => HashAlg::Sha3_384,
        "SHA3512" => HashAlg::Sha3_512,
        _ => return Err(NO_HASH),
    })
}

fn of_file(path: &str) -> Result<HashAlg> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "oscca.txt" {
        return Ok(HashAlg::Sm3);
    }
    let end = name.find(['L', 'M']).or(name.find("ShortMsg")).unwrap_or(name.len());
    let name = name[..end].trim_end_matches("Short");
    named(name).ok().with_context(|| format!("{name} is no hash"))
}

pub(crate) fn messages(file: &File) -> Result<Vec<Outcome>> {
    let alg = of_file(&file.path)?;
    paragraphs(&file.text, &["MD"], |record| {
        let message = record.bytes("Msg")?;
        let message = message.get(..record.number("Len")? / 8).context("a message shorter than its length")?;
        Ok(Ok(digest(alg, &[message]).as_slice() == record.bytes("MD")?))
    })
}

/// The Monte Carlo test of SHAVS, 6.4, and of SHA3VS, 6.2.3: 100 times a chain of 1000 hashes that begins with the end
/// of the one before.
pub(crate) fn monte(file: &File) -> Result<Vec<Outcome>> {
    let alg = of_file(&file.path)?;
    let sponge = file.path.contains("SHA3/");
    let mut seed: Option<Vec<u8>> = None;
    paragraphs(&file.text, &["MD"], |record: &Record| {
        let start = match seed.take() {
            Some(seed) => seed,
            None => record.bytes("Seed")?,
        };
        let mut last = [start.clone(), start.clone(), start];
        for _ in 0..1000 {
            let [a, b, c] = &last;
            let next = if sponge { digest(alg, &[c]) } else { digest(alg, &[a, b, c]) };
            last.rotate_left(1);
            next.as_slice().clone_into(&mut last[2]);
        }
        let right = last[2] == record.bytes("MD")?;
        let [_, _, end] = last;
        seed = Some(end);
        Ok(Ok(right))
    })
}
