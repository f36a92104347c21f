//! TPM2_SelfTest and TPM2_GetTestResult (Part 3, 10), and failure mode (Part 1, 9.4).
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{FAILURE, INITIALIZE, INSUFFICIENT, SIZE, VALUE, param};
use client::names::alg;
use client::session::Outcome;
use tpm_core::Fault;
use tpm_core::cc;
use tpm_core::profile::PROFILE;
use tpm_wire::pt;

fn result(tpm: &mut Fixture) -> Outcome {
    tpm.run(cc::GET_TEST_RESULT, &[], &[], &[])
}

/// outData empty, and success.
fn passed() -> Outcome {
    Ok(vec![0; 6])
}

/// outData is the number of the fault, and testResult `TPM_RC_FAILURE`.
fn failed(fault: Fault) -> Outcome {
    Ok([&[0, 2][..], &fault.number().to_be_bytes(), &FAILURE.to_be_bytes()].concat())
}

#[test]
fn all_tests_pass_and_are_needed_again_after_init() {
    for full in [0, 1] {
        let mut tpm = Fixture::new();
        assert_eq!(result(&mut tpm), passed());
        assert!(!to_do(&mut tpm, &[]).is_empty());
        assert_eq!(tpm.run(cc::SELF_TEST, &[], &[], &[full]), Ok(vec![]));
        assert_eq!(to_do(&mut tpm, &[]), []);
        assert_eq!(result(&mut tpm), passed());
        assert_eq!(tpm.run(cc::SELF_TEST, &[], &[], &[full]), Ok(vec![]), "again");
        tpm.restart(None, 0);
        assert!(!to_do(&mut tpm, &[]).is_empty());
    }
}

#[test]
fn full_test_is_yes_or_no() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::SELF_TEST, &[], &[], &[2]), Err(param(1, VALUE)));
}

fn to_do(tpm: &mut Fixture, to_test: &[u16]) -> Vec<u16> {
    let reply = incremental(tpm, to_test).unwrap();
    let list: Vec<u16> = reply[4..].chunks(2).map(|c| u16::from_be_bytes(c.try_into().unwrap())).collect();
    assert_eq!(reply[..4], (list.len() as u32).to_be_bytes());
    list
}

fn incremental(tpm: &mut Fixture, to_test: &[u16]) -> Outcome {
    let mut params = (to_test.len() as u32).to_be_bytes().to_vec();
    params.extend(to_test.iter().flat_map(|alg| alg.to_be_bytes()));
    tpm.run(cc::INCREMENTAL_SELF_TEST, &[], &[], &params)
}

#[test]
fn incremental_tests_are_taken_off_the_list() {
    let mut tpm = Fixture::unstarted();
    tpm.power_cycle();
    assert_eq!(incremental(&mut tpm, &[]), Err(INITIALIZE), "INITIALIZE");
    tpm.restart(None, 0);
    let all = to_do(&mut tpm, &[]);
    assert!([alg::RSA, alg::ECC, alg::ECDSA].iter().all(|alg| all.contains(alg)));
    assert!(all.iter().all(|alg| PROFILE.has(*alg)), "none that the profile has not: {all:04x?}");
    assert_eq!(to_do(&mut tpm, &[]), all, "an empty list tests nothing");
    let rest = to_do(&mut tpm, &[alg::ECC]);
    assert!([alg::ECC, alg::ECDSA].iter().all(|alg| !rest.contains(alg)) && rest.contains(&alg::RSA));
    assert_eq!(result(&mut tpm), passed());
    for alg in all {
        to_do(&mut tpm, &[alg]);
    }
    assert_eq!(to_do(&mut tpm, &[alg::RSA, alg::RSA]), []);
}

#[test]
fn incremental_self_test_refuses_what_is_not_implemented() {
    let mut tpm = Fixture::new();
    for alg in [0, 0x10, 0x99, 0xffff] {
        assert_eq!(incremental(&mut tpm, &[alg::RSA, alg]), Err(param(1, VALUE)), "{alg:#x}");
    }
    assert!(to_do(&mut tpm, &[]).contains(&alg::RSA), "and tests nothing then");
    assert_eq!(incremental(&mut tpm, &[alg::RSA; 65]), Err(param(1, SIZE)));
    assert!(incremental(&mut tpm, &[alg::RSA; 64]).is_ok());
    assert_eq!(tpm.run(cc::INCREMENTAL_SELF_TEST, &[], &[], &[0, 0, 0, 1, 0]), Err(param(1, INSUFFICIENT)));
}

#[test]
fn algorithms_are_tested_before_their_first_use() {
    let mut tpm = Fixture::new();
    assert!([alg::RSA, alg::ECC].iter().all(|alg| to_do(&mut tpm, &[]).contains(alg)));
    assert!(![alg::SHA256, alg::AES].iter().any(|alg| to_do(&mut tpm, &[]).contains(alg)), "quick ones before any use");
    // TPM2_CreatePrimary with a template that is wrong after its type.
    for (alg, other) in [(alg::ECC, Some(alg::RSA)), (alg::RSA, None)] {
        let template = [&alg.to_be_bytes()[..], &[0, 0xb]].concat();
        let params = [client::tpm2b(&[0, 0, 0, 0]), client::tpm2b(&template)].concat();
        assert!(tpm.with(cc::CREATE_PRIMARY, &[client::codes::OWNER], &[b""], &params).is_err());
        let rest = to_do(&mut tpm, &[]);
        assert!(!rest.contains(&alg) && other.is_none_or(|o| rest.contains(&o)));
    }
}

#[test]
fn the_platform_can_put_the_tpm_into_failure_mode() {
    let mut tpm = Fixture::new();
    tpm.tpm.enter_failure_mode();
    assert_eq!(tpm.run(cc::SELF_TEST, &[], &[], &[1]), Err(FAILURE));
    assert_eq!(result(&mut tpm), failed(Fault::Platform));
    tpm.restart(None, 0);
    assert_eq!(tpm.run(cc::SELF_TEST, &[], &[], &[1]), Ok(vec![]));
}

// A test that fails cannot be provoked through the interface: the known answers are constants. FAILURE is provoked by
// entropy that runs dry.
#[test]
fn in_failure_mode_only_the_two_commands_that_tell_of_it_are_executed() {
    let mut tpm = Fixture::new();
    tpm.fail();
    for code in [cc::STARTUP, cc::SHUTDOWN, cc::SELF_TEST, cc::GET_RANDOM, cc::PCR_READ] {
        assert_eq!(tpm.run(code, &[], &[], &[0, 0]), Err(FAILURE), "command {code:#x}");
    }
    assert_eq!(result(&mut tpm), failed(Fault::NoEntropy));
    let properties = |first: u32, count: u32| [6u32, first, count].map(u32::to_be_bytes).concat();
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &properties(pt::FAMILY_INDICATOR, 100)).unwrap();
    assert_eq!(
        reply[..13],
        [0, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 1, 5],
        "TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2"
    );
    assert_eq!(
        tpm.run(cc::GET_CAPABILITY, &[], &[], &properties(pt::FIRMWARE_VERSION_2, 1)).unwrap()[..13],
        [0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 1, 0xc]
    );
    assert_eq!(tpm.run(cc::GET_CAPABILITY, &[], &[], &properties(pt::PERMANENT, 1)).unwrap()[5..], [0; 4]);
    for malformed in [&[0; 12][..], &[0; 11], &[0; 13], &[]] {
        assert_eq!(tpm.run(cc::GET_CAPABILITY, &[], &[], malformed), Err(FAILURE));
    }
    assert_eq!(tpm.run(cc::GET_TEST_RESULT, &[], &[], &[0]), Err(FAILURE));
    for code in [0, 0x11e, u32::MAX] {
        assert_eq!(tpm.run(code, &[], &[], &[]), Err(FAILURE), "no such command, but that is not told");
    }
    assert_eq!(tpm.raw(&[]), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]);
    assert_eq!(tpm.with(cc::GET_TEST_RESULT, &[], &[b""], &[]), Err(FAILURE), "with a session");
    tpm.entropy.dry = false;
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]), Err(FAILURE), "until _TPM_Init");
    tpm.restart(None, 0);
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).map(|r| r.len()), Ok(3));
}
