//! Part 3, 23: Enhanced Authorization commands, in trial and in policy sessions. What the policies mean when they are
//! used is in policy_use.rs.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::attributes::session as attr;
use client::codes::{
    AUTH_MISSING, AUTH_UNAVAILABLE, BAD_AUTH, COMMAND_CODE, CPHASH, ENDORSEMENT, EXPIRED, HANDLE, HASH, INSUFFICIENT,
    LOCKOUT_HIERARCHY, NULL, NV_AUTHORIZATION, NV_LOCKED, NV_RANGE, NV_UNINITIALIZED, OWNER, PCR_CHANGED, PLATFORM,
    POLICY, POLICY_CC, RANGE, SIZE, TAG, TICKET, VALUE, handle, param, reference_h, session as at_session,
};
use client::hash::Alg;
use client::policy::PolicyDigest;
use client::session::{Kind, Outcome, Session, Start};
use client::tpm2b;
use tpm_core::cc;

const INDEX: u32 = 0x0150_0000;
/// AUTHWRITE, OWNERREAD, AUTHREAD, NO_DA, WRITE_STCLEAR, READ_STCLEAR
const INDEX_ATTRIBUTES: u32 = 1 << 2 | 1 << 17 | 1 << 18 | 1 << 25 | 1 << 14 | 1 << 31;
const WRITTEN: u32 = 1 << 29;
const CONTENTS: [u8; 8] = [0x80, 1, 2, 3, 4, 5, 6, 0x7f];

fn policy(tpm: &mut Fixture, code: u32, s: &Session, params: &[u8]) -> Outcome {
    tpm.run(code, &[s.handle], &[], params)
}

fn digest(tpm: &mut Fixture, s: &Session) -> Vec<u8> {
    policy(tpm, cc::POLICY_GET_DIGEST, s, &[]).unwrap()[2..].to_vec()
}

fn define(tpm: &mut Fixture, attributes: u32, size: u16) {
    let public =
        [&INDEX.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0], &size.to_be_bytes()].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()).unwrap();
}

fn write(tpm: &mut Fixture, data: &[u8]) {
    tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b""], &[tpm2b(data), vec![0, 0]].concat()).unwrap();
}

/// An index with eight octets.
fn with_index() -> Fixture {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX_ATTRIBUTES, 8);
    write(&mut tpm, &CONTENTS);
    tpm
}

fn index_name(attributes: u32, size: u16) -> Vec<u8> {
    let public =
        [&INDEX.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0], &size.to_be_bytes()].concat();
    [vec![0, 0xb], Alg::Sha256.hash(&[&public])].concat()
}

/// operandB ‖ offset ‖ operation
fn comparison(operand: &[u8], offset: u16, operation: u16) -> Vec<u8> {
    [tpm2b(operand), offset.to_be_bytes().to_vec(), operation.to_be_bytes().to_vec()].concat()
}

fn nv(tpm: &mut Fixture, by: u32, s: &Session, operand: &[u8], offset: u16, operation: u16) -> Outcome {
    tpm.with(cc::POLICY_NV, &[by, INDEX, s.handle], &[b""], &comparison(operand, offset, operation))
}

fn secret(tpm: &mut Fixture, s: &Session, nonce: &[u8], cp_hash: &[u8], reference: &[u8], expiration: i32) -> Outcome {
    let params = [tpm2b(nonce), tpm2b(cp_hash), tpm2b(reference), expiration.to_be_bytes().to_vec()].concat();
    tpm.with(cc::POLICY_SECRET, &[OWNER, s.handle], &[b""], &params)
}

/// PCR 0 and 16 of the SHA-256 bank.
const PCRS: [u8; 10] = [0, 0, 0, 1, 0, 0xb, 3, 1, 0, 1];

/// Every policy command that gives the same digest in both kinds of session without a condition: code, parameters, and
/// what follows the code in the hash. `PolicyOR` and others with a digest of their own kind have tests of their own.
fn unconditional(alg: Alg) -> Vec<(u32, Vec<u8>, u32, Vec<u8>)> {
    let d = vec![0x5a; alg.size()];
    let (a, b, c) = (vec![0xa1; 34], vec![0xb2; 22], vec![0xc3; 4]);
    let key = [vec![0, 0xb], vec![7; 32]].concat();
    let spdm = alg.hash(&[&[0, 34], &key, &[0, 0]]);
    vec![
        (cc::POLICY_AUTH_VALUE, vec![], cc::POLICY_AUTH_VALUE, vec![]),
        (cc::POLICY_PASSWORD, vec![], cc::POLICY_AUTH_VALUE, vec![]),
        (cc::POLICY_COMMAND_CODE, vec![0, 0, 1, 0x4e], cc::POLICY_COMMAND_CODE, vec![0, 0, 1, 0x4e]),
        (cc::POLICY_LOCALITY, vec![0b1_0011], cc::POLICY_LOCALITY, vec![0b1_0011]),
        (cc::POLICY_LOCALITY, vec![200], cc::POLICY_LOCALITY, vec![200]),
        (cc::POLICY_PHYSICAL_PRESENCE, vec![], cc::POLICY_PHYSICAL_PRESENCE, vec![]),
        (cc::POLICY_CP_HASH, tpm2b(&d), cc::POLICY_CP_HASH, d.clone()),
        (cc::POLICY_NAME_HASH, tpm2b(&d), cc::POLICY_NAME_HASH, d.clone()),
        (cc::POLICY_TEMPLATE, tpm2b(&d), cc::POLICY_TEMPLATE, d.clone()),
        (cc::POLICY_PARAMETERS, tpm2b(&d), cc::POLICY_PARAMETERS, d),
        (cc::POLICY_NV_WRITTEN, vec![1], cc::POLICY_NV_WRITTEN, vec![1]),
        (cc::POLICY_NV_WRITTEN, vec![0], cc::POLICY_NV_WRITTEN, vec![0]),
        (
            cc::POLICY_DUPLICATION_SELECT,
            [tpm2b(&a), tpm2b(&b), vec![1]].concat(),
            cc::POLICY_DUPLICATION_SELECT,
            [&a[..], &b, &[1]].concat(),
        ),
        (
            cc::POLICY_DUPLICATION_SELECT,
            [tpm2b(&a), tpm2b(&b), vec![0]].concat(),
            cc::POLICY_DUPLICATION_SELECT,
            [&b[..], &[0]].concat(),
        ),
        (
            cc::POLICY_AC_SEND_SELECT,
            [tpm2b(&a), tpm2b(&b), tpm2b(&c), vec![1]].concat(),
            cc::POLICY_AC_SEND_SELECT,
            [&a[..], &b, &c, &[1]].concat(),
        ),
        (
            cc::POLICY_AC_SEND_SELECT,
            [tpm2b(&a), tpm2b(&b), tpm2b(&c), vec![0]].concat(),
            cc::POLICY_AC_SEND_SELECT,
            [&b[..], &c, &[0]].concat(),
        ),
        (cc::POLICY_TRANSPORT_SPDM, vec![0; 4], cc::POLICY_TRANSPORT_SPDM, vec![]),
        (cc::POLICY_TRANSPORT_SPDM, [tpm2b(&key), vec![0, 0]].concat(), cc::POLICY_TRANSPORT_SPDM, spdm),
    ]
}

#[test]
fn digests_of_unconditional_policies() {
    let mut tpm = Fixture::new();
    for alg in Alg::ALL {
        for kind in [Kind::Trial, Kind::Policy] {
            let s = Session::start(&mut tpm, &Start { kind, alg, ..Start::default() });
            assert_eq!(digest(&mut tpm, &s), vec![0; alg.size()], "a fresh session");
            for (code, params, hashed_code, hashed) in unconditional(alg) {
                assert_eq!(policy(&mut tpm, cc::POLICY_RESTART, &s, &[]), Ok(vec![]));
                assert_eq!(policy(&mut tpm, code, &s, &params), Ok(vec![]), "{code:x} {params:x?}");
                let expected = PolicyDigest::new(alg).then(hashed_code, &[&hashed]);
                assert_eq!(digest(&mut tpm, &s), expected.digest, "{code:x} {params:x?}");
            }
            assert_eq!(tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()), Ok(vec![]));
        }
    }
}

#[test]
fn parameters_must_be_all_there_and_no_more() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    for (code, params, ..) in unconditional(Alg::Sha256) {
        if let Some((_, shorter)) = params.split_last() {
            let rc = policy(&mut tpm, code, &s, shorter).unwrap_err();
            assert_eq!(rc & 0xff, 0xc0 | INSUFFICIENT, "{code:x}: {rc:x}");
        }
        assert_eq!(policy(&mut tpm, code, &s, &[&params[..], &[0]].concat()), Err(0x80 | SIZE), "{code:x}");
    }
    assert_eq!(digest(&mut tpm, &s), [0; 32], "a failed command changes nothing");
}

#[test]
fn the_session_must_be_a_loaded_policy_session() {
    let mut tpm = Fixture::new();
    let hmac = Session::plain(&mut tpm, Kind::Hmac);
    for (code, params, ..) in unconditional(Alg::Sha256) {
        assert_eq!(tpm.run(code, &[0x0300_0005], &[], &params), Err(reference_h(0)), "{code:x}");
        assert_eq!(tpm.run(code, &[hmac.handle], &[], &params), Err(handle(1, VALUE)), "{code:x}");
        let wrong = hmac.handle & 0xff_ffff | 0x0300_0000;
        assert_eq!(tpm.run(code, &[wrong], &[], &params), Err(handle(1, HANDLE)), "{code:x}");
    }
}

#[test]
fn a_policy_takes_one_command_code_that_there_is() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let code = |code: u32| code.to_be_bytes();
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &code(0x2000_0001)), Err(param(1, POLICY_CC)));
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &code(cc::NV_READ)), Ok(vec![]));
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &code(cc::NV_READ)), Ok(vec![]), "the same again");
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &code(cc::NV_WRITE)), Err(param(1, VALUE)));
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &code(0x2000_0001)), Err(param(1, VALUE)));
}

#[test]
fn policy_locality_only_narrows() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let mut locality = |l: u8| policy(&mut tpm, cc::POLICY_LOCALITY, &s, &[l]);
    assert_eq!(locality(0), Err(param(1, RANGE)));
    assert_eq!(locality(0b0_0110), Ok(vec![]));
    assert_eq!(locality(0b0_1001), Err(param(1, RANGE)), "nothing would be left");
    assert_eq!(locality(32), Err(param(1, RANGE)), "an extended locality after normal ones");
    assert_eq!(locality(0b0_1010), Ok(vec![]));
    assert_eq!(locality(0b0_0100), Err(param(1, RANGE)));
    policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
    let mut locality = |l: u8| policy(&mut tpm, cc::POLICY_LOCALITY, &s, &[l]);
    assert_eq!(locality(77), Ok(vec![]));
    assert_eq!(locality(77), Ok(vec![]));
    assert_eq!(locality(78), Err(param(1, RANGE)));
    assert_eq!(locality(1), Err(param(1, RANGE)), "a normal locality after an extended one");
}

/// cpHash, nameHash, template and parameters exclude each other; cpHash and template may be repeated. Another template
/// is VALUE (Part 3, 23.21.1).
#[test]
fn tn_bound_hashes_exclude_each_other() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let (d, other) = (tpm2b(&[5; 32]), tpm2b(&[6; 32]));
    let duplication = [tpm2b(&[1]), tpm2b(&[2]), vec![0]].concat();
    let send = [tpm2b(&[1]), tpm2b(&[2]), tpm2b(&[3]), vec![0]].concat();
    let kinds = [
        (cc::POLICY_CP_HASH, &d),
        (cc::POLICY_NAME_HASH, &d),
        (cc::POLICY_TEMPLATE, &d),
        (cc::POLICY_PARAMETERS, &d),
        (cc::POLICY_DUPLICATION_SELECT, &duplication),
        (cc::POLICY_AC_SEND_SELECT, &send),
    ];
    for (first, params) in kinds {
        for (second, again) in kinds {
            policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
            assert_eq!(policy(&mut tpm, first, &s, params), Ok(vec![]));
            let repeatable = first == second && [cc::POLICY_CP_HASH, cc::POLICY_TEMPLATE].contains(&first);
            let expected = if repeatable { Ok(vec![]) } else { Err(CPHASH) };
            assert_eq!(policy(&mut tpm, second, &s, again), expected, "{first:x} {second:x}");
        }
        if params.len() == d.len() {
            let expected = if first == cc::POLICY_TEMPLATE { param(1, VALUE) } else { CPHASH };
            assert_eq!(policy(&mut tpm, first, &s, &other), Err(expected), "{first:x}");
        }
        let mut asserted = |cp_hash: u8| secret(&mut tpm, &s, &[], &[cp_hash; 32], &[], 0);
        if first == cc::POLICY_CP_HASH {
            assert!(asserted(5).is_ok(), "cpHashA may be the same");
        } else {
            assert_eq!(asserted(5), Err(CPHASH), "{first:x}");
        }
        assert_eq!(asserted(6), Err(CPHASH), "{first:x}");
    }
}

#[test]
fn bound_hashes_have_the_size_of_the_sessions_digests() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    for code in [cc::POLICY_CP_HASH, cc::POLICY_NAME_HASH, cc::POLICY_TEMPLATE, cc::POLICY_PARAMETERS] {
        for size in [0, 20, 31, 33, 64] {
            assert_eq!(policy(&mut tpm, code, &s, &tpm2b(&vec![1; size])), Err(param(1, SIZE)), "{code:x} {size}");
        }
        assert_eq!(policy(&mut tpm, code, &s, &tpm2b(&[1; 65])), Err(param(1, SIZE)), "{code:x} no TPM2B_DIGEST");
    }
    policy(&mut tpm, cc::POLICY_CP_HASH, &s, &tpm2b(&[1; 32])).unwrap();
    for code in [cc::POLICY_CP_HASH, cc::POLICY_NAME_HASH, cc::POLICY_PARAMETERS] {
        assert_eq!(policy(&mut tpm, code, &s, &tpm2b(&[1; 20])), Err(param(1, SIZE)), "{code:x}: size goes first");
    }
    assert_eq!(policy(&mut tpm, cc::POLICY_TEMPLATE, &s, &tpm2b(&[1; 20])), Err(CPHASH), "here the other way round");
}

/// Part 3, 23.1: "If the policySession parameter indicates a trial policy session, then the policySession→policyDigest
/// will be updated and the indicated validations are not performed." What does not unmarshal is refused still.
#[test]
fn in_a_trial_session_nothing_is_validated() {
    let mut tpm = Fixture::new();
    let [trial, s] = [Kind::Trial, Kind::Policy].map(|kind| Session::plain(&mut tpm, kind));
    let (short, d, other) = (tpm2b(&[1; 20]), tpm2b(&[5; 32]), tpm2b(&[6; 32]));
    let name = tpm2b(&[&[0, 0xb][..], &[7; 32]].concat());
    let duplication = [&name[..], &name, &[1]].concat();
    let ticket = [&[0x80, 0x23][..], &OWNER.to_be_bytes(), &[0, 0]].concat();
    let verified = [&[0x80, 0x22][..], &OWNER.to_be_bytes(), &[0, 0]].concat();
    let time = |operand: &[u8], offset: u16| comparison(operand, offset, 0);
    // each command with parameters that a policy session takes the first time, or never
    let steps: &[(u32, Vec<u8>, u32)] = &[
        (cc::POLICY_LOCALITY, vec![0b0_0110], 0),
        (cc::POLICY_LOCALITY, vec![0b1_1000], param(1, RANGE)),
        (cc::POLICY_LOCALITY, vec![77], param(1, RANGE)),
        (cc::POLICY_COMMAND_CODE, vec![0, 0, 1, 0x4e], 0),
        (cc::POLICY_COMMAND_CODE, vec![0, 0, 1, 0x37], param(1, VALUE)),
        (cc::POLICY_CP_HASH, short.clone(), param(1, SIZE)),
        (cc::POLICY_CP_HASH, d.clone(), 0),
        (cc::POLICY_CP_HASH, other.clone(), CPHASH),
        (cc::POLICY_NAME_HASH, d.clone(), CPHASH),
        (cc::POLICY_TEMPLATE, short, CPHASH),
        (cc::POLICY_PARAMETERS, d, CPHASH),
        (cc::POLICY_DUPLICATION_SELECT, duplication, CPHASH),
        (cc::POLICY_NV_WRITTEN, vec![1], 0),
        (cc::POLICY_NV_WRITTEN, vec![0], param(1, VALUE)),
        (cc::POLICY_COUNTER_TIMER, time(&[1], 26), param(2, VALUE)),
        (cc::POLICY_COUNTER_TIMER, time(&[1, 2], 24), 0x80 | RANGE),
        (cc::POLICY_TRANSPORT_SPDM, [tpm2b(&[1]), tpm2b(&[])].concat(), param(1, SIZE)),
        (cc::POLICY_AUTHORIZE, [other.clone(), tpm2b(b"ref"), tpm2b(&[0, 0x10]), verified].concat(), param(1, VALUE)),
        (cc::POLICY_TICKET, [tpm2b(&[1]), vec![0, 0], tpm2b(b"ref"), name.clone(), ticket].concat(), param(1, SIZE)),
    ];
    for (code, params, refused) in steps {
        let before = digest(&mut tpm, &trial);
        assert_eq!(policy(&mut tpm, *code, &trial, params), Ok(vec![]), "{code:x}");
        assert_ne!(digest(&mut tpm, &trial), before, "{code:x}");
        let expected = if *refused == 0 { Ok(vec![]) } else { Err(*refused) };
        // keySign is looked at before approvedPolicy
        let expected = if *code == cc::POLICY_AUTHORIZE { Err(param(3, HASH)) } else { expected };
        assert_eq!(policy(&mut tpm, *code, &s, params), expected, "{code:x}");
    }
    // TPM2_PolicyTicket stands for TPM2_PolicySecret.
    policy(&mut tpm, cc::POLICY_RESTART, &trial, &[]).unwrap();
    let (code, params, _) = steps.last().unwrap();
    policy(&mut tpm, *code, &trial, params).unwrap();
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SECRET, &name[2..], b"ref");
    assert_eq!(digest(&mut tpm, &trial), expected.digest);
    assert_eq!(policy(&mut tpm, cc::POLICY_LOCALITY, &trial, &[]), Err(param(1, INSUFFICIENT)));
}

#[test]
fn selections_limit_the_command() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let (duplication, send) = ([0, 0, 0, 0, 0].to_vec(), [0, 0, 0, 0, 0, 0, 0].to_vec());
    policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &[0, 0, 1, 0x4e]).unwrap();
    assert_eq!(
        policy(&mut tpm, cc::POLICY_DUPLICATION_SELECT, &s, &duplication),
        Err(0x80 | POLICY_CC),
        "Part 3, 23.2.4"
    );
    assert_eq!(policy(&mut tpm, cc::POLICY_AC_SEND_SELECT, &s, &send), Err(COMMAND_CODE));
    policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
    policy(&mut tpm, cc::POLICY_DUPLICATION_SELECT, &s, &duplication).unwrap();
    assert_eq!(policy(&mut tpm, cc::POLICY_COMMAND_CODE, &s, &[0, 0, 1, 0x4e]), Err(param(1, VALUE)));
    policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
    assert_eq!(
        policy(&mut tpm, cc::POLICY_DUPLICATION_SELECT, &s, &[0, 0, 0, 0, 2]),
        Err(param(3, VALUE)),
        "no YES_NO"
    );
    assert_eq!(policy(&mut tpm, cc::POLICY_AC_SEND_SELECT, &s, &[0, 0, 0, 0, 0, 0, 2]), Err(param(4, VALUE)));
}

#[test]
fn a_policy_takes_one_state_of_written() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(policy(&mut tpm, cc::POLICY_NV_WRITTEN, &s, &[2]), Err(param(1, VALUE)));
    assert_eq!(policy(&mut tpm, cc::POLICY_NV_WRITTEN, &s, &[1]), Ok(vec![]));
    assert_eq!(policy(&mut tpm, cc::POLICY_NV_WRITTEN, &s, &[1]), Ok(vec![]));
    assert_eq!(policy(&mut tpm, cc::POLICY_NV_WRITTEN, &s, &[0]), Err(param(1, VALUE)));
}

#[test]
fn policy_transport_spdm_takes_two_key_names_once() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let key = [vec![0, 0xb], vec![7; 32]].concat();
    let mut spdm = |req: &[u8], tpm_key: &[u8]| {
        policy(&mut tpm, cc::POLICY_TRANSPORT_SPDM, &s, &[tpm2b(req), tpm2b(tpm_key)].concat())
    };
    assert_eq!(spdm(&key[..1], &[]), Err(param(1, SIZE)));
    assert_eq!(spdm(&key[..33], &[]), Err(param(1, SIZE)));
    assert_eq!(spdm(&[0, 0x10], &[]), Err(param(1, HASH)));
    assert_eq!(spdm(&key, &key[..1]), Err(param(2, SIZE)));
    assert_eq!(spdm(&key, &[0, 0x10, 1]), Err(param(2, HASH)));
    assert_eq!(spdm(&key, &key[..20]), Err(param(2, SIZE)));
    assert_eq!(spdm(&key, &key), Ok(vec![]));
    assert_eq!(spdm(&key, &key), Err(0x80 | VALUE), "twice, without a position");
    assert_eq!(spdm(&key[..1], &[]), Err(0x80 | VALUE), "which goes first");
}

#[test]
fn policy_or_takes_two_to_eight_digests_with_the_current_one() {
    let mut tpm = Fixture::new();
    let list = |digests: &[&[u8]]| {
        let all: Vec<u8> = digests.iter().flat_map(|d| tpm2b(d)).collect();
        [(digests.len() as u32).to_be_bytes().to_vec(), all].concat()
    };
    for alg in Alg::ALL {
        let s = Session::start(&mut tpm, &Start { kind: Kind::Policy, alg, ..Start::default() });
        policy(&mut tpm, cc::POLICY_AUTH_VALUE, &s, &[]).unwrap();
        let now = PolicyDigest::new(alg).then(cc::POLICY_AUTH_VALUE, &[]);
        let other = vec![3; alg.size()];
        let mut or = |digests: &[&[u8]]| policy(&mut tpm, cc::POLICY_OR, &s, &list(digests));
        assert_eq!(or(&[]), Err(param(1, SIZE)));
        assert_eq!(or(&[&now.digest]), Err(param(1, SIZE)));
        assert_eq!(or(&[&other[..]; 9]), Err(param(1, SIZE)));
        assert_eq!(or(&[&other, &other]), Err(param(1, VALUE)));
        assert_eq!(or(&[&now.digest[1..], &other]), Err(param(1, VALUE)));
        assert_eq!(or(&[&other, &other, &other, &other, &other, &other, &other, &now.digest]), Ok(vec![]));
        let eight = [&other[..]; 7].concat();
        let expected = now
            .forgotten()
            .then(cc::POLICY_OR, &[&eight, &PolicyDigest::new(alg).then(cc::POLICY_AUTH_VALUE, &[]).digest]);
        assert_eq!(digest(&mut tpm, &s), expected.digest);
        let trial = Session::start(&mut tpm, &Start { kind: Kind::Trial, alg, ..Start::default() });
        assert_eq!(
            policy(&mut tpm, cc::POLICY_OR, &trial, &list(&[&other, &other])),
            Ok(vec![]),
            "a trial needs no match"
        );
        let expected = PolicyDigest::new(alg).then(cc::POLICY_OR, &[&other, &other]);
        assert_eq!(digest(&mut tpm, &trial), expected.digest);
        for s in [s, trial] {
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
        }
    }
}

#[test]
fn policy_pcr_binds_to_the_present_values() {
    let mut tpm = Fixture::new();
    let extend = |tpm: &mut Fixture, pcr: u32| {
        tpm.with(cc::PCR_EXTEND, &[pcr], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[9; 32]].concat()).unwrap();
    };
    extend(&mut tpm, 0);
    let (zero, nine) = ([0; 32], [9; 32]);
    let pcr0 = Alg::Sha256.hash(&[&zero, &nine]);
    for alg in Alg::ALL {
        let current = alg.hash(&[&pcr0, &zero]);
        let s = Session::start(&mut tpm, &Start { kind: Kind::Policy, alg, ..Start::default() });
        let expected = PolicyDigest::new(alg).then(cc::POLICY_PCR, &[&PCRS, &current]);
        assert_eq!(
            policy(&mut tpm, cc::POLICY_PCR, &s, &[tpm2b(&[1; 20]), PCRS.to_vec()].concat()),
            Err(param(1, VALUE))
        );
        assert_eq!(policy(&mut tpm, cc::POLICY_PCR, &s, &[tpm2b(&current), PCRS.to_vec()].concat()), Ok(vec![]));
        assert_eq!(digest(&mut tpm, &s), expected.digest);
        policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
        assert_eq!(policy(&mut tpm, cc::POLICY_PCR, &s, &[tpm2b(&[]), PCRS.to_vec()].concat()), Ok(vec![]));
        assert_eq!(digest(&mut tpm, &s), expected.digest, "an empty digest stands for the current one");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
    let trial = Session::plain(&mut tpm, Kind::Trial);
    policy(&mut tpm, cc::POLICY_PCR, &trial, &[tpm2b(&[1; 32]), PCRS.to_vec()].concat()).unwrap();
    let expected = PolicyDigest::new(Alg::Sha256).then(cc::POLICY_PCR, &[&PCRS, &[1; 32]]);
    assert_eq!(digest(&mut tpm, &trial), expected.digest, "a trial takes any digest");
    // Part 3, 23.7.1: "In this computation, pcrs is the input parameter without modification."
    let elsewhere = [0, 0, 0, 1, 0, 0x12, 3, 1, 0, 0];
    for (pcr_digest, in_policy) in [(vec![1; 32], vec![1; 32]), (vec![], Alg::Sha256.hash(&[]))] {
        policy(&mut tpm, cc::POLICY_RESTART, &trial, &[]).unwrap();
        policy(&mut tpm, cc::POLICY_PCR, &trial, &[&tpm2b(&pcr_digest)[..], &elsewhere].concat()).unwrap();
        let expected = PolicyDigest::new(Alg::Sha256).then(cc::POLICY_PCR, &[&elsewhere, &in_policy]);
        assert_eq!(digest(&mut tpm, &trial), expected.digest, "a bank that is not allocated here");
    }

    let s = Session::plain(&mut tpm, Kind::Policy);
    let any = [tpm2b(&[]), PCRS.to_vec()].concat();
    policy(&mut tpm, cc::POLICY_PCR, &s, &any).unwrap();
    extend(&mut tpm, 16);
    assert_eq!(policy(&mut tpm, cc::POLICY_PCR, &s, &any), Ok(vec![]), "PCR 16 does not count");
    extend(&mut tpm, 1);
    assert_eq!(policy(&mut tpm, cc::POLICY_PCR, &s, &any), Err(PCR_CHANGED), "any other does, selected or not");
    policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
    assert_eq!(policy(&mut tpm, cc::POLICY_PCR, &s, &any), Ok(vec![]));
}

/// i128 and u128 judge every operation; libtpms issue 367 was a wrong order of two negative numbers.
#[test]
fn libtpms_367_policy_nv_all_operations() {
    let edges: [u128; 9] =
        [0, 1, 0x7f, 0x80, 0xff << 8, u128::MAX >> 1, (u128::MAX >> 1) + 1, u128::MAX - 1, u128::MAX];
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX_ATTRIBUTES, 16);
    let s = Session::plain(&mut tpm, Kind::Policy);
    for a in edges {
        write(&mut tpm, &a.to_be_bytes());
        for b in edges {
            let (x, y) = (a as i128, b as i128);
            let expected =
                [a == b, a != b, x > y, a > b, x < y, a < b, x >= y, a >= b, x <= y, a <= b, a & b == b, a & b == 0];
            for (operation, holds) in (0u16..).zip(expected) {
                let outcome = nv(&mut tpm, INDEX, &s, &b.to_be_bytes(), 0, operation);
                assert_eq!(outcome, if holds { Ok(vec![]) } else { Err(POLICY) }, "{a:x} {operation} {b:x}");
            }
        }
    }
}

#[test]
fn policy_nv_extends_by_operand_offset_and_name() {
    let mut tpm = with_index();
    let name = index_name(INDEX_ATTRIBUTES | WRITTEN, 8);
    for (alg, kind) in Alg::ALL.into_iter().flat_map(|alg| [(alg, Kind::Policy), (alg, Kind::Trial)]) {
        let s = Session::start(&mut tpm, &Start { kind, alg, ..Start::default() });
        for by in [INDEX, OWNER] {
            policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
            assert_eq!(nv(&mut tpm, by, &s, &[3, 4], 3, 0), Ok(vec![]));
            let args = alg.hash(&[&[3, 4], &[0, 3], &[0, 0]]);
            assert_eq!(digest(&mut tpm, &s), PolicyDigest::new(alg).then(cc::POLICY_NV, &[&args, &name]).digest);
        }
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
}

#[test]
fn policy_nv_refuses_what_it_cannot_compare() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX_ATTRIBUTES, 8);
    let s = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0], 0, 0), Err(NV_UNINITIALIZED));
    assert_eq!(nv(&mut tpm, INDEX, &trial, &[0], 0, 0), Ok(vec![]), "a trial checks nothing");
    write(&mut tpm, &CONTENTS);
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0], 9, 0), Err(param(2, VALUE)));
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0], 8, 0), Err(NV_RANGE), "Part 3, 23.9.1");
    assert_eq!(nv(&mut tpm, INDEX, &s, &CONTENTS, 1, 0), Err(NV_RANGE));
    assert_eq!(nv(&mut tpm, INDEX, &s, &[], 8, 0), Ok(vec![]), "nothing equals nothing");
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0], 0, 12), Err(param(3, VALUE)), "no TPM_EO");
    assert_eq!(nv(&mut tpm, INDEX, &s, &[1; 65], 0, 0), Err(param(1, SIZE)), "no TPM2B_OPERAND");
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0x81], 0, 0), Err(POLICY));
    let args = comparison(&[0x80], 0, 0);
    assert_eq!(tpm.with(cc::POLICY_NV, &[INDEX, INDEX, s.handle], &[b"bad"], &args), Err(at_session(1, BAD_AUTH)));
    assert_eq!(tpm.with(cc::POLICY_NV, &[NULL, INDEX, s.handle], &[b""], &args), Err(handle(1, VALUE)));
    assert_eq!(tpm.with(cc::POLICY_NV, &[INDEX, OWNER, s.handle], &[b""], &args), Err(handle(2, VALUE)));
    assert_eq!(tpm.with(cc::POLICY_NV, &[INDEX, INDEX, 0x0300_0009], &[b""], &args), Err(reference_h(2)));
    tpm.with(cc::NV_READ_LOCK, &[INDEX, INDEX], &[b""], &[]).unwrap();
    assert_eq!(nv(&mut tpm, INDEX, &s, &[0x80], 0, 0), Err(NV_LOCKED));
    assert_eq!(nv(&mut tpm, INDEX, &trial, &[0x80], 0, 0), Ok(vec![]));
}

/// Fix F-4841 of wolfTPM's firmware TPM: an assertion about an index needs the right to read it.
#[test]
fn tn_f_4841_policy_nv_and_authorize_nv_need_read_authorization() {
    let mut tpm = with_index();
    let s = Session::plain(&mut tpm, Kind::Policy);
    for (code, params) in [(cc::POLICY_NV, comparison(&[0x80], 0, 0)), (cc::POLICY_AUTHORIZE_NV, vec![])] {
        assert_eq!(tpm.with(code, &[PLATFORM, INDEX, s.handle], &[b""], &params), Err(NV_AUTHORIZATION), "no PPREAD");
        assert_eq!(tpm.run(code, &[OWNER, INDEX, s.handle], &[], &params), Err(AUTH_MISSING), "AUTH_MISSING");
    }
    tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX], &[b""], &[]).unwrap();
    define(&mut tpm, 1 << 2 | 1 << 17 | 1 << 25, 8);
    write(&mut tpm, &CONTENTS);
    for (code, params) in [(cc::POLICY_NV, comparison(&[0x80], 0, 0)), (cc::POLICY_AUTHORIZE_NV, vec![])] {
        let by_itself = tpm.with(code, &[INDEX, INDEX, s.handle], &[b""], &params);
        assert_eq!(by_itself, Err(AUTH_UNAVAILABLE), "no AUTHREAD");
    }
}

#[test]
fn policy_authorize_nv_takes_the_policy_in_the_index() {
    for alg in Alg::ALL {
        let mut tpm = Fixture::new();
        let s = Session::start(&mut tpm, &Start { kind: Kind::Policy, alg, ..Start::default() });
        let trial = Session::start(&mut tpm, &Start { kind: Kind::Trial, alg, ..Start::default() });
        let size = 2 + alg.size() as u16 + 3;
        define(&mut tpm, INDEX_ATTRIBUTES, size);
        let authorize =
            |s: &Session, tpm: &mut Fixture| tpm.with(cc::POLICY_AUTHORIZE_NV, &[INDEX, INDEX, s.handle], &[b""], &[]);
        assert_eq!(authorize(&s, &mut tpm), Err(NV_UNINITIALIZED));
        write(&mut tpm, &[0, 0x10]);
        assert_eq!(authorize(&s, &mut tpm), Err(0x80 | HASH), "no hash");
        let other = if alg == Alg::Sha1 { Alg::Sha256 } else { Alg::Sha1 };
        write(&mut tpm, &other.id().to_be_bytes());
        let expected = if other.size() > alg.size() + 3 { INSUFFICIENT } else { HASH };
        assert_eq!(authorize(&s, &mut tpm), Err(0x80 | expected), "another hash");
        write(&mut tpm, &[&alg.id().to_be_bytes()[..], &vec![1; alg.size()]].concat());
        assert_eq!(authorize(&s, &mut tpm), Err(0x80 | VALUE), "another digest");
        policy(&mut tpm, cc::POLICY_AUTH_VALUE, &s, &[]).unwrap();
        let approved = digest(&mut tpm, &s);
        write(&mut tpm, &[&alg.id().to_be_bytes()[..], &approved].concat());
        let name = index_name(INDEX_ATTRIBUTES | WRITTEN, size);
        let expected = PolicyDigest::new(alg).then(cc::POLICY_AUTHORIZE_NV, &[&name]);
        for s in [&s, &trial] {
            assert_eq!(authorize(s, &mut tpm), Ok(vec![]));
            assert_eq!(digest(&mut tpm, s), expected.digest);
        }
    }
}

#[test]
fn policy_authorize_nv_too_short_an_index() {
    let mut tpm = with_index();
    let s = Session::plain(&mut tpm, Kind::Policy);
    write(&mut tpm, &[0, 0xb, 0, 0, 0, 0, 0, 0]);
    let outcome = tpm.with(cc::POLICY_AUTHORIZE_NV, &[INDEX, INDEX, s.handle], &[b""], &[]);
    assert_eq!(outcome, Err(0x80 | INSUFFICIENT));
}

#[test]
fn tn_policy_counter_timer_compares_right() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 0x1234;
    let s = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let mut timer = |s: &Session, operand: &[u8], offset, operation| {
        policy(&mut tpm, cc::POLICY_COUNTER_TIMER, s, &comparison(operand, offset, operation))
    };
    assert_eq!(timer(&s, &[], 26, 0), Err(param(2, VALUE)));
    assert_eq!(timer(&s, &[0], 25, 0), Err(0x80 | RANGE), "without a position");
    assert_eq!(timer(&s, &[0; 26], 0, 0), Err(0x80 | RANGE));
    for s in [&s, &trial] {
        assert_eq!(timer(s, &[], 25, 0), Ok(vec![]));
        assert_eq!(timer(s, &[], 0, 12), Err(param(3, VALUE)));
        assert_eq!(timer(s, &[0; 65], 0, 0), Err(param(1, SIZE)));
    }
    assert_eq!(timer(&s, &0x1234u64.to_be_bytes(), 0, 0), Ok(vec![]), "time");
    assert_eq!(timer(&s, &0x1235u64.to_be_bytes(), 0, 9), Ok(vec![]), "time is at most that");
    assert_eq!(timer(&s, &0x1235u64.to_be_bytes(), 0, 0), Err(POLICY));
    assert_eq!(timer(&trial, &0x1235u64.to_be_bytes(), 0, 0), Ok(vec![]), "a trial compares nothing");
    assert_eq!(timer(&s, &0x1234u64.to_be_bytes(), 8, 7), Ok(vec![]), "clock is at least time");
    assert_eq!(timer(&s, &1u32.to_be_bytes(), 16, 0), Ok(vec![]), "resetCount");
    assert_eq!(timer(&s, &0u32.to_be_bytes(), 20, 0), Ok(vec![]), "restartCount");
    assert_eq!(timer(&s, &[1], 24, 8), Ok(vec![]), "safe is at most one");
}

/// Part 3, 23.10.1: TPM_EO_UNSIGNED_LT of Time is a limit "in seconds since the nonceTPM for the policy session was
/// generated after which the policy session expires"; the TPM may refuse more than 2,147,483,647.
#[test]
fn policy_counter_timer_limits_the_time_of_a_session() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 100_500;
    let [s, trial] = [Kind::Policy, Kind::Trial].map(|kind| Session::plain(&mut tpm, kind));
    let limit = |tpm: &mut Fixture, s: &Session, seconds: u64| {
        policy(tpm, cc::POLICY_COUNTER_TIMER, s, &comparison(&seconds.to_be_bytes(), 0, 5))
    };
    assert_eq!(limit(&mut tpm, &s, 0x8000_0000), Err(param(1, VALUE)));
    assert_eq!(limit(&mut tpm, &s, 0x7fff_ffff), Ok(vec![]));
    assert_eq!(limit(&mut tpm, &trial, u64::MAX), Ok(vec![]), "a trial has no end");
    policy(&mut tpm, cc::POLICY_RESTART, &s, &[]).unwrap();
    tpm.clock.0 = 105_500;
    assert_eq!(limit(&mut tpm, &s, 5), Ok(vec![]));
    let args = Alg::Sha256.hash(&[&5u64.to_be_bytes(), &[0, 0], &[0, 5]]);
    assert_eq!(digest(&mut tpm, &s), PolicyDigest::new(Alg::Sha256).then(cc::POLICY_COUNTER_TIMER, &[&args]).digest);
    assert_eq!(limit(&mut tpm, &s, 4), Err(0x80 | EXPIRED));
    assert_eq!(limit(&mut tpm, &s, 9), Ok(vec![]), "the least of them counts");
    // ownerPolicy is what the session has now.
    let owner_policy = [&tpm2b(&digest(&mut tpm, &s))[..], &[0, 0xb]].concat();
    tpm.with(cc::SET_PRIMARY_POLICY, &[OWNER], &[b""], &owner_policy).unwrap();
    let mut s = s;
    tpm.clock.0 = 105_501;
    let late = tpm.exec(cc::SET_PRIMARY_POLICY, &[OWNER], vec![s.with(0).into()], &owner_policy);
    assert_eq!(late, Err(at_session(1, EXPIRED)));
}

#[test]
fn policy_counter_timer_digest() {
    let mut tpm = Fixture::new();
    for (alg, kind) in Alg::ALL.into_iter().flat_map(|alg| [(alg, Kind::Policy), (alg, Kind::Trial)]) {
        let s = Session::start(&mut tpm, &Start { kind, alg, ..Start::default() });
        policy(&mut tpm, cc::POLICY_COUNTER_TIMER, &s, &comparison(&[0, 9], 20, 5)).unwrap();
        let args = alg.hash(&[&[0, 9], &[0, 20], &[0, 5]]);
        assert_eq!(digest(&mut tpm, &s), PolicyDigest::new(alg).then(cc::POLICY_COUNTER_TIMER, &[&args]).digest);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
}

fn capability(
    tpm: &mut Fixture,
    s: &Session,
    operand: &[u8],
    (offset, operation): (u16, u16),
    capability: u32,
    property: u32,
) -> Outcome {
    let params =
        [comparison(operand, offset, operation), capability.to_be_bytes().to_vec(), property.to_be_bytes().to_vec()]
            .concat();
    policy(tpm, cc::POLICY_CAPABILITY, s, &params)
}

#[test]
fn policy_capability_compares_what_get_capability_says() {
    let mut tpm = with_index();
    let s = Session::plain(&mut tpm, Kind::Policy);
    // capability, property, octets of an element
    let there = [
        (0u32, 0xbu32, 6),
        (1, INDEX, 4),
        (1, OWNER, 4),
        (1, 5, 4),
        (2, cc::NV_READ, 4),
        (6, 0x100, 8),
        (6, 0x20e, 8),
        (8, 3, 2),
    ];
    for (cap, property, size) in there {
        let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[cap, property, 1].map(u32::to_be_bytes).concat()).unwrap();
        let element = &reply[9..];
        assert_eq!(element.len(), size, "{cap} {property:x}");
        assert_eq!(capability(&mut tpm, &s, element, (0, 0), cap, property), Ok(vec![]), "{cap} {property:x}");
        assert_eq!(capability(&mut tpm, &s, element, (0, 1), cap, property), Err(POLICY));
        assert_eq!(capability(&mut tpm, &s, &element[size - 1..], (size as u16 - 1, 0), cap, property), Ok(vec![]));
        assert_eq!(capability(&mut tpm, &s, &[], (size as u16, 0), cap, property), Ok(vec![]));
        assert_eq!(capability(&mut tpm, &s, &[], (size as u16 + 1, 0), cap, property), Err(param(2, VALUE)));
        assert_eq!(capability(&mut tpm, &s, &[0], (size as u16, 0), cap, property), Err(param(1, SIZE)));
    }
    let missing = [(0u32, 0xfffeu32), (1, INDEX + 1), (1, 0x8000_0000), (2, 0x2000_0001), (6, 0x1ff), (8, 0xfff)];
    for (cap, property) in missing {
        for operation in 0..12 {
            let expected = if operation == 1 { Ok(vec![]) } else { Err(POLICY) };
            assert_eq!(capability(&mut tpm, &s, &[0], (99, operation), cap, property), expected, "{cap} {property:x}");
        }
    }
}

#[test]
fn policy_capability_codes_and_digest() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(capability(&mut tpm, &s, &[], (0, 0), 5, 0), Err(param(4, VALUE)), "TPM_CAP_PCRS");
    assert_eq!(capability(&mut tpm, &s, &[], (0, 0), 0x100, 0), Err(param(4, VALUE)));
    assert_eq!(capability(&mut tpm, &s, &[], (0, 0), 1, 0x7f00_0000), Err(param(5, HANDLE)));
    assert_eq!(capability(&mut tpm, &s, &[], (0, 0), 9, 0x0100_0000), Err(param(5, VALUE)));
    assert_eq!(capability(&mut tpm, &s, &[], (0, 0), 10, OWNER), Err(param(5, VALUE)));
    assert_eq!(capability(&mut tpm, &s, &[], (0, 12), 0, 0), Err(param(3, VALUE)));
    for (alg, kind) in Alg::ALL.into_iter().flat_map(|alg| [(alg, Kind::Policy), (alg, Kind::Trial)]) {
        let s = Session::start(&mut tpm, &Start { kind, alg, ..Start::default() });
        capability(&mut tpm, &s, &[0, 3], (0, 0), 8, 3).unwrap();
        let args = alg.hash(&[&[0, 3], &[0, 0], &[0, 0], &[0, 0, 0, 8], &[0, 0, 0, 3]]);
        assert_eq!(digest(&mut tpm, &s), PolicyDigest::new(alg).then(cc::POLICY_CAPABILITY, &[&args]).digest);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
    let trial = Session::plain(&mut tpm, Kind::Trial);
    assert_eq!(capability(&mut tpm, &trial, &[], (0, 0), 0x100, 0), Ok(vec![]), "a trial compares nothing");
}

#[test]
fn policy_capability_reads_a_group_that_there_is_also_in_a_trial() {
    let mut tpm = Fixture::new();
    for kind in [Kind::Policy, Kind::Trial] {
        let s = Session::plain(&mut tpm, kind);
        for unknown in [0xd, 0xff, 0x101, u32::MAX] {
            assert_eq!(capability(&mut tpm, &s, &[], (0, 1), unknown, 0), Err(param(4, VALUE)), "{unknown:#x}");
            let cut = [comparison(&[], 0, 1), unknown.to_be_bytes().to_vec()].concat();
            assert_eq!(
                policy(&mut tpm, cc::POLICY_CAPABILITY, &s, &cut),
                Err(param(4, VALUE)),
                "before property is read"
            );
        }
        assert_eq!(digest(&mut tpm, &s), [0; 32]);
    }
}

/// Part 3, 23.23.1: TPM_CAP_PUB_KEYS and TPM_CAP_SPDM_SESSION_INFO are groups of Table 184; "if the requested TPM
/// property does not exist, the TPM will return TPM_RC_POLICY unless the operation is TPM_EO_NEQ", and none of theirs
/// exists without an SPDM responder. 23.1: in a trial nothing is compared.
#[test]
fn policy_capability_knows_the_groups_of_which_nothing_exists() {
    let mut tpm = Fixture::new();
    for group in [0xb, 0xc] {
        for operation in 0..12 {
            let s = Session::plain(&mut tpm, Kind::Policy);
            let expected = if operation == 1 { Ok(vec![]) } else { Err(POLICY) };
            assert_eq!(capability(&mut tpm, &s, &[0], (0, operation), group, 0), expected, "{group} {operation}");
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
        }
        let trial = Session::plain(&mut tpm, Kind::Trial);
        assert_eq!(capability(&mut tpm, &trial, &[0], (0, 0), group, 0), Ok(vec![]));
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &trial.handle.to_be_bytes()).unwrap();
    }
}

#[test]
fn policy_capability_finds_a_session_by_its_index() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let hmac = Session::plain(&mut tpm, Kind::Hmac).handle;
    let saved = Session::plain(&mut tpm, Kind::Policy).handle;
    tpm.run(cc::CONTEXT_SAVE, &[saved], &[], &[]).unwrap();
    let index = |h: u32| h & 0xff_ffff;
    // TPM_HT_LOADED_SESSION and TPM_HT_SAVED_SESSION are the types of handles of HMAC and of policy sessions, so what
    // is found has the handle that was asked for, and not always the one of the session.
    let (loaded, unloaded) = (0x0200_0000, 0x0300_0000);
    for there in [loaded | index(s.handle), loaded | index(hmac), unloaded | index(saved)] {
        assert_eq!(capability(&mut tpm, &s, &there.to_be_bytes(), (0, 0), 1, there), Ok(vec![]), "{there:#x}");
        assert_eq!(capability(&mut tpm, &s, &there.to_be_bytes(), (0, 1), 1, there), Err(POLICY));
        assert_eq!(capability(&mut tpm, &s, &[0], (4, 0), 1, there), Err(param(1, SIZE)));
    }
    let missing = [unloaded | index(s.handle), unloaded | index(hmac), loaded | index(saved), loaded | 9, unloaded | 9];
    for property in missing {
        assert_eq!(
            capability(&mut tpm, &s, &property.to_be_bytes(), (0, 0), 1, property),
            Err(POLICY),
            "{property:#x}"
        );
        assert_eq!(capability(&mut tpm, &s, &property.to_be_bytes(), (0, 1), 1, property), Ok(vec![]));
    }
}

#[test]
fn policy_secret_digest_and_codes() {
    let mut tpm = Fixture::new();
    for (alg, kind) in Alg::ALL.into_iter().flat_map(|alg| [(alg, Kind::Policy), (alg, Kind::Trial)]) {
        let s = Session::start(&mut tpm, &Start { kind, alg, ..Start::default() });
        let null = [vec![0, 0, 0x80, 0x23], NULL.to_be_bytes().to_vec(), vec![0, 0]].concat();
        assert_eq!(secret(&mut tpm, &s, &[], &[], b"ref", 0), Ok(null), "no ticket");
        let expected = PolicyDigest::new(alg).update(cc::POLICY_SECRET, &OWNER.to_be_bytes(), b"ref");
        assert_eq!(digest(&mut tpm, &s), expected.digest);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
    tpm.clock.0 = 10_000;
    let s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(secret(&mut tpm, &s, &[1; 16], &[], &[], 0), Err(param(1, VALUE)), "Part 3, 23.2.2");
    assert_eq!(secret(&mut tpm, &s, &[], &[], &[], 9), Err(param(4, EXPIRED)), "Time is 10 s");
    assert!(secret(&mut tpm, &s, &[], &[], &[], 10).is_ok());
    assert_eq!(secret(&mut tpm, &s, &[], &[1; 20], &[], 0), Err(param(2, SIZE)));
    let nonce = s.nonce_tpm.clone();
    assert!(secret(&mut tpm, &s, &nonce, &[1; 32], &[], 1).is_ok(), "counted from the session's start");
    tpm.clock.0 = 11_001;
    assert_eq!(secret(&mut tpm, &s, &nonce, &[], &[], 1), Err(param(4, EXPIRED)));
    assert_eq!(secret(&mut tpm, &s, &nonce, &[], &[], -1), Err(param(4, EXPIRED)));
    assert_eq!(secret(&mut tpm, &s, &nonce, &[2; 32], &[], 0), Err(CPHASH));
    let bad = [vec![0; 6], vec![0; 4]].concat();
    assert_eq!(tpm.with(cc::POLICY_SECRET, &[OWNER, s.handle], &[b"bad"], &bad), Err(at_session(1, BAD_AUTH)));
    let trial = Session::plain(&mut tpm, Kind::Trial);
    assert!(
        secret(&mut tpm, &trial, &[1; 16], &[1; 20], &[], -1).is_ok_and(|r| r[..2] == [0, 0]),
        "a trial checks nothing"
    );
}

/// timeout, and TPMT_TK_AUTH.
fn ticket(reply: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let size = 2 + usize::from(u16::from_be_bytes(reply[..2].try_into().unwrap()));
    (reply[2..size].to_vec(), reply[size..].to_vec())
}

struct Redeemed<'a> {
    timeout: &'a [u8],
    cp_hash: &'a [u8],
    reference: &'a [u8],
    name: &'a [u8],
    ticket: &'a [u8],
}

fn redeem(tpm: &mut Fixture, s: &Session, t: &Redeemed<'_>) -> Outcome {
    let params = [tpm2b(t.timeout), tpm2b(t.cp_hash), tpm2b(t.reference), tpm2b(t.name), t.ticket.to_vec()].concat();
    policy(tpm, cc::POLICY_TICKET, s, &params)
}

#[test]
fn policy_ticket_stands_for_policy_secret() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 5_000;
    let s = Session::plain(&mut tpm, Kind::Policy);
    let reply = secret(&mut tpm, &s, &s.nonce_tpm, &[7; 32], b"ref", -60).unwrap();
    let (timeout, tk) = ticket(&reply);
    assert_eq!(timeout.len(), 8);
    assert_eq!(tk[..2], [0x80, 0x23]);
    let asserted = digest(&mut tpm, &s);
    let owner = OWNER.to_be_bytes();
    let good = Redeemed { timeout: &timeout, cp_hash: &[7; 32], reference: b"ref", name: &owner, ticket: &tk };
    let other = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(redeem(&mut tpm, &other, &good), Ok(vec![]));
    assert_eq!(digest(&mut tpm, &other), asserted);
    assert_eq!(
        redeem(&mut tpm, &other, &Redeemed { cp_hash: &[8; 32], ..good }),
        Err(CPHASH),
        "the ticket bound cpHash"
    );

    let fresh = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let mut refused = |t: Redeemed<'_>, rc| {
        assert_eq!(redeem(&mut tpm, &fresh, &t), Err(rc));
        assert_eq!(digest(&mut tpm, &fresh), [0; 32]);
    };
    refused(Redeemed { timeout: &[], ..good }, param(1, SIZE));
    refused(Redeemed { timeout: &timeout[1..], ..good }, param(1, SIZE));
    refused(Redeemed { timeout: &[0; 9], ..good }, param(1, SIZE));
    refused(Redeemed { timeout: &1u64.to_be_bytes(), ..good }, param(1, EXPIRED));
    refused(Redeemed { timeout: &[0; 8], ..good }, param(5, TICKET));
    refused(Redeemed { timeout: &[0x7f; 8], ..good }, param(5, TICKET));
    refused(Redeemed { cp_hash: &[8; 32], ..good }, param(5, TICKET));
    refused(Redeemed { cp_hash: &[7; 20], ..good }, param(2, SIZE));
    refused(Redeemed { cp_hash: &[], ..good }, param(5, TICKET));
    refused(Redeemed { reference: b"", ..good }, param(5, TICKET));
    refused(Redeemed { name: &NULL.to_be_bytes(), ..good }, param(5, TICKET));
    let changed = |at: usize, to: u8| {
        let mut changed = tk.clone();
        changed[at] = to;
        changed
    };
    refused(Redeemed { ticket: &changed(1, 0x25), ..good }, param(5, TICKET));
    refused(Redeemed { ticket: &changed(1, 0x22), ..good }, param(5, TAG));
    refused(Redeemed { ticket: &changed(5, 7), ..good }, param(5, TICKET));
    refused(Redeemed { ticket: &changed(5, 9), ..good }, param(5, VALUE));
    refused(Redeemed { ticket: &changed(20, tk[20] ^ 1), ..good }, param(5, TICKET));
    assert_eq!(redeem(&mut tpm, &trial, &good), Ok(vec![]), "a trial checks no ticket");
}

/// Fix F-4374 of wolfTPM's firmware TPM, and its sort: a ticket that says nothing vouches for nothing.
#[test]
fn tn_f_4374_null_and_zero_tickets_are_refused() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let owner = OWNER.to_be_bytes();
    for tag in [0x23, 0x25] {
        for hierarchy in [NULL, OWNER, PLATFORM] {
            for digest in [vec![], vec![0; 32], vec![0; 20]] {
                let tk = [vec![0x80, tag], hierarchy.to_be_bytes().to_vec(), tpm2b(&digest)].concat();
                for timeout in [[0; 8], [0x7f; 8]] {
                    let t = Redeemed { timeout: &timeout, cp_hash: &[], reference: &[], name: &owner, ticket: &tk };
                    assert_eq!(redeem(&mut tpm, &s, &t), Err(param(5, TICKET)));
                }
            }
        }
    }
}

/// Part 2, 10.7.5: the hierarchy in a TPMT_TK_AUTH is a TPMI_RH_HIERARCHY, which TPM_RH_LOCKOUT is not: lockoutAuth
/// speaks in the owner's.
#[test]
fn a_ticket_of_each_hierarchy_names_it_and_that_of_lockout_the_owners() {
    let mut tpm = Fixture::new();
    for (entity, hierarchy) in
        [(OWNER, OWNER), (PLATFORM, PLATFORM), (ENDORSEMENT, ENDORSEMENT), (LOCKOUT_HIERARCHY, OWNER)]
    {
        let s = Session::plain(&mut tpm, Kind::Policy);
        let params = [vec![0; 6], (-60i32).to_be_bytes().to_vec()].concat();
        let (timeout, tk) = ticket(&tpm.with(cc::POLICY_SECRET, &[entity, s.handle], &[b""], &params).unwrap());
        assert_eq!(tk[..6], [&[0x80, 0x23][..], &hierarchy.to_be_bytes()].concat(), "{entity:#x}");
        assert!(tk.len() > 8, "no NULL Ticket");
        let name = entity.to_be_bytes();
        let t = Redeemed { timeout: &timeout, cp_hash: &[], reference: &[], name: &name, ticket: &tk };
        assert_eq!(redeem(&mut tpm, &s, &t), Ok(vec![]), "{entity:#x}");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
}

/// What a session is limited to is part of its context.
#[test]
fn a_limit_to_a_hash_comes_back_with_the_context() {
    let kinds = [cc::POLICY_CP_HASH, cc::POLICY_NAME_HASH, cc::POLICY_TEMPLATE, cc::POLICY_PARAMETERS];
    for mirrored in [false, true] {
        let mut tpm = Fixture::new();
        tpm.mirrored = mirrored;
        for limited in kinds {
            let s = Session::plain(&mut tpm, Kind::Policy);
            assert_eq!(policy(&mut tpm, limited, &s, &tpm2b(&[1; 32])), Ok(vec![]));
            let before = digest(&mut tpm, &s);
            let context = tpm.run(cc::CONTEXT_SAVE, &[s.handle], &[], &[]).unwrap();
            assert_eq!(
                tpm.run(cc::CONTEXT_LOAD, &[], &[], &context),
                Ok(s.handle.to_be_bytes().to_vec()),
                "{limited:#x}"
            );
            assert_eq!(digest(&mut tpm, &s), before);
            for other in kinds {
                // TPM2_PolicyTemplate tells another template from another kind of limit (Part 3, 23.21).
                let expected = if (limited, other) == (cc::POLICY_TEMPLATE, cc::POLICY_TEMPLATE) {
                    Err(param(1, VALUE))
                } else {
                    Err(CPHASH)
                };
                assert_eq!(policy(&mut tpm, other, &s, &tpm2b(&[2; 32])), expected, "{limited:#x} {other:#x}");
            }
            let again = policy(&mut tpm, limited, &s, &tpm2b(&[1; 32]));
            let repeatable = [cc::POLICY_CP_HASH, cc::POLICY_TEMPLATE].contains(&limited);
            assert_eq!(again, if repeatable { Ok(vec![]) } else { Err(CPHASH) }, "{limited:#x}");
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
        }
    }
}

#[test]
fn a_ticket_expires() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let (timeout, tk) = ticket(&secret(&mut tpm, &s, &[], &[], &[], -10).unwrap());
    let owner = OWNER.to_be_bytes();
    let t = Redeemed { timeout: &timeout, cp_hash: &[], reference: &[], name: &owner, ticket: &tk };
    tpm.clock.0 = 10_000;
    assert_eq!(redeem(&mut tpm, &s, &t), Ok(vec![]));
    tpm.clock.0 = 10_001;
    assert_eq!(redeem(&mut tpm, &s, &t), Err(param(1, EXPIRED)));
    tpm.restart(Some(1), 1);
    let s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(redeem(&mut tpm, &s, &t), Err(param(5, TICKET)), "Time starts anew, the ticket does not");
}

#[test]
fn policy_authorize_refuses_keys_and_tickets_that_do_not_fit() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let key = [vec![0, 0xb], vec![7; 32]].concat();
    let tk =
        |hierarchy: u32, digest: &[u8]| [vec![0x80, 0x22], hierarchy.to_be_bytes().to_vec(), tpm2b(digest)].concat();
    let mut authorize = |s: &Session, approved: &[u8], key: &[u8], ticket: &[u8]| {
        let params = [tpm2b(approved), tpm2b(b"ref"), tpm2b(key), ticket.to_vec()].concat();
        policy(&mut tpm, cc::POLICY_AUTHORIZE, s, &params)
    };
    let null = tk(NULL, &[]);
    assert_eq!(authorize(&s, &[], &[], &null), Err(param(3, SIZE)));
    assert_eq!(authorize(&s, &[], &[0], &null), Err(param(3, SIZE)));
    assert_eq!(authorize(&s, &[], &[0, 0x10], &null), Err(param(3, HASH)));
    assert_eq!(authorize(&s, &[], &key[..33], &null), Err(param(3, SIZE)));
    for s in [&s, &trial] {
        assert_eq!(authorize(s, &[], &key, &[0x80, 0x23]), Err(param(4, TAG)));
        assert_eq!(authorize(s, &[], &key, &[0x80, 0x22, 0x40, 0, 0, 9, 0, 0]), Err(param(4, VALUE)));
    }
    assert_eq!(authorize(&s, &[1; 32], &key, &null), Err(param(1, VALUE)));
    assert_eq!(authorize(&s, &[], &key, &null), Err(param(1, VALUE)));
    assert_eq!(authorize(&trial, &[1; 32], &key, &null), Ok(vec![]), "a trial checks no ticket");
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_AUTHORIZE, &key, b"ref");
    assert_eq!(digest(&mut tpm, &trial), expected.digest);
}

/// Fix F-4742 of wolfTPM's firmware TPM.
#[test]
fn tn_f_4742_policy_authorize_refuses_null_and_zero_tickets() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let key = [vec![0, 0xb], vec![7; 32]].concat();
    for hierarchy in [NULL, OWNER, PLATFORM] {
        for value in [vec![], vec![0; 32], vec![0; 20], vec![0; 64]] {
            let tk = [vec![0x80, 0x22], hierarchy.to_be_bytes().to_vec(), tpm2b(&value)].concat();
            let params = [tpm2b(&[0; 32]), tpm2b(b"ref"), tpm2b(&key), tk].concat();
            assert_eq!(policy(&mut tpm, cc::POLICY_AUTHORIZE, &s, &params), Err(param(4, VALUE)));
        }
    }
    assert_eq!(digest(&mut tpm, &s), [0; 32]);
}

#[test]
fn policy_restart_forgets_all_but_nonce_and_time() {
    let mut tpm = Fixture::new();
    let s = Session::plain(&mut tpm, Kind::Policy);
    tpm.clock.0 = 2_000;
    policy(&mut tpm, cc::POLICY_CP_HASH, &s, &tpm2b(&[1; 32])).unwrap();
    assert_eq!(policy(&mut tpm, cc::POLICY_RESTART, &s, &[]), Ok(vec![]));
    assert_eq!(digest(&mut tpm, &s), [0; 32]);
    assert_eq!(policy(&mut tpm, cc::POLICY_NAME_HASH, &s, &tpm2b(&[1; 32])), Ok(vec![]));
    let nonce = s.nonce_tpm.clone();
    assert!(secret(&mut tpm, &s, &nonce, &[], &[], 2).is_ok(), "nonceTPM is the same");
    assert_eq!(secret(&mut tpm, &s, &nonce, &[], &[], 1), Err(param(4, EXPIRED)), "and so is the session's start");
    let _ = attr::CONTINUE;
}
