//! The verdict as a signed attestation result: an EAR (draft-ietf-rats-ear-03) in a JSON Web Token (RFC 7519), with
//! AR4SI's trustworthiness vector.

use crate::judge::{State, Step};
use crate::signing::Key;
use crate::verdict::{Outcome, Verdict};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// The profile of that draft.
pub const PROFILE: &str = "tag:ietf.org,2026:rats/ear#03";
/// AR4SI: what is recognized and approved; what is known to be wrong; hardware that nobody has vouched for.
const AFFIRMING: i8 = 2;
const CONTRAINDICATED: i8 = 96;
const UNRECOGNIZED: i8 = 97;

/// Claims of the vector and the steps that each rests on.
const VECTOR: [(&str, &[Step]); 4] = [
    (
        "instance-identity",
        &[Step::ReportData, Step::EndorsementKey, Step::AttestationKey, Step::EkCertificate, Step::Keys],
    ),
    ("configuration", &[Step::Policy, Step::ReportRules, Step::PlatformInfo, Step::Mitigations]),
    ("executables", &[Step::Measurement, Step::EventLog, Step::Pcrs, Step::Events]),
    (
        "hardware",
        &[
            Step::Root,
            Step::Chain,
            Step::ReportFormat,
            Step::ReportSignature,
            Step::Chip,
            Step::Tcb,
            Step::MinimumTcb,
            Step::Revocation,
        ],
    ),
];

/// The claims. `nonces` are those that the verifier has brought.
pub fn claims(verdict: &Verdict, nonces: &[&[u8]], now: SystemTime) -> Result<Value> {
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
                "quoin_says": format!("{head}{text}"),
                "quoin_steps": verdict.to_json()["steps"],
            },
        },
    });
    let nonces: Vec<String> = nonces.iter().map(|nonce| URL_SAFE_NO_PAD.encode(nonce)).collect();
    if let (Some(claims), false) = (result.as_object_mut(), nonces.is_empty()) {
        claims.insert(String::from("eat_nonce"), if nonces.len() == 1 { json!(nonces[0]) } else { json!(nonces) });
    }
    Ok(result)
}

/// A claim that no step has judged is left out: nothing is said.
fn vector(verdict: &Verdict) -> Map<String, Value> {
    let mut vector = Map::new();
    for (name, steps) in VECTOR {
        let states = verdict.findings.iter().filter(|finding| steps.contains(&finding.step));
        let states: Vec<&State> = states.map(|finding| &finding.state).collect();
        if states.iter().any(|state| matches!(state, State::Failed(_))) {
            vector.insert(name.into(), CONTRAINDICATED.into());
        } else if name == "hardware" && verdict.development_root {
            vector.insert(name.into(), UNRECOGNIZED.into());
        } else if name == "executables" && verdict.outcome() == Outcome::Consistent {
            // The digest is the collector's word.
        } else if states.iter().all(|state| matches!(state, State::Ok(_) | State::Unasked)) {
            vector.insert(name.into(), AFFIRMING.into());
        }
    }
    vector
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
mod tests {
    use super::{PROFILE, claims, token};
    use crate::judge::Expectations;
    use crate::judge::tests::authority;
    use crate::judge::tests::twin::{Twin, expectations as of_twin};
    use crate::policy::Rules;
    use crate::signing::Key;
    use crate::verdict::Verdict;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use core::time::Duration;
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
    use p256::pkcs8::EncodePrivateKey;
    use serde_json::Value;
    use std::time::SystemTime;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    /// A processor whose root is not the mock one, and who accepts it.
    fn expectations() -> Expectations {
        Expectations { rules: Rules { roots: authority::roots(), ..Rules::default() }, ..of_twin() }
    }

    fn of(change: fn(&mut Twin), expected: &Expectations) -> Value {
        let mut twin = Twin::new();
        twin.become_of(&authority::genoa());
        change(&mut twin);
        claims(&Verdict::of(&twin.evidence(), expected), &[&[7; 64]], now()).unwrap()
    }

    #[test]
    fn what_is_verified_is_affirmed_and_nothing_else() {
        let verified = of(|_| {}, &expectations());
        assert_eq!((&verified["eat_profile"], &verified["iat"]), (&PROFILE.into(), &1_800_000_000_u64.into()));
        let submod = &verified["submods"]["vtpm"];
        assert_eq!(submod["ear_status"], "affirming");
        let vector = &submod["ear_trustworthiness_vector"];
        for claim in ["instance-identity", "configuration", "executables", "hardware"] {
            assert_eq!(vector[claim], 2, "{vector}");
        }
        assert_eq!(verified["eat_nonce"].as_str().unwrap().len(), 86);
        let consistent = of(|_| {}, &Expectations { measurement: None, ..expectations() });
        let submod = &consistent["submods"]["vtpm"];
        assert_eq!(
            (&submod["ear_status"], submod["ear_trustworthiness_vector"].get("executables")),
            (&"none".into(), None)
        );
        let refused = of(|twin| twin.report[0x90] ^= 1, &expectations());
        let submod = &refused["submods"]["vtpm"];
        assert_eq!(submod["ear_status"], "contraindicated");
        assert_eq!(submod["ear_trustworthiness_vector"]["executables"], 96);
        assert!(submod["ear_trustworthiness_vector"].get("instance-identity").is_none(), "not judged");
    }

    /// Who asked the verifier has accepted it, who gets the token has not.
    #[test]
    fn what_rests_on_the_mock_root_is_not_affirmed() {
        let verdict = Verdict::of(&Twin::new().evidence(), &of_twin());
        assert_eq!(verdict.status(), 0);
        let claims = claims(&verdict, &[], now()).unwrap();
        let submod = &claims["submods"]["vtpm"];
        assert_eq!(
            (&claims["ear_status"], &submod["ear_status"]),
            (&"contraindicated".into(), &"contraindicated".into())
        );
        assert_eq!(submod["ear_trustworthiness_vector"]["hardware"], 97);
    }

    /// By the crate p256, which shares no code with what has signed.
    #[test]
    fn the_token_is_verified_by_another_implementation() {
        let secret = SigningKey::from_slice(&[0x44; 32]).unwrap();
        let der = secret.to_pkcs8_der().unwrap();
        let key = Key::parse(der.as_bytes()).unwrap();
        let claims = of(|_| {}, &expectations());
        let token = token(&claims, &key).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let [header, body, signature] = parts[..] else { panic!("{token}") };
        let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!((read(header)["alg"].as_str(), read(header)["typ"].as_str()), (Some("ES256"), Some("eat+jwt")));
        assert_eq!(read(body), claims);
        let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let public = VerifyingKey::from(&secret);
        public.verify(format!("{header}.{body}").as_bytes(), &signature).unwrap();
        public.verify(format!("{header}.{body}x").as_bytes(), &signature).unwrap_err();
    }

    #[test]
    fn a_key_is_one_in_pkcs_8() {
        assert!(Key::parse(b"no key").is_err());
    }
}
