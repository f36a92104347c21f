//! ML-KEM and ML-DSA.

use super::records::paragraphs;
use super::{File, Outcome};
use anyhow::{Context, Result, bail};
use tpm_crypto::mldsa::{MlDsa, Mu};
use tpm_crypto::mlkem::MlKem;
use tpm_crypto::{Error, Rng};

/// Random bytes that are these ones.
struct Given<'a>(&'a [u8]);

impl Rng for Given<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(self.0.get(..out.len()).ok_or(Error::Reseed)?);
        Ok(())
    }
}

/// Key, encapsulation, decapsulation, and the secret that a bad ciphertext gives.
pub(crate) fn kem(file: &File) -> Result<Vec<Outcome>> {
    let set = match file.path.rsplit('_').next() {
        Some("512.rsp") => MlKem::MlKem512,
        Some("768.rsp") => MlKem::MlKem768,
        Some("1024.rsp") => MlKem::MlKem1024,
        _ => bail!("which parameters?"),
    };
    paragraphs(&file.text, &["ss"], |record| {
        let seed = [record.bytes("d")?, record.bytes("z")?].concat();
        let (mut public, mut ciphertext) = (vec![0; set.public_size()], vec![0; set.ciphertext_size()]);
        let key = set.public(&seed, &mut public).is_ok() && public == record.bytes("pk")?;
        let sent = set.encapsulate(&public, &mut Given(&record.bytes("msg")?), &mut ciphertext);
        let (secret, rejected) = (record.bytes("ss")?, record.bytes("ss_n")?);
        let sent = sent.is_ok_and(|sent| sent.ct_eq(&secret)) && ciphertext == record.bytes("ct")?;
        let got = set.decapsulate(&seed, &ciphertext).is_ok_and(|got| got.ct_eq(&secret));
        let bad = set.decapsulate(&seed, &record.bytes("ct_n")?).is_ok_and(|got| got.ct_eq(&rejected));
        Ok(Ok(key && sent && got && bad))
    })
}

/// Key, and the signature that no randomness gives.
pub(crate) fn dsa(file: &File) -> Result<Vec<Outcome>> {
    let set = match file.path.split('_').nth(2) {
        Some("44") => MlDsa::MlDsa44,
        Some("65") => MlDsa::MlDsa65,
        Some("87") => MlDsa::MlDsa87,
        _ => bail!("which parameters?"),
    };
    paragraphs(&file.text, &["sm"], |record| {
        let seed = record.bytes("xi")?;
        let mut public = vec![0; set.public_size()];
        let key = set.public(&seed, &mut public).is_ok() && public == record.bytes("pk")?;
        let mut mu = Mu::pure(&public, &record.bytes("ctx")?).ok().context("a context that is too long")?;
        mu.update(&record.bytes("msg")?);
        let (mu, mut signature) = (mu.finish(), vec![0; set.signature_size()]);
        let signed = set.sign(&seed, &mu, &mut Given(&[0; 32]), &mut signature);
        let expected = record.bytes("sm")?;
        let verified = set.verify(&public, &mu, &signature).is_ok();
        Ok(Ok(key && signed.is_ok() && verified && expected.get(..signature.len()) == Some(&signature)))
    })
}
