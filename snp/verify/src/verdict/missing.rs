//! What is nobody's word but the collector's, or was asked for and not judged: with any of it the outcome is
//! "consistent, not verified".

use crate::evidence::folder::{Evidence, Kind};
use crate::judge::{self, Expectations, Finding, State, Step};

/// What is missing, in words.
pub(super) fn of(evidence: &Evidence, expectations: &Expectations, findings: &[Finding]) -> Vec<&'static str> {
    let is_absent =
        |step: Step| findings.iter().any(|finding| finding.step == step && matches!(finding.state, State::Absent(_)));
    let rules = &expectations.rules;
    let has_report = !(evidence.kind == Kind::Tpm && evidence.report.is_empty());
    let is_quoted = !is_absent(Step::QuoteSignature);
    let all = [
        (
            !has_report && rules.ek_roots.is_empty(),
            "nobody vouches for the TPM; what is missing is --ek-root FILE for its EK's certificate, or a folder with a \
             report over its EK",
        ),
        (
            judge::is_by_an_operator(evidence) && rules.ek_roots.is_empty(),
            "nobody vouches for the authority that has issued this certificate for the firmware; what is missing is \
             --ek-root FILE, the operator's",
        ),
        (
            has_report && !expectations.has_reference(),
            "the launch digest is the collector's own word; what is missing is --igvm FILE, --measurement HEX or \
             `launch` in a policy file",
        ),
        (
            has_report && is_absent(Step::ReportData),
            "nobody says what REPORT_DATA must be; what is missing is --nonce HEX",
        ),
        (
            is_quoted && is_absent(Step::QuoteNonce),
            "nobody says what the quote must answer; what is missing is --quote-nonce HEX",
        ),
        (
            nothing_answers(evidence, expectations),
            "nothing in the evidence answers the verifier: it may be of any time; what is missing is a quote, or of \
             Azure's --nonce HEX",
        ),
        (
            evidence.kind != Kind::Quoin && evidence.quote.is_empty() && has_logs(evidence),
            "the event logs are the collector's own word; what is missing is a quote that proves them",
        ),
        (
            has_report && judge::is_unanswered(evidence, &rules.crls),
            "no revocation list is of this chain's root; what is missing is --crl FILE, or `revocation.crls` in a policy \
             file, with that root's",
        ),
    ];
    all.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, words)| words).collect()
}

fn has_logs(evidence: &Evidence) -> bool {
    [&evidence.boot_events, &evidence.ima, &evidence.userspace].iter().any(|log| !log.is_empty())
}

/// No quote is there, and no nonce that claims or a report would have in them. (What a certificate says of its key is
/// said for as long as it is valid.)
fn nothing_answers(evidence: &Evidence, expectations: &Expectations) -> bool {
    let has_nonce = match evidence.kind {
        Kind::Azure => expectations.nonce.is_some(),
        Kind::Tpm => !evidence.report.is_empty() && evidence.statement.is_empty(),
        Kind::Quoin | Kind::Report | Kind::Certificate => true,
    };
    evidence.quote.is_empty() && !has_nonce
}
