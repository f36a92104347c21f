//! Which steps a kind of evidence has nothing for.

use super::{Case, Step};
use crate::evidence::folder::Kind;
use crate::evidence::services;

/// What is missing for `step`, if the evidence is of a kind that may lack it. A folder of ours lacks nothing.
pub(super) fn absent(case: &Case<'_>, step: Step) -> Option<&'static str> {
    let evidence = case.evidence;
    let why = |missing: bool, why| missing.then_some(why);
    let no_quote = || why(evidence.quote.is_empty(), "no quote");
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
        (
            Kind::Tpm,
            Step::Root
            | Step::Chain
            | Step::ReportFormat
            | Step::ReportSignature
            | Step::Chip
            | Step::Vmpl
            | Step::Policy
            | Step::Tcb,
        ) => why(evidence.report.is_empty(), "no report"),
        (Kind::Tpm, Step::ReportData) => {
            let brought = case.expectations.nonce.as_ref().unwrap_or(&evidence.nonce);
            let no_report = why(evidence.report.is_empty(), "no report");
            let no_nonce = brought.is_empty() && evidence.statement.is_empty();
            no_report.or_else(|| why(no_nonce, "no nonce: nobody says what REPORT_DATA must be"))
        }
        // Whoever says what was launched, wants to be told.
        (Kind::Tpm, Step::Measurement) => {
            why(evidence.report.is_empty() && !case.expectations.has_reference(), "no report")
        }
        (Kind::Tpm, Step::EkCertificate) => {
            let asked = !case.expectations.rules.ek_roots.is_empty();
            why(evidence.ek_certificate.is_empty() && !asked, "the TPM has no certificate of its EK")
        }
        (Kind::Azure, Step::Credential) => Some("not needed: the report's claims name the AK"),
        (Kind::Azure, Step::QuoteNonce) => no_quote().or_else(|| {
            let brought = case.expectations.quote_nonce.as_ref().unwrap_or(&evidence.quote_nonce);
            why(brought.is_empty(), "no nonce: nobody says what the quote must answer")
        }),
        (
            _,
            Step::QuoteSignature
            | Step::QuoteType
            | Step::QuoteSigner
            | Step::QuoteNonce
            | Step::PcrSelection
            | Step::PcrDigest,
        ) => no_quote(),
        (_, Step::EventLog) => {
            let logs = [&evidence.boot_events, &evidence.ima, &evidence.userspace];
            no_quote().or_else(|| why(logs.iter().all(|log| log.is_empty()), "no event log"))
        }
        _ => None,
    }
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
