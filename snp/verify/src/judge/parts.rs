//! Which steps a kind of evidence has nothing for.

use super::{Case, Step};
use crate::evidence::folder::Kind;

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
        (_, Step::EventLog) => no_quote().or_else(|| why(evidence.boot_events.is_empty(), "no event log")),
        _ => None,
    }
}
