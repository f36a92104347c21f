//! Part 3, 25, and dictionary-attack protection (Part 1, 16.8): what counts, what is locked, and what heals.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{
    AUTH_FAIL, AUTH_MISSING, BAD_AUTH, INSUFFICIENT, LOCKOUT, LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM, VALUE, handle,
    param, session,
};
use client::session::{Kind, Outcome, Session};
use client::tpm2b;
use tpm_core::cc;

const PROTECTED: u32 = 0x0150_0000;
const EXEMPT: u32 = 0x0150_0001;
const TRIES: u32 = 4;
const RECOVERY_S: u64 = 100;
const LOCKOUT_RECOVERY_S: u64 = 1000;

const DENIED: Outcome = Err(session(1, AUTH_FAIL));
const LOCKED: Outcome = Err(LOCKOUT);

fn parameters(tpm: &mut Fixture, tries: u32, recovery_s: u64, lockout_recovery_s: u64) -> Outcome {
    let params = [tries, recovery_s as u32, lockout_recovery_s as u32].map(u32::to_be_bytes).concat();
    tpm.with(cc::DICTIONARY_ATTACK_PARAMETERS, &[LOCKOUT_HIERARCHY], &[b"lock"], &params)
}

/// A TPM with lockoutAuth "lock", and two written indices with authValue "pw", one under protection.
fn fixture() -> Fixture {
    let mut tpm = Fixture::new();
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[LOCKOUT_HIERARCHY], &[b""], &tpm2b(b"lock")).unwrap();
    for (index, attributes) in [(PROTECTED, 0x0004_0004u32), (EXEMPT, 0x0204_0004)] {
        let public = [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0, 0, 1]].concat();
        tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&public)].concat()).unwrap();
        tpm.with(cc::NV_WRITE, &[index, index], &[b"pw"], &[&tpm2b(b"x")[..], &[0, 0]].concat()).unwrap();
    }
    parameters(&mut tpm, TRIES, RECOVERY_S, LOCKOUT_RECOVERY_S).unwrap();
    tpm
}

fn read(tpm: &mut Fixture, index: u32, auth: &[u8]) -> Outcome {
    tpm.with(cc::NV_READ, &[index, index], &[auth], &[0, 1, 0, 0])
}

fn wrong(tpm: &mut Fixture) -> Outcome {
    read(tpm, PROTECTED, b"no")
}

fn right(tpm: &mut Fixture) -> Outcome {
    read(tpm, PROTECTED, b"pw")
}

const READ: &[u8] = &[0, 1, b'x'];

fn property(tpm: &mut Fixture, pt: u32) -> u32 {
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[6, pt, 1].map(u32::to_be_bytes).concat()).unwrap();
    u32::from_be_bytes(reply[13..17].try_into().unwrap())
}

fn failed_tries(tpm: &mut Fixture) -> u32 {
    property(tpm, 0x20e)
}

fn in_lockout(tpm: &mut Fixture) -> bool {
    property(tpm, 0x200) & 0x200 != 0
}

fn lock(tpm: &mut Fixture) {
    while wrong(tpm) == DENIED {}
    assert_eq!(wrong(tpm), LOCKED);
}

fn pass(tpm: &mut Fixture, seconds: u64) {
    tpm.clock.0 += seconds * 1000;
}

fn lock_reset(tpm: &mut Fixture, auth: &[u8]) -> Outcome {
    tpm.with(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], &[auth], &[])
}

#[test]
fn failures_count_and_then_lock() {
    let mut tpm = fixture();
    for n in 1..=TRIES {
        assert!(!in_lockout(&mut tpm));
        assert_eq!(wrong(&mut tpm), DENIED);
        assert_eq!(failed_tries(&mut tpm), n);
    }
    assert!(in_lockout(&mut tpm));
    assert_eq!(wrong(&mut tpm), LOCKED);
    assert_eq!(right(&mut tpm), LOCKED, "the right authValue is not even looked at");
    assert_eq!(failed_tries(&mut tpm), TRIES);
}

#[test]
fn what_is_exempt_neither_counts_nor_is_locked() {
    let mut tpm = fixture();
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b""], &tpm2b(b"own")).unwrap();
    for _ in 0..2 * TRIES {
        assert_eq!(read(&mut tpm, EXEMPT, b"no"), Err(session(1, BAD_AUTH)));
        assert_eq!(tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b"no"], &tpm2b(b"")), Err(session(1, BAD_AUTH)));
    }
    assert_eq!(failed_tries(&mut tpm), 0);
    lock(&mut tpm);
    assert_eq!(read(&mut tpm, EXEMPT, b"pw").as_deref(), Ok(READ));
}

#[test]
fn success_does_not_reset_the_count() {
    let mut tpm = fixture();
    wrong(&mut tpm).unwrap_err();
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
    assert_eq!(failed_tries(&mut tpm), 1);
}

#[test]
fn the_first_use_after_startup_is_not_told_to_retry() {
    let mut tpm = fixture();
    for shutdown in [None, Some(0)] {
        tpm.restart(shutdown, 0);
        assert_eq!(right(&mut tpm).as_deref(), Ok(READ), "never TPM_RC_RETRY (0x922)");
    }
}

#[test]
fn each_recovery_time_heals_one_try() {
    let mut tpm = fixture();
    lock(&mut tpm);
    pass(&mut tpm, RECOVERY_S - 1);
    assert_eq!(failed_tries(&mut tpm), TRIES);
    pass(&mut tpm, 1);
    assert_eq!(failed_tries(&mut tpm), TRIES - 1);
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
    pass(&mut tpm, 2 * RECOVERY_S + 1);
    assert_eq!(failed_tries(&mut tpm), TRIES - 3);
    pass(&mut tpm, RECOVERY_S - 1);
    assert_eq!(failed_tries(&mut tpm), TRIES - 4, "what is left of a recoveryTime is not lost");
    pass(&mut tpm, 100 * RECOVERY_S);
    assert_eq!(failed_tries(&mut tpm), 0);
}

#[test]
fn a_failure_lets_the_time_count_anew() {
    let mut tpm = fixture();
    wrong(&mut tpm).unwrap_err();
    pass(&mut tpm, RECOVERY_S - 1);
    wrong(&mut tpm).unwrap_err();
    pass(&mut tpm, RECOVERY_S - 1);
    assert_eq!(failed_tries(&mut tpm), 2);
    pass(&mut tpm, 1);
    assert_eq!(failed_tries(&mut tpm), 1);
}

#[test]
fn with_recovery_time_zero_nothing_counts() {
    let mut tpm = fixture();
    lock(&mut tpm);
    parameters(&mut tpm, TRIES, 0, LOCKOUT_RECOVERY_S).unwrap();
    for _ in 0..2 * TRIES {
        assert_eq!(wrong(&mut tpm), DENIED);
        assert_eq!(failed_tries(&mut tpm), 0);
    }
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 0);
}

#[test]
fn tn_f_5677_with_max_tries_zero_all_is_locked() {
    let mut tpm = fixture();
    for recovery_s in [RECOVERY_S, 0] {
        assert_eq!(parameters(&mut tpm, 0, recovery_s, LOCKOUT_RECOVERY_S), Ok(vec![]));
        assert!(in_lockout(&mut tpm));
        assert_eq!(right(&mut tpm), LOCKED);
        assert_eq!(wrong(&mut tpm), LOCKED);
        assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]));
        assert_eq!(right(&mut tpm), LOCKED);
    }
    parameters(&mut tpm, 1, RECOVERY_S, LOCKOUT_RECOVERY_S).unwrap();
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
}

#[test]
fn tn_f_4842_fewer_tries_lock_at_once_and_more_unlock() {
    let mut tpm = fixture();
    for _ in 0..3 {
        wrong(&mut tpm).unwrap_err();
    }
    parameters(&mut tpm, 2, RECOVERY_S, LOCKOUT_RECOVERY_S).unwrap();
    assert_eq!(failed_tries(&mut tpm), 3, "failedTries stays");
    assert_eq!(right(&mut tpm), LOCKED);
    parameters(&mut tpm, u32::MAX, u64::from(u32::MAX), LOCKOUT_RECOVERY_S).unwrap();
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
}

#[test]
fn lock_reset_ends_lockout() {
    let mut tpm = fixture();
    lock(&mut tpm);
    assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]));
    assert_eq!(failed_tries(&mut tpm), 0);
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
}

#[test]
fn only_the_lockout_hierarchy_resets_and_sets_parameters() {
    let mut tpm = fixture();
    for code in [cc::DICTIONARY_ATTACK_LOCK_RESET, cc::DICTIONARY_ATTACK_PARAMETERS] {
        for h in [OWNER, PLATFORM, PROTECTED] {
            assert_eq!(tpm.with(code, &[h], &[b""], &[0; 12]), Err(handle(1, VALUE)));
        }
        assert_eq!(tpm.run(code, &[LOCKOUT_HIERARCHY], &[], &[0; 12]), Err(AUTH_MISSING));
    }
    for (n, size) in [(1, 3), (2, 7), (3, 11)] {
        assert_eq!(
            tpm.with(cc::DICTIONARY_ATTACK_PARAMETERS, &[LOCKOUT_HIERARCHY], &[b"lock"], &[0; 11][..size]),
            Err(param(n, INSUFFICIENT))
        );
    }
    assert_eq!([0x20f, 0x210, 0x211].map(|pt| property(&mut tpm, pt)), [4, 100, 1000]);
}

/// Part 1, 16.8.5: the lockout of lockoutAuth ends "when TPM2_DictionaryAttackLockReset() is used with a successful
/// lockoutPolicy", whatever lockoutRecovery is.
#[test]
fn a_reset_by_lockout_policy_enables_lockout_auth_again() {
    let mut tpm = fixture();
    let only_reset = |tpm: &mut Fixture, kind| {
        let s = Session::plain(tpm, kind);
        assert_eq!(
            tpm.run(cc::POLICY_COMMAND_CODE, &[s.handle], &[], &cc::DICTIONARY_ATTACK_LOCK_RESET.to_be_bytes()),
            Ok(vec![])
        );
        s
    };
    let trial = only_reset(&mut tpm, Kind::Trial);
    let policy = tpm.run(cc::POLICY_GET_DIGEST, &[trial.handle], &[], &[]).unwrap();
    tpm.with(cc::SET_PRIMARY_POLICY, &[LOCKOUT_HIERARCHY], &[b"lock"], &[&policy[..], &[0, 0xb]].concat()).unwrap();
    for lockout_recovery_s in [LOCKOUT_RECOVERY_S, 0] {
        parameters(&mut tpm, TRIES, RECOVERY_S, lockout_recovery_s).unwrap();
        assert_eq!(wrong(&mut tpm), DENIED);
        assert_eq!(lock_reset(&mut tpm, b"no"), DENIED);
        assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED);
        let mut s = only_reset(&mut tpm, Kind::Policy);
        let reset =
            tpm.exec(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], vec![s.with(0).last().into()], &[]);
        assert_eq!((reset, failed_tries(&mut tpm)), (Ok(vec![]), 0));
        assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]));
    }
}

#[test]
fn one_failure_of_lockout_auth_disables_it_for_a_time() {
    let mut tpm = fixture();
    assert_eq!(lock_reset(&mut tpm, b"no"), DENIED);
    assert_eq!(failed_tries(&mut tpm), 0, "it has a count of its own");
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
    assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED);
    pass(&mut tpm, LOCKOUT_RECOVERY_S - 1);
    assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED);
    pass(&mut tpm, 1);
    assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]));
}

#[test]
fn with_lockout_recovery_zero_only_startup_enables_lockout_auth() {
    let mut tpm = fixture();
    parameters(&mut tpm, TRIES, RECOVERY_S, 0).unwrap();
    for (shutdown, startup) in [(None, 0), (Some(0), 0), (Some(1), 0), (Some(1), 1)] {
        assert_eq!(lock_reset(&mut tpm, b"no"), DENIED);
        pass(&mut tpm, 1_000_000);
        assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED);
        tpm.restart(shutdown, startup);
        assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]));
    }
}

#[test]
fn tn_lockout_auth_stays_disabled_over_power_cycles() {
    let mut tpm = fixture();
    lock_reset(&mut tpm, b"no").unwrap_err();
    for _ in 0..5 {
        pass(&mut tpm, LOCKOUT_RECOVERY_S - 1);
        tpm.restart(None, 0);
        assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED, "without TPM2_Shutdown the time counts anew");
    }
    pass(&mut tpm, LOCKOUT_RECOVERY_S / 2);
    tpm.restart(Some(0), 0);
    pass(&mut tpm, LOCKOUT_RECOVERY_S / 2 - 1);
    assert_eq!(lock_reset(&mut tpm, b"lock"), LOCKED);
    pass(&mut tpm, 1);
    assert_eq!(lock_reset(&mut tpm, b"lock"), Ok(vec![]), "with it, it adds up");
}

#[test]
fn time_heals_over_orderly_power_cycles() {
    let mut tpm = fixture();
    wrong(&mut tpm).unwrap_err();
    wrong(&mut tpm).unwrap_err();
    for (shutdown, startup) in [(Some(0), 0), (Some(1), 0), (Some(1), 1), (Some(0), 0)] {
        pass(&mut tpm, RECOVERY_S / 5);
        assert_eq!(failed_tries(&mut tpm), 2);
        tpm.restart(shutdown, startup);
    }
    pass(&mut tpm, RECOVERY_S / 5);
    assert_eq!(failed_tries(&mut tpm), 1);
}

#[test]
fn time_without_power_heals_nothing() {
    let mut tpm = fixture();
    wrong(&mut tpm).unwrap_err();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0]), Ok(vec![]));
    pass(&mut tpm, 100 * RECOVERY_S);
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(failed_tries(&mut tpm), 1);
}

#[test]
fn cve_2020_26933_power_cuts_after_a_protected_use_count() {
    let mut tpm = fixture();
    for n in 1..=TRIES {
        assert_eq!(right(&mut tpm).as_deref(), Ok(READ), "not yet locked");
        tpm.restart(None, 0);
        assert_eq!(failed_tries(&mut tpm), n);
    }
    assert_eq!(right(&mut tpm), LOCKED);
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), TRIES, "not beyond maxTries");
    tpm = fixture();
    for _ in 0..40 {
        if wrong(&mut tpm) == LOCKED {
            return;
        }
        tpm.restart(None, 0);
    }
    panic!("guessing went on for 40 power cuts");
}

#[test]
fn power_cuts_without_a_protected_use_do_not_count() {
    let mut tpm = fixture();
    tpm.restart(Some(0), 0);
    for _ in 0..2 * TRIES {
        read(&mut tpm, EXEMPT, b"pw").unwrap();
        tpm.restart(None, 0);
    }
    assert_eq!(failed_tries(&mut tpm), 0);
    right(&mut tpm).unwrap();
    tpm.restart(Some(0), 0);
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 0, "a use before TPM2_Shutdown is over and done with");
}

/// Part 3, 31.1: that an index has not been written is told before its authValue is checked, and an authorization
/// failure for that is not logged.
#[test]
fn guesses_at_an_index_that_has_not_been_written_do_not_count() {
    use crate::harness::nv::{a, define};
    use client::codes::{BAD_AUTH, NV_UNINITIALIZED};
    const INDEX: u32 = 0x0150_0005;
    let mut tpm = fixture();
    tpm.restart(Some(0), 0);
    define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE | a::READ_STCLEAR, 1).unwrap();
    for auth in [&b"no"[..], b"pw"] {
        assert_eq!(read(&mut tpm, INDEX, auth), Err(NV_UNINITIALIZED));
        let certify = [&tpm2b(b"")[..], &[0, 0x10, 0, 1, 0, 0]].concat();
        let certified = tpm.with(cc::NV_CERTIFY, &[NULL, INDEX, INDEX], &[b"", auth], &certify);
        assert_eq!(certified, Err(NV_UNINITIALIZED));
        let start = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[1, 0, 0x10, 0, 0xb]].concat();
        let policy = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &start).unwrap();
        let policy = u32::from_be_bytes(policy[..4].try_into().unwrap());
        let operand = [&tpm2b(b"x")[..], &[0, 0, 0, 0]].concat();
        assert_eq!(
            tpm.with(cc::POLICY_NV, &[INDEX, INDEX, policy], &[auth], &operand),
            Err(NV_UNINITIALIZED),
            "TPM2_PolicyNV"
        );
        assert_eq!(tpm.with(cc::POLICY_AUTHORIZE_NV, &[INDEX, INDEX, policy], &[auth], &[]), Err(NV_UNINITIALIZED));
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &policy.to_be_bytes()).unwrap();
    }
    assert_eq!(failed_tries(&mut tpm), 0);
    // The owner's authorization is checked as ever, and what does not read the contents asks for the index' own.
    let by_owner = tpm.with(cc::NV_READ, &[OWNER, INDEX], &[b"no"], &[0, 1, 0, 0]);
    assert_eq!(by_owner, Err(session(1, BAD_AUTH)));
    assert_eq!(tpm.with(cc::NV_READ_LOCK, &[INDEX, INDEX], &[b"no"], &[]), DENIED, "TPM2_NV_ReadLock");
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 2, "the guess, and the power cut after it");
}

/// Part 1, 16.8.6: the flag that a protected authValue was used costs a failed try after a non-orderly restart only; a
/// platform that ends in order sends TPM2_Shutdown for a system that did not.
#[test]
fn an_orderly_end_of_the_platform_costs_no_try() {
    let mut tpm = fixture();
    for _ in 0..2 * TRIES {
        assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
        tpm.shut_down();
        tpm.restart(None, 0);
        assert_eq!(failed_tries(&mut tpm), 0);
    }
    // What was wrong before stays so, and a use after it counts again.
    assert_eq!(wrong(&mut tpm), DENIED);
    tpm.shut_down();
    assert_eq!(right(&mut tpm).as_deref(), Ok(READ));
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 2);
}

/// The command that was refused before the password was looked at has used no authValue (Part 1, 16.8.6), and voids no
/// shutdown.
#[test]
fn a_command_that_is_refused_before_its_authorization_is_compared_is_no_use() {
    use client::codes::{AUTH_TYPE, AUTH_UNAVAILABLE};
    let mut tpm = fixture();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    assert_eq!(
        tpm.with(cc::NV_CHANGE_AUTH, &[PROTECTED], &[b"no"], &tpm2b(b"new")),
        Err(AUTH_TYPE),
        "TPM2_NV_ChangeAuth by password"
    );
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Ok(vec![]));
    let public =
        [&0x0150_0002_u32.to_be_bytes()[..], &[0, 0xb], &0x0002_0004_u32.to_be_bytes(), &[0, 0, 0, 1]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&public)].concat()).unwrap();
    tpm.restart(Some(0), 0);
    assert_eq!(read(&mut tpm, 0x0150_0002, b"no"), Err(AUTH_UNAVAILABLE), "no TPMA_NV_AUTHREAD");
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 0);
}
