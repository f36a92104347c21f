//! What policies mean: the checks of a policy session at its use (Part 1, 16.7; Part 3, 5.6), and who needs one.
#![allow(clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use crate::harness::Fixture;
use client::attributes::session as attr;
use client::codes::{
    AUTH_FAIL, AUTH_TYPE, AUTH_UNAVAILABLE, BAD_AUTH, CHANNEL, EXPIRED, LOCALITY, LOCKOUT, MODE, NULL, OWNER,
    PCR_CHANGED, POLICY_CC, POLICY_FAIL, PP, SCHEME, SIZE, TICKET, VALUE, param, reference_s, session as at_session,
};
use client::hash::Alg;
use client::policy::PolicyDigest;
use client::session::{Auth, Kind, Outcome, Session, Start, cp_hash, name};
use client::sym::Sym;
use client::tpm2b;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use tpm_core::cc;

const INDEX: u32 = 0x0150_0000;
/// OWNERWRITE, POLICYWRITE, OWNERREAD, POLICYREAD, NO_DA
const POLICY_RIGHTS: u32 = 1 << 1 | 1 << 3 | 1 << 17 | 1 << 19 | NO_DA;
const NO_DA: u32 = 1 << 25;
const WRITTEN: u32 = 1 << 29;
const READ_8: [u8; 4] = [0, 8, 0, 0];

type Steps<'a> = &'a dyn Fn(&mut Fixture, &mut Session);

fn public(attributes: u32, policy: &[u8]) -> Vec<u8> {
    [&INDEX.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &tpm2b(policy), &[0, 8]].concat()
}

fn index_name(attributes: u32, policy: &[u8]) -> Vec<u8> {
    [vec![0, 0xb], Alg::Sha256.hash(&[&public(attributes, policy)])].concat()
}

fn define(tpm: &mut Fixture, attributes: u32, policy: &[u8], auth: &[u8]) {
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(auth), tpm2b(&public(attributes, policy))].concat())
        .unwrap();
}

fn write(tpm: &mut Fixture) {
    tpm.with(cc::NV_WRITE, &[OWNER, INDEX], &[b""], &[tpm2b(b"contents"), vec![0, 0]].concat()).unwrap();
}

fn say(tpm: &mut Fixture, code: u32, s: &Session, params: &[u8]) {
    assert_eq!(tpm.run(code, &[s.handle], &[], params), Ok(vec![]), "{code:x}");
}

fn digest_of(tpm: &mut Fixture, s: &Session) -> Vec<u8> {
    tpm.run(cc::POLICY_GET_DIGEST, &[s.handle], &[], &[]).unwrap()[2..].to_vec()
}

fn handle_of(reply: &[u8]) -> u32 {
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

/// An index whose authPolicy is what the steps make of a trial session, written.
fn guarded(steps: Steps<'_>, auth: &[u8]) -> Fixture {
    guarded_with(steps, auth, POLICY_RIGHTS)
}

fn guarded_with(steps: Steps<'_>, auth: &[u8], attributes: u32) -> Fixture {
    let mut tpm = Fixture::new();
    let mut trial = Session::plain(&mut tpm, Kind::Trial);
    steps(&mut tpm, &mut trial);
    let policy = digest_of(&mut tpm, &trial);
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &trial.handle.to_be_bytes()).unwrap();
    define(&mut tpm, attributes, &policy, auth);
    write(&mut tpm);
    tpm
}

/// A new policy session with these steps.
fn policy(tpm: &mut Fixture, steps: Steps<'_>) -> Session {
    let mut s = Session::plain(tpm, Kind::Policy);
    steps(tpm, &mut s);
    s
}

fn read_with(tpm: &mut Fixture, one: Auth<'_>) -> Outcome {
    tpm.exec(cc::NV_READ, &[INDEX, INDEX], vec![one], &READ_8)
}

/// Reads through a new session with these steps, which ends.
fn read(tpm: &mut Fixture, steps: Steps<'_>) -> Outcome {
    let mut s = policy(tpm, steps);
    let outcome = read_with(tpm, s.with(0).last().into());
    if outcome.is_err() {
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
    outcome
}

fn contents() -> Outcome {
    Ok(tpm2b(b"contents"))
}

fn nothing(_: &mut Fixture, _: &mut Session) {}

#[test]
fn the_policy_digest_must_be_the_auth_policy() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let mut tpm = guarded(steps, b"");
    assert_eq!(read(&mut tpm, steps), contents());
    assert_eq!(read(&mut tpm, &nothing), Err(at_session(1, POLICY_FAIL)));
    assert_eq!(read(&mut tpm, &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[3])), Err(at_session(1, POLICY_FAIL)));
    let mut other = Session::start(&mut tpm, &Start { kind: Kind::Policy, alg: Alg::Sha384, ..Start::default() });
    steps(&mut tpm, &mut other);
    assert_eq!(read_with(&mut tpm, other.with(0).into()), Err(at_session(1, POLICY_FAIL)), "another algorithm");
}

#[test]
fn a_session_that_goes_on_starts_anew() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let mut tpm = guarded(steps, b"");
    let mut s = policy(&mut tpm, steps);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), contents());
    assert_eq!(digest_of(&mut tpm, &s), [0; 32]);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, POLICY_FAIL)));
    steps(&mut tpm, &mut s);
    assert_eq!(read_with(&mut tpm, s.with(0).last().into()), contents());
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(reference_s(0)));
    let mut s = Session::start(&mut tpm, &Start { kind: Kind::Policy, sym: Sym::Aes128, ..Start::default() });
    steps(&mut tpm, &mut s);
    tpm.exec(cc::GET_RANDOM, &[], vec![s.with(attr::ENCRYPT).into()], &[0, 4]).unwrap();
    assert_eq!(digest_of(&mut tpm, &s), [0; 32], "nonceTPM rolls, and the policy with it, if it only encrypts too");
}

/// Fix F-4376 of wolfTPM's firmware TPM: no authPolicy is no policy that anybody fulfils.
#[test]
fn tn_f_4376_an_empty_auth_policy_admits_nothing() {
    let mut tpm = Fixture::new();
    define(&mut tpm, POLICY_RIGHTS, &[], b"");
    write(&mut tpm);
    let mut s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(AUTH_UNAVAILABLE));
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"").into()), Err(AUTH_UNAVAILABLE));
    assert_eq!(
        tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![s.with(0).into()], &READ_8),
        Err(AUTH_UNAVAILABLE),
        "nor has the owner one"
    );
    let object = sealed(&mut tpm, &[], 0);
    assert_eq!(
        tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).into()], &[]),
        Err(at_session(1, POLICY_FAIL)),
        "nor an object"
    );
    assert_eq!(tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).raw(b"").into()], &[]), Err(at_session(1, POLICY_FAIL)));
}

#[test]
fn an_index_admits_policies_for_reading_or_writing() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let data = [tpm2b(b"contents"), vec![0, 0]].concat();
    for (attributes, may_read, may_write) in
        [(1 << 1 | 1 << 19 | 1 << 17, true, false), (1 << 1 | 1 << 3 | 1 << 17, false, true)]
    {
        let mut tpm = guarded_with(steps, b"", attributes | NO_DA);
        let mut s = policy(&mut tpm, steps);
        let outcome = tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![s.with(0).into()], &data);
        assert_eq!(outcome, if may_write { Ok(vec![]) } else { Err(AUTH_UNAVAILABLE) });
        let mut s = policy(&mut tpm, steps);
        let outcome = read_with(&mut tpm, s.with(0).into());
        assert_eq!(outcome, if may_read { contents() } else { Err(AUTH_UNAVAILABLE) });
    }
}

#[test]
fn a_policy_index_needs_a_policy() {
    let mut tpm = guarded(&|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]), b"pw");
    assert_eq!(read_with(&mut tpm, Auth::Password(b"pw")), Err(AUTH_UNAVAILABLE));
    let mut s = Session::plain(&mut tpm, Kind::Hmac);
    assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), Err(AUTH_UNAVAILABLE));
}

#[test]
fn tn_the_command_code_at_use() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::NV_READ.to_be_bytes());
    let mut tpm = guarded(steps, b"");
    assert_eq!(read(&mut tpm, steps), contents());
    let mut s = policy(&mut tpm, steps);
    let data = [tpm2b(b"contents"), vec![0, 0]].concat();
    assert_eq!(tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![s.with(0).into()], &data), Err(at_session(1, POLICY_CC)));
}

/// Fix F-5122 of wolfTPM's firmware TPM: cpHash is compared when the session is used. The index's own Name, with its
/// policy, is in it, so the owner reads on behalf of another one: the policy names a command on an index of its own.
#[test]
fn tn_f_5122_cp_hash_at_use() {
    // authPolicy cannot contain a hash of itself: a TPM2_PolicySecret brings cpHashA, which policyDigest does not.
    let names = |policy: &[u8]| vec![index_name(POLICY_RIGHTS | WRITTEN, policy); 2];
    let any: Steps<'_> = &|tpm, s| secret(tpm, s, &[], &[], 0);
    let mut tpm = guarded(any, b"");
    let authorized = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SECRET, &OWNER.to_be_bytes(), &[]).digest;
    let cp = cp_hash(Alg::Sha256, cc::NV_READ, &names(&authorized), &READ_8);
    assert_eq!(read(&mut tpm, &|tpm, s| secret(tpm, s, &[], &cp, 0)), contents());
    for params in [[0, 7, 0, 0], [0, 7, 0, 1]] {
        let mut s = policy(&mut tpm, &|tpm, s| secret(tpm, s, &[], &cp, 0));
        let outcome = tpm.exec(cc::NV_READ, &[INDEX, INDEX], vec![s.with(0).into()], &params);
        assert_eq!(outcome, Err(at_session(1, POLICY_FAIL)), "other parameters");
    }
    let other = cp_hash(Alg::Sha256, cc::NV_WRITE, &names(&authorized), &READ_8);
    assert_eq!(
        read(&mut tpm, &|tpm, s| secret(tpm, s, &[], &other, 0)),
        Err(at_session(1, POLICY_FAIL)),
        "another code"
    );
    let other = cp_hash(Alg::Sha256, cc::NV_READ, &names(&authorized)[1..], &READ_8);
    assert_eq!(
        read(&mut tpm, &|tpm, s| secret(tpm, s, &[], &other, 0)),
        Err(at_session(1, POLICY_FAIL)),
        "other Names"
    );
}

fn secret(tpm: &mut Fixture, s: &mut Session, nonce: &[u8], cp_hash: &[u8], expiration: i32) {
    let params = [tpm2b(nonce), tpm2b(cp_hash), tpm2b(&[]), expiration.to_be_bytes().to_vec()].concat();
    tpm.with(cc::POLICY_SECRET, &[OWNER, s.handle], &[b""], &params).unwrap();
}

/// A sealed object in the NULL hierarchy with authValue "pw".
fn sealed(tpm: &mut Fixture, policy: &[u8], attributes: u32) -> u32 {
    let public =
        [&[0, 8, 0, 0xb][..], &(attributes | 1 << 10).to_be_bytes(), &tpm2b(policy), &[0, 0x10], &[0, 0]].concat();
    let sensitive = [tpm2b(b"pw"), tpm2b(b"sealed")].concat();
    let params = [tpm2b(&sensitive), tpm2b(&public), tpm2b(b""), vec![0; 4]].concat();
    let reply = tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &params).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

const USER_WITH_AUTH: u32 = 1 << 6;
const ADMIN_WITH_POLICY: u32 = 1 << 7;

/// policyDigest of these steps.
fn trial(tpm: &mut Fixture, steps: Steps<'_>) -> Vec<u8> {
    let mut s = Session::plain(tpm, Kind::Trial);
    steps(tpm, &mut s);
    let digest = digest_of(tpm, &s);
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    digest
}

#[test]
fn tn_name_hash_at_use() {
    let mut tpm = Fixture::new();
    let free = sealed(&mut tpm, &[], USER_WITH_AUTH);
    let parameters = Alg::Sha256.hash(&[&cc::UNSEAL.to_be_bytes()]);
    // A nameHash cannot be of the object whose policy it is in; PolicyOR-free, the owner's policy is not set here, so
    // the index must be another's.
    let free_name = name(&mut tpm, free);
    let name_hash = Alg::Sha256.hash(&[&free_name]);
    for (code, hash, good) in [(cc::POLICY_NAME_HASH, &name_hash, false), (cc::POLICY_PARAMETERS, &parameters, true)] {
        let steps: Steps<'_> = &|tpm, s| say(tpm, code, s, &tpm2b(hash));
        let digest = trial(&mut tpm, steps);
        let object = sealed(&mut tpm, &digest, 0);
        let mut s = policy(&mut tpm, steps);
        let outcome = tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).into()], &[]);
        assert_eq!(outcome, if good { Ok(tpm2b(b"sealed")) } else { Err(at_session(1, POLICY_FAIL)) }, "{code:x}");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &object.to_be_bytes()).unwrap();
    }
}

/// PCR and hierarchies have Names that no policy changes: a storage key authorizes TPM2_Create by policy, whose
/// template and parameters are bound.
#[test]
fn template_and_parameters_at_use() {
    let template = |size: u8| {
        [
            &[0, 8, 0, 0xb][..],
            &(USER_WITH_AUTH | 1 << 10).to_be_bytes(),
            &[0, 0],
            &[0, 0x10],
            &[0, size],
            &vec![0; size.into()],
        ]
        .concat()
    };
    let params =
        |size| [tpm2b(&[tpm2b(b""), tpm2b(b"data")].concat()), tpm2b(&template(size)), tpm2b(b""), vec![0; 4]].concat();
    let mut tpm = Fixture::new();
    let hash = Alg::Sha256.hash(&[&template(0)]);
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_TEMPLATE, s, &tpm2b(&hash));
    let digest = trial(&mut tpm, steps);
    let key = storage_key(&mut tpm, &digest);
    let mut s = policy(&mut tpm, steps);
    assert!(tpm.exec(cc::CREATE, &[key], vec![s.with(0).into()], &params(0)).is_ok());
    steps(&mut tpm, &mut s);
    assert_eq!(tpm.exec(cc::CREATE, &[key], vec![s.with(0).into()], &params(1)), Err(at_session(1, POLICY_FAIL)));
    let loaded = [tpm2b(&[tpm2b(b""), tpm2b(b"data")].concat()), tpm2b(&template(0))].concat();
    let outcome = tpm.exec(cc::CREATE_LOADED, &[key], vec![s.with(0).into()], &loaded).unwrap();
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &outcome[..4]).unwrap();
    steps(&mut tpm, &mut s);
    let outcome = tpm.exec(cc::OBJECT_CHANGE_AUTH, &[key, NULL], vec![s.with(0).into()], &tpm2b(b""));
    assert!(outcome.is_err());
    for cut in 0..8 {
        let outcome = tpm.exec(cc::CREATE, &[key], vec![s.with(0).into()], &params(0)[..cut]);
        assert_eq!(outcome, Err(at_session(1, POLICY_FAIL)), "no template at all");
    }
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &key.to_be_bytes()).unwrap();

    let hash = Alg::Sha256.hash(&[&cc::CREATE.to_be_bytes(), &params(0)]);
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_PARAMETERS, s, &tpm2b(&hash));
    let digest = trial(&mut tpm, steps);
    let key = storage_key(&mut tpm, &digest);
    let mut s = policy(&mut tpm, steps);
    assert!(tpm.exec(cc::CREATE, &[key], vec![s.with(0).into()], &params(0)).is_ok());
    steps(&mut tpm, &mut s);
    assert_eq!(tpm.exec(cc::CREATE, &[key], vec![s.with(0).into()], &params(1)), Err(at_session(1, POLICY_FAIL)));
}

/// A P-256 storage key in the NULL hierarchy which only a policy may use.
fn storage_key(tpm: &mut Fixture, policy: &[u8]) -> u32 {
    let attributes: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 16 | 1 << 17;
    let public = [
        &[0, 0x23, 0, 0xb][..],
        &attributes.to_be_bytes(),
        &tpm2b(policy),
        &[0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10],
        &[0; 4],
    ]
    .concat();
    let params = [tpm2b(&[0; 4]), tpm2b(&public), tpm2b(b""), vec![0; 4]].concat();
    let reply = tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &params).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

/// Fix F-5719 of wolfTPM's firmware TPM.
#[test]
fn tn_f_5719_locality_at_use() {
    for (allowed, good, bad) in [(0b0_0110u8, vec![1, 2], vec![0, 3, 4, 32]), (40, vec![40], vec![0, 3, 41, 255])] {
        let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[allowed]);
        let mut tpm = guarded(steps, b"");
        for (locality, expected) in
            good.into_iter().map(|l| (l, contents())).chain(bad.into_iter().map(|l| (l, Err(LOCALITY))))
        {
            tpm.locality = locality;
            assert_eq!(read(&mut tpm, steps), expected, "{allowed} {locality}");
        }
    }
}

/// Fix F-10820 of wolfTPM's firmware TPM.
#[test]
fn tn_f_10820_physical_presence_at_use() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_PHYSICAL_PRESENCE, s, &[]);
    let mut tpm = guarded(steps, b"");
    tpm.tpm.set_physical_presence(true);
    let mut s = policy(&mut tpm, steps);
    tpm.tpm.set_physical_presence(false);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, PP)), "not at the assertion: at use");
    tpm.tpm.set_physical_presence(true);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), contents());
}

#[test]
fn nv_written_at_use() {
    for demanded in [0, 1] {
        let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_NV_WRITTEN, s, &[demanded]);
        let mut tpm = Fixture::new();
        let digest = trial(&mut tpm, steps);
        define(&mut tpm, POLICY_RIGHTS, &digest, b"");
        let data = [tpm2b(b"contents"), vec![0, 0]].concat();
        for written in [0, 1] {
            let mut s = policy(&mut tpm, steps);
            let outcome = tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![s.with(0).into()], &data);
            let expected = if demanded == written { Ok(vec![]) } else { Err(at_session(1, POLICY_FAIL)) };
            assert_eq!(outcome, expected, "{demanded} {written}");
            write(&mut tpm);
        }
        let object = sealed(&mut tpm, &digest, 0);
        let mut s = policy(&mut tpm, steps);
        let outcome = tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).into()], &[]);
        assert_eq!(outcome, Err(at_session(1, POLICY_FAIL)), "an object is no index");
    }
}

#[test]
fn pcr_may_not_change_between_assertion_and_use() {
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 1, 0, 1];
    let extend = |tpm: &mut Fixture, pcr: u32| {
        tpm.with(cc::PCR_EXTEND, &[pcr], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[9; 32]].concat()).unwrap();
    };
    let current = Alg::Sha256.hash(&[&[0; 64]]);
    let trial: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_PCR, s, &[tpm2b(&current), selection.to_vec()].concat());
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_PCR, s, &[tpm2b(&[]), selection.to_vec()].concat());
    let mut tpm = guarded(trial, b"");
    assert_eq!(read(&mut tpm, steps), contents());
    let mut s = policy(&mut tpm, steps);
    extend(&mut tpm, 23);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), contents(), "PCR 23 does not count");
    let mut s = policy(&mut tpm, steps);
    extend(&mut tpm, 5);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(PCR_CHANGED), "any other does");
    let mut s = policy(&mut tpm, &|tpm, s| {
        steps(tpm, s);
        say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    });
    extend(&mut tpm, 6);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(PCR_CHANGED), "before policyDigest is looked at");
    assert_eq!(read(&mut tpm, steps), contents());
    extend(&mut tpm, 0);
    assert_eq!(read(&mut tpm, steps), Err(at_session(1, POLICY_FAIL)), "and this one is in the policy");
}

#[test]
fn a_session_expires_at_its_expiration_and_not_before() {
    let steps: Steps<'_> = &|tpm, s| secret(tpm, s, &[], &[], 0);
    let mut tpm = guarded(steps, b"");
    tpm.clock.0 = 100_000;
    // From the session's start with nonceTPM, from the start of Time without.
    for (with_nonce, expiration) in [(true, 10i32), (true, -10), (false, 110), (false, -110)] {
        for (at, expected) in [(10_000, contents()), (10_001, Err(at_session(1, EXPIRED)))] {
            let begin = tpm.clock.0;
            let seconds = if with_nonce {
                expiration
            } else {
                expiration + expiration.signum() * ((begin - 100_000) / 1000) as i32
            };
            let mut s = policy(&mut tpm, &|tpm, s| {
                let nonce = if with_nonce { s.nonce_tpm.clone() } else { vec![] };
                secret(tpm, s, &nonce, &[], seconds);
            });
            tpm.clock.0 = begin + at;
            assert_eq!(read_with(&mut tpm, s.with(0).into()), expected, "{with_nonce} {expiration} {at}");
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
            tpm.clock.0 = begin + 11_000;
        }
    }
}

#[test]
fn the_earliest_expiration_counts() {
    let steps: Steps<'_> = &|tpm, s| (0..3).for_each(|_| secret(tpm, s, &[], &[], 0));
    let mut tpm = guarded(steps, b"");
    let mut s = policy(&mut tpm, &|tpm, s| {
        let nonce = s.nonce_tpm.clone();
        [30, 10, 20].into_iter().for_each(|seconds| secret(tpm, s, &nonce, &[], seconds));
    });
    tpm.clock.0 = 10_001;
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, EXPIRED)));
}

/// A session survives TPM Resume as a saved context, but Time starts anew: what expires has.
#[test]
fn no_expiration_outlives_the_epoch() {
    let steps: Steps<'_> = &|tpm, s| secret(tpm, s, &[], &[], 0);
    let mut tpm = guarded(steps, b"");
    for (seconds, expected) in [(0, contents()), (1_000_000, Err(at_session(1, EXPIRED)))] {
        let mut s = policy(&mut tpm, &|tpm, s| secret(tpm, s, &[], &[], seconds));
        let context = tpm.run(cc::CONTEXT_SAVE, &[s.handle], &[], &[]).unwrap();
        tpm.restart(Some(1), 1);
        tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).unwrap();
        assert_eq!(read_with(&mut tpm, s.with(0).last().into()), expected, "{seconds}");
    }
}

#[test]
fn auth_value_in_a_policy() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_AUTH_VALUE, s, &[]);
    let mut tpm = guarded(steps, b"pw");
    let mut s = policy(&mut tpm, steps);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"").into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"pw").into()), Err(at_session(1, BAD_AUTH)), "not in the clear");
    assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), contents());
    let mut s = policy(&mut tpm, &|tpm, s| say(tpm, cc::POLICY_PASSWORD, s, &[]));
    assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), Err(at_session(1, BAD_AUTH)), "a password is no HMAC");
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"bad").into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"").into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read_with(&mut tpm, s.with(0).raw(b"pw\0").into()), contents(), "one policy admits both");
}

/// The last of PolicyAuthValue and PolicyPassword counts.
#[test]
fn auth_value_and_password_undo_each_other() {
    let steps: Steps<'_> = &|tpm, s| (0..2).for_each(|_| say(tpm, cc::POLICY_AUTH_VALUE, s, &[]));
    let mut tpm = guarded(steps, b"pw");
    for (first, last) in [(cc::POLICY_PASSWORD, cc::POLICY_AUTH_VALUE), (cc::POLICY_AUTH_VALUE, cc::POLICY_PASSWORD)] {
        let mut s = policy(&mut tpm, &|tpm, s| [first, last].into_iter().for_each(|code| say(tpm, code, s, &[])));
        let (right, wrong) = if last == cc::POLICY_PASSWORD { (&b"pw"[..], None) } else { (&b""[..], Some(b"pw")) };
        if let Some(wrong) = wrong {
            assert_eq!(read_with(&mut tpm, s.with(0).raw(wrong).into()), Err(at_session(1, BAD_AUTH)));
            assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), contents());
        } else {
            assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), Err(at_session(1, BAD_AUTH)));
            assert_eq!(read_with(&mut tpm, s.with(0).raw(right).into()), contents());
        }
    }
}

/// With authValue at stake, dictionary-attack protection applies; without, the policy works even in lockout.
#[test]
fn dictionary_attack_protection_and_policies() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_AUTH_VALUE, s, &[]);
    let mut tpm = guarded_with(steps, b"pw", POLICY_RIGHTS & !NO_DA);
    let mut s = policy(&mut tpm, steps);
    for _ in 0..32 {
        assert_eq!(read_with(&mut tpm, s.auth(0, b"bad").into()), Err(at_session(1, AUTH_FAIL)));
    }
    assert_eq!(read_with(&mut tpm, s.auth(0, b"pw").into()), Err(LOCKOUT));
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let digest = trial(&mut tpm, steps);
    tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX], &[b""], &[]).unwrap();
    define(&mut tpm, POLICY_RIGHTS & !NO_DA, &digest, b"pw");
    write(&mut tpm);
    assert_eq!(read(&mut tpm, steps), contents());
    let mut s = policy(&mut tpm, steps);
    assert_eq!(
        read_with(&mut tpm, s.with(0).raw(&[1; 32]).into()),
        Err(at_session(1, BAD_AUTH)),
        "a wrong HMAC counts nothing"
    );
}

#[test]
fn policy_secret_by_policy_needs_an_auth_value() {
    let bare: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let valued: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_AUTH_VALUE, s, &[]);
    const AUTHREAD: u32 = 1 << 18;
    for (steps, expected) in [(bare, Some(at_session(1, MODE))), (valued, None)] {
        let mut tpm = guarded_with(steps, b"pw", POLICY_RIGHTS | AUTHREAD);
        let target = Session::plain(&mut tpm, Kind::Policy);
        let mut s = policy(&mut tpm, steps);
        let params = [0; 10];
        let auth = if expected.is_none() { &b"pw"[..] } else { b"" };
        let outcome = tpm.exec(cc::POLICY_SECRET, &[INDEX, target.handle], vec![s.auth(0, auth).into()], &params);
        assert_eq!(outcome.err(), expected);
    }
}

/// Part 3, 23.4.1: an Ordinary Object must have userWithAuth SET, and that in a policy session, too.
#[test]
fn policy_secret_through_a_policy_session_needs_user_with_auth() {
    for code in [cc::POLICY_AUTH_VALUE, cc::POLICY_PASSWORD] {
        for (attributes, outcome) in [(USER_WITH_AUTH, Ok(())), (0, Err(AUTH_UNAVAILABLE))] {
            let steps: Steps<'_> = &|tpm, s| say(tpm, code, s, &[]);
            let mut tpm = Fixture::new();
            let digest = trial(&mut tpm, steps);
            let object = sealed(&mut tpm, &digest, attributes);
            let target = Session::plain(&mut tpm, Kind::Policy);
            let mut s = policy(&mut tpm, steps);
            let one = if code == cc::POLICY_PASSWORD { s.with(0).raw(b"pw") } else { s.auth(0, b"pw") };
            let secret = tpm.exec(cc::POLICY_SECRET, &[object, target.handle], vec![one.into()], &[0; 10]);
            assert_eq!(secret.map(drop), outcome);
            // For other commands a policy does without userWithAuth (Part 1, 16.2).
            let mut s = policy(&mut tpm, steps);
            let one = if code == cc::POLICY_PASSWORD { s.with(0).raw(b"pw") } else { s.auth(0, b"pw") };
            assert_eq!(tpm.exec(cc::UNSEAL, &[object], vec![one.into()], &[]), Ok(tpm2b(b"sealed")));
        }
    }
}

#[test]
fn a_secure_channel_there_never_is() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_TRANSPORT_SPDM, s, &[0; 4]);
    let mut tpm = guarded(steps, b"");
    assert_eq!(read(&mut tpm, steps), Err(at_session(1, CHANNEL)));
}

/// Fix F-10819 of wolfTPM's firmware TPM: deferred assertions are checked at use, in the reference's order.
#[test]
fn tn_f_10819_order_of_the_deferred_checks() {
    let all: Steps<'_> = &|tpm, s| {
        secret(tpm, s, &[], &[], 0);
        say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::NV_READ.to_be_bytes());
        say(tpm, cc::POLICY_LOCALITY, s, &[0b10]);
        say(tpm, cc::POLICY_PHYSICAL_PRESENCE, s, &[]);
        say(tpm, cc::POLICY_CP_HASH, s, &tpm2b(&[1; 32]));
        say(tpm, cc::POLICY_NV_WRITTEN, s, &[0]);
    };
    let expiring: Steps<'_> = &|tpm, s| {
        secret(tpm, s, &[], &[], 1);
        say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::NV_READ.to_be_bytes());
        say(tpm, cc::POLICY_LOCALITY, s, &[0b10]);
        say(tpm, cc::POLICY_PHYSICAL_PRESENCE, s, &[]);
        say(tpm, cc::POLICY_CP_HASH, s, &tpm2b(&[1; 32]));
        say(tpm, cc::POLICY_NV_WRITTEN, s, &[0]);
    };
    let mut tpm = guarded(all, b"");
    let data = [tpm2b(b"contents"), vec![0, 0]].concat();
    let mut expired = policy(&mut tpm, expiring);
    let mut s = policy(&mut tpm, all);
    tpm.clock.0 = 5_000;
    let outcome = tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![expired.with(0).into()], &data);
    assert_eq!(outcome, Err(at_session(1, EXPIRED)), "time");
    let outcome = tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![s.with(0).into()], &data);
    assert_eq!(outcome, Err(at_session(1, POLICY_CC)), "then the command");
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(LOCALITY), "then the locality");
    tpm.locality = 1;
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, PP)), "then presence");
    tpm.tpm.set_physical_presence(true);
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(at_session(1, POLICY_FAIL)), "then the rest");
    assert_eq!(
        read_with(&mut tpm, s.with(0).raw(&[1; 32]).into()),
        Err(at_session(1, POLICY_FAIL)),
        "and the HMAC last"
    );
}

#[test]
fn tn_the_user_role_takes_an_auth_value_only_with_user_with_auth() {
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let mut tpm = Fixture::new();
    let digest = trial(&mut tpm, steps);
    for (attributes, by_auth) in [(USER_WITH_AUTH, true), (0, false), (ADMIN_WITH_POLICY, false)] {
        let object = sealed(&mut tpm, &digest, attributes);
        let mut s = policy(&mut tpm, steps);
        assert_eq!(
            tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).last().into()], &[]),
            Ok(tpm2b(b"sealed")),
            "a policy always does"
        );
        let expected = if by_auth { Ok(tpm2b(b"sealed")) } else { Err(AUTH_UNAVAILABLE) };
        assert_eq!(tpm.exec(cc::UNSEAL, &[object], vec![Auth::Password(b"pw")], &[]), expected);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &object.to_be_bytes()).unwrap();
    }
}

/// The ADMIN role: authValue unless adminWithPolicy; a policy only with a command code.
#[test]
fn tn_the_admin_role_takes_a_policy_only_with_a_command_code() {
    let change = tpm2b(b"new");
    let bare: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let coded: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::OBJECT_CHANGE_AUTH.to_be_bytes());
    let mut tpm = Fixture::new();
    let key = storage_key_with_auth(&mut tpm);
    for attributes in [USER_WITH_AUTH, 0, ADMIN_WITH_POLICY, ADMIN_WITH_POLICY | USER_WITH_AUTH] {
        for (steps, good) in [(bare, false), (coded, true)] {
            let digest = trial(&mut tpm, steps);
            let object = sealed_under(&mut tpm, key, &digest, attributes);
            let mut s = policy(&mut tpm, steps);
            let outcome = tpm.exec(cc::OBJECT_CHANGE_AUTH, &[object, key], vec![s.with(0).into()], &change);
            if good {
                assert!(outcome.is_ok(), "{attributes:x}: {outcome:x?}");
            } else {
                assert_eq!(outcome, Err(at_session(1, POLICY_FAIL)), "{attributes:x}: no command code");
            }
            let outcome = tpm.exec(cc::OBJECT_CHANGE_AUTH, &[object, key], vec![Auth::Password(b"pw")], &change);
            if attributes & ADMIN_WITH_POLICY == 0 {
                assert!(outcome.is_ok(), "{attributes:x}: {outcome:x?}");
            } else {
                assert_eq!(outcome, Err(AUTH_TYPE), "{attributes:x}");
            }
            for h in [object, s.handle] {
                tpm.run(cc::FLUSH_CONTEXT, &[], &[], &h.to_be_bytes()).unwrap();
            }
        }
    }
}

fn storage_key_with_auth(tpm: &mut Fixture) -> u32 {
    let attributes: u32 = 1 << 1 | 1 << 4 | 1 << 5 | USER_WITH_AUTH | 1 << 10 | 1 << 16 | 1 << 17;
    let public = [
        &[0, 0x23, 0, 0xb][..],
        &attributes.to_be_bytes(),
        &[0, 0],
        &[0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10],
        &[0; 4],
    ]
    .concat();
    let params = [tpm2b(&[0; 4]), tpm2b(&public), tpm2b(b""), vec![0; 4]].concat();
    let reply = tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

/// A sealed object with authValue "pw", loaded under a storage key with an empty one.
fn sealed_under(tpm: &mut Fixture, key: u32, policy: &[u8], attributes: u32) -> u32 {
    let public =
        [&[0, 8, 0, 0xb][..], &(attributes | 1 << 10).to_be_bytes(), &tpm2b(policy), &[0, 0x10], &[0, 0]].concat();
    let sensitive = [tpm2b(b"pw"), tpm2b(b"sealed")].concat();
    let reply = tpm.with(cc::CREATE_LOADED, &[key], &[b""], &[tpm2b(&sensitive), tpm2b(&public)].concat()).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

/// Fix F-10818 of wolfTPM's firmware TPM: only a policy duplicates, and only one with TPM2_PolicyCommandCode or
/// TPM2_PolicyDuplicationSelect.
#[test]
fn tn_f_10818_the_dup_role_needs_a_policy() {
    let params = [0, 0, 0, 0x10];
    let bare: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let coded: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::DUPLICATE.to_be_bytes());
    let other: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_COMMAND_CODE, s, &cc::UNSEAL.to_be_bytes());
    let mut tpm = Fixture::new();
    let key = storage_key_with_auth(&mut tpm);
    for (steps, expected) in
        [(bare, Some(at_session(1, POLICY_FAIL))), (other, Some(at_session(1, POLICY_CC))), (coded, None)]
    {
        let digest = trial(&mut tpm, steps);
        let object = sealed_under(&mut tpm, key, &digest, USER_WITH_AUTH);
        let outcome = tpm.exec(cc::DUPLICATE, &[object, NULL], vec![Auth::Password(b"pw")], &params);
        assert_eq!(outcome, Err(AUTH_TYPE));
        let mut hmac = Session::plain(&mut tpm, Kind::Hmac);
        let outcome = tpm.exec(cc::DUPLICATE, &[object, NULL], vec![hmac.auth(0, b"pw").into()], &params);
        assert_eq!(outcome, Err(AUTH_TYPE));
        let mut s = policy(&mut tpm, steps);
        let outcome = tpm.exec(cc::DUPLICATE, &[object, NULL], vec![s.with(0).into()], &params);
        assert_eq!(outcome.err(), expected);
        for h in [object, s.handle, hmac.handle] {
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &h.to_be_bytes()).unwrap();
        }
    }
}

/// TPM2_PolicyDuplicationSelect names object and new parent: the DUP role's nameHash.
#[test]
fn duplication_select_at_use() {
    let mut tpm = Fixture::new();
    let key = storage_key_with_auth(&mut tpm);
    let parent_name = name(&mut tpm, key);
    for (parent, good) in [(&parent_name[..], true), (&[0, 0xb, 1][..], false)] {
        // The object's Name is not in its own policy, but in the session's nameHash.
        let select = |object: &[u8]| [tpm2b(object), tpm2b(parent), vec![0]].concat();
        let digest = trial(&mut tpm, &|tpm, s| say(tpm, cc::POLICY_DUPLICATION_SELECT, s, &select(&[])));
        let object = sealed_under(&mut tpm, key, &digest, USER_WITH_AUTH);
        let object_name = name(&mut tpm, object);
        let params = [0, 0, 0, 0x10];
        let mut s = policy(&mut tpm, &|tpm, s| say(tpm, cc::POLICY_DUPLICATION_SELECT, s, &select(&object_name)));
        let outcome = tpm.exec(cc::DUPLICATE, &[object, key], vec![s.with(0).into()], &params);
        assert_eq!(outcome.err(), (!good).then_some(at_session(1, POLICY_FAIL)));
        let mut s = policy(&mut tpm, &|tpm, s| say(tpm, cc::POLICY_DUPLICATION_SELECT, s, &select(&parent_name)));
        let outcome = tpm.exec(cc::DUPLICATE, &[object, key], vec![s.with(0).into()], &params);
        assert_eq!(outcome.err(), Some(at_session(1, POLICY_FAIL)), "another object");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &object.to_be_bytes()).unwrap();
    }
}

/// Only the public area of an object is loaded: nothing authorizes it.
#[test]
fn an_object_without_sensitive_area() {
    let mut tpm = Fixture::new();
    let public = [&[0, 8, 0, 0xb][..], &USER_WITH_AUTH.to_be_bytes(), &[0, 0], &[0, 0x10], &tpm2b(&[1; 32])].concat();
    let params = [tpm2b(b""), tpm2b(&public), NULL.to_be_bytes().to_vec()].concat();
    let reply = tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params).unwrap();
    let object = u32::from_be_bytes(reply[..4].try_into().unwrap());
    assert_eq!(tpm.exec(cc::UNSEAL, &[object], vec![Auth::Password(b"")], &[]), Err(AUTH_UNAVAILABLE));
    let mut s = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(tpm.exec(cc::UNSEAL, &[object], vec![s.with(0).into()], &[]), Err(AUTH_UNAVAILABLE));
}

/// TPMT_SENSITIVE and TPMT_PUBLIC of an HMAC key with SHA-256.
fn hmac_pair(secret: &[u8]) -> [Vec<u8>; 2] {
    let seed = [5; 32];
    let unique = Alg::Sha256.hash(&[&seed, secret]);
    let public =
        [&[0, 8, 0, 0xb][..], &(1u32 << 6 | 1 << 18).to_be_bytes(), &[0, 0], &[0, 5, 0, 0xb], &tpm2b(&unique)].concat();
    [[&[0, 8][..], &tpm2b(b""), &tpm2b(&seed), &tpm2b(secret)].concat(), public]
}

fn load_external(tpm: &mut Fixture, sensitive: &[u8], public: &[u8], hierarchy: u32) -> u32 {
    let params = [tpm2b(sensitive), tpm2b(public), hierarchy.to_be_bytes().to_vec()].concat();
    handle_of(&tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params).unwrap())
}

/// A primary HMAC key of the owner's hierarchy with a secret of the caller's.
fn hmac_key(tpm: &mut Fixture, secret: &[u8]) -> u32 {
    let public =
        [&[0, 8, 0, 0xb][..], &(1u32 << 6 | 1 << 18).to_be_bytes(), &[0, 0], &[0, 5, 0, 0xb], &[0, 0]].concat();
    let params = [tpm2b(&[tpm2b(b""), tpm2b(secret)].concat()), tpm2b(&public), vec![0; 6]].concat();
    handle_of(&tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params).unwrap())
}

#[derive(Clone, Copy)]
struct Signed<'a> {
    nonce: &'a [u8],
    cp_hash: &'a [u8],
    reference: &'a [u8],
    expiration: i32,
}

impl Signed<'_> {
    fn a_hash(&self) -> Vec<u8> {
        Alg::Sha256.hash(&[self.nonce, &self.expiration.to_be_bytes(), self.cp_hash, self.reference])
    }

    fn send(&self, tpm: &mut Fixture, key: u32, s: &Session, signature: &[u8]) -> Outcome {
        let params = [
            tpm2b(self.nonce),
            tpm2b(self.cp_hash),
            tpm2b(self.reference),
            self.expiration.to_be_bytes().to_vec(),
            signature.to_vec(),
        ];
        tpm.run(cc::POLICY_SIGNED, &[key, s.handle], &[], &params.concat())
    }
}

/// Part 1, 16.7.12: "the signature is with a key value (symmetric or asymmetric)"; Part 3, 23.3.1: what is no valid
/// signature is TPM_RC_POLICY_FAIL, and 23.2.2: another nonceTPM is TPM_RC_VALUE.
#[test]
fn policy_signed_by_an_hmac_key() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 3_000;
    let key = hmac_key(&mut tpm, b"0123456789abcdef");
    let key_name = name(&mut tpm, key);
    let sign = |m: &Signed<'_>| [&[0, 5, 0, 0xb][..], &Alg::Sha256.hmac(b"0123456789abcdef", &[&m.a_hash()])].concat();
    let s = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let nonce = s.nonce_tpm.clone();
    let message = Signed { nonce: &nonce, cp_hash: &[3; 32], reference: b"ref", expiration: -60 };
    let good = sign(&message);
    let mut wrong = good.clone();
    wrong[10] ^= 1;
    assert_eq!(message.send(&mut tpm, key, &s, &wrong), Err(param(5, POLICY_FAIL)));
    for other in [
        Signed { cp_hash: &[4; 32], ..message },
        Signed { reference: b"", ..message },
        Signed { expiration: -61, ..message },
        Signed { expiration: 60, ..message },
        Signed { nonce: &[], ..message },
    ] {
        assert_eq!(other.send(&mut tpm, key, &s, &good), Err(param(5, POLICY_FAIL)));
    }
    assert_eq!(message.send(&mut tpm, key, &s, &[0, 0x10]), Err(param(5, SCHEME)), "TPM_ALG_NULL");
    let rsassa = [&[0, 0x14, 0, 0xb][..], &tpm2b(&[1; 256])].concat();
    assert_eq!(message.send(&mut tpm, key, &s, &rsassa), Err(param(5, POLICY_FAIL)), "an RSA signature of an HMAC key");
    assert_eq!(Signed { nonce: &[1; 16], ..message }.send(&mut tpm, key, &s, &good), Err(param(1, VALUE)));
    assert_eq!(Signed { cp_hash: &[1; 20], ..message }.send(&mut tpm, key, &s, &good), Err(param(2, SIZE)));
    assert_eq!(Signed { nonce: &[], expiration: 2, ..message }.send(&mut tpm, key, &s, &good), Err(param(4, EXPIRED)));
    tpm.clock.0 = 3_001;
    let absolute = Signed { nonce: &[], expiration: 3, ..message };
    assert_eq!(absolute.send(&mut tpm, key, &s, &sign(&absolute)), Err(param(4, EXPIRED)), "23.2.2: 3,000 ms of Time");
    assert_eq!(digest_of(&mut tpm, &s), [0; 32]);

    let reply = message.send(&mut tpm, key, &s, &good).unwrap();
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SIGNED, &key_name, b"ref");
    assert_eq!(digest_of(&mut tpm, &s), expected.digest);
    assert_eq!(message.send(&mut tpm, key, &trial, &wrong).unwrap()[..4], [0, 0, 0x80, 0x25], "a trial, no ticket");
    assert_eq!(digest_of(&mut tpm, &trial), expected.digest);

    // The ticket stands for the signature in another session, while Time runs.
    let other = Session::plain(&mut tpm, Kind::Policy);
    assert_eq!(reply[..2], [0, 8]);
    assert_eq!(reply[10..12], [0x80, 0x25]);
    let ticket = [&reply[..10], &tpm2b(&[3; 32]), &tpm2b(b"ref"), &tpm2b(&key_name), &reply[10..]].concat();
    tpm.clock.0 = 63_000;
    say(&mut tpm, cc::POLICY_TICKET, &other, &ticket);
    assert_eq!(digest_of(&mut tpm, &other), expected.digest);
    tpm.clock.0 = 63_001;
    assert_eq!(tpm.run(cc::POLICY_TICKET, &[other.handle], &[], &ticket), Err(param(1, EXPIRED)));
    let mut forged = ticket.clone();
    *forged.last_mut().unwrap() ^= 1;
    forged[2..10].copy_from_slice(&99_000u64.to_be_bytes());
    assert_eq!(tpm.run(cc::POLICY_TICKET, &[other.handle], &[], &forged), Err(param(5, TICKET)));
}

/// A P-256 key of the caller's, and its public area.
fn ecdsa_pair() -> (SigningKey, Vec<u8>) {
    let signer = SigningKey::from_slice(&[0x42; 32]).unwrap();
    let point = signer.verifying_key().to_sec1_point(false);
    let (x, y) = (&point.as_bytes()[1..33], &point.as_bytes()[33..]);
    let public = [
        &[0, 0x23, 0, 0xb][..],
        &(1u32 << 6 | 1 << 18).to_be_bytes(),
        &[0, 0],
        &[0, 0x10, 0, 0x18, 0, 0xb, 0, 3, 0, 0x10],
        &tpm2b(x),
        &tpm2b(y),
    ]
    .concat();
    (signer, public)
}

/// That key loaded in the owner's hierarchy, and its Name.
fn ecdsa_key(tpm: &mut Fixture) -> (SigningKey, u32, Vec<u8>) {
    let (signer, public) = ecdsa_pair();
    let key = load_external(tpm, b"", &public, OWNER);
    (signer, key, name(tpm, key))
}

/// r and s of an ECDSA signature.
fn ecdsa(signer: &SigningKey, digest: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let signature: Signature = signer.sign_prehash(digest).unwrap();
    (signature.r().to_bytes().to_vec(), signature.s().to_bytes().to_vec())
}

fn tpmt_ecdsa((r, s): (&[u8], &[u8])) -> Vec<u8> {
    [&[0, 0x18, 0, 0xb][..], &tpm2b(r), &tpm2b(s)].concat()
}

#[test]
fn policy_signed_by_an_ecdsa_key() {
    let mut tpm = Fixture::new();
    let (signer, key, key_name) = ecdsa_key(&mut tpm);
    let s = Session::plain(&mut tpm, Kind::Policy);
    let message = Signed { nonce: &[], cp_hash: &[], reference: &[], expiration: 0 };
    let (r, t) = ecdsa(&signer, &message.a_hash());
    assert_eq!(message.send(&mut tpm, key, &s, &tpmt_ecdsa((&t, &r))), Err(param(5, POLICY_FAIL)));
    assert_eq!(message.send(&mut tpm, key, &s, &tpmt_ecdsa((&[], &t))), Err(param(5, POLICY_FAIL)));
    let hmac = [&[0, 5, 0, 0xb][..], &[1; 32]].concat();
    assert_eq!(message.send(&mut tpm, key, &s, &hmac), Err(param(5, POLICY_FAIL)), "an HMAC of an ECC key");
    assert_eq!(message.send(&mut tpm, key, &s, &tpmt_ecdsa((&r, &t))).unwrap()[..4], [0, 0, 0x80, 0x25]);
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SIGNED, &key_name, &[]);
    assert_eq!(digest_of(&mut tpm, &s), expected.digest);
}

/// Part 3, 23.3.1 asks for a valid signature and for no attribute of the key: its private part may be anywhere.
#[test]
fn policy_signed_by_a_key_without_sign() {
    let mut tpm = Fixture::new();
    let (signer, mut public) = ecdsa_pair();
    public[4..8].copy_from_slice(&(1u32 << 6 | 1 << 17).to_be_bytes());
    public.splice(12..16, [0, 0x10]);
    let key = load_external(&mut tpm, b"", &public, OWNER);
    let s = Session::plain(&mut tpm, Kind::Policy);
    let message = Signed { nonce: &[], cp_hash: &[], reference: &[], expiration: 0 };
    let (r, t) = ecdsa(&signer, &message.a_hash());
    assert_eq!(message.send(&mut tpm, key, &s, &tpmt_ecdsa((&t, &r))), Err(param(5, POLICY_FAIL)));
    assert!(message.send(&mut tpm, key, &s, &tpmt_ecdsa((&r, &t))).is_ok());
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SIGNED, &name(&mut tpm, key), &[]);
    assert_eq!(digest_of(&mut tpm, &s), expected.digest);
}

/// Part 3, 12.3.1: "If hierarchy is TPM_RH_NULL or nameAlg is TPM_ALG_NULL, a ticket produced using the object shall be
/// a NULL Ticket."
#[test]
fn an_external_key_without_hierarchy_or_name_gives_null_tickets() {
    const NULL_TICKET: [u8; 6] = [0x40, 0, 0, 7, 0, 0];
    let mut tpm = Fixture::new();
    let (signer, public) = ecdsa_pair();
    let unnamed = [&public[..2], &[0, 0x10], &public[4..]].concat();
    let message = Signed { nonce: &[], cp_hash: &[], reference: b"ref", expiration: -60 };
    let (r, t) = ecdsa(&signer, &message.a_hash());
    let signature = tpmt_ecdsa((&r, &t));
    for (public, hierarchy, real) in
        [(&public, OWNER, true), (&public, NULL, false), (&unnamed, OWNER, false), (&unnamed, NULL, false)]
    {
        let key = load_external(&mut tpm, b"", public, hierarchy);
        let s = Session::plain(&mut tpm, Kind::Policy);
        let reply = message.send(&mut tpm, key, &s, &signature).unwrap();
        let null = [&[0, 0, 0x80, 0x25][..], &NULL_TICKET].concat();
        assert_eq!(reply != null, real, "TPM2_PolicySigned");
        let verified =
            tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &[tpm2b(&message.a_hash()), signature.clone()].concat());
        assert_eq!(verified.unwrap() != [&[0x80, 0x22][..], &NULL_TICKET].concat(), real, "TPM2_VerifySignature");
        for handle in [key, s.handle] {
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes()).unwrap();
        }
    }
    // A key with both areas is in no hierarchy; a sequence object neither, and has no Name.
    let [sensitive, public] = hmac_pair(b"0123456789abcdef");
    let unnamed = [&public[..2], &[0, 0x10], &public[4..]].concat();
    let sequence = handle_of(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap());
    let null =
        [load_external(&mut tpm, &sensitive, &public, NULL), load_external(&mut tpm, &sensitive, &unnamed, NULL)];
    let made_here = hmac_key(&mut tpm, b"0123456789abcdef");
    let params = [&[0; 6][..], &(-60i32).to_be_bytes()].concat();
    for (entity, real) in [(null[0], false), (null[1], false), (sequence, false), (made_here, true)] {
        let s = Session::plain(&mut tpm, Kind::Policy);
        let reply = tpm.with(cc::POLICY_SECRET, &[entity, s.handle], &[b""], &params).unwrap();
        let null = [&[0, 0, 0x80, 0x23][..], &NULL_TICKET].concat();
        assert_eq!(reply != null, real, "TPM2_PolicySecret");
    }
}

/// ML-DSA signs what is to be signed itself, Hash-ML-DSA its digest with the key's hash (1.85).
#[test]
fn policy_signed_by_ml_dsa_keys() {
    let mut tpm = Fixture::new();
    for (kind, parms) in [(0xa1, &[0, 1, 0][..]), (0xa2, &[0, 1, 0, 0xc])] {
        let public = [&[0, kind, 0, 0xb][..], &(1u32 << 5 | 1 << 6 | 1 << 18).to_be_bytes(), &[0, 0], parms, &[0, 0]];
        let params = [&[0, 4, 0, 0, 0, 0][..], &tpm2b(&public.concat()), &[0; 6]].concat();
        let reply = tpm.run(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params).unwrap();
        let key = u32::from_be_bytes(reply[..4].try_into().unwrap());
        let key_name = name(&mut tpm, key);
        let s = Session::plain(&mut tpm, Kind::Policy);
        let message = Signed { nonce: &s.nonce_tpm.clone(), cp_hash: &[], reference: b"ref", expiration: 0 };
        let octets = [message.nonce, &[0; 4], b"ref"].concat();
        let started = tpm.run(cc::SIGN_SEQUENCE_START, &[key], &[], &[0; 4]).unwrap();
        let sequence = u32::from_be_bytes(started[..4].try_into().unwrap());
        let signature = tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &tpm2b(&octets)).unwrap();
        assert_eq!(
            Signed { reference: b"", ..message }.send(&mut tpm, key, &s, &signature),
            Err(param(5, POLICY_FAIL))
        );
        let hmac = [&[0, 5, 0, 0xb][..], &[1; 32]].concat();
        assert_eq!(message.send(&mut tpm, key, &s, &hmac), Err(param(5, POLICY_FAIL)));
        message.send(&mut tpm, key, &s, &signature).unwrap();
        let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_SIGNED, &key_name, b"ref");
        assert_eq!(digest_of(&mut tpm, &s), expected.digest);
    }
}

/// Part 1, 14.9: pcrUpdateCounter "is incremented each time a PCR is modified (either extended or reset)", and so by
/// TPM Restart, which resets all. Part 3, 9.3.1 notes that it is not modified: a policy session that was saved would
/// then vouch for PCR that are no longer there.
#[test]
fn a_policy_over_pcr_does_not_outlive_their_reset_by_tpm_restart() {
    // SHA-256, PCR 23: a change of it does not count
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 0, 0, 0x80];
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_PCR, s, &[&[0, 0][..], &selection].concat());
    let mut tpm = guarded(steps, b"");
    let mut s = policy(&mut tpm, steps);
    let context = tpm.run(cc::CONTEXT_SAVE, &[s.handle], &[], &[]).unwrap();
    tpm.restart(Some(1), 0);
    tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).unwrap();
    assert_eq!(read_with(&mut tpm, s.with(0).into()), Err(PCR_CHANGED));
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    assert!(read(&mut tpm, steps).is_ok(), "a new session sees them as they are");
}

/// A signed approval of what the session has collected replaces it; the ticket of TPM2_VerifySignature binds policy,
/// policyRef, key and hierarchy.
#[test]
fn tn_policy_authorize_by_ticket_in_the_right_algorithm() {
    let mut tpm = Fixture::new();
    let (signer, key, key_name) = ecdsa_key(&mut tpm);
    let steps: Steps<'_> = &|tpm, s| say(tpm, cc::POLICY_LOCALITY, s, &[1]);
    let approved = trial(&mut tpm, steps);
    let a_hash = Alg::Sha256.hash(&[&approved, b"ref"]);
    let (r, t) = ecdsa(&signer, &a_hash);
    let ticket = tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &[tpm2b(&a_hash), tpmt_ecdsa((&r, &t))].concat()).unwrap();
    assert_eq!(ticket[..6], [0x80, 0x22, 0x40, 0, 0, 1]);
    let s = policy(&mut tpm, steps);
    let mut authorize = |s: &Session, approved: &[u8], reference: &[u8], key: &[u8], ticket: &[u8]| {
        let params = [tpm2b(approved), tpm2b(reference), tpm2b(key), ticket.to_vec()].concat();
        tpm.run(cc::POLICY_AUTHORIZE, &[s.handle], &[], &params)
    };
    let other_key = [vec![0, 0xb], vec![9; 32]].concat();
    assert_eq!(authorize(&s, &[0; 32], b"ref", &key_name, &ticket), Err(param(1, VALUE)));
    assert_eq!(authorize(&s, &approved, b"REF", &key_name, &ticket), Err(param(4, VALUE)));
    assert_eq!(authorize(&s, &approved, b"ref", &other_key, &ticket), Err(param(4, VALUE)));
    for (at, to) in [(5, 0x0b), (5, 0x0c), (5, 7), (20, ticket[20] ^ 1)] {
        let mut forged = ticket.clone();
        forged[at] = to;
        assert_eq!(authorize(&s, &approved, b"ref", &key_name, &forged), Err(param(4, VALUE)));
    }
    assert_eq!(authorize(&s, &approved, b"ref", &key_name, &ticket), Ok(vec![]));
    let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_AUTHORIZE, &key_name, b"ref");
    assert_eq!(digest_of(&mut tpm, &s), expected.digest);
    assert_eq!(
        authorize_again(&mut tpm, &s, &approved, &key_name, &ticket),
        Err(param(1, VALUE)),
        "the approval was for what is now forgotten"
    );
}

fn authorize_again(tpm: &mut Fixture, s: &Session, approved: &[u8], key: &[u8], ticket: &[u8]) -> Outcome {
    let params = [tpm2b(approved), tpm2b(b"ref"), tpm2b(key), ticket.to_vec()].concat();
    tpm.run(cc::POLICY_AUTHORIZE, &[s.handle], &[], &params)
}
