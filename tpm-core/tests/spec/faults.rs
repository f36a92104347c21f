//! Faults and failure mode (Part 1, 9.4): what is a fault of the TPM, and what only a bad key or a bad command.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use crate::harness::external::{self, DECRYPT, MADE_HERE, RESTRICTED, SIGN, USER};
use crate::harness::nv;
use crate::harness::twin::import;
use client::codes::{BINDING, FAILURE, OWNER, plain};
use client::names::cap;
use client::platform::export;
use client::platform::{CountedEntropy, ManualClock};
use client::{command, tpm2b};
use hex_literal::hex;
use sha2::{Digest, Sha256};
use tpm_core::cc;
use tpm_core::{Fault, Hooks, Locality, StateError, StateForm, Tpm};
use tpm_wire::pt;

/// A prime of 1024 bits, and its product with a number of 1024 bits that is not a prime: what looks like an RSA key.
const PRIME: [u8; 128] = hex!(
    "e0f8d7362d865eda1c76c6b40839b36c7d843edc50fc519f4490e8f3f117bfd921166b24d6c7f189dcf6751302b67138f3b623b99fbfee27"
    "91ca409a1fc815ee2b0c3cd6cbd8935b11c026f93e4b16a4b32c0f86f1217e5aa9f4e6458d52332fa0a8293eb15eb20401c69fbc7f058b31"
    "4bea2e8b13d4c4b753a7c46c6c2be2b9"
);
const MODULUS: [u8; 256] = hex!(
    "dade84f908d9df407ec3dea6594149e20d669d0cee3e45e6c4593c662b5434b44fdf437fe8beb5123d68706897536f31cce8f6c61b95521d"
    "ade527a04c3846e54fb898d4cc5c50dc88da13380d097842741dfa9f41d2edafabcfbc8f644770832fe691fb1bbb24f58e72505123f8fe2b"
    "67b7e6d1e410024b9ca4bc16ce629359a6e58d52f2f25432738615285bf2fead6f0821bc98e8d50cd52afdd7229e7ecf54d3439acd1ff67a"
    "ded0109a583b329bfe1a5cf5d954df638f5ef11d04cd21c59cbfa00724d0a0a1cb9734bb9970094b82a5c74da71da928ee1327a175c50268"
    "82b6a69628fb90fc36886c1aa621d35892f22d1ca590dfa15e0e26fdd2d18cf9"
);

const RSASSA: [u8; 4] = [0, 0x14, 0, 0xb];

/// TPM2_Sign of a digest with the key's scheme.
fn sign(tpm: &mut Fixture, key: u32) -> Result<Vec<u8>, u32> {
    tpm.with(cc::SIGN, &[key], &[b""], &[&tpm2b(&[7; 32])[..], &[0, 0x10, 0x80, 0x24, 0x40, 0, 0, 7, 0, 0]].concat())
}

/// The TPM is in failure mode for that reason, tells it, and does nothing else until _TPM_Init.
#[track_caller]
fn assert_failed(tpm: &mut Fixture, fault: Fault) {
    assert_eq!(tpm.tpm.fault(), Some(fault));
    assert!(tpm.tpm.is_in_failure_mode());
    for (code, parameters) in
        [(cc::STARTUP, &[0, 0][..]), (cc::SELF_TEST, &[1]), (cc::GET_RANDOM, &[0, 1]), (cc::READ_CLOCK, &[])]
    {
        assert_eq!(tpm.run(code, &[], &[], parameters), Err(FAILURE), "command {code:#x}");
    }
    let reported = [&[0, 2][..], &fault.number().to_be_bytes(), &FAILURE.to_be_bytes()].concat();
    assert_eq!(tpm.run(cc::GET_TEST_RESULT, &[], &[], &[]), Ok(reported), "TPM2_GetTestResult");
    let manufacturer = [cap::TPM_PROPERTIES, pt::MANUFACTURER, 1].map(u32::to_be_bytes).concat();
    let reply = [&[1, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 1, 5][..], b"QUOI"].concat();
    assert_eq!(tpm.run(cc::GET_CAPABILITY, &[], &[], &manufacturer), Ok(reply), "TPM2_GetCapability");
}

/// And after _TPM_Init it is as if nothing had been.
fn assert_healed(tpm: &mut Fixture) {
    tpm.entropy.dry = false;
    tpm.restart(None, 0);
    assert_eq!(tpm.tpm.fault(), None);
    assert_eq!(tpm.run(cc::GET_TEST_RESULT, &[], &[], &[]), Ok(vec![0; 6]));
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).is_ok());
}

/// The state with other octets at the one place where these are.
fn replaced(state: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let places: Vec<_> = (0..=state.len() - old.len()).filter(|at| state[*at..].starts_with(old)).collect();
    assert_eq!((places.len(), old.len()), (1, new.len()));
    let mut state = state.to_vec();
    state[places[0]..][..new.len()].copy_from_slice(new);
    sealed(&state)
}

/// With the digest that belongs to it.
fn sealed(state: &[u8]) -> Vec<u8> {
    let body = &state[..state.len() - 32];
    [body, &Sha256::digest(body)].concat()
}

/// The TPM goes on from that state.
fn go_on(tpm: &mut Fixture, state: &[u8]) {
    tpm.tpm = import(state, tpm.clock.0).unwrap();
}

#[test]
fn a_fault_of_the_platform_is_told() {
    let mut tpm = Fixture::new();
    tpm.tpm.enter_failure_mode();
    assert_failed(&mut tpm, Fault::Platform);
    assert_healed(&mut tpm);
}

#[test]
fn a_blank_tpm_tells_that_there_is_none() {
    let mut tpm = Fixture::new();
    *tpm.tpm = Tpm::blank();
    assert_failed(&mut tpm, Fault::NotMade);
    tpm.power_cycle();
    assert_failed(&mut tpm, Fault::NotMade);
}

#[test]
fn entropy_that_runs_dry_is_told_and_the_first_fault_stays() {
    let mut tpm = Fixture::new();
    tpm.fail();
    assert_failed(&mut tpm, Fault::NoEntropy);
    tpm.tpm.enter_failure_mode();
    assert_failed(&mut tpm, Fault::NoEntropy);
    assert_healed(&mut tpm);
}

/// A platform that gives less room than it has to: what has been done cannot be told.
#[test]
fn a_response_that_does_not_fit_into_the_platforms_buffer_is_a_fault() {
    for room in [10, 13, 0] {
        let mut tpm = Fixture::new();
        let mut response = vec![0; room];
        let (entropy, clock) = (&mut CountedEntropy { count: 9, dry: false }, &mut ManualClock(0));
        let request = command(cc::GET_RANDOM, &[], &[], &[0, 8]);
        let length = tpm.tpm.execute(&mut Hooks { entropy, clock }, Locality::ZERO, &request, &mut response);
        assert_eq!(length, room.min(10));
        if length > 0 {
            assert_eq!(response[..10], [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]);
        }
        assert_failed(&mut tpm, Fault::Response);
        assert_healed(&mut tpm);
    }
}

/// Anybody may load such a key, and sign or decrypt with it: that must not take the TPM out of service.
#[test]
fn a_key_from_outside_that_gives_wrong_results_is_no_fault_of_the_tpm() {
    let mut tpm = Fixture::new();
    let key = external::rsa_key(&mut tpm, SIGN, &RSASSA, &MODULUS, &PRIME);
    assert_eq!(sign(&mut tpm, key), Err(plain(BINDING)));
    let key = external::rsa_key(&mut tpm, DECRYPT, &[0, 0x10], &MODULUS, &PRIME);
    let decrypt = [&tpm2b(&[7; 256])[..], &[0, 0x10, 0, 0]].concat();
    assert_eq!(tpm.with(cc::RSA_DECRYPT, &[key], &[b""], &decrypt), Err(plain(BINDING)));
    assert_eq!(tpm.tpm.fault(), None);
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).is_ok(), "the TPM goes on");
}

/// In a state that is damaged, the same factors are those of a key that the TPM has made.
#[test]
fn a_key_of_its_own_that_gives_wrong_results_is_a_fault() {
    let mut tpm = Fixture::new();
    let template = external::public(1, USER | MADE_HERE | SIGN, &external::rsa_parms(&RSASSA), &[0, 0]);
    let key = external::create_primary(&mut tpm, &template);
    let public = tpm.run(cc::READ_PUBLIC, &[key], &[], &[]).unwrap();
    let modulus = &public[2 + template.len() - 2..][..258];
    assert_eq!(modulus[..2], [1, 0]);
    let mut state = export(&tpm.tpm, StateForm::Whole);
    let at = (0..state.len() - 258).find(|at| state[*at..].starts_with(modulus)).unwrap() + 2;
    // Behind the public area: sizes of all, of authValue and seed, and of the prime.
    assert_eq!(state[at + 256..at + 266], [0, 136, 0, 1, 0, 0, 0, 0, 0, 128]);
    state[at..at + 256].copy_from_slice(&MODULUS);
    state[at + 266..at + 394].copy_from_slice(&PRIME);
    go_on(&mut tpm, &sealed(&state));
    assert_eq!(sign(&mut tpm, key), Err(FAILURE));
    assert_failed(&mut tpm, Fault::PrivateOperation);
    assert_healed(&mut tpm);
}

/// In a state that is damaged a key becomes a parent, but has no algorithm for that.
#[test]
fn a_parent_without_algorithm_for_its_children_is_a_fault() {
    let own = USER | MADE_HERE;
    let ecc = |attributes| external::public(0x23, attributes, &external::ecc_parms(&[0, 0x10], &[0, 0x10]), &[0; 4]);
    let hmac = |attributes| external::public(8, attributes, &[0, 5, 0, 0xb], &[0; 2]);
    // TPM2_Create of a data object; TPM2_CreateLoaded of a derived object.
    let data = external::public(8, USER | 0x12, &[0, 0x10], &[0, 0]);
    let create = [&tpm2b(&[0, 0, 0, 1, 5])[..], &tpm2b(&data), &[0, 0], &[0; 4]].concat();
    let derived = external::public(8, USER | 0x12 | SIGN, &[0, 5, 0, 0xb], &[0; 4]);
    let derive = [&tpm2b(&[0; 4])[..], &tpm2b(&derived)].concat();
    let cases = [
        (ecc(own | SIGN), ecc(own | RESTRICTED | DECRYPT), cc::CREATE, create),
        (hmac(own | SIGN), hmac(own | RESTRICTED | DECRYPT), cc::CREATE_LOADED, derive),
    ];
    for (template, damaged, code, parameters) in cases {
        let mut tpm = Fixture::new();
        let key = external::create_primary(&mut tpm, &template);
        let state = export(&tpm.tpm, StateForm::Whole);
        go_on(&mut tpm, &replaced(&state, &template[..8], &damaged[..8]));
        assert_eq!(tpm.with(code, &[key], &[b""], &parameters), Err(FAILURE));
        assert_failed(&mut tpm, Fault::Parent);
        assert_healed(&mut tpm);
    }
}

/// No command leads to that: the state is one of a TPM in which a self-test has failed.
#[test]
fn a_self_test_that_has_failed_is_told_by_its_number() {
    let mut tpm = Fixture::new();
    tpm.fail();
    let mut state = export(&tpm.tpm, StateForm::Whole);
    let number = [&[1][..], &Fault::NoEntropy.number().to_be_bytes()].concat();
    let at = (0..state.len()).rev().find(|at| state[*at..].starts_with(&number)).unwrap() + 1;
    for number in [3, 1, u8::MAX] {
        state[at..at + 2].copy_from_slice(&[0, number]);
        go_on(&mut tpm, &sealed(&state));
        assert_failed(&mut tpm, Fault::SelfTest(number));
    }
    for unknown in [[0, 0], [1, 0x7f], [0xff, 0xff]] {
        state[at..at + 2].copy_from_slice(&unknown);
        assert_eq!(import(&sealed(&state), 0).err(), Some(StateError::Contents));
    }
    assert_healed(&mut tpm);
}

/// The octets of a structure in the state of a TPM that nobody has used, and those of one that cannot be.
#[test]
fn a_state_with_a_fault_is_not_taken_and_the_refusal_names_it() {
    let mut tpm = Fixture::new();
    // TPM2_SetCommandCodeAuditStatus: the digest of command audit is one of SHA-256.
    tpm.with(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], &[b""], &[0, 0x10, 0, 0, 0, 1, 0, 0, 1, 0x7b, 0, 0, 0, 0])
        .unwrap();
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).unwrap();
    nv::define(&mut tpm, nv::INDEX, nv::a::AUTH, 8).unwrap();
    let state = export(&tpm.tpm, StateForm::Whole);
    let codes = [0u32, 2, cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::GET_RANDOM].map(u32::to_be_bytes).concat();
    let audit = |alg: u8| [&[0, alg][..], &1u64.to_be_bytes()[..], &codes[4..]].concat();
    let index =
        |kind: u32| [&nv::INDEX.to_be_bytes()[..], &[0, 0xb], &(nv::a::AUTH | kind << 4).to_be_bytes()].concat();
    let banks =
        |last: u32| [[0xff_ffff; 4], [last, 0, 0, 0]].concat()[..5].iter().flat_map(|n| n.to_be_bytes()).collect();
    for (right, wrong, fault) in [
        (audit(0xb), audit(0xc), Fault::AuditDigest),
        (index(0), index(3), Fault::NvType),
        (banks(0), banks(1 << 24), Fault::PcrAllocation),
    ] {
        assert!(import(&replaced(&state, &right, &right), 0).is_ok());
        assert_eq!(import(&replaced(&state, &right, &wrong), 0).err(), Some(StateError::Inconsistent(fault)));
    }
}

/// The test of something that leads to this fault; none for what nothing leads to.
fn provoked(fault: Fault) -> Option<fn()> {
    match fault {
        Fault::SelfTest(_) => Some(a_self_test_that_has_failed_is_told_by_its_number),
        Fault::Platform => Some(a_fault_of_the_platform_is_told),
        Fault::NotMade => Some(a_blank_tpm_tells_that_there_is_none),
        Fault::NoEntropy => Some(entropy_that_runs_dry_is_told_and_the_first_fault_stays),
        Fault::Response => Some(a_response_that_does_not_fit_into_the_platforms_buffer_is_a_fault),
        Fault::PrivateOperation => Some(a_key_of_its_own_that_gives_wrong_results_is_a_fault),
        Fault::Parent => Some(a_parent_without_algorithm_for_its_children_is_a_fault),
        Fault::Seed => Some(crate::state::an_inconsistent_state_is_refused),
        Fault::AuditDigest | Fault::NvType | Fault::PcrAllocation => {
            Some(a_state_with_a_fault_is_not_taken_and_the_refusal_names_it)
        }
        Fault::NoRandom
        | Fault::KeyGeneration
        | Fault::Capacity
        | Fault::Cipher
        | Fault::NoObject
        | Fault::NoSession
        | Fault::NoSensitive
        | Fault::NoNameAlg
        | Fault::Areas
        | Fault::Handle
        | Fault::NoResponseHandle
        | Fault::Sessions
        | Fault::NvSpace
        | Fault::NvPlace
        | Fault::NvOrder
        | Fault::NvTable
        | Fault::Name
        | Fault::Blank => None,
    }
}

/// Of each fault either something is known that leads to it, or its description says that nothing does.
#[test]
fn every_fault_is_provoked_or_said_to_be_out_of_reach() {
    let source = include_str!("../../codes/src/fault.rs");
    for fault in Fault::named() {
        let (before, _) = source.split_once(&format!(" {fault:?} = ")).unwrap();
        let description = before.rsplit(';').next().unwrap();
        let out_of_reach = description.contains("othing leads to it");
        assert_eq!(provoked(fault).is_none(), out_of_reach, "{fault:?}");
    }
}
