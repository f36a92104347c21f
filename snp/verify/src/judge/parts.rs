//! Which steps a kind of evidence has nothing for.

use super::{Case, Step};
use crate::evidence::folder::Kind;
use crate::evidence::services;
use crate::policy::Roots;

/// What is missing for `step`, if the evidence is of a kind that may lack it. A folder of ours lacks nothing.
pub(super) fn absent(case: &Case<'_>, step: Step) -> Option<&'static str> {
    let evidence = case.evidence;
    let why = |missing: bool, why| missing.then_some(why);
    // One in part is a wrong one.
    let quote = [&evidence.quote, &evidence.quote_signature, &evidence.pcrs];
    // Whoever brings what must be in it, wants to be told that it is not there.
    let no_quote = |is_asked: bool| why(!is_asked && quote.iter().all(|part| part.is_empty()), "no quote");
    let no_report = |is_asked: bool| why(!is_asked && evidence.report.is_empty(), "no report");
    let expected = case.expectations;
    match (evidence.kind, step) {
        (Kind::Quoin, _) => None,
        (Kind::Report, Step::ReportData) => {
            let brought = case.expectations.nonce.as_ref().unwrap_or(&evidence.nonce);
            why(brought.is_empty(), "no nonce: nobody says what REPORT_DATA must be")
        }
        (Kind::Report, Step::EndorsementKey) => why(evidence.manifest.is_empty(), "no manifest that names an EK"),
        (Kind::Report, Step::AttestationKey | Step::Credential) => Some("no AK"),
        (Kind::Certificate, Step::EndorsementKey | Step::AttestationKey | Step::Credential) => {
            Some("the certificate is of one key alone")
        }
        (Kind::Tpm, Step::Chain | Step::ReportFormat | Step::ReportSignature | Step::Chip | Step::Vmpl | Step::Tcb) => {
            no_report(false)
        }
        (Kind::Tpm, Step::Root) => no_report(has_root_rules(case)),
        (Kind::Tpm, Step::Policy) => no_report(expected.policy.is_some()),
        (Kind::Tpm, Step::Measurement) => no_report(expected.has_reference()),
        (Kind::Tpm, Step::ReportData) => {
            let brought = expected.nonce.as_ref().unwrap_or(&evidence.nonce);
            let no_nonce = brought.is_empty() && evidence.statement.is_empty();
            no_report(expected.nonce.is_some())
                .or_else(|| why(no_nonce, "no nonce: nobody says what REPORT_DATA must be"))
        }
        (Kind::Tpm, Step::EkCertificate) => {
            let asked = !case.expectations.rules.ek_roots.is_empty();
            why(evidence.ek_certificate.is_empty() && !asked, "the TPM has no certificate of its EK")
        }
        (Kind::Azure, Step::Credential) => Some("not needed: the report's claims name the AK"),
        (kind, Step::QuoteNonce) => {
            let brought = expected.quote_nonce.as_ref().unwrap_or(&evidence.quote_nonce);
            let no_nonce = kind == Kind::Azure && brought.is_empty();
            no_quote(expected.quote_nonce.is_some())
                .or_else(|| why(no_nonce, "no nonce: nobody says what the quote must answer"))
        }
        (_, Step::QuoteSignature | Step::QuoteType | Step::QuoteSigner | Step::PcrSelection | Step::PcrDigest) => {
            no_quote(false)
        }
        (_, Step::EventLog) => {
            let logs = [&evidence.boot_events, &evidence.ima, &evidence.userspace];
            let is_asked = !expected.rules.ima_keys.is_empty();
            let is_empty = logs.iter().all(|log| log.is_empty());
            no_quote(is_asked).or_else(|| why(!is_asked && is_empty, "no event log"))
        }
        _ => None,
    }
}

/// The policy says which roots may be, beyond the mock one, which is a permission.
fn has_root_rules(case: &Case<'_>) -> bool {
    let Roots { amd, sha256, files, development: _ } = &case.policy().roots;
    amd.is_some() || !(sha256.is_empty() && files.is_empty())
}

/// No part of the evidence, and nothing that the verifier brings, is about `step`.
pub(super) fn unasked(case: &Case<'_>, step: Step) -> bool {
    let nobody = case.evidence.ek_certificate.is_empty() && case.expectations.rules.ek_roots.is_empty();
    match step {
        Step::EkCertificate => case.evidence.kind != Kind::Tpm && nobody,
        Step::Remembered => case.expectations.remembered.is_none(),
        // What is said is shown, and what is wrong with it, too.
        Step::Weaknesses => {
            let said = services::weaknesses(&case.evidence.manifest);
            case.policy().firmware.weaknesses.is_none() && said.is_ok_and(|said| said.is_none())
        }
        _ => false,
    }
}
