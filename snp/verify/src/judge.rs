//! The steps by which evidence ([`crate::evidence`]) is judged.
//!
//! The certificate chain and the report are checked twice: by the `sev` crate, and over the raw bytes with graviola.
//! TPM structures are read by [`crate::evidence::wire`], and the quote's signature is checked with graviola. The steps
//! of `STEPS` are done in order and end with the first that fails, because what comes after it would rest on what it
//! could not show.

mod chain;
pub(crate) mod ek_certificate;
mod logs;
mod parts;
mod path;
mod report;
mod require;
mod revocation;
mod rules;
mod signature;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod tpm;

pub(crate) use chain::{is_of_an_endorsement_key, signed_by};
pub(crate) use ek_certificate::is_by_an_operator;
pub(crate) use logs::{proven_measurements, proven_records};
pub(crate) use report::is_signed_by;
pub(crate) use revocation::is_unanswered;
pub(crate) use state::kept;
pub use tpm::certified;

use crate::chip::Generation;
use crate::digest::hex;
use crate::evidence::boot_log::OfImage;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::report::Report;
use crate::memory::Memory;
use crate::policy::{Policy, Rules};
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
    /// The report's nonce; `None` takes the one that is in the evidence.
    pub nonce: Option<Vec<u8>>,
    /// The quote's nonce; `None` takes the one that is in the evidence.
    pub quote_nonce: Option<Vec<u8>>,
    /// Rules of a policy file.
    pub rules: Rules,
    /// What is remembered of TPMs; `None` remembers nothing.
    pub remembered: Option<Memory>,
    /// When certificates must be valid.
    pub now: SystemTime,
}

/// AMD's roots alone, any launch digest, any policy that nothing weakens, now.
impl Default for Expectations {
    fn default() -> Self {
        Self {
            development_root: false,
            measurement: None,
            policy: None,
            boot_events: None,
            nonce: None,
            quote_nonce: None,
            rules: Rules::default(),
            remembered: None,
            now: SystemTime::now(),
        }
    }
}

impl Expectations {
    /// Somebody else than the collector says which launch digest is right.
    pub const fn has_reference(&self) -> bool {
        self.measurement.is_some() || self.rules.has_reference()
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
    EkCertificate,
    Endorsement,
    Revocation,
    ReportRules,
    MinimumTcb,
    PlatformInfo,
    Mitigations,
    Chips,
    LaunchInputs,
    Keys,
    Pcrs,
    Events,
    Parts,
    State,
    Remembered,
    Weaknesses,
}

/// What a step gets.
struct Case<'a> {
    evidence: &'a Evidence,
    expectations: &'a Expectations,
    /// What has become of the steps before it.
    findings: &'a [Finding],
}

impl<'a> Case<'a> {
    fn report(&self) -> Result<Report<'a>> {
        ensure!(!self.evidence.report.is_empty(), "the evidence has no report");
        Report::new(&self.evidence.report)
    }

    /// A step before this one is ok.
    fn is_ok(&self, step: Step) -> bool {
        self.findings.iter().any(|finding| finding.step == step && matches!(finding.state, State::Ok(_)))
    }

    const fn policy(&self) -> &'a crate::policy::Policy {
        &self.expectations.rules.policy
    }
}

/// Judges one thing; gives what it saw in a few words.
type Check = fn(&Case<'_>) -> Result<String>;

/// The same, with what else is known.
type KnownCheck<'a> = dyn Fn(&Case<'_>) -> Result<String> + 'a;

/// Exit status of the first step; the next one's is one more.
pub const FIRST_STEP: u8 = 10;
/// Exit status of the first step that judges by a policy file; the next one's is one more.
pub const FIRST_RULE: u8 = 50;

/// Every step in order, its name, its exit status, and who judges it.
const STEPS: [(Step, &str, u8, Check); 36] = [
    (Step::Root, "root", FIRST_STEP, chain::root),
    (Step::Chain, "certificate chain", 11, chain::chain),
    (Step::ReportFormat, "report format", 12, report::format),
    (Step::ReportSignature, "report signature", 13, report::signature),
    (Step::Chip, "chip and TCB in VCEK", 14, chain::chip),
    (Step::Vmpl, "VMPL 0", 15, report::vmpl),
    (Step::Policy, "guest policy", 16, report::policy),
    (Step::Tcb, "TCB", 17, report::tcb),
    (Step::Measurement, "measurement", 18, report::measurement),
    (Step::ReportData, "report data", 19, report::report_data),
    (Step::EndorsementKey, "EK", 20, tpm::endorsement_key),
    (Step::AttestationKey, "AK attributes", 21, tpm::attestation_key),
    (Step::Credential, "credential activation", 22, tpm::credential),
    (Step::QuoteSignature, "quote signature", 23, tpm::quote_signature),
    (Step::QuoteType, "quote magic and type", 24, tpm::quote_type),
    (Step::QuoteSigner, "quote signer", 25, tpm::quote_signer),
    (Step::QuoteNonce, "quote nonce", 26, tpm::quote_nonce),
    (Step::PcrSelection, "PCR selection", 27, tpm::pcr_selection),
    (Step::PcrDigest, "PCR digest", 28, tpm::pcr_digest),
    (Step::EventLog, "event log", 29, logs::event_log),
    (Step::EkCertificate, "EK certificate", 30, ek_certificate::check),
    (Step::Endorsement, "endorsement rules", FIRST_RULE, rules::endorsement),
    (Step::Revocation, "revocation", 51, revocation::revocation),
    (Step::ReportRules, "report rules", 52, rules::report),
    (Step::MinimumTcb, "minimum TCB", 53, rules::minimum_tcb),
    (Step::PlatformInfo, "platform info", 54, rules::platform_info),
    (Step::Mitigations, "mitigations", 55, rules::mitigations),
    (Step::Chips, "chip ids", 56, rules::chips),
    (Step::LaunchInputs, "launch inputs", 57, rules::launch_inputs),
    (Step::Keys, "key rules", 58, rules::keys),
    (Step::Pcrs, "PCR rules", 59, rules::pcrs),
    (Step::Events, "event rules", 60, rules::events),
    (Step::Parts, "required parts", 61, require::parts),
    (Step::State, "state rules", 62, state::rules),
    (Step::Remembered, "remembered state", 63, state::remembered),
    (Step::Weaknesses, "named weaknesses", 64, rules::weaknesses),
];

impl Step {
    /// Every step, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        STEPS.into_iter().map(|(step, ..)| step)
    }

    fn row(self) -> Option<(Self, &'static str, u8, Check)> {
        STEPS.into_iter().find(|(step, ..)| *step == self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().map_or("?", |(_, name, ..)| name)
    }

    /// The program's exit status when it fails.
    pub fn status(self) -> u8 {
        self.row().map_or(1, |(_, _, status, _)| status)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

/// What has become of a step.
#[derive(Debug)]
pub enum State {
    /// It is ok; what it saw.
    Ok(String),
    /// It has failed; why.
    Failed(anyhow::Error),
    /// The evidence has no such part, or nobody says what it must be; which.
    Absent(&'static str),
    /// No rule asks for it.
    Unasked,
    /// A step before it has failed.
    Unjudged,
}

/// A step and what has become of it.
#[derive(Debug)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// What has become of it.
    pub state: State,
}

/// Judges `evidence` step by step; after the first that fails none is judged.
pub fn examine(evidence: &Evidence, expectations: &Expectations) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut failed = false;
    for (step, _, _, check) in STEPS {
        let case = Case { evidence, expectations, findings: &findings };
        let state = if !rules::asks(&case, step) || parts::unasked(&case, step) {
            State::Unasked
        } else if failed {
            State::Unjudged
        } else if let Some(why) = parts::absent(&case, step) {
            State::Absent(why)
        } else {
            check(&case).map_or_else(State::Failed, State::Ok)
        };
        failed |= matches!(state, State::Failed(_));
        findings.push(Finding { step, state });
    }
    findings
}

/// Judges a report alone, whoever has signed it, by the rules that are about nothing else: those that a firmware judges
/// its own platform by. `generation` is that of the processor, which reports of version 2 do not say. Gives the first
/// step that fails, whose error begins with the rule.
pub fn of_report(report: &[u8], generation: Generation, policy: &Policy) -> Result<(), Failure> {
    let evidence = Evidence { kind: Kind::Report, report: report.to_vec(), ..Evidence::default() };
    let rules = Rules { policy: policy.clone(), ..Rules::default() };
    let expectations = Expectations { rules, ..Expectations::default() };
    let case = Case { evidence: &evidence, expectations: &expectations, findings: &[] };
    let tcb = |case: &Case<'_>| report::tcb_of(&case.report()?, generation);
    let minimum_tcb = |case: &Case<'_>| rules::minimum_tcb_of(case, generation);
    let steps: [(Step, &KnownCheck<'_>); 8] = [
        (Step::Policy, &report::policy),
        (Step::Tcb, &tcb),
        (Step::ReportRules, &rules::report),
        (Step::MinimumTcb, &minimum_tcb),
        (Step::PlatformInfo, &rules::platform_info),
        (Step::Mitigations, &rules::mitigations),
        (Step::Chips, &rules::chips),
        (Step::LaunchInputs, &rules::launch_inputs),
    ];
    for (step, check) in steps.into_iter().filter(|(step, _)| rules::asks(&case, *step)) {
        check(&case).map_err(|why| Failure { step, why })?;
    }
    Ok(())
}

/// Does all of `steps`, whatever those before them have found: none may rest on another for not panicking.
#[cfg(any(feature = "fuzz", test))]
pub(crate) fn each_alone(evidence: &Evidence, expectations: &Expectations, steps: impl Fn(Step) -> bool) {
    let case = Case { evidence, expectations, findings: &[] };
    for (_, _, _, check) in STEPS.into_iter().filter(|(step, ..)| steps(*step)) {
        let _ = check(&case);
    }
}

/// Judges `evidence`; `report` hears of each step that is ok, with what it saw.
pub fn verify(
    evidence: &Evidence,
    expectations: &Expectations,
    mut report: impl FnMut(Step, &str),
) -> Result<(), Failure> {
    for Finding { step, state } in examine(evidence, expectations) {
        match state {
            State::Ok(seen) => report(step, &seen),
            State::Failed(why) => return Err(Failure { step, why }),
            State::Absent(_) | State::Unasked | State::Unjudged => {}
        }
    }
    Ok(())
}

/// Says that two values differ, in hexadecimal.
fn ensure_equal(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(found == expected, "{what} is {}, expected {}", hex(found), hex(expected));
    Ok(())
}
