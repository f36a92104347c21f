//! A real report: a Milan's ([`milan`]). Others, a Genoa's among them, are fetched by a suite of tests/clients.

mod milan;

use core::time::Duration;
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::input::certificates::complete;
use quoin_verify::policy::{Policy, Rules};
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, Step, verify};
use std::thread;
use std::time::SystemTime;

fn milan() -> Evidence {
    let report = milan::report();
    let nonce = report[0x50..0x90].to_vec();
    let mut evidence = Evidence { kind: Kind::Report, report, nonce, ..Evidence::default() };
    complete(&mut evidence, &[milan::file("vcek_milan.der")]).unwrap();
    evidence
}

/// The policy's VMPL, and the report's own measurement.
fn expectations(report: &[u8]) -> Expectations {
    Expectations {
        measurement: Some(report[0x90..0xC0].try_into().unwrap()),
        rules: Rules { policy: Policy::parse(POLICY).unwrap(), ..Rules::default() },
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        ..Expectations::default()
    }
}

const POLICY: &str = "version = 1
roots.amd = [\"milan\"]
report.versions = [2]
endorsement.keys = [\"vcek\"]
tcb.milan = { boot-loader = 3, tee = 0, snp = 8, microcode = 115 }
";

#[test]
fn a_real_report_of_version_2_is_verified_to_amds_root() {
    let evidence = milan();
    let verdict = Verdict::of(&evidence, &expectations(&evidence.report));
    assert_eq!(verdict.status(), 0, "{verdict:?}");
    let json = verdict.to_json();
    assert_eq!(json["steps"][0]["says"], "AMD's root for Milan");
    assert!(json["steps"][4]["says"].as_str().unwrap().starts_with("Milan, chip "), "{json:#}");
}

#[test]
fn a_real_report_below_a_policys_least_is_refused() {
    let evidence = milan();
    let mut expected = expectations(&evidence.report);
    expected.rules.policy.tcb.milan.as_mut().unwrap().snp = Some(9);
    let failure = verify(&evidence, &expected, |_, _| {}).unwrap_err();
    assert_eq!(
        (failure.step, failure.why.to_string()),
        (Step::MinimumTcb, "tcb.milan.snp = 9: the reported TCB has 8".into())
    );
}

#[test]
fn a_real_certificate_of_another_generation_does_not_fit() {
    let mut evidence = milan();
    complete(&mut evidence, &[milan::file("vcek_turin.der")]).unwrap();
    let mut expected = expectations(&evidence.report);
    expected.rules.policy.roots.amd = None;
    let mut seen = Vec::new();
    let failure = verify(&evidence, &expected, |step, said| seen.push((step, said.to_owned()))).unwrap_err();
    assert_eq!((seen[0].1.as_str(), seen[1].0), ("AMD's root for Turin", Step::Chain), "the chain itself is right");
    assert_eq!(failure.step, Step::ReportSignature);
}

/// Flips every bit of a part, on two processors.
fn each_flip_is_refused(part: fn(&mut Evidence) -> &mut Vec<u8>) {
    let genuine = milan();
    let expected = expectations(&genuine.report);
    let bits = part(&mut genuine.clone()).len() * 8;
    thread::scope(|scope| {
        for first in 0..2 {
            let (genuine, expected) = (&genuine, &expected);
            scope.spawn(move || {
                for bit in (first..bits).step_by(2) {
                    let mut flipped = genuine.clone();
                    part(&mut flipped)[bit / 8] ^= 1 << (bit % 8);
                    assert!(verify(&flipped, expected, |_, _| {}).is_err(), "bit {bit}");
                }
            });
        }
    });
}

#[test]
fn each_flipped_bit_of_a_real_report_is_refused() {
    each_flip_is_refused(|evidence| &mut evidence.report);
}

#[test]
fn each_flipped_bit_of_a_real_vcek_is_refused() {
    each_flip_is_refused(|evidence| &mut evidence.vcek);
}
