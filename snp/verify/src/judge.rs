//! The steps by which evidence ([`crate::evidence`]) is judged.
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

pub use tpm::certified;

use crate::digest::hex;
use crate::evidence::boot_log::OfImage;
use crate::evidence::folder::Evidence;
use anyhow::{Result, ensure};
use core::fmt;
use std::time::SystemTime;

/// What the verifier brings.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// Accept [`crate::chip::DEVELOPMENT_ROOT_SHA256`] besides AMD's roots.
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

/// AMD's roots alone, any launch digest, any policy that nothing weakens, now.
impl Default for Expectations {
    fn default() -> Self {
        Self { development_root: false, measurement: None, policy: None, boot_events: None, now: SystemTime::now() }
    }
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

impl Step {
    /// How many there are.
    pub const COUNT: usize = STEPS.len();
}

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

/// Says that two values differ, in hexadecimal.
fn ensure_equal(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(found == expected, "{what} is {}, expected {}", hex(found), hex(expected));
    Ok(())
}
