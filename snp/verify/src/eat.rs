//! The verdict as a signed attestation result: an EAR (draft-ietf-rats-ear-04) in a JSON Web Token (RFC 7519), with
//! AR4SI's trustworthiness vector (draft-ietf-rats-ar4si-10, 2.3.4).

use crate::judge::{Finding, State, Step};
use crate::signing::Key;
use crate::verdict::{Outcome, Verdict};
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// The profile of that draft.
pub const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";
/// AR4SI: nothing is said; what is recognized and approved; what is recognized and not to be trusted; what nobody has
/// vouched for; what a signature or a digest does not prove.
const NO_ASSERTION: i8 = 0;
const AFFIRMING: i8 = 2;
const CONTRAINDICATED: i8 = 96;
const UNRECOGNIZED: i8 = 97;
const UNPROVEN: i8 = 99;

/// The claims that are made, of AR4SI's eight.
const VECTOR: [&str; 4] = [IDENTITY, CONFIGURATION, EXECUTABLES, HARDWARE];
/// Which TPM it is, and that it has spoken.
const IDENTITY: &str = "instance-identity";
/// By which rules the guest runs, and with which known weaknesses.
const CONFIGURATION: &str = "configuration";
/// What was launched, and what was measured since.
const EXECUTABLES: &str = "executables";
/// The secure processor, and what its report is worth.
const HARDWARE: &str = "hardware";

/// The claim that rests on a step, and its value when the step has failed.
const fn claim(step: Step) -> (&'static str, i8) {
    match step {
        Step::Root => (HARDWARE, UNRECOGNIZED),
        Step::Chain | Step::ReportSignature => (HARDWARE, UNPROVEN),
        Step::ReportFormat
        | Step::Chip
        | Step::Vmpl
        | Step::Tcb
        | Step::Endorsement
        | Step::Revocation
        | Step::MinimumTcb
        | Step::Chips => (HARDWARE, CONTRAINDICATED),
        Step::ReportData
        | Step::Credential
        | Step::QuoteSignature
        | Step::QuoteType
        | Step::QuoteSigner
        | Step::QuoteNonce
        | Step::EkCertificate => (IDENTITY, UNPROVEN),
        // Of a state that was put back, or that lives twice, the key is known: it is not to be trusted.
        Step::EndorsementKey | Step::AttestationKey | Step::Keys | Step::State | Step::Remembered => {
            (IDENTITY, CONTRAINDICATED)
        }
        Step::PcrDigest => (EXECUTABLES, UNPROVEN),
        Step::Measurement | Step::PcrSelection | Step::EventLog | Step::Pcrs | Step::Events => {
            (EXECUTABLES, CONTRAINDICATED)
        }
        Step::Policy
        | Step::ReportRules
        | Step::PlatformInfo
        | Step::Mitigations
        | Step::LaunchInputs
        | Step::Parts
        | Step::Weaknesses => (CONFIGURATION, CONTRAINDICATED),
    }
}

/// A token cannot repeat a nonce of another length, in bytes (RFC 9711, 4.1).
pub fn ensure_nonce(nonce: &[u8]) -> Result<()> {
    let length = nonce.len();
    ensure!((8..=64).contains(&length), "a token's nonce has 8 to 64 bytes, and this one has {length}");
    Ok(())
}

/// The claims. `nonces` are those that the verifier has brought.
pub fn claims(verdict: &Verdict, nonces: &[&[u8]], now: SystemTime) -> Result<Value> {
    nonces.iter().try_for_each(|nonce| ensure_nonce(nonce))?;
    let issued = now.duration_since(SystemTime::UNIX_EPOCH).context("a time before 1970")?.as_secs();
    let status = match verdict.outcome() {
        // A relying party has not asked for the mock root: whoever asked the verifier has.
        _ if verdict.development_root => "contraindicated",
        // A TPM of anybody's, whose EK an authority of the verifier's knows.
        Outcome::Verified if !verdict.has_report() => "none",
        Outcome::Verified => "affirming",
        Outcome::Consistent => "none",
        Outcome::Refused => "contraindicated",
    };
    let (head, text) = verdict.conclusion();
    let mut result = json!({
        "eat_profile": PROFILE,
        "iat": issued,
        "ear_verifier_id": { "developer": "Quoin", "build": concat!("quoin-verify ", env!("CARGO_PKG_VERSION")) },
        "ear_status": status,
        "submods": {
            "vtpm": {
                "ear_status": status,
                "ear_trustworthiness_vector": vector(verdict),
                "ear_verifier_claims": {
                    "quoin_says": format!("{head}{text}"),
                    "quoin_steps": verdict.to_json()["steps"],
                },
            },
        },
    });
    let nonces: Vec<String> = nonces.iter().map(|nonce| URL_SAFE_NO_PAD.encode(nonce)).collect();
    if let (Some(claims), false) = (result.as_object_mut(), nonces.is_empty()) {
        claims.insert(String::from("eat_nonce"), if nonces.len() == 1 { json!(nonces[0]) } else { json!(nonces) });
    }
    Ok(result)
}

/// A claim whose steps nobody has judged is left out: nothing is said.
fn vector(verdict: &Verdict) -> Map<String, Value> {
    let mut vector: Map<String, Value> =
        VECTOR.iter().filter_map(|name| Some(((*name).into(), value(verdict, name)?.into()))).collect();
    // A vector may not be empty (AR4SI, 3.1), and must be there (EAR, 3.1).
    if vector.is_empty() {
        vector.insert(IDENTITY.into(), NO_ASSERTION.into());
    }
    vector
}

fn value(verdict: &Verdict, name: &str) -> Option<i8> {
    let findings = || verdict.findings.iter().filter(|finding| claim(finding.step).0 == name);
    let failed = findings().find(|finding| matches!(finding.state, State::Failed(_)));
    if let Some(failed) = failed {
        return Some(claim(failed.step).1);
    }
    match name {
        HARDWARE if verdict.development_root => Some(UNRECOGNIZED),
        // The digest is the collector's word.
        EXECUTABLES if verdict.outcome() == Outcome::Consistent => None,
        _ => findings().all(|finding| is_met(verdict, finding)).then_some(AFFIRMING),
    }
}

/// Nothing is missing. Where the report's claims name the AK, nobody has to show by a credential which TPM has it.
fn is_met(verdict: &Verdict, finding: &Finding) -> bool {
    let has_ak = || {
        verdict
            .findings
            .iter()
            .any(|Finding { step, state }| *step == Step::AttestationKey && matches!(state, State::Ok(_)))
    };
    match finding.state {
        State::Ok(_) | State::Unasked => true,
        State::Absent(_) => finding.step == Step::Credential && has_ak(),
        State::Failed(_) | State::Unjudged => false,
    }
}

/// The claims as a JSON Web Token, signed.
pub fn token(claims: &Value, key: &Key) -> Result<String> {
    let header = json!({ "alg": key.jose_name(), "typ": "eat+jwt" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests;
