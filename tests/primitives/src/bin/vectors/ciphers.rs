//! Block ciphers in the TPM's modes.

use super::records::{hex, paragraphs};
use super::{File, Outcome};
use anyhow::{Context, Result, anyhow, bail};
use tpm_crypto::sym::{Cipher, Mode, SymAlg};

fn mode_of(path: &str) -> Result<Mode> {
    let path = path.to_lowercase();
    let modes = [("cfb", Mode::Cfb), ("cbc", Mode::Cbc), ("ctr", Mode::Ctr), ("ofb", Mode::Ofb), ("ecb", Mode::Ecb)];
    modes.iter().find(|(name, _)| path.contains(name)).map(|(_, mode)| *mode).context("which mode?")
}

fn cipher_of(path: &str) -> Result<SymAlg> {
    Ok(match path.split('/').nth(1) {
        Some("AES") => SymAlg::Aes,
        Some("Camellia") => SymAlg::Camellia,
        Some("SM4") => SymAlg::Sm4,
        _ => bail!("which cipher?"),
    })
}

/// A case is run in both directions: whichever the file means, the other one undoes it.
fn right(alg: SymAlg, mode: Mode, key: &[u8], iv: &[u8], plain: &[u8], encrypted: &[u8]) -> Result<bool> {
    let cipher = Cipher::new(alg, key).map_err(|error| anyhow!("{error:?}"))?;
    let (mut to, mut from) = (plain.to_vec(), encrypted.to_vec());
    let done = cipher.encrypt(mode, &mut iv.to_vec(), &mut to).and(cipher.decrypt(mode, &mut iv.to_vec(), &mut from));
    Ok(done.is_ok() && to == encrypted && from == plain)
}

pub(crate) fn modes(file: &File) -> Result<Vec<Outcome>> {
    let (alg, mode) = (cipher_of(&file.path)?, mode_of(&file.path)?);
    paragraphs(&file.text, &["KEY"], |record| {
        let iv = if mode == Mode::Ecb { Vec::new() } else { record.bytes("IV")? };
        let (plain, encrypted) = (record.bytes("PLAINTEXT")?, record.bytes("CIPHERTEXT")?);
        Ok(Ok(right(alg, mode, &record.bytes("KEY")?, &iv, &plain, &encrypted)?))
    })
}

/// The form of Camellia's authors: lines "K No.001 : ...", then P and C.
pub(crate) fn camellia(file: &File) -> Result<Vec<Outcome>> {
    let (mut key, mut plain, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for line in file.text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.as_bytes().first() {
            Some(b'K') => key = hex(value)?,
            Some(b'P') => plain = hex(value)?,
            Some(b'C') => outcomes.push(Ok(right(SymAlg::Camellia, Mode::Ecb, &key, &[], &plain, &hex(value)?)?)),
            _ => {}
        }
    }
    Ok(outcomes)
}
