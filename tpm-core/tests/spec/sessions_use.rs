//! Sessions at their use (Part 1, 16 to 18; Part 3, 5.5 to 5.9): passwords, HMACs, binding, salt, parameter encryption,
//! audit.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::attributes::session as attr;
use client::codes::{
    ATTRIBUTES, AUTH_CONTEXT, AUTH_FAIL, AUTH_MISSING, AUTH_UNAVAILABLE, AUTHSIZE, BAD_AUTH, EXCLUSIVE, HANDLE,
    INSUFFICIENT, LOCKOUT, LOCKOUT_HIERARCHY, NONCE, NULL, OWNER, PW, RESERVED_BITS, SIZE, SYMMETRIC, VALUE,
    reference_s, session as at_session,
};
use client::hash::Alg;
use client::session::{Auth, Kind, Outcome, Session, Start, name};
use client::sym::Sym;
use client::{command, password, tpm2b};
use p256::elliptic_curve::Group;
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use p256::{ProjectivePoint, PublicKey, Scalar, Sec1Point};
use tpm_core::cc;

const INDEX: u32 = 0x0150_0000;
/// AUTHWRITE, OWNERWRITE, OWNERREAD, AUTHREAD
const RIGHTS: u32 = 1 << 2 | 1 << 1 | 1 << 17 | 1 << 18;
const NO_DA: u32 = 1 << 25;

/// An index with authValue "pw".
fn with_index(attributes: u32) -> Fixture {
    let mut tpm = Fixture::new();
    let public = [&INDEX.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0], &[0, 48]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&public)].concat()).unwrap();
    tpm
}

fn written() -> Fixture {
    let mut tpm = with_index(RIGHTS | NO_DA);
    tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"pw"], &[tpm2b(&[7; 48]), vec![0, 0]].concat()).unwrap();
    tpm
}

fn read(tpm: &mut Fixture, auth: Auth<'_>) -> Outcome {
    tpm.exec(cc::NV_READ, &[INDEX, INDEX], vec![auth], &[0, 48, 0, 0])
}

fn contents(byte: u8) -> Outcome {
    Ok(tpm2b(&[byte; 48]))
}

/// An entry of the authorization area.
fn entry(handle: u32, nonce: &[u8], attributes: u8, hmac: &[u8]) -> Vec<u8> {
    [handle.to_be_bytes().to_vec(), tpm2b(nonce), vec![attributes], tpm2b(hmac)].concat()
}

#[test]
fn a_password_is_the_auth_value_without_trailing_zeros() {
    let mut tpm = written();
    for (given, expected) in [
        (&b"pw"[..], contents(7)),
        (b"pw\0\0", contents(7)),
        (b"p", Err(at_session(1, BAD_AUTH))),
        (b"", Err(at_session(1, BAD_AUTH))),
        (b"pw!", Err(at_session(1, BAD_AUTH))),
        (b"\0pw", Err(at_session(1, BAD_AUTH))),
    ] {
        assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[given], &[0, 48, 0, 0]), expected, "{given:?}");
    }
}

/// Issue 529 of wolfTPM: a password's response has continueSession, whatever the command had.
#[test]
fn a_password_always_continues() {
    let mut tpm = written();
    for attributes in [0, attr::CONTINUE] {
        let response =
            tpm.raw(&command(cc::NV_READ, &[INDEX, INDEX], &entry(PW, b"", attributes, b"pw"), &[0, 48, 0, 0]));
        assert_eq!(response[response.len() - 5..], [0, 0, attr::CONTINUE, 0, 0]);
    }
}

/// The session area's octets, up to where authorizations are checked.
#[test]
fn a_session_area_is_refused_at_the_session_that_is_wrong() {
    let mut tpm = written();
    let hmac = Session::start(&mut tpm, &Start { sym: Sym::Aes128, ..Start::default() });
    let plain = Session::plain(&mut tpm, Kind::Hmac);
    let policy = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let pw = password(b"pw");
    let other_type = |h: u32| h & 0xff_ffff | if h >> 24 == 2 { 0x0300_0000 } else { 0x0200_0000 };
    let mut read = |area: &[u8]| tpm.with_area(cc::NV_READ, &[INDEX, INDEX], area, &[0, 48, 0, 0]).map(|_| ());
    let at = |n, code| Err(at_session(n, code));
    let rows: Vec<(&str, Vec<u8>, Result<(), u32>)> = vec![
        ("less than one entry", vec![0; 8], Err(AUTHSIZE)),
        ("no session handle", entry(0x8000_0000, b"", 1, b""), at(1, VALUE)),
        ("a hierarchy", entry(OWNER, b"", 1, b""), at(1, VALUE)),
        ("not loaded", entry(0x0200_0030, b"", 1, b""), Err(reference_s(0))),
        ("not loaded, second", [&pw[..], &entry(0x0300_0030, b"", 0x21, b"")].concat(), Err(reference_s(1))),
        ("loaded as policy session", entry(other_type(policy.handle), b"", 1, b""), at(1, HANDLE)),
        ("loaded as HMAC session", entry(other_type(hmac.handle), b"", 1, b""), at(1, HANDLE)),
        ("nonce too long", entry(PW, &[0; 65], 1, b""), at(1, SIZE)),
        ("reserved attributes", entry(PW, b"", 0x09, b""), at(1, RESERVED_BITS)),
        ("hmac too long", entry(PW, b"", 1, &[0; 65]), at(1, SIZE)),
        ("hmac cut off", [&entry(PW, b"", 1, b"")[..7], &[0, 4, 1]].concat(), at(1, INSUFFICIENT)),
        ("password with a nonce", entry(PW, &[1], 1, b"pw"), at(1, NONCE)),
        ("password that encrypts, with a nonce", entry(PW, &[1], 0x41, b"pw"), at(1, ATTRIBUTES)),
        ("password that decrypts", entry(PW, b"", 0x21, b"pw"), at(1, ATTRIBUTES)),
        ("password that audits", entry(PW, b"", 0x81, b"pw"), at(1, ATTRIBUTES)),
        ("password, auditExclusive", entry(PW, b"", 0x03, b"pw"), at(1, ATTRIBUTES)),
        ("password, auditReset", entry(PW, b"", 0x05, b"pw"), at(1, ATTRIBUTES)),
        ("password for nothing", [&pw[..], &pw].concat(), at(2, HANDLE)),
        (
            "session twice",
            [entry(hmac.handle, b"", 1, b""), entry(hmac.handle, b"", 0x21, b"")].concat(),
            at(2, HANDLE),
        ),
        ("four", [&pw[..], &pw, &pw, &[1]].concat(), Err(AUTHSIZE)),
        ("no first parameter to decrypt", [&pw[..], &entry(hmac.handle, b"", 0x21, b"")].concat(), at(2, ATTRIBUTES)),
        ("no algorithm", [&pw[..], &entry(plain.handle, b"", 0x41, b"")].concat(), at(2, SYMMETRIC)),
        (
            "two that encrypt",
            [&pw[..], &entry(hmac.handle, b"", 0x41, b""), &entry(plain.handle, b"", 0x41, b"")].concat(),
            at(3, ATTRIBUTES),
        ),
        (
            "two that audit",
            [&pw[..], &entry(hmac.handle, b"", 0x81, b""), &entry(plain.handle, b"", 0x81, b"")].concat(),
            at(3, ATTRIBUTES),
        ),
        ("a policy session that audits", [&pw[..], &entry(policy.handle, b"", 0x81, b"")].concat(), at(2, ATTRIBUTES)),
        ("auditExclusive alone", [&pw[..], &entry(hmac.handle, b"", 0x43, b"")].concat(), at(2, ATTRIBUTES)),
        ("auditReset alone", [&pw[..], &entry(hmac.handle, b"", 0x45, b"")].concat(), at(2, ATTRIBUTES)),
        ("for nothing", [&pw[..], &entry(hmac.handle, b"", 0x01, b"")].concat(), at(2, ATTRIBUTES)),
        ("a trial", entry(trial.handle, b"", 1, b""), at(1, ATTRIBUTES)),
        ("a trial for nothing", [&pw[..], &entry(trial.handle, b"", 0x01, b"")].concat(), at(2, ATTRIBUTES)),
        (
            "an authorization fails before a later session is looked at",
            [password(b"bad"), entry(hmac.handle, b"", 1, b"")].concat(),
            at(1, BAD_AUTH),
        ),
        (
            "but its attributes go first",
            [password(b"bad"), entry(hmac.handle, b"", 0x09, b"")].concat(),
            at(2, RESERVED_BITS),
        ),
    ];
    for (what, area, expected) in rows {
        assert_eq!(read(&area), expected, "{what}");
    }
    assert_eq!(read(&[]), Err(AUTH_MISSING));
}

#[test]
fn an_authorization_size_out_of_range_is_refused() {
    let mut tpm = written();
    let mut with = |tail: &[u8]| {
        let body = [&INDEX.to_be_bytes()[..], &INDEX.to_be_bytes(), tail].concat();
        let request =
            [&[0x80, 2][..], &(10 + body.len() as u32).to_be_bytes(), &cc::NV_READ.to_be_bytes(), &body].concat();
        let response = tpm.raw(&request);
        u32::from_be_bytes(response[6..10].try_into().unwrap())
    };
    assert_eq!(with(&[]), 0x80 | INSUFFICIENT);
    assert_eq!(with(&[0, 0, 0]), 0x80 | INSUFFICIENT);
    // Part 3, 5.5: authorizationSize is not within an acceptable range.
    for area in [&[0; 4][..], &[&[0, 0, 0, 8][..], &[0; 20]].concat(), &[0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(with(area), AUTHSIZE);
    }
    assert_eq!(with(&[&[0xff; 4][..], &[0; 9]].concat()), AUTHSIZE);
    let area = password(b"pw");
    assert_eq!(tpm.with_area(cc::FLUSH_CONTEXT, &[], &area, &[0x80, 0, 0, 0]), Err(AUTH_CONTEXT), "no sessions here");
}

/// Fix F-9186 of wolfTPM's firmware TPM.
#[test]
fn tn_f_9186_a_handle_that_needs_authorization_has_one() {
    let mut tpm = written();
    assert_eq!(tpm.run(cc::NV_READ, &[INDEX, INDEX], &[], &[0, 48, 0, 0]), Err(AUTH_MISSING));
}

#[test]
fn hmac_session_with_auth_value() {
    let mut tpm = written();
    for alg in Alg::ALL {
        let mut s = Session::start(&mut tpm, &Start { alg, ..Start::default() });
        for _ in 0..3 {
            assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), contents(7), "{alg:?}");
        }
        assert_eq!(read(&mut tpm, s.auth(0, b"bad").into()), Err(at_session(1, BAD_AUTH)));
        assert_eq!(read(&mut tpm, s.auth(0, b"").into()), Err(at_session(1, BAD_AUTH)));
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").raw(b"").into()), Err(at_session(1, BAD_AUTH)), "no HMAC");
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").raw(b"pw").into()), Err(at_session(1, BAD_AUTH)), "a password");
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), contents(7), "failures leave the session");
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").last().into()), contents(7));
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), Err(reference_s(0)), "without continueSession it is gone");
    }
}

/// What travels is what was authorized: a change anywhere in parameters, nonce, attributes or HMAC is refused, and so
/// is a replay.
#[test]
fn every_octet_of_an_authorized_command_counts() {
    let mut tpm = written();
    let mut s = Session::plain(&mut tpm, Kind::Hmac);
    // Behind header, handles, authorizationSize and sessionHandle: nonce, attributes, hmac, parameters.
    let start = 10 + 8 + 4 + 4;
    let end = start + 2 + 16 + 1 + 2 + 32 + 4;
    for at in start..end {
        let outcome =
            tpm.exec_last(cc::NV_READ, &[INDEX, INDEX], vec![s.auth(0, b"pw").into()], &[0, 48, 0, 0], |request| {
                assert_eq!(request.len(), end);
                request[at] ^= 1;
            });
        assert!(outcome.is_err(), "octet {at}");
    }
    let mut seen = vec![];
    tpm.exec_last(cc::NV_READ, &[INDEX, INDEX], vec![s.auth(0, b"pw").into()], &[0, 48, 0, 0], |r| seen.clone_from(r))
        .unwrap();
    let response = tpm.raw(&seen);
    assert_eq!(response[6..10], at_session(1, BAD_AUTH).to_be_bytes(), "a replay");
}

#[test]
fn without_any_key_an_empty_hmac_does() {
    let mut tpm = written();
    for kind in [Kind::Hmac, Kind::Policy] {
        let mut s = Session::start(&mut tpm, &Start { kind, sym: Sym::Aes128, ..Start::default() });
        assert!(tpm.exec(cc::GET_RANDOM, &[], vec![s.with(attr::ENCRYPT).raw(b"").into()], &[0, 8]).is_ok());
        assert!(tpm.exec(cc::GET_RANDOM, &[], vec![s.with(attr::ENCRYPT).into()], &[0, 8]).is_ok());
        let wrong = s.with(attr::ENCRYPT).raw(&[1; 32]).into();
        assert_eq!(tpm.exec(cc::GET_RANDOM, &[], vec![wrong], &[0, 8]), Err(at_session(1, BAD_AUTH)));
    }
    let mut s = Session::plain(&mut tpm, Kind::Hmac);
    let owner = s.with(0).raw(b"").into();
    assert_eq!(tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![owner], &[0, 48, 0, 0]), contents(7), "ownerAuth is empty");
}

#[test]
fn a_bound_session_stands_for_the_auth_value() {
    let mut tpm = written();
    let bind = (INDEX, &b"pw"[..]);
    let mut s = Session::start(&mut tpm, &Start { bind, ..Start::default() });
    assert_eq!(read(&mut tpm, s.with(0).into()), contents(7), "bound: sessionKey alone");
    assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(
        tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![s.with(0).into()], &[0, 48, 0, 0]),
        contents(7),
        "another entity"
    );
    let mut wrong = Session::start(&mut tpm, &Start { bind: (INDEX, b"bad"), ..Start::default() });
    assert_eq!(read(&mut tpm, wrong.with(0).into()), Err(at_session(1, BAD_AUTH)), "who binds must know authValue");
}

/// The Name of an index changes with its first write: a session bound to it before no longer is.
#[test]
fn a_changed_name_ends_the_binding() {
    let mut tpm = with_index(RIGHTS | NO_DA);
    let mut s = Session::start(&mut tpm, &Start { bind: (INDEX, b"pw"), ..Start::default() });
    let data = [tpm2b(&[9; 48]), vec![0, 0]].concat();
    assert_eq!(tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![s.with(0).into()], &data), Ok(vec![]));
    assert_eq!(read(&mut tpm, s.with(0).into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), contents(9), "authValue is needed now");
}

#[test]
fn an_audit_session_is_no_longer_bound() {
    let mut tpm = written();
    let mut s = Session::start(&mut tpm, &Start { bind: (INDEX, b"pw"), ..Start::default() });
    assert_eq!(read(&mut tpm, s.with(attr::AUDIT).into()), contents(7), "at its first use it still is");
    assert_eq!(read(&mut tpm, s.with(attr::AUDIT).into()), Err(at_session(1, BAD_AUTH)));
    assert_eq!(read(&mut tpm, s.auth(attr::AUDIT, b"pw").into()), contents(7));
}

/// TPMT_PUBLIC of a P-256 storage key.
fn storage_key() -> Vec<u8> {
    let attributes: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 17;
    [
        &[0, 0x23, 0, 0xb][..],
        &attributes.to_be_bytes(),
        &[0, 0],
        &[0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10],
        &[0; 4],
    ]
    .concat()
}

fn create_primary_params(auth: &[u8]) -> Vec<u8> {
    [tpm2b(&[tpm2b(auth), tpm2b(b"")].concat()), tpm2b(&storage_key()), tpm2b(b""), vec![0; 4]].concat()
}

/// Handle and point of a new storage key.
fn storage_parent(tpm: &mut Fixture) -> (u32, Vec<u8>, Vec<u8>) {
    let reply = tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &create_primary_params(b"")).unwrap();
    let handle = u32::from_be_bytes(reply[..4].try_into().unwrap());
    let public_size = usize::from(u16::from_be_bytes(reply[4..6].try_into().unwrap()));
    let unique = &reply[6 + public_size - 68..6 + public_size];
    (handle, unique[2..34].to_vec(), unique[36..].to_vec())
}

/// KDFe (Part 1, 8.4.10.3) for one digest.
fn kdfe(z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
    Alg::Sha256.hash(&[&1u32.to_be_bytes(), z, label, &[0], u, v])
}

/// encryptedSalt and the salt.
fn ecc_salt(x: &[u8], y: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let coordinates = |p: ProjectivePoint| {
        let encoded = p.to_affine().to_sec1_point(false);
        (encoded.as_bytes()[1..33].to_vec(), encoded.as_bytes()[33..].to_vec())
    };
    let key = Sec1Point::from_bytes([&[4][..], x, y].concat()).unwrap();
    let key = PublicKey::from_sec1_point(&key).unwrap();
    let d = Scalar::from(0x1234_5678_9abc_def1u64);
    let (qx, qy) = coordinates(ProjectivePoint::generator() * d);
    let (z, _) = coordinates(key.to_projective() * d);
    ([tpm2b(&qx), tpm2b(&qy)].concat(), kdfe(&z, b"SECRET", &qx, x))
}

#[test]
fn a_salted_session_authorizes_with_the_right_salt_only() {
    let mut tpm = written();
    let (key, x, y) = storage_parent(&mut tpm);
    let (encrypted, salt) = ecc_salt(&x, &y);
    for alg in Alg::ALL {
        let start = Start { alg, salt: (key, &encrypted, &salt), ..Start::default() };
        let mut s = Session::start(&mut tpm, &start);
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").last().into()), contents(7), "{alg:?}");
        let mut s = Session::start(&mut tpm, &Start { bind: (INDEX, b"pw"), ..start });
        assert_eq!(read(&mut tpm, s.with(0).last().into()), contents(7), "salted and bound, {alg:?}");
        let mut s = Session::start(&mut tpm, &Start { salt: (key, &encrypted, b"another"), alg, ..Start::default() });
        assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), Err(at_session(1, BAD_AUTH)), "another salt");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.handle.to_be_bytes()).unwrap();
    }
    let mut s = Session::start(
        &mut tpm,
        &Start { kind: Kind::Policy, sym: Sym::Aes128, salt: (key, &encrypted, &salt), ..Start::default() },
    );
    let empty = s.with(attr::ENCRYPT).raw(b"").into();
    assert_eq!(
        tpm.exec(cc::GET_RANDOM, &[], vec![empty], &[0, 8]),
        Err(at_session(1, BAD_AUTH)),
        "with a key, a policy session needs its HMAC"
    );
    assert!(tpm.exec(cc::GET_RANDOM, &[], vec![s.with(attr::ENCRYPT).into()], &[0, 8]).is_ok());
}

const SYMS: [Sym; 3] = [Sym::Xor, Sym::Aes128, Sym::Aes256];

/// TPM2_Hash takes and gives a TPM2B, and needs no authorization: its answer shows both directions.
#[test]
fn parameters_are_encrypted_both_ways() {
    let mut tpm = Fixture::new();
    let data: Vec<u8> = (0..=200).collect();
    let digest = tpm2b(&Alg::Sha256.hash(&[&data]));
    let params = [&tpm2b(&data)[..], &[0, 0xb], &NULL.to_be_bytes()].concat();
    for (alg, sym) in Alg::ALL.into_iter().flat_map(|alg| SYMS.map(|sym| (alg, sym))) {
        for kind in [Kind::Hmac, Kind::Policy] {
            let mut s = Session::start(&mut tpm, &Start { kind, alg, sym, bind: (OWNER, b""), ..Start::default() });
            for attributes in [attr::DECRYPT, attr::ENCRYPT, attr::DECRYPT | attr::ENCRYPT] {
                let reply = tpm.exec(cc::HASH, &[], vec![s.with(attributes).into()], &params).unwrap();
                assert_eq!(reply[..34], digest, "{alg:?} {sym:?} {attributes:x}");
            }
            let mut seen = vec![];
            tpm.exec_last(cc::HASH, &[], vec![s.with(attr::DECRYPT).last().into()], &params, |r| seen.clone_from(r))
                .unwrap();
            assert!(!seen.windows(16).any(|w| w == &data[..16]), "the data do not travel in the clear");
        }
    }
}

#[test]
fn an_authorizing_session_encrypts_with_the_auth_value() {
    for sym in SYMS {
        let mut tpm = with_index(RIGHTS | NO_DA);
        let mut s = Session::start(&mut tpm, &Start { sym, ..Start::default() });
        let data = [tpm2b(&[0x33; 48]), vec![0, 0]].concat();
        let one = s.auth(attr::DECRYPT, b"pw").into();
        assert_eq!(tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![one], &data), Ok(vec![]));
        assert_eq!(read(&mut tpm, s.auth(attr::ENCRYPT, b"pw").into()), contents(0x33));
        assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"pw"], &[0, 48, 0, 0]), contents(0x33));
        let mut bound = Session::start(&mut tpm, &Start { sym, bind: (INDEX, b"pw"), ..Start::default() });
        let mut one = bound.with(attr::ENCRYPT);
        one.crypt_auth = b"pw".to_vec();
        assert_eq!(read(&mut tpm, one.into()), contents(0x33), "a bound session as well, though its HMAC is without");
    }
}

/// The HMAC of the first session covers nonceTPM of the others that decrypt and encrypt, decrypt first.
#[test]
fn the_first_hmac_covers_the_nonces_of_the_sessions_that_encrypt() {
    let mut tpm = with_index(RIGHTS | NO_DA);
    let start = |sym| Start { sym, ..Start::default() };
    let mut auth = Session::start(&mut tpm, &start(Sym::Aes128));
    let mut one = Session::start(&mut tpm, &start(Sym::Xor));
    let mut two = Session::start(&mut tpm, &start(Sym::Aes256));
    let data = [tpm2b(&[0x44; 48]), vec![0, 0]].concat();
    let write = |auths| (cc::NV_WRITE, [INDEX, INDEX], auths);
    let (code, handles, auths) = write(vec![auth.auth(0, b"pw").into(), one.with(attr::DECRYPT).into()]);
    assert_eq!(tpm.exec(code, &handles, auths, &data), Ok(vec![]));
    for (first, second) in
        [(attr::ENCRYPT, attr::AUDIT), (attr::AUDIT, attr::ENCRYPT), (attr::ENCRYPT | attr::AUDIT, 0)]
    {
        let mut auths: Vec<Auth<'_>> = vec![auth.auth(0, b"pw").into(), one.with(first).into()];
        if second != 0 {
            auths.push(two.with(second).into());
        }
        assert_eq!(
            tpm.exec(cc::NV_READ, &[INDEX, INDEX], auths, &[0, 48, 0, 0]),
            contents(0x44),
            "{first:x} {second:x}"
        );
    }
    let auths = vec![Auth::Password(b"pw"), one.with(attr::ENCRYPT).into()];
    assert_eq!(tpm.exec(cc::NV_READ, &[INDEX, INDEX], auths, &[0, 48, 0, 0]), contents(0x44), "behind a password");

    // Both directions in one command, by different sessions, in both orders.
    let create = create_primary_params(b"secret");
    for swap in [false, true] {
        let (a, b) = if swap { (attr::ENCRYPT, attr::DECRYPT) } else { (attr::DECRYPT, attr::ENCRYPT) };
        let auths = vec![auth.auth(0, b"").into(), one.with(a).into(), two.with(b).into()];
        let reply = tpm.exec(cc::CREATE_PRIMARY, &[OWNER], auths, &create).unwrap();
        assert_eq!(reply[6..10], [0, 0x23, 0, 0xb], "the public area came out plain");
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &reply[..4]).unwrap();
    }
    // Without an authorization no session covers others.
    let hash = [&tpm2b(b"abc")[..], &[0, 0xb], &NULL.to_be_bytes()].concat();
    let auths = vec![one.with(attr::ENCRYPT).into(), two.with(attr::DECRYPT).into()];
    let reply = tpm.exec(cc::HASH, &[], auths, &hash).unwrap();
    assert_eq!(reply[..34], tpm2b(&Alg::Sha256.hash(&[b"abc"])));
}

/// An empty first parameter may be "encrypted": FAPI sets empty authValues so, and the reference's refusal breaks it.
#[test]
fn an_empty_first_parameter_is_accepted() {
    let mut tpm = Fixture::new();
    for sym in SYMS {
        let mut s = Session::start(&mut tpm, &Start { sym, ..Start::default() });
        let params = [&[0, 0, 0, 0xb][..], &NULL.to_be_bytes()].concat();
        let reply = tpm.exec(cc::HASH, &[], vec![s.with(attr::DECRYPT).into()], &params).unwrap();
        assert_eq!(reply[..34], tpm2b(&Alg::Sha256.hash(&[])));
    }
}

/// A CreatePrimary with an unkeyed session that decrypts, cut or filled up to `size` octets, its first parameter's size
/// field being `first`.
fn create_primary(session: u32, size: usize, first: Option<u16>) -> Vec<u8> {
    let mut request = command(cc::CREATE_PRIMARY, &[NULL], &entry(session, b"", 0x21, b""), &[]);
    assert_eq!(request.len(), 0x1b);
    request.extend(first.into_iter().flat_map(u16::to_be_bytes));
    request.resize(size, 0x88);
    request[2..6].copy_from_slice(&(size as u32).to_be_bytes());
    request
}

#[test]
fn cve_2023_1017_a_first_parameter_longer_than_the_command() {
    const MAX: usize = 4096;
    for sym in SYMS {
        let mut tpm = Fixture::new();
        let s = Session::start(&mut tpm, &Start { sym, ..Start::default() });
        for excess in [1, 2, 3, 0x100] {
            let first = (MAX - 0x1d + excess) as u16;
            let response = tpm.raw(&create_primary(s.handle, MAX, Some(first)));
            assert_eq!(response[6..10], 0x995u32.to_be_bytes(), "SIZE at the session");
        }
        let response = tpm.raw(&create_primary(s.handle, MAX, Some(0xffff)));
        assert_eq!(response[6..10], 0x995u32.to_be_bytes());
    }
}

#[test]
fn cve_2023_1018_no_first_parameter_at_all() {
    for sym in SYMS {
        let mut tpm = Fixture::new();
        let s = Session::start(&mut tpm, &Start { sym, ..Start::default() });
        for size in [0x1b, 0x1c] {
            let response = tpm.raw(&create_primary(s.handle, size, None));
            assert_eq!(response[6..10], 0x99au32.to_be_bytes(), "INSUFFICIENT at the session");
        }
    }
}

/// libtpms issue 375: the same flaw outbound. A session that encrypts is refused where the response has no TPM2B in
/// front, one that decrypts where the command has none.
#[test]
fn libtpms_375_encryption_needs_a_sized_first_parameter() {
    let mut tpm = written();
    let s = Session::start(&mut tpm, &Start { sym: Sym::Aes128, ..Start::default() });
    let policy = Session::plain(&mut tpm, Kind::Policy);
    // code, handles, sized parameter, sized response
    let rows: Vec<(u32, Vec<u32>, bool, bool)> = vec![
        (cc::GET_CAPABILITY, vec![], false, false),
        (cc::GET_RANDOM, vec![], false, true),
        (cc::HASH, vec![], true, true),
        (cc::STIR_RANDOM, vec![], true, false),     // StirRandom
        (cc::SELF_TEST, vec![], false, false),      // SelfTest
        (cc::GET_TEST_RESULT, vec![], false, true), // GetTestResult
        (cc::PCR_READ, vec![], false, false),       // PCR_Read
        (cc::NV_READ_PUBLIC, vec![INDEX], false, true),
        (cc::POLICY_AUTH_VALUE, vec![policy.handle], false, false), // PolicyAuthValue
        (cc::POLICY_CP_HASH, vec![policy.handle], true, false),     // PolicyCpHash
        (cc::POLICY_GET_DIGEST, vec![policy.handle], false, true),  // PolicyGetDigest
        (cc::POLICY_TICKET, vec![policy.handle], true, false),      // PolicyTicket
    ];
    for (code, handles, parameter, response) in rows {
        for (attribute, possible) in [(attr::DECRYPT, parameter), (attr::ENCRYPT, response)] {
            let outcome = tpm.with_area(code, &handles, &entry(s.handle, b"", attribute | 1, &[1; 32]), &[]);
            let expected = if possible { BAD_AUTH } else { ATTRIBUTES };
            assert_eq!(outcome, Err(at_session(1, expected)), "{code:x} {attribute:x}");
        }
    }
    let authorized: Vec<(u32, Vec<u32>, bool, bool)> = vec![
        (cc::NV_WRITE, vec![INDEX, INDEX], true, false),
        (cc::NV_READ, vec![INDEX, INDEX], false, true),
        (cc::NV_INCREMENT, vec![INDEX, INDEX], false, false), // NV_Increment
        (cc::PCR_EXTEND, vec![16], false, false),
        (cc::CREATE_PRIMARY, vec![OWNER], true, true),
        (cc::NV_DEFINE_SPACE, vec![OWNER], true, false),
    ];
    for (code, handles, parameter, response) in authorized {
        for (attribute, possible) in [(attr::DECRYPT, parameter), (attr::ENCRYPT, response)] {
            let area = [
                password(if handles[0] == INDEX { b"pw" } else { b"" }),
                entry(s.handle, b"", attribute | 1, &[1; 32]),
            ];
            let outcome = tpm.with_area(code, &handles, &area.concat(), &[]);
            let expected = if possible { BAD_AUTH } else { ATTRIBUTES };
            assert_eq!(outcome, Err(at_session(2, expected)), "{code:x} {attribute:x}");
        }
    }
}

/// The exclusive audit session: who becomes it, who ends it, and what a caller may demand of it.
#[test]
fn a_session_is_exclusive_until_another_command_ends_it() {
    let mut tpm = written();
    let mut one = Session::plain(&mut tpm, Kind::Hmac);
    let mut two = Session::plain(&mut tpm, Kind::Hmac);
    // Whether the response says that the session is exclusive.
    fn audited(tpm: &mut Fixture, s: &mut Session, attributes: u8) -> Result<bool, u32> {
        let area_at = 10 + 4 + 10;
        let nonce = vec![0x77; 16];
        let params = [0, 8];
        let attributes = attributes | attr::AUDIT | attr::CONTINUE;
        let cp_hash = s.alg.hash(&[&cc::GET_RANDOM.to_be_bytes(), &params]);
        let hmac = s.alg.hmac(&s.key, &[&cp_hash, &nonce, &s.nonce_tpm, &[attributes]]);
        let response = tpm.raw(&command(cc::GET_RANDOM, &[], &entry(s.handle, &nonce, attributes, &hmac), &params));
        let rc = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if rc != 0 {
            return Err(rc);
        }
        s.nonce_tpm = response[area_at + 2..area_at + 18].to_vec();
        let answered = response[area_at + 18];
        let others = attributes & !attr::AUDIT_EXCLUSIVE & !attr::AUDIT_RESET;
        assert_eq!(answered & !attr::AUDIT_EXCLUSIVE, others, "auditReset is CLEAR, the others come back as sent");
        Ok(answered & attr::AUDIT_EXCLUSIVE != 0)
    }
    assert_eq!(audited(&mut tpm, &mut one, 0), Ok(true), "the first use for audit");
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE), Ok(true));
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &[0x80, 0, 0, 7]).unwrap_err();
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE), Ok(true), "a command that failed does not count");
    let context = tpm.run(cc::CONTEXT_SAVE, &[two.handle], &[], &[]).unwrap();
    tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).unwrap();
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE), Ok(true), "nor one that admits no sessions");
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).unwrap();
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE), Err(EXCLUSIVE), "any other command does");
    assert_eq!(audited(&mut tpm, &mut one, 0), Ok(false));
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE | attr::AUDIT_RESET), Ok(true), "reset makes it anew");
    assert_eq!(audited(&mut tpm, &mut two, attr::AUDIT_EXCLUSIVE), Ok(true), "a first use may demand it");
    assert_eq!(audited(&mut tpm, &mut one, attr::AUDIT_EXCLUSIVE), Err(EXCLUSIVE));
    assert_eq!(audited(&mut tpm, &mut one, 0), Ok(false), "and two is no longer it either");
    assert_eq!(audited(&mut tpm, &mut two, attr::AUDIT_EXCLUSIVE), Err(EXCLUSIVE));
}

/// Failures with a protected entity at stake, or through a session bound to one, count; others do not.
#[test]
fn failures_count_for_protected_entities_and_sessions_bound_to_them() {
    let failed = |tpm: &mut Fixture| {
        let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[6u32, 0x20e, 1].map(u32::to_be_bytes).concat()).unwrap();
        u32::from_be_bytes(reply[13..17].try_into().unwrap())
    };
    let mut tpm = with_index(RIGHTS);
    tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"pw"], &[tpm2b(&[7; 48]), vec![0, 0]].concat()).unwrap();
    let mut plain = Session::plain(&mut tpm, Kind::Hmac);
    assert_eq!(read(&mut tpm, plain.auth(0, b"bad").into()), Err(at_session(1, AUTH_FAIL)));
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"bad"], &[0, 48, 0, 0]), Err(at_session(1, AUTH_FAIL)));
    assert_eq!(failed(&mut tpm), 2);
    let mut bound = Session::start(&mut tpm, &Start { sym: Sym::Aes128, bind: (INDEX, b"bad"), ..Start::default() });
    for (code, handles) in [(cc::NV_READ, [OWNER, INDEX]), (cc::NV_READ, [INDEX, INDEX])] {
        assert_eq!(tpm.exec(code, &handles, vec![bound.with(0).into()], &[0, 48, 0, 0]), Err(at_session(1, AUTH_FAIL)));
    }
    let outcome = tpm.exec(cc::GET_RANDOM, &[], vec![bound.with(attr::ENCRYPT).into()], &[0, 8]);
    assert_eq!(outcome, Err(at_session(1, AUTH_FAIL)), "even where nothing is authorized");
    assert_eq!(failed(&mut tpm), 5);
    for _ in 5..32 {
        read(&mut tpm, Auth::Password(b"bad")).unwrap_err();
    }
    assert_eq!(read(&mut tpm, Auth::Password(b"pw")), Err(LOCKOUT));
    assert_eq!(read(&mut tpm, plain.auth(0, b"pw").into()), Err(LOCKOUT));
    assert_eq!(tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![bound.with(0).into()], &[0, 48, 0, 0]), Err(LOCKOUT));
    let owner = plain.auth(0, b"").into();
    assert_eq!(tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![owner], &[0, 48, 0, 0]), contents(7), "the owner is exempt");
}

/// A session bound to TPM_RH_LOCKOUT puts lockoutAuth at stake.
#[test]
fn a_session_bound_to_lockout() {
    let mut tpm = written();
    let mut s = Session::start(&mut tpm, &Start { bind: (LOCKOUT_HIERARCHY, b"bad"), ..Start::default() });
    let outcome = tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![s.with(0).into()], &[0, 48, 0, 0]);
    assert_eq!(outcome, Err(at_session(1, AUTH_FAIL)));
    let outcome = tpm.exec(cc::NV_READ, &[OWNER, INDEX], vec![s.with(0).into()], &[0, 48, 0, 0]);
    assert_eq!(outcome, Err(LOCKOUT), "lockoutAuth is disabled now");
}

#[test]
fn what_an_index_admits() {
    let mut tpm = with_index(1 << 2 | 1 << 17 | NO_DA);
    let data = [tpm2b(&[7; 48]), vec![0, 0]].concat();
    assert_eq!(tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"pw"], &data), Ok(vec![]));
    let mut s = Session::plain(&mut tpm, Kind::Hmac);
    assert_eq!(read(&mut tpm, s.auth(0, b"pw").into()), Err(AUTH_UNAVAILABLE), "no AUTHREAD");
    assert_eq!(name(&mut tpm, OWNER), OWNER.to_be_bytes());
}
