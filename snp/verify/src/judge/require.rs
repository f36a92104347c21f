//! The parts that a policy file requires: each must be there, and be judged to be right.

use super::{Case, Step, ek_certificate, tpm};
use crate::evidence::boot_log::BootLog;
use crate::evidence::folder::Kind;
use crate::policy::Part;
use anyhow::{Result, ensure};

/// Every part that is required was judged, by a step before this one, and is right.
pub(super) fn parts(case: &Case<'_>) -> Result<String> {
    let mut names = Vec::new();
    for part in &case.policy().require {
        let (name, is_right) = judged(case, *part)?;
        ensure!(is_right, "require: {name} is missing");
        names.push(name);
    }
    Ok(names.join(", "))
}

/// The part's name, and whether a step has shown it.
fn judged(case: &Case<'_>, part: Part) -> Result<(&'static str, bool)> {
    let is_ok = |step| case.is_ok(step);
    Ok(match part {
        Part::Report => ("report", is_ok(Step::ReportSignature)),
        Part::EkCertificate => ("ek-certificate", has_ek_certificate(case)?),
        Part::Ek => ("ek", has_ek(case)),
        Part::Ak => ("ak", is_ok(Step::AttestationKey) || is_certified(case) && tpm::ak(case).is_ok()),
        Part::Credential => ("credential", is_ok(Step::Credential)),
        Part::Quote => ("quote", is_ok(Step::QuoteSignature)),
        Part::EventLog => ("event-log", is_ok(Step::EventLog) && has_events(case)?),
        Part::Nonce => ("nonce", is_ok(Step::ReportData) && case.expectations.nonce.is_some()),
        Part::QuoteNonce => ("quote-nonce", is_ok(Step::QuoteNonce) && case.expectations.quote_nonce.is_some()),
    })
}

/// The evidence is a certificate, of whatever key, that is right.
fn is_certified(case: &Case<'_>) -> bool {
    case.evidence.kind == Kind::Certificate && case.is_ok(Step::EkCertificate)
}

/// Of an EK, and not of another key; somebody vouches for it.
fn has_ek_certificate(case: &Case<'_>) -> Result<bool> {
    if !case.is_ok(Step::EkCertificate) || tpm::ek(case).is_err() {
        return Ok(false);
    }
    ensure!(ek_certificate::is_vouched(case), "require: ek-certificate: nobody says that its issuer is right");
    Ok(true)
}

/// REPORT_DATA names it, or its certificate.
fn has_ek(case: &Case<'_>) -> bool {
    let is_named = case.is_ok(Step::ReportData) && case.is_ok(Step::EndorsementKey);
    is_named || has_ek_certificate(case).unwrap_or_default()
}

/// IMA's list and systemd's log alone are none of the boot's, and a log of no events is none.
fn has_events(case: &Case<'_>) -> Result<bool> {
    // In a folder of ours the challenger's events are always there, and proven.
    Ok(case.evidence.kind == Kind::Quoin || !BootLog::parse(&case.evidence.boot_events)?.events.is_empty())
}
