//! `cargo xtask verify`: judges an evidence folder (see [`crate::evidence`]) offline, with code that the firmware does
//! not share.
//!
//! The certificate chain and the report are checked twice: by the `sev` crate, and over the raw bytes with graviola.
//! TPM structures are read by [`crate::evidence::wire`], and the quote's signature is checked with graviola. The steps
//! of `STEPS` are done in order and end with the first that fails, because what comes after it would rest on what it
//! could not show.

mod chain;
mod report;
mod signature;
#[cfg(test)]
mod tests;
mod tpm;

pub(crate) use tpm::certified;

use crate::digest::{self, hex};
use crate::evidence::boot_log::{self, OfImage};
use crate::evidence::folder::Evidence;
use crate::{screen, status};
use anyhow::{Context, Result, ensure};
use core::fmt;
use fs_err as fs;
use std::{path::PathBuf, process::ExitCode, time::SystemTime};

/// Options of `cargo xtask verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when every step is ok and --igvm or --measurement said which launch digest is right; 3 when every step is ok but neither \
                  did; otherwise 10 for the first step of the list that is printed, 11 for the second and so on; 1 when the folder or the IGVM file \
                  cannot be read; 2 when the arguments are wrong."
)]
pub struct Args {
    /// The evidence folder.
    dir: PathBuf,
    /// The IGVM file whose launch digest the report must show.
    #[arg(long, value_name = "FILE", conflicts_with = "measurement")]
    igvm: Option<PathBuf>,
    /// The launch digest that the report must show, 96 hexadecimal digits.
    ///
    /// Without it and without --igvm the digest that the collector expected is taken from the folder: what comes out is
    /// "consistent, not verified".
    #[arg(long, value_name = "HEX", value_parser = launch_digest)]
    measurement: Option<LaunchDigest>,
    /// Accept the committed mock root, whose chip key is public. For development and tests: it proves nothing.
    #[arg(long)]
    development_root: bool,
    /// The guest policy that the report must show, such as 0x30000; by default any without DEBUG and without a
    /// migration agent.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    policy: Option<u64>,
}

/// A launch digest as an argument.
type LaunchDigest = [u8; 48];

fn number(text: &str) -> Result<u64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    value.context("a number, such as 0x30000")
}

/// What the verifier brings.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// Accept [`crate::psp::DEVELOPMENT_ROOT_SHA256`] besides AMD's roots.
    pub development_root: bool,
    /// The launch digest; `None` takes the collector's word for it.
    pub measurement: Option<[u8; 48]>,
    /// The exact guest policy; `None` takes any that neither debugging nor a migration agent weakens.
    pub policy: Option<u64>,
    /// The events that a boot of the image measures; `None` if only the launch digest is known.
    pub boot_events: Option<OfImage>,
    /// When certificates must be valid.
    pub now: SystemTime,
}

/// A step of verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "STEPS says what each is")]
pub enum Step {
    Root,
    Chain,
    ReportFormat,
    ReportSignature,
    Chip,
    Vmpl,
    Policy,
    Tcb,
    Measurement,
    ReportData,
    EndorsementKey,
    AttestationKey,
    Credential,
    QuoteSignature,
    QuoteType,
    QuoteSigner,
    QuoteNonce,
    PcrSelection,
    PcrDigest,
    EventLog,
}

/// What a step gets.
struct Case<'a> {
    evidence: &'a Evidence,
    expectations: &'a Expectations,
}

/// Judges one thing; gives what it saw in a few words.
type Check = fn(&Case<'_>) -> Result<String>;

/// Every step in order, its name, and who judges it.
const STEPS: [(Step, &str, Check); 20] = [
    (Step::Root, "root", chain::root),
    (Step::Chain, "certificate chain", chain::chain),
    (Step::ReportFormat, "report format", report::format),
    (Step::ReportSignature, "report signature", report::signature),
    (Step::Chip, "chip and TCB in VCEK", chain::chip),
    (Step::Vmpl, "VMPL 0", report::vmpl),
    (Step::Policy, "guest policy", report::policy),
    (Step::Tcb, "TCB", report::tcb),
    (Step::Measurement, "measurement", report::measurement),
    (Step::ReportData, "report data", report::report_data),
    (Step::EndorsementKey, "EK", tpm::endorsement_key),
    (Step::AttestationKey, "AK attributes", tpm::attestation_key),
    (Step::Credential, "credential activation", tpm::credential),
    (Step::QuoteSignature, "quote signature", tpm::quote_signature),
    (Step::QuoteType, "quote magic and type", tpm::quote_type),
    (Step::QuoteSigner, "quote signer", tpm::quote_signer),
    (Step::QuoteNonce, "quote nonce", tpm::quote_nonce),
    (Step::PcrSelection, "PCR selection", tpm::pcr_selection),
    (Step::PcrDigest, "PCR digest", tpm::pcr_digest),
    (Step::EventLog, "event log", tpm::event_log),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = STEPS.iter().find(|(step, ..)| step == self);
        f.write_str(name.map_or("?", |(_, name, _)| name))
    }
}

/// Where verification has ended, and why.
#[derive(Debug)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// Why it failed.
    pub why: anyhow::Error,
}

/// Judges `evidence`; `report` hears of each step that is ok, with what it saw.
pub fn verify(
    evidence: &Evidence,
    expectations: &Expectations,
    mut report: impl FnMut(Step, &str),
) -> Result<(), Failure> {
    let case = Case { evidence, expectations };
    for (step, _, check) in STEPS {
        match check(&case) {
            Ok(seen) => report(step, &seen),
            Err(why) => return Err(Failure { step, why }),
        }
    }
    Ok(())
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let evidence = Evidence::read(&args.dir)?;
    let image = args.igvm.as_ref().map(fs::read).transpose()?;
    let expectations = Expectations {
        development_root: args.development_root,
        measurement: expected_measurement(args, image.as_deref())?,
        policy: args.policy,
        boot_events: image.as_deref().map(boot_log::expected).transpose()?,
        now: SystemTime::now(),
    };
    Ok(print(&evidence, &expectations))
}

/// Judges and prints a line a step; gives the exit status of [`crate::status`].
pub fn print(evidence: &Evidence, expectations: &Expectations) -> ExitCode {
    let mut status = status::FIRST_STEP;
    let verdict = verify(evidence, expectations, |step, seen| {
        screen::say(&format!("ok      {:<22} ", step.to_string()), seen);
        status += 1;
    });
    let Err(Failure { step, why }) = verdict else {
        let (head, text, status) = conclusion(expectations);
        screen::say(head, &text);
        return ExitCode::from(status);
    };
    screen::say(&format!("FAILED  {:<22} ", step.to_string()), &format!("{why:#}"));
    println!("not verified: steps after the failed one were not judged");
    ExitCode::from(status)
}

/// What it means that every step is ok: what is said first, what then, and the exit status.
fn conclusion(expectations: &Expectations) -> (&'static str, String, u8) {
    let steps = format!("{} steps ok", STEPS.len());
    if expectations.measurement.is_some() {
        return ("verified: ", steps, 0);
    }
    let missing =
        "but the launch digest is the collector's own word; what is missing is --igvm FILE or --measurement HEX";
    ("consistent, not verified: ", format!("{steps}, {missing}"), status::NOT_VERIFIED)
}

fn expected_measurement(args: &Args, image: Option<&[u8]>) -> Result<Option<LaunchDigest>> {
    match image {
        Some(image) => Ok(Some(digest::measure(image).context("the IGVM file cannot be measured")?.digest)),
        None => Ok(args.measurement),
    }
}

fn launch_digest(text: &str) -> Result<LaunchDigest> {
    let mut bytes = [0; 48];
    ensure!(text.len() == 96 && text.is_ascii(), "a launch digest has 96 hexadecimal digits");
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = core::str::from_utf8(digits)?;
        *byte = u8::from_str_radix(digits, 16).with_context(|| format!("{digits} is not hexadecimal"))?;
    }
    Ok(bytes)
}

/// Says that two values differ, in hexadecimal.
fn ensure_equal(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(found == expected, "{what} is {}, expected {}", hex(found), hex(expected));
    Ok(())
}
