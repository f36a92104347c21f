//! A token says no more than the verdict, in the drafts' form, and is read by implementations of others.

use super::{PROFILE, VECTOR, claim, claims, token};
use crate::evidence::folder::Evidence;
use crate::judge::tests::twin::{Twin, expectations as of_twin};
use crate::judge::tests::{authority, refusals};
use crate::judge::{Expectations, Step};
use crate::policy::Rules;
use crate::signing::Key;
use crate::verdict::Verdict;
use cddl_cat::validate_json_str;
use core::time::Duration;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use p256::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};
use std::time::SystemTime;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A processor whose root is not the mock one, and who accepts it.
fn expectations() -> Expectations {
    Expectations { rules: Rules { roots: authority::roots(), ..Rules::default() }, ..of_twin() }
}

fn genoa() -> Twin {
    let mut twin = Twin::new();
    twin.become_of(&authority::genoa());
    twin
}

fn of_evidence(evidence: &Evidence, expected: &Expectations) -> Value {
    claims(&Verdict::of(evidence, expected), &[&[7; 64]], now()).unwrap()
}

fn of(change: fn(&mut Twin), expected: &Expectations) -> Value {
    let mut twin = genoa();
    change(&mut twin);
    of_evidence(&twin.evidence(), expected)
}

fn vector(claims: &Value) -> &Value {
    &claims["submods"]["vtpm"]["ear_trustworthiness_vector"]
}

#[test]
fn what_is_verified_is_affirmed_and_nothing_else() {
    let verified = of(|_| {}, &expectations());
    assert_eq!((&verified["eat_profile"], &verified["iat"]), (&PROFILE.into(), &1_800_000_000_u64.into()));
    assert_eq!(verified["submods"]["vtpm"]["ear_status"], "affirming");
    let all = json!({ "instance-identity": 2, "configuration": 2, "executables": 2, "hardware": 2 });
    assert_eq!(vector(&verified), &all);
    let consistent = of(|_| {}, &Expectations { measurement: None, ..expectations() });
    assert_eq!(consistent["submods"]["vtpm"]["ear_status"], "none");
    assert_eq!(vector(&consistent), &json!({ "instance-identity": 2, "configuration": 2, "hardware": 2 }));
    let refused = of(|twin| twin.report[0x90] ^= 1, &expectations());
    assert_eq!(refused["submods"]["vtpm"]["ear_status"], "contraindicated");
    assert_eq!(
        vector(&refused),
        &json!({ "configuration": 2, "executables": 96, "hardware": 2 }),
        "the rest was not judged"
    );
}

#[test]
fn an_ak_that_another_tpm_has_is_no_identity() {
    let mut evidence = genoa().evidence();
    evidence.answer[0] ^= 1;
    let refused = of_evidence(&evidence, &expectations());
    assert_eq!(vector(&refused), &json!({ "instance-identity": 99, "configuration": 2, "hardware": 2 }));
}

/// AR4SI, 2.3.2: contraindicated from 96 up.
#[test]
fn every_step_is_in_the_vector() {
    for step in Step::all() {
        let (name, value) = claim(step);
        assert!(VECTOR.contains(&name) && value >= 96, "{step}");
    }
}

#[test]
fn whatever_is_refused_is_in_the_vector() {
    for (what, verdict) in refusals::verdicts() {
        let claims = claims(&verdict, &[], now()).unwrap();
        let values: Vec<i64> =
            vector(&claims).as_object().unwrap().values().map(|value| value.as_i64().unwrap()).collect();
        let worst = values.iter().filter(|value| **value >= 96).count();
        assert!(worst >= 1, "{what}: {values:?}");
        assert_eq!(claims["submods"]["vtpm"]["ear_status"], "contraindicated", "{what}");
        read(&claims).unwrap_or_else(|why| panic!("{what}: {why}"));
    }
}

/// Azure's report names the AK by its claims, so that no credential shows it; without a quote the AK has not spoken.
#[test]
fn azures_ak_is_an_identity_where_it_has_quoted() {
    let mut evidence = genoa().azure();
    assert_eq!(vector(&of_evidence(&evidence, &expectations()))["instance-identity"], 2);
    let quoted = [&mut evidence.quote, &mut evidence.quote_signature, &mut evidence.quote_nonce, &mut evidence.pcrs];
    quoted.into_iter().for_each(Vec::clear);
    let expected = Expectations { nonce: Some(vec![0x17; 64]), ..expectations() };
    assert_eq!(vector(&of_evidence(&evidence, &expected)).get("instance-identity"), None);
}

#[test]
fn of_a_tpm_without_a_report_nothing_is_said() {
    // What is said of a report would have nothing to be judged by.
    let expected = Expectations { now: of_twin().now, ..Expectations::default() };
    let claims = of_evidence(&Twin::new().tpm(), &expected);
    assert_eq!(claims["submods"]["vtpm"]["ear_status"], "none");
    assert_eq!(vector(&claims), &json!({ "instance-identity": 0 }), "an empty vector is none");
    read(&claims).unwrap();
}

/// Who asked the verifier has accepted it, who gets the token has not.
#[test]
fn what_rests_on_the_mock_root_is_not_affirmed() {
    let verdict = Verdict::of(&Twin::new().evidence(), &of_twin());
    assert_eq!(verdict.status(), 0);
    let claims = claims(&verdict, &[], now()).unwrap();
    assert_eq!(
        (&claims["ear_status"], &claims["submods"]["vtpm"]["ear_status"]),
        (&"contraindicated".into(), &"contraindicated".into())
    );
    assert_eq!(vector(&claims)["hardware"], 97);
}

#[test]
fn a_nonce_has_8_to_64_bytes_and_is_repeated() {
    let verdict = Verdict::of(&genoa().evidence(), &expectations());
    for length in [0, 7, 65] {
        let why = claims(&verdict, &[&[7; 16], &vec![7; length]], now()).unwrap_err().to_string();
        assert_eq!(why, format!("a token's nonce has 8 to 64 bytes, and this one has {length}"));
    }
    for (nonces, wanted) in [
        (&[&[7; 8][..]][..], json!("BwcHBwcHBwc")),
        (&[&[0; 64]], json!("A".repeat(86))),
        (&[&[7; 8], &[0xFF; 9]], json!(["BwcHBwcHBwc", "____________"])),
    ] {
        let claims = claims(&verdict, nonces, now()).unwrap();
        assert_eq!(claims["eat_nonce"], wanted);
        read(&claims).unwrap();
    }
}

/// By the draft's types, in our words and closed.
fn read(claims: &Value) -> Result<(), String> {
    validate_json_str("ear", include_str!("ear.cddl"), &claims.to_string()).map_err(|why| why.to_string())
}

/// A result in the form of the draft's first example, and one in that of its second.
fn examples() -> [Value; 2] {
    let of = |submods: Value| {
        json!({
            "eat_profile": PROFILE,
            "iat": 1_700_000_000,
            "ear_verifier_id": { "developer": "https://verifier.example", "build": "one 1.0" },
            "submods": submods,
        })
    };
    let appraisal = |status: &str, vector: Value| {
        let policies = ["https://verifier.example/policy/1"];
        json!({ "ear_status": status, "ear_trustworthiness_vector": vector, "ear_appraisal_policy_ids": policies })
    };
    let worn = json!({ "instance-identity": 2, "executables": 96, "hardware": 2 });
    let whole = json!({ "instance-identity": 2, "executables": 2, "hardware": 2 });
    [
        of(json!({ "one": appraisal("contraindicated", worn) })),
        of(json!({
            "platform": appraisal("affirming", whole),
            "realm": appraisal("affirming", json!({ "instance-identity": 2 })),
        })),
    ]
}

#[test]
fn the_token_has_the_form_of_the_drafts_examples() {
    let [one, two] = examples();
    read(&one).unwrap();
    read(&two).unwrap();
    let ours = of(|_| {}, &expectations());
    read(&ours).unwrap();
    let submod = &ours["submods"]["vtpm"];
    assert_eq!(submod["ear_verifier_claims"]["quoin_steps"][0]["step"], "root");
}

/// Each key in turn, wherever it is, but for those below `ear_verifier_claims`, which are ours, and the submodule's.
#[test]
fn a_token_with_any_key_misspelt_is_no_attestation_result() {
    for right in [of(|_| {}, &expectations()), examples()[0].clone()] {
        let mut keys = Vec::new();
        keys_of(&right, "", &mut keys);
        assert!(keys.len() >= 12, "{keys:?}");
        for pointer in keys {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let mut wrong = right.clone();
            let map = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            let value = map.remove(key).unwrap();
            map.insert(format!("{key}s"), value);
            assert!(read(&wrong).is_err(), "{pointer}");
        }
    }
}

fn keys_of(value: &Value, place: &str, keys: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let pointer = format!("{place}/{key}");
        if key != "ear_verifier_claims" {
            keys_of(value, &pointer, keys);
        }
        if place != "/submods" {
            keys.push(pointer);
        }
    }
}

#[test]
fn a_token_with_a_wrong_value_is_no_attestation_result() {
    let right = of(|_| {}, &expectations());
    for (pointer, value) in [
        ("/eat_profile", json!("tag:ietf.org,2026:rats/ear#03")),
        ("/iat", json!(1.5)),
        ("/eat_nonce", json!("BwcHBwcHBw")),
        ("/eat_nonce", json!(["BwcHBwcHBwc"])),
        ("/submods", json!({})),
        ("/ear_status", json!("fine")),
        ("/submods/vtpm/ear_status", json!("fine")),
        ("/submods/vtpm/ear_trustworthiness_vector", json!({})),
        ("/submods/vtpm/ear_trustworthiness_vector/hardware", json!(128)),
        ("/submods/vtpm/ear_verifier_claims", json!({})),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(read(&wrong).is_err(), "{pointer}: {wrong}");
    }
}

/// By the crate jsonwebtoken, which shares no code with what has signed. It wants the claims that RFC 7519 names.
#[test]
fn the_token_is_verified_by_another_implementation() {
    let p256 = p256::ecdsa::SigningKey::from_slice(&[0x44; 32]).unwrap();
    let p384 = p384::ecdsa::SigningKey::from_slice(&[0x44; 48]).unwrap();
    let points = [
        p256.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
        p384.verifying_key().to_encoded_point(false).as_bytes().to_vec(),
    ];
    let keys = [p256.to_pkcs8_der().unwrap(), p384.to_pkcs8_der().unwrap()];
    let claims = of(|_| {}, &expectations());
    for ((der, point), algorithm) in keys.iter().zip(&points).zip([Algorithm::ES256, Algorithm::ES384]) {
        let token = token(&claims, &Key::parse(der.as_bytes()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iat"]);
        validation.validate_exp = false;
        let verify = |token: &str| decode::<Value>(token, &DecodingKey::from_ec_der(point), &validation);
        let read = verify(&token).unwrap();
        assert_eq!((read.header.typ.as_deref(), read.claims), (Some("eat+jwt"), claims.clone()));
        for (at, _) in token.char_indices().filter(|(at, _)| at % 97 == 0) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(verify(&String::from_utf8(changed).unwrap()).is_err(), "character {at}");
        }
        let other = &points[usize::from(algorithm == Algorithm::ES256)];
        assert!(decode::<Value>(&token, &DecodingKey::from_ec_der(other), &validation).is_err(), "another key");
    }
}

#[test]
fn a_key_is_one_in_pkcs_8() {
    assert!(Key::parse(b"no key").is_err());
}
