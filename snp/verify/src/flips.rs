//! Which step must notice that a bit of genuine evidence is not what it was, file by file.

use crate::evidence::folder::{Evidence, FILES, Field};
use crate::judge::{Expectations, Step, verify};
use anyhow::{Context, Result, bail, ensure};
use std::thread;

/// Bits that are flipped in each file, spread over it. With 21 files that is more than the 200 in all that are
/// promised.
const FLIPS_A_FILE: usize = 32;

/// Parts of evidence of any kind of which no bit may be another. Of logs, and of what lies beside the evidence, some
/// are nobody's business.
pub const PARTS: [(&str, Field); 9] = [
    ("report", |evidence| &mut evidence.report),
    ("manifest", |evidence| &mut evidence.manifest),
    ("claims", |evidence| &mut evidence.claims),
    ("quote", |evidence| &mut evidence.quote),
    ("signature of the quote", |evidence| &mut evidence.quote_signature),
    ("PCRs", |evidence| &mut evidence.pcrs),
    ("endorsement key's certificate", |evidence| &mut evidence.vcek),
    ("intermediate's certificate", |evidence| &mut evidence.ask),
    ("root's certificate", |evidence| &mut evidence.ark),
];

/// The flips of the bits of a file, or of a part.
#[derive(Debug)]
pub struct Flips {
    /// The file, or the part.
    pub file: &'static str,
    /// How many bits were flipped.
    pub bits: usize,
    /// What was not as it should be.
    pub outcome: Result<()>,
}

/// Flips bits of every file, one at a time: each flip must be refused, and at the step whose business it is.
pub fn flips(genuine: &Evidence, expectations: &Expectations) -> impl Iterator<Item = Flips> {
    FILES.into_iter().map(move |(name, field)| {
        let bits = field(&mut genuine.clone()).len() * 8;
        // An odd step visits all bits of a byte in turn; the first and the last bit are always among them.
        let step = (bits / FLIPS_A_FILE).max(1) | 1;
        let chosen: Vec<usize> = (0..bits).step_by(step).chain([bits - 1]).collect();
        let outcome = chosen.iter().try_for_each(|bit| {
            let mut flipped = genuine.clone();
            field(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
            refused(name, *bit, &flipped, expectations)
        });
        Flips { file: name, bits: chosen.len(), outcome }
    })
}

/// Flips every bit of those of [`PARTS`] that are there, one at a time: each flip must be refused.
pub fn every(genuine: &Evidence, expectations: &Expectations) -> impl Iterator<Item = Flips> {
    let parts = PARTS.into_iter().filter(|(_, part)| !part(&mut genuine.clone()).is_empty());
    parts.map(move |(file, part)| {
        let bits = part(&mut genuine.clone()).len() * 8;
        Flips { file, bits, outcome: each_refused(genuine, expectations, part) }
    })
}

/// On two processors.
fn each_refused(genuine: &Evidence, expectations: &Expectations, part: Field) -> Result<()> {
    let accepted = |first: usize| {
        let mut flipped = genuine.clone();
        let bits = part(&mut flipped).len() * 8;
        (first..bits).step_by(2).find(|bit| {
            let flip = |evidence: &mut Evidence| part(evidence)[bit / 8] ^= 1 << (bit % 8);
            flip(&mut flipped);
            let is_accepted = verify(&flipped, expectations, |_, _| {}).is_ok();
            flip(&mut flipped);
            is_accepted
        })
    };
    let bit = thread::scope(|scope| {
        let odd = scope.spawn(|| accepted(1));
        let even = accepted(0);
        odd.join().ok().context("the other half was not judged").map(|odd| even.or(odd))
    })?;
    ensure!(bit.is_none(), "bit {}: accepted", bit.unwrap_or_default());
    Ok(())
}

fn refused(name: &str, bit: usize, flipped: &Evidence, expectations: &Expectations) -> Result<()> {
    let wanted = noticed_by(name, bit / 8);
    match verify(flipped, expectations, |_, _| {}) {
        Ok(()) => bail!("bit {bit}: accepted"),
        Err(failure) if wanted.contains(&failure.step) => Ok(()),
        Err(failure) => bail!("bit {bit}: refused at `{}`, not at {wanted:?}: {:#}", failure.step, failure.why),
    }
}

/// The steps one of which must notice that a byte of a file is not what it was.
fn noticed_by(file: &str, byte: usize) -> &'static [Step] {
    match file {
        "report.bin" => report_noticed_by(byte),
        "ark.der" => &[Step::Root],
        "ask.der" | "vcek.der" | "certificates.bin" => &[Step::Chain],
        "measurement.bin" => &[Step::Measurement],
        "manifest.bin" | "nonce.bin" => &[Step::ReportData],
        "ak.pub" | "credential/ak.name" => &[Step::AttestationKey],
        "quote.msg" | "quote.sig" => &[Step::QuoteSignature],
        "quote.nonce" => &[Step::QuoteNonce],
        "pcrs.bin" => &[Step::PcrDigest],
        "events.bin" => &[Step::EventLog],
        _ => &[Step::Credential],
    }
}

/// SEV-SNP firmware ABI (56860), table "ATTESTATION_REPORT", version 3.
fn report_noticed_by(byte: usize) -> &'static [Step] {
    match byte {
        // Version, signature algorithm; what is reserved in the report; the bytes of R and S that P-384 leaves zero,
        // and what follows them.
        0..4 | 0x34..0x38 | 0x4C..0x50 | 0x18B..0x1A0 | 0x1EB | 0x1EF | 0x1F8..0x2A0 => &[Step::ReportFormat],
        0x2D0..0x2E8 | 0x318..0x4A0 => &[Step::ReportFormat],
        // Family and model: the sev crate reads the levels by them, and does not know every one.
        0x188..=0x189 => &[Step::ReportFormat, Step::ReportSignature],
        _ => &[Step::ReportSignature],
    }
}

#[cfg(test)]
mod tests {
    use super::{each_refused, every};
    use crate::judge::tests::issuer;
    use crate::judge::tests::twin::{Twin, expectations};

    /// Of a TPM without a report, which is quickly judged. Reports and their certificates are flipped in real evidence.
    #[test]
    fn each_bit_of_what_is_there_is_refused() {
        let twin = Twin::new().tpm();
        let mut expected = expectations();
        expected.measurement = None;
        expected.rules.ek_roots = vec![issuer::ek_root()];
        let mut parts = Vec::new();
        for flips in every(&twin, &expected) {
            flips.outcome.unwrap();
            parts.push((flips.file, flips.bits));
        }
        let wanted = [
            ("manifest", twin.manifest.len()),
            ("quote", twin.quote.len()),
            ("signature of the quote", twin.quote_signature.len()),
            ("PCRs", 24 * 32),
        ];
        assert_eq!(parts, wanted.map(|(part, bytes)| (part, bytes * 8)));
    }

    #[test]
    fn a_bit_that_is_nobodys_business_is_found() {
        let mut twin = Twin::new().report_alone();
        twin.nonce.clear();
        twin.measurement = vec![0x90; 2];
        let why = each_refused(&twin, &expectations(), |evidence| &mut evidence.measurement).unwrap_err();
        assert_eq!(why.to_string(), "bit 0: accepted");
    }
}
