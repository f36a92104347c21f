//! What NV Indices and PCR do with policy sessions: the ADMIN role, PIN in TPM2_PolicySecret, PCR policies, and
//! policies over a restart.

use crate::harness::Fixture;
use crate::harness::nv::{INDEX, OTHER, PIN, a, define, define_as, public, read, write};
use client::codes::{
    ATTRIBUTES, AUTH_UNAVAILABLE, BAD_AUTH, NULL, NV_LOCKED, OWNER, PCR_CHANGED, PLATFORM, POLICY_CC, POLICY_FAIL,
    SIZE, handle, param, session,
};
use client::session::{Auth, Kind, Outcome, Session, Start};
use client::{password, tpm2b};
use sha2::{Digest, Sha256};
use tpm_core::cc;

/// policyDigest after one step from a Zero Digest.
fn step(old: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest([old, &parts.concat()].concat()).to_vec()
}

fn command_code(code: u32) -> Vec<u8> {
    step(&[0; 32], &[&cc::POLICY_COMMAND_CODE.to_be_bytes(), &code.to_be_bytes()])
}

/// A policy session, neither bound nor salted, with SHA-256.
fn start(tpm: &mut Fixture) -> u32 {
    let params = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[1, 0, 0x10, 0, 0xb]].concat();
    let reply = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

/// A policy session with TPM2_PolicyCommandCode.
fn start_for(tpm: &mut Fixture, code: u32) -> u32 {
    let policy = start(tpm);
    tpm.run(cc::POLICY_COMMAND_CODE, &[policy], &[], &code.to_be_bytes()).unwrap();
    policy
}

/// A use of the policy session with continueSession, and this as HMAC or password.
fn by_policy(policy: u32, hmac: &[u8]) -> Vec<u8> {
    [&policy.to_be_bytes()[..], &[0, 0, 1], &tpm2b(hmac)].concat()
}

const DELETABLE: u32 = a::AUTH | a::PLATFORMCREATE | a::POLICY_DELETE;

fn undefine_special(tpm: &mut Fixture, policy: u32) -> Outcome {
    let area = [by_policy(policy, b""), password(b"")].concat();
    tpm.with_area(cc::NV_UNDEFINE_SPACE_SPECIAL, &[INDEX, PLATFORM], &area, &[])
}

#[test]
fn undefine_space_special_deletes_with_policy_and_platform() {
    let mut tpm = Fixture::new();
    let area = public(INDEX, DELETABLE, &command_code(cc::NV_UNDEFINE_SPACE_SPECIAL), 8);
    define_as(&mut tpm, PLATFORM, b"pw", &area).unwrap();
    let policy = start(&mut tpm);
    assert_eq!(undefine_special(&mut tpm, policy), Err(session(1, POLICY_FAIL)), "another policy");
    let policy = start_for(&mut tpm, cc::NV_READ);
    assert!(undefine_special(&mut tpm, policy).is_err(), "for another command");
    let policy = start_for(&mut tpm, cc::NV_UNDEFINE_SPACE_SPECIAL);
    let wrong = [by_policy(policy, b""), password(b"no")].concat();
    assert_eq!(
        tpm.with_area(cc::NV_UNDEFINE_SPACE_SPECIAL, &[INDEX, PLATFORM], &wrong, &[]),
        Err(session(2, BAD_AUTH)),
        "and the platform's authorization"
    );
    assert_eq!(undefine_special(&mut tpm, policy), Ok(vec![]));
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]), Err(handle(1, client::codes::HANDLE)));
}

#[test]
fn undefine_space_special_is_for_policy_delete_only() {
    let mut tpm = Fixture::new();
    let attributes = DELETABLE & !a::POLICY_DELETE;
    let area = public(INDEX, attributes, &command_code(cc::NV_UNDEFINE_SPACE_SPECIAL), 8);
    define_as(&mut tpm, PLATFORM, b"pw", &area).unwrap();
    let policy = start_for(&mut tpm, cc::NV_UNDEFINE_SPACE_SPECIAL);
    assert_eq!(undefine_special(&mut tpm, policy), Err(handle(1, ATTRIBUTES)));
}

#[test]
fn change_auth_changes_the_auth_value() {
    let mut tpm = Fixture::new();
    define_as(&mut tpm, OWNER, b"pw", &public(INDEX, a::AUTH, &command_code(cc::NV_CHANGE_AUTH), 8)).unwrap();
    write(&mut tpm, INDEX, INDEX, b"contents", 0).unwrap();
    let change = |tpm: &mut Fixture, new: &[u8]| {
        let policy = start_for(tpm, cc::NV_CHANGE_AUTH);
        let outcome = tpm.with_area(cc::NV_CHANGE_AUTH, &[INDEX], &by_policy(policy, b""), &tpm2b(new));
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &policy.to_be_bytes()).unwrap();
        outcome
    };
    assert_eq!(change(&mut tpm, &[1; 33]), Err(param(1, SIZE)));
    assert_eq!(change(&mut tpm, b"new\0"), Ok(vec![]));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(session(1, BAD_AUTH)));
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"new"], &[0, 2, 0, 0]), Ok(tpm2b(b"co")), "contents stay");
    assert_eq!(change(&mut tpm, &[[1; 32], [0; 32]].concat()), Ok(vec![]), "zeros at the end do not count");
    let policy = start_for(&mut tpm, cc::NV_READ);
    let outcome = tpm.with_area(cc::NV_CHANGE_AUTH, &[INDEX], &by_policy(policy, b""), &tpm2b(b""));
    assert!(outcome.is_err(), "a policy for another command");
}

#[test]
fn the_admin_role_needs_a_command_code_in_the_policy() {
    let mut tpm = Fixture::new();
    let any = step(&[0; 32], &[&cc::POLICY_AUTH_VALUE.to_be_bytes()]);
    define_as(&mut tpm, OWNER, b"", &public(INDEX, a::AUTH | a::POLICYREAD, &any, 8)).unwrap();
    let policy = start(&mut tpm);
    tpm.run(cc::POLICY_PASSWORD, &[policy], &[], &[]).unwrap();
    let outcome = tpm.with_area(cc::NV_CHANGE_AUTH, &[INDEX], &by_policy(policy, b""), &tpm2b(b""));
    assert_eq!(outcome, Err(session(1, POLICY_FAIL)));
    define_as(&mut tpm, OWNER, b"", &public(OTHER, a::AUTH, &command_code(cc::NV_READ), 8)).unwrap();
    let policy = start_for(&mut tpm, cc::NV_READ);
    let outcome = tpm.with_area(cc::NV_CHANGE_AUTH, &[OTHER], &by_policy(policy, b""), &tpm2b(b""));
    assert_eq!(outcome, Err(session(1, POLICY_CC)));
}

/// TPM2_PolicySecret with a PIN index.
fn secret(tpm: &mut Fixture, index: u32, policy: u32, pin: &[u8], expiration: i32) -> Outcome {
    let params = [&[0; 6][..], &expiration.to_be_bytes()].concat();
    tpm.with(cc::POLICY_SECRET, &[index, policy], &[pin], &params)
}

fn set_pin(tpm: &mut Fixture, index: u32, count: u32, limit: u32) {
    let data = [count.to_be_bytes(), limit.to_be_bytes()].concat();
    assert_eq!(write(tpm, OWNER, index, &data, 0), Ok(vec![]));
}

fn pin_count(tpm: &mut Fixture, index: u32) -> u32 {
    u32::from_be_bytes(read(tpm, OWNER, index, 4, 0).unwrap().try_into().unwrap())
}

#[test]
fn policy_secret_with_a_pin_counts() {
    let mut tpm = Fixture::new();
    let policy = start(&mut tpm);
    define(&mut tpm, INDEX, PIN | a::PIN_FAIL, 8).unwrap();
    define(&mut tpm, OTHER, PIN | a::PIN_PASS, 8).unwrap();
    assert_eq!(secret(&mut tpm, INDEX, policy, b"pw", 0), Err(AUTH_UNAVAILABLE), "not written");
    set_pin(&mut tpm, INDEX, 0, 2);
    set_pin(&mut tpm, OTHER, 0, 1);
    assert_eq!(secret(&mut tpm, INDEX, policy, b"no", 0), Err(session(1, BAD_AUTH)));
    assert_eq!(pin_count(&mut tpm, INDEX), 1);
    assert!(secret(&mut tpm, INDEX, policy, b"pw", 0).is_ok());
    assert_eq!(pin_count(&mut tpm, INDEX), 0);
    assert!(secret(&mut tpm, OTHER, policy, b"pw", 0).is_ok());
    assert_eq!(secret(&mut tpm, OTHER, policy, b"pw", 0), Err(AUTH_UNAVAILABLE));
}

#[test]
fn a_pin_pass_index_gives_no_ticket() {
    let mut tpm = Fixture::new();
    let policy = start(&mut tpm);
    define(&mut tpm, INDEX, PIN | a::PIN_FAIL, 8).unwrap();
    define(&mut tpm, OTHER, PIN | a::PIN_PASS, 8).unwrap();
    set_pin(&mut tpm, INDEX, 0, 9);
    set_pin(&mut tpm, OTHER, 0, 9);
    let null_ticket = [&[0, 0][..], &[0x80, 0x23], &NULL.to_be_bytes(), &[0, 0]].concat();
    assert_eq!(secret(&mut tpm, OTHER, policy, b"pw", -100), Ok(null_ticket.clone()));
    let reply = secret(&mut tpm, INDEX, policy, b"pw", -100).unwrap();
    assert_ne!(reply, null_ticket, "PIN Fail does");
}

#[test]
fn a_policy_with_the_pin_counts_as_well() {
    let mut tpm = Fixture::new();
    let digest = step(&[0; 32], &[&cc::POLICY_AUTH_VALUE.to_be_bytes()]);
    let area = public(INDEX, PIN | a::PIN_PASS | a::POLICYREAD, &digest, 8);
    define_as(&mut tpm, OWNER, b"pw", &area).unwrap();
    set_pin(&mut tpm, INDEX, 0, 9);
    let policy = start(&mut tpm);
    for n in 1..=2 {
        tpm.run(cc::POLICY_PASSWORD, &[policy], &[], &[]).unwrap();
        assert!(tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b"pw"), &[0; 4]).is_ok());
        assert_eq!(pin_count(&mut tpm, INDEX), n);
    }
}

#[test]
fn a_policy_without_the_pin_does_not_count() {
    let mut tpm = Fixture::new();
    let area = public(INDEX, PIN | a::PIN_PASS | a::POLICYREAD, &command_code(cc::NV_READ), 8);
    define_as(&mut tpm, OWNER, b"pw", &area).unwrap();
    set_pin(&mut tpm, INDEX, 0, 1);
    let policy = start_for(&mut tpm, cc::NV_READ);
    assert!(tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b""), &[0; 4]).is_ok());
    assert_eq!(pin_count(&mut tpm, INDEX), 0);
}

#[test]
fn a_pcr_policy_authorizes() {
    let mut tpm = Fixture::new();
    tpm.locality = 2;
    let policy = start_for(&mut tpm, cc::PCR_EXTEND);
    let digest = command_code(cc::PCR_EXTEND);
    assert!(tpm.with_area(cc::PCR_EXTEND, &[21], &by_policy(policy, b""), &[0; 4]).is_err(), "no policy");
    let set = [&tpm2b(&digest)[..], &[0, 0xb], &20u32.to_be_bytes()].concat();
    tpm.with(cc::PCR_SET_AUTH_POLICY, &[PLATFORM], &[b""], &set).unwrap();
    assert_eq!(tpm.with_area(cc::PCR_EXTEND, &[21], &by_policy(policy, b""), &[0; 4]), Ok(vec![]));
    let other = start(&mut tpm);
    assert_eq!(tpm.with_area(cc::PCR_EXTEND, &[21], &by_policy(other, b""), &[0; 4]), Err(session(1, POLICY_FAIL)));
    let policy = start_for(&mut tpm, cc::PCR_EXTEND);
    assert_eq!(
        tpm.with_area(cc::PCR_EXTEND, &[16], &by_policy(policy, b""), &[0; 4]),
        Err(AUTH_UNAVAILABLE),
        "PCR outside of the group cannot have a policy"
    );
}

/// An index that can be read while PCR 16 to 23 of SHA-256 are as they are at the start.
fn sealed_to_pcr(tpm: &mut Fixture) -> (u32, Vec<u8>) {
    let selection = [&[0, 0, 0, 1, 0, 0xb, 3][..], &[0, 0, 0xff]].concat();
    let policy = start(tpm);
    tpm.run(cc::POLICY_PCR, &[policy], &[], &[&tpm2b(b"")[..], &selection].concat()).unwrap();
    let digest = tpm.run(cc::POLICY_GET_DIGEST, &[policy], &[], &[]).unwrap()[2..].to_vec();
    define_as(tpm, OWNER, b"", &public(INDEX, a::OWNERWRITE | a::POLICYREAD, &digest, 8)).unwrap();
    write(tpm, OWNER, INDEX, b"a secret", 0).unwrap();
    let context = tpm.run(cc::CONTEXT_SAVE, &[policy], &[], &[]).unwrap();
    (policy, context)
}

#[test]
fn a_saved_policy_does_not_outlive_a_change_of_pcr_by_the_start() {
    // The session was saved before the start, and its PCR 17 to 22 then went back to ones: only pcrUpdateCounter shows
    // it.
    for startup in [0, 1] {
        let mut tpm = Fixture::new();
        let (policy, context) = sealed_to_pcr(&mut tpm);
        tpm.restart(Some(1), startup);
        assert_eq!(
            tpm.run(cc::CONTEXT_LOAD, &[], &[], &context),
            Ok(policy.to_be_bytes().to_vec()),
            "saved sessions come back"
        );
        let outcome = tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b""), &[0, 8, 0, 0]);
        assert_eq!(outcome, Err(PCR_CHANGED), "TPM_SU {startup}");
    }
}

#[test]
fn saved_sessions_do_not_outlive_tpm_reset() {
    let mut tpm = Fixture::new();
    let (policy, context) = sealed_to_pcr(&mut tpm);
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context), Ok(policy.to_be_bytes().to_vec()));
    let outcome = tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b""), &[0, 8, 0, 0]);
    assert_eq!(outcome, Ok(tpm2b(b"a secret")), "nothing has changed");
    let context = tpm.run(cc::CONTEXT_SAVE, &[policy], &[], &[]).unwrap();
    tpm.restart(Some(0), 0);
    assert!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).is_err());
}

#[test]
fn a_drtm_event_voids_policies_over_its_pcr() {
    let mut tpm = Fixture::new();
    let (policy, context) = sealed_to_pcr(&mut tpm);
    tpm.tpm.hash_start();
    assert!(tpm.tpm.hash_end());
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context), Ok(policy.to_be_bytes().to_vec()));
    let outcome = tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b""), &[0, 8, 0, 0]);
    assert_eq!(outcome, Err(PCR_CHANGED));
}

#[test]
fn an_index_written_to_write_lock_by_policy() {
    let mut tpm = Fixture::new();
    let digest = command_code(cc::NV_WRITE_LOCK);
    let area = public(INDEX, a::AUTH | a::POLICYWRITE | a::WRITE_STCLEAR, &digest, 8);
    define_as(&mut tpm, OWNER, b"pw", &area).unwrap();
    let policy = start_for(&mut tpm, cc::NV_WRITE_LOCK);
    let lock = tpm.with_area(cc::NV_WRITE_LOCK, &[INDEX, INDEX], &by_policy(policy, b""), &[]);
    assert_eq!(lock, Ok(vec![]), "TPMA_NV_POLICYWRITE");
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 8], 0), Err(NV_LOCKED));
    let policy = start_for(&mut tpm, cc::NV_READ);
    let read = tpm.with_area(cc::NV_READ, &[INDEX, INDEX], &by_policy(policy, b""), &[0; 4]);
    assert_eq!(read, Err(AUTH_UNAVAILABLE), "no TPMA_NV_POLICYREAD");
}

/// How the authValue of an index comes to the TPM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Password,
    /// an HMAC session
    Hmac,
    /// a policy session with TPM2_PolicyPassword
    PolicyPassword,
    /// a policy session with TPM2_PolicyAuthValue
    PolicyAuthValue,
    /// the same, bound to the owner
    Bound,
}

const EACH: [By; 5] = [By::Password, By::Hmac, By::PolicyPassword, By::PolicyAuthValue, By::Bound];

/// A command that the index authorizes with this as its authValue, in a session of its own. Its policy is
/// TPM2_PolicyAuthValue, after TPM2_PolicyCommandCode for the ADMIN role.
fn authorized_by(tpm: &mut Fixture, by: By, code: u32, handles: &[u32], auth: &[u8], params: &[u8]) -> Outcome {
    if by == By::Password {
        return tpm.exec(code, handles, vec![Auth::Password(auth)], params);
    }
    let kind = if by == By::Hmac { Kind::Hmac } else { Kind::Policy };
    let bind: (u32, &[u8]) = if by == By::Bound { (OWNER, b"") } else { (client::codes::NULL, b"") };
    let mut s = Session::start(tpm, &Start { kind, bind, ..Start::default() });
    if kind == Kind::Policy {
        if code == cc::NV_CHANGE_AUTH {
            tpm.run(cc::POLICY_COMMAND_CODE, &[s.handle], &[], &code.to_be_bytes()).unwrap();
        }
        let step = if by == By::PolicyPassword { cc::POLICY_PASSWORD } else { cc::POLICY_AUTH_VALUE };
        tpm.run(step, &[s.handle], &[], &[]).unwrap();
    }
    let one = if by == By::PolicyPassword { s.with(0).raw(auth) } else { s.auth(0, auth) };
    let outcome = tpm.exec(code, handles, vec![one.into()], params);
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    outcome
}

/// A PIN index whose authValue "pw" reads it in each way.
fn pin_for_all(tpm: &mut Fixture, kind: u32) {
    let digest = step(&[0; 32], &[&cc::POLICY_AUTH_VALUE.to_be_bytes()]);
    define_as(tpm, OWNER, b"pw", &public(INDEX, PIN | kind | a::POLICYREAD | a::POLICYWRITE, &digest, 8)).unwrap();
}

/// Part 1, 34.2.6.6: authorization fails if pinCount is not less than pinLimit; a failure counts for PIN Fail.
/// 34.2.8.2: a PIN has its own protection against guessing.
#[test]
fn guesses_at_a_pin_fail_index_end_at_its_limit_whatever_the_session() {
    for by in EACH {
        let mut tpm = Fixture::new();
        pin_for_all(&mut tpm, a::PIN_FAIL);
        set_pin(&mut tpm, INDEX, 0, 3);
        let mut attempt =
            |auth: &[u8]| authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], auth, &[0; 4]).map(drop);
        for _ in 0..3 {
            assert_eq!(attempt(b"no"), Err(session(1, BAD_AUTH)), "{by:?}");
        }
        for _ in 0..20 {
            assert_eq!(attempt(b"no"), Err(AUTH_UNAVAILABLE), "{by:?}");
        }
        assert_eq!(attempt(b"pw"), Err(AUTH_UNAVAILABLE), "{by:?}");
        assert_eq!(pin_count(&mut tpm, INDEX), 3, "{by:?}: what was not admitted does not count");
        set_pin(&mut tpm, INDEX, 2, 3);
        let right = authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], b"pw", &[0; 4]);
        assert_eq!((right, pin_count(&mut tpm, INDEX)), (Ok(vec![0, 0]), 0), "{by:?}");
    }
}

/// Part 1, 34.2.8.1: pinLimit is the number of correct authorization attempts that are permitted.
#[test]
fn uses_of_a_pin_pass_index_end_at_its_limit_whatever_the_session() {
    for by in EACH {
        let mut tpm = Fixture::new();
        pin_for_all(&mut tpm, a::PIN_PASS);
        set_pin(&mut tpm, INDEX, 0, 2);
        for n in 1..=2 {
            assert_eq!(
                authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], b"pw", &[0; 4]),
                Ok(vec![0, 0]),
                "{by:?}"
            );
            assert_eq!(pin_count(&mut tpm, INDEX), n, "{by:?}");
        }
        for auth in [&b"pw"[..], b"no"] {
            let outcome = authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], auth, &[0; 4]);
            assert_eq!(outcome, Err(AUTH_UNAVAILABLE), "{by:?}");
        }
        assert_eq!(pin_count(&mut tpm, INDEX), 2, "{by:?}");
    }
}

/// Part 1, 34.2.8.3: the authorization check of an unwritten PIN index must fail, and TPM2_PolicyAuthValue and
/// TPM2_PolicyPassword cannot be used for its first write.
#[test]
fn an_unwritten_pin_index_authorizes_nothing_whatever_the_session() {
    for by in EACH {
        for kind in [a::PIN_FAIL, a::PIN_PASS] {
            let mut tpm = Fixture::new();
            pin_for_all(&mut tpm, kind);
            let target = start(&mut tpm);
            let read = authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], b"pw", &[0; 4]);
            assert_eq!(read, Err(AUTH_UNAVAILABLE), "{by:?}");
            let data = [&tpm2b(&[0, 0, 0, 0, 0, 0, 0, 9])[..], &[0, 0]].concat();
            let write = authorized_by(&mut tpm, by, cc::NV_WRITE, &[INDEX, INDEX], b"pw", &data);
            assert_eq!(write, Err(AUTH_UNAVAILABLE), "{by:?}");
            let secret = authorized_by(&mut tpm, by, cc::POLICY_SECRET, &[INDEX, target], b"pw", &[0; 10]);
            assert_eq!(secret, Err(AUTH_UNAVAILABLE), "{by:?}");
        }
    }
}

/// Part 3, 23.4.1: a successful authorization counts for PIN Pass, a failing one for PIN Fail, in the session of
/// TPM2_PolicySecret, too.
#[test]
fn policy_secret_through_a_policy_session_counts_and_ends_at_the_limit() {
    for by in EACH {
        let mut tpm = Fixture::new();
        let target = start(&mut tpm);
        pin_for_all(&mut tpm, a::PIN_PASS);
        set_pin(&mut tpm, INDEX, 0, 1);
        let mut assert_secret =
            |auth: &[u8]| authorized_by(&mut tpm, by, cc::POLICY_SECRET, &[INDEX, target], auth, &[0; 10]).map(drop);
        assert_eq!(assert_secret(b"no"), Err(session(1, BAD_AUTH)), "{by:?}");
        assert_eq!(assert_secret(b"pw"), Ok(()), "{by:?}");
        assert_eq!(assert_secret(b"pw"), Err(AUTH_UNAVAILABLE), "{by:?}");
        assert_eq!(pin_count(&mut tpm, INDEX), 1, "{by:?}");
    }
}

/// Part 1, 34.2.6.6, in the ADMIN role, for which there must be a policy.
#[test]
fn the_admin_role_of_a_pin_index_is_held_to_its_limit() {
    for by in [By::PolicyPassword, By::PolicyAuthValue, By::Bound] {
        let mut tpm = Fixture::new();
        let digest = step(&command_code(cc::NV_CHANGE_AUTH), &[&cc::POLICY_AUTH_VALUE.to_be_bytes()]);
        define_as(&mut tpm, OWNER, b"pw", &public(INDEX, PIN | a::PIN_FAIL, &digest, 8)).unwrap();
        set_pin(&mut tpm, INDEX, 0, 2);
        let mut change = |auth: &[u8]| authorized_by(&mut tpm, by, cc::NV_CHANGE_AUTH, &[INDEX], auth, &tpm2b(b"pw"));
        for _ in 0..2 {
            assert_eq!(change(b"no"), Err(session(1, BAD_AUTH)), "{by:?}");
        }
        assert_eq!(change(b"pw"), Err(AUTH_UNAVAILABLE), "{by:?}");
    }
}

/// Part 3, 5.6 and 31.13: the authValue reads an index with TPMA_NV_AUTHREAD only. 23.4.1 asks that of a PIN index in
/// TPM2_PolicySecret neither.
#[test]
fn without_authread_a_pin_is_good_for_policy_secret_alone() {
    let mut tpm = Fixture::new();
    let target = start(&mut tpm);
    define(&mut tpm, INDEX, (PIN | a::PIN_PASS) & !a::AUTHREAD, 8).unwrap();
    set_pin(&mut tpm, INDEX, 0, 9);
    for by in [By::Password, By::Hmac] {
        let read = authorized_by(&mut tpm, by, cc::NV_READ, &[INDEX, INDEX], b"pw", &[0; 4]);
        assert_eq!(read, Err(AUTH_UNAVAILABLE), "{by:?}");
        assert!(authorized_by(&mut tpm, by, cc::POLICY_SECRET, &[INDEX, target], b"pw", &[0; 10]).is_ok(), "{by:?}");
    }
    assert_eq!(pin_count(&mut tpm, INDEX), 2);
}

/// Part 1, 34.2.8.3: a PIN index cannot be a bind entity, or a session that authorizes something else would be a guess
/// that does not count.
#[test]
fn no_session_is_bound_to_a_pin_index() {
    let mut tpm = Fixture::new();
    for kind in [a::PIN_FAIL, a::PIN_PASS] {
        define(&mut tpm, INDEX, PIN | kind, 8).unwrap();
        for _ in 0..2 {
            for kind in [0, 1, 3] {
                let params = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[kind, 0, 0x10, 0, 0xb]].concat();
                let outcome = tpm.run(cc::START_AUTH_SESSION, &[client::codes::NULL, INDEX], &[], &params);
                assert_eq!(outcome, Err(handle(2, client::codes::HANDLE)));
            }
            set_pin(&mut tpm, INDEX, 0, 9);
        }
        crate::harness::nv::act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

/// Part 3, 23.4.1: TPMA_NV_AUTHREAD is required of an index that is no PIN, by password, by HMAC and by
/// TPM2_PolicyPassword. Choice: not with TPM2_PolicyAuthValue, as FAPI's tests have it (docs/differences.md).
#[test]
fn policy_secret_needs_authread_but_with_policy_auth_value() {
    for by in EACH {
        for attributes in [a::AUTHREAD, 0] {
            let mut tpm = Fixture::new();
            let target = start(&mut tpm);
            // TPM2_PolicyPassword and TPM2_PolicyAuthValue change policyDigest alike.
            let digest = step(&[0; 32], &[&cc::POLICY_AUTH_VALUE.to_be_bytes()]);
            let all = attributes | a::OWNERWRITE | a::POLICYREAD | a::NO_DA;
            define_as(&mut tpm, OWNER, b"pw", &public(INDEX, all, &digest, 8)).unwrap();
            let secret = authorized_by(&mut tpm, by, cc::POLICY_SECRET, &[INDEX, target], b"pw", &[0; 10]);
            let admitted = attributes == a::AUTHREAD || matches!(by, By::PolicyAuthValue | By::Bound);
            assert_eq!(secret.map(drop), if admitted { Ok(()) } else { Err(AUTH_UNAVAILABLE) }, "{by:?}");
        }
    }
}
