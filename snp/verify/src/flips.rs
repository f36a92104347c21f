//! Which step must notice that a bit of genuine evidence is not what it was, file by file.

use crate::evidence::folder::{Evidence, FILES};
use crate::judge::{Expectations, Step, verify};
use anyhow::{Result, bail};

/// Bits that are flipped in each file, spread over it. With 21 files that is more than the 200 in all that are
/// promised.
const FLIPS_A_FILE: usize = 32;

/// The flips of a file's bits.
#[derive(Debug)]
pub struct Flips {
    /// The file.
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
