//! Evidence of a running firmware: verified, bound to the image that was launched, and refused after every single-bit
//! flip.
//!
//! [`flips`] says which step of `xtask verify` must notice a flip, file by file; xtask's own tests apply it to evidence
//! that was made without a machine.

use super::{Totals, case};
use crate::digest::hex;
use crate::evidence::boot_log;
use crate::evidence::folder::{Evidence, FILES};
use crate::run::{self, Built};
use crate::verify::{self, Expectations, Step};
use crate::{evidence, qemu::Folder};
use anyhow::{Context, Result, bail, ensure};
use std::process::{Command, Output};
use std::time::SystemTime;

/// Bits that are flipped in each file, spread over it. With 21 files that is more than the 200 in all that are
/// promised.
const FLIPS_A_FILE: usize = 32;

/// Boots, gathers evidence, and judges it as it is and with each of many bits flipped.
pub fn run(built: &Built) -> Result<Totals> {
    let mut qemu = run::start(built, "")?;
    run::wait_for_guest(&mut qemu, &built.image, false)?;
    let gathered = evidence::gather(&mut qemu.relay()?, &built.image.launch.digest)
        .with_context(|| format!("collecting evidence failed\n{}", qemu.last_lines()))?;
    drop(qemu);
    let expectations = expectations(built)?;
    let mut totals =
        case("`xtask verify` accepts genuine evidence", verb(built, &gathered, 0, "verified: 20 steps ok"));
    totals += case("`xtask measure` prints the digest that the report has signed", measured(built, &gathered));
    totals += case("`xtask verify` names the step that fails, by text and exit status", named(built, &gathered));
    totals += flips(&gathered, &expectations);
    Ok(totals)
}

/// What a verifier brings who has the image.
pub(super) fn expectations(built: &Built) -> Result<Expectations> {
    Ok(Expectations {
        development_root: true,
        measurement: Some(built.image.launch.digest),
        policy: Some(built.image.launch.policy),
        boot_events: Some(boot_log::expected(&built.image.bytes)?),
        now: SystemTime::now(),
    })
}

/// The report's MEASUREMENT is the machine's word; the file's digest is that of [`crate::digest`], which shares nothing
/// with it.
fn measured(built: &Built, evidence: &Evidence) -> Result<()> {
    let output = Command::new(std::env::current_exe()?).arg("measure").arg(&built.path).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let signed = hex(evidence.report.get(0x90..0xC0).context("the report is too short")?);
    ensure!(printed.trim() == signed, "printed {}, signed {signed}", printed.trim());
    Ok(())
}

/// A quote of another nonce: the seventeenth step.
fn named(built: &Built, evidence: &Evidence) -> Result<()> {
    let mut replayed = evidence.clone();
    replayed.quote_nonce[0] ^= 1;
    verb(built, &replayed, 26, "FAILED  quote nonce")
}

fn verb(built: &Built, evidence: &Evidence, status: i32, says: &str) -> Result<()> {
    verb_with(built, evidence, status, &[says])
}

/// Calls the verb as a user does; it must end with `status` and say all of `says`, wherever its lines break.
pub(super) fn verb_with(built: &Built, evidence: &Evidence, status: i32, says: &[&str]) -> Result<()> {
    let folder = Folder::new()?;
    evidence.write(folder.path())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["verify", "--development-root", "--igvm"]).arg(&built.path).arg(folder.path());
    let Output { status: ended, stdout, stderr } = command.output()?;
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in says {
        let wanted = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            ended.code() == Some(status) && words.contains(&wanted),
            "{ended}, expected {status} and `{expected}`:\n{said}"
        );
    }
    Ok(())
}

/// Flips bits of every file, one at a time: each flip must be refused, and at the step whose business it is. A case is
/// a file.
pub fn flips(genuine: &Evidence, expectations: &Expectations) -> Totals {
    let mut totals = Totals::default();
    for (name, field) in FILES {
        let bits = field(&mut genuine.clone()).len() * 8;
        // An odd step visits all bits of a byte in turn; the first and the last bit are always among them.
        let step = (bits / FLIPS_A_FILE).max(1) | 1;
        let chosen: Vec<usize> = (0..bits).step_by(step).chain([bits - 1]).collect();
        let outcome = chosen.iter().try_for_each(|bit| {
            let mut flipped = genuine.clone();
            field(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
            refused(name, *bit, &flipped, expectations)
        });
        totals += case(&format!("{name}: each of {} flipped bits is refused at the right step", chosen.len()), outcome);
    }
    totals
}

fn refused(name: &str, bit: usize, flipped: &Evidence, expectations: &Expectations) -> Result<()> {
    let wanted = noticed_by(name, bit / 8);
    match verify::verify(flipped, expectations, |_, _| {}) {
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
