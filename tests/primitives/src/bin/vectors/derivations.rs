//! MACs and key derivations.

use super::hashes::named;
use super::records::paragraphs;
use super::{File, Outcome};
use anyhow::{Context, Result, anyhow};
use tpm_crypto::cmac::Cmac;
use tpm_crypto::sym::SymAlg;
use tpm_crypto::{hmac, kdf};

pub(crate) fn cmac(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["OUTPUT"], |record| {
        let mac = Cmac::new(SymAlg::Aes, &record.bytes("KEY")?).map_err(|error| anyhow!("{error:?}"))?;
        let mac = mac.chain(&record.bytes("MESSAGE")?).finish();
        let expected = record.bytes("OUTPUT")?;
        Ok(Ok(!expected.is_empty() && mac.get(..expected.len()) == Some(&expected)))
    })
}

pub(crate) fn hmac(file: &File) -> Result<Vec<Outcome>> {
    let name = file.path.rsplit('-').next().unwrap_or_default().trim_end_matches(".txt");
    let alg = named(name).ok().with_context(|| format!("{name} is no hash"))?;
    paragraphs(&file.text, &["MD"], |record| {
        let mac = hmac::hmac(alg, &record.bytes("Key")?, &[&record.bytes("Msg")?]);
        Ok(Ok(mac.as_slice() == record.bytes("MD")?))
    })
}

/// SP 800-108 in counter mode, of which KDFa is one form: HMAC, a counter of 32 bits, before everything else.
pub(crate) fn kbkdf(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["KO"], |record| {
        let Some(hash) = record.text("PRF")?.strip_prefix("HMAC_") else {
            return Ok(Err("KDFa has no CMAC as its PRF"));
        };
        let alg = match named(hash) {
            Ok(alg) => alg,
            Err(reason) => return Ok(Err(reason)),
        };
        if record.text("CTRLOCATION")? != "BEFORE_FIXED" {
            return Ok(Err("KDFa's counter is before everything else"));
        }
        if record.text("RLEN")? != "32_BITS" {
            return Ok(Err("KDFa's counter has 32 bits"));
        }
        let mut out = vec![0; record.number("L")? / 8];
        kdf::counter_mode(alg, &record.bytes("KI")?, &[&record.bytes("FixedInputData")?], &mut out);
        Ok(Ok(out == record.bytes("KO")?))
    })
}

/// ANSI X9.63, which is KDF2.
pub(crate) fn x963(file: &File) -> Result<Vec<Outcome>> {
    paragraphs(&file.text, &["key_data"], |record| {
        Ok(match named(&record.section) {
            Err(reason) => Err(reason),
            Ok(alg) => {
                let mut out = vec![0; record.number("key data length")? / 8];
                kdf::kdf2(alg, &record.bytes("Z")?, &record.bytes("SharedInfo")?, &mut out);
                Ok(out == record.bytes("key_data")?)
            }
        })
    })
}

pub(crate) fn hkdf(file: &File) -> Result<Vec<Outcome>> {
    // The paragraph of a case is one of names, which an empty line may cut.
    paragraphs(&file.text, &["OKM"], |record| {
        Ok(match named(record.text("Hash")?) {
            Err(reason) => Err(reason),
            Ok(alg) => {
                let mut out = vec![0; record.number("L")?];
                // A salt that is not provided is empty.
                let salt = if record.text("salt")?.starts_with("not") { Vec::new() } else { record.bytes("salt")? };
                let prk = kdf::hkdf_extract(alg, &salt, &[&record.bytes("IKM")?]);
                let done = kdf::hkdf_expand(alg, prk.as_slice(), &[&record.bytes("info")?], &mut out);
                Ok(done.is_ok() && out == record.bytes("OKM")?)
            }
        })
    })
}
