//! Audit: of commands (Part 1, 32; Part 3, 18.6 and 21) and by sessions (Part 1, 17; Part 3, 18.5).
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use crate::keys::{self, Cursor, DECRYPT, Key, NONE, RESTRICTED, SIGN, names, primary, scheme, verifies};
use client::codes::{
    ENDORSEMENT, EXCLUSIVE, HASH, INSUFFICIENT, KEY, NULL, OWNER, PLATFORM, SCHEME, SIZE, TYPE, VALUE, handle, param,
};
use client::names::alg;
use client::session::Outcome;
use client::{command, password, tpm2b};
use tpm_core::cc;
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::hmac::hmac;

const NULL_SIGNATURE: [u8; 2] = [0, 0x10];

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(HashAlg::Sha256, parts).as_slice().to_vec()
}

fn set_status(tpm: &mut Fixture, alg: u16, set: &[u32], clear: &[u32]) -> Outcome {
    tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], &[b""], &status(alg, set, clear))
}

fn status(alg: u16, set: &[u32], clear: &[u32]) -> Vec<u8> {
    let list = |codes: &[u32]| {
        let mut list = (codes.len() as u32).to_be_bytes().to_vec();
        codes.iter().for_each(|code| list.extend(code.to_be_bytes()));
        list
    };
    [&alg.to_be_bytes()[..], &list(set), &list(clear)].concat()
}

/// TPM_CAP_AUDIT_COMMANDS
fn audited(tpm: &mut Fixture) -> Vec<u32> {
    let params = [4u32.to_be_bytes(), 0u32.to_be_bytes(), 1000u32.to_be_bytes()].concat();
    let response = tpm.run(cc::GET_CAPABILITY, &[], &[], &params).unwrap();
    response[9..].chunks(4).map(|code| u32::from_be_bytes(code.try_into().unwrap())).collect()
}

/// TPM_PT_AUDIT_COUNTER_0 and _1
fn counter(tpm: &mut Fixture) -> u64 {
    let params = [6u32.to_be_bytes(), 0x213u32.to_be_bytes(), 2u32.to_be_bytes()].concat();
    let response = tpm.run(cc::GET_CAPABILITY, &[], &[], &params).unwrap();
    let mut r = Cursor(&response[9..]);
    let (high, high_value, low, low_value) = (r.u32(), r.u32(), r.u32(), r.u32());
    assert_eq!((high, low), (0x213, 0x214));
    u64::from(high_value) << 32 | u64::from(low_value)
}

struct CommandLog {
    counter: u64,
    alg: u16,
    digest: Vec<u8>,
    commands: Vec<u8>,
    signature: Vec<u8>,
    whole: Vec<u8>,
}

fn attested(response: &[u8], tag: u16) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut r = Cursor(response);
    let whole = r.tpm2b().to_vec();
    let signature = r.0.to_vec();
    let mut r = Cursor(&whole);
    assert_eq!((r.u32(), r.u16()), (0xff54_4347, tag));
    r.tpm2b();
    assert_eq!(r.tpm2b(), b"data");
    r.take(17 + 8);
    let attested = r.0.to_vec();
    (whole, attested, signature)
}

fn command_digest(tpm: &mut Fixture, signer: u32, scheme: &[u8]) -> Result<CommandLog, u32> {
    let params = [&tpm2b(b"data")[..], scheme].concat();
    let response = tpm.run(cc::GET_COMMAND_AUDIT_DIGEST, &[ENDORSEMENT, signer], &[b"", b""], &params)?;
    let (whole, attested, signature) = attested(&response, 0x8015);
    let mut r = Cursor(&attested);
    let log = CommandLog {
        counter: r.u64(),
        alg: r.u16(),
        digest: r.tpm2b().to_vec(),
        commands: r.tpm2b().to_vec(),
        signature,
        whole,
    };
    assert!(r.0.is_empty());
    Ok(log)
}

/// What the log becomes by a command with these Names and parameters and that answer.
fn extended(old: &[u8], code: u32, names: &[u8], params: &[u8], answer: &[u8]) -> Vec<u8> {
    let cp_hash = sha256(&[&code.to_be_bytes(), names, params]);
    let rp_hash = sha256(&[&[0; 4], &code.to_be_bytes(), answer]);
    sha256(&[old, &cp_hash, &rp_hash])
}

#[test]
fn only_set_command_code_audit_status_is_audited_at_first() {
    let mut tpm = Fixture::new();
    assert_eq!(audited(&mut tpm), [cc::SET_COMMAND_CODE_AUDIT_STATUS]);
    assert_eq!(counter(&mut tpm), 0);
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.counter, log.alg, log.digest), (0, alg::SHA256, vec![]));
    assert_eq!(log.commands, sha256(&[&cc::SET_COMMAND_CODE_AUDIT_STATUS.to_be_bytes()]));
}

#[test]
fn the_list_takes_implemented_commands_but_shutdown() {
    let mut tpm = Fixture::new();
    let unknown = [0, 0x11e, 0x17f + 0x2000_0000, 0xffff_ffff, 0x1234];
    assert_eq!(
        set_status(&mut tpm, 0x10, &[cc::GET_RANDOM, cc::SHUTDOWN, cc::STIR_RANDOM, cc::GET_RANDOM], &[]),
        Ok(vec![])
    );
    assert_eq!(set_status(&mut tpm, alg::SHA256, &unknown, &[]), Ok(vec![]));
    assert_eq!(audited(&mut tpm), [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::STIR_RANDOM, cc::GET_RANDOM]);
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    let codes = [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::STIR_RANDOM, cc::GET_RANDOM].map(u32::to_be_bytes).concat();
    assert_eq!(log.commands, sha256(&[&codes]));
    let clear = [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::GET_RANDOM, 0x1234];
    assert_eq!(set_status(&mut tpm, 0x10, &[], &clear), Ok(vec![]));
    assert_eq!(audited(&mut tpm), [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::STIR_RANDOM]);
    assert_eq!(
        set_status(&mut tpm, 0x10, &[cc::GET_RANDOM], &[cc::GET_RANDOM]),
        Ok(vec![]),
        "cleared after it was set"
    );
    assert_eq!(audited(&mut tpm), [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::STIR_RANDOM]);
}

#[test]
fn set_command_code_audit_status_refuses() {
    let mut tpm = Fixture::new();
    assert_eq!(
        set_status(&mut tpm, alg::SHA384, &[cc::GET_RANDOM], &[]),
        Err(param(1, VALUE)),
        "algorithm and list at once"
    );
    assert_eq!(set_status(&mut tpm, alg::SHA384, &[], &[cc::GET_RANDOM]), Err(param(1, VALUE)));
    assert_eq!(set_status(&mut tpm, 0x1234, &[], &[]), Err(param(1, HASH)));
    let long = [&alg::SHA256.to_be_bytes()[..], &255u32.to_be_bytes()].concat();
    let run = |tpm: &mut Fixture, auth| tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[auth], &[b""], &long);
    assert_eq!(run(&mut tpm, OWNER), Err(param(2, SIZE)));
    assert_eq!(run(&mut tpm, ENDORSEMENT), Err(handle(1, VALUE)), "owner or platform only");
    assert_eq!(counter(&mut tpm), 0, "what failed is not audited");
    let params = status(0x10, &[], &[]);
    assert_eq!(tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[PLATFORM], &[b""], &params), Ok(vec![]));
}

#[test]
fn the_log_is_extended_by_what_audited_commands_did() {
    let mut tpm = Fixture::new();
    let params = status(0x10, &[cc::GET_RANDOM], &[]);
    assert_eq!(tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], &[b""], &params), Ok(vec![]));
    let first = extended(&[0; 32], cc::SET_COMMAND_CODE_AUDIT_STATUS, &OWNER.to_be_bytes(), &params, &[]);
    assert_eq!(command_digest(&mut tpm, NULL, &NONE).unwrap().digest, first);
    let random = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8]).unwrap();
    let second = extended(&first, cc::GET_RANDOM, &[], &[0, 8], &random);
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.digest, log.counter, log.signature), (second.clone(), 1, NULL_SIGNATURE.to_vec()));
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0]), Err(param(1, INSUFFICIENT)));
    assert_eq!(tpm.run(cc::STIR_RANDOM, &[], &[], &tpm2b(b"x")), Ok(vec![]));
    assert_eq!(command_digest(&mut tpm, NULL, &NONE).unwrap().digest, second, "neither failures nor others count");
}

#[test]
fn a_signed_log_starts_anew_and_counts() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, ENDORSEMENT, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    assert_eq!(set_status(&mut tpm, 0x10, &[cc::GET_RANDOM], &[]), Ok(vec![]));
    let log = command_digest(&mut tpm, key, &NONE).unwrap();
    assert!(verifies(&mut tpm, key, &sha256(&[&log.whole]), &log.signature));
    assert_eq!((log.counter, log.digest.len()), (1, 32));
    let log = command_digest(&mut tpm, key, &NONE).unwrap();
    assert_eq!((log.counter, log.digest), (1, vec![]), "empty, and the counter waits for the next command");
    let random = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]).unwrap();
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.counter, log.digest), (2, extended(&[0; 32], cc::GET_RANDOM, &[], &[0, 4], &random)));
    assert_eq!(counter(&mut tpm), 2);
}

#[test]
fn another_algorithm_empties_the_log_and_is_itself_not_in_it() {
    let mut tpm = Fixture::new();
    assert_eq!(set_status(&mut tpm, 0x10, &[cc::GET_RANDOM], &[]), Ok(vec![]));
    assert_eq!(set_status(&mut tpm, alg::SHA1, &[], &[]), Ok(vec![]));
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.alg, log.digest, log.counter), (alg::SHA1, vec![], 1));
    assert_eq!(log.commands.len(), 20);
    let random = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).unwrap();
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    let sha1 = |parts: &[&[u8]]| digest(HashAlg::Sha1, parts);
    let cp_hash = sha1(&[&cc::GET_RANDOM.to_be_bytes(), &[0, 1]]);
    let rp_hash = sha1(&[&[0; 4], &cc::GET_RANDOM.to_be_bytes(), &random]);
    assert_eq!(log.digest, sha1(&[&[0; 20], cp_hash.as_slice(), rp_hash.as_slice()]).as_slice());
    assert_eq!(set_status(&mut tpm, alg::SHA1, &[cc::STIR_RANDOM], &[]), Ok(vec![]), "the same algorithm is no change");
}

#[test]
fn the_log_outlives_a_restart_but_no_reset() {
    let mut tpm = Fixture::new();
    assert_eq!(set_status(&mut tpm, 0x10, &[cc::GET_RANDOM], &[]), Ok(vec![]));
    let before = command_digest(&mut tpm, NULL, &NONE).unwrap().digest;
    tpm.restart(Some(1), 0);
    assert_eq!(command_digest(&mut tpm, NULL, &NONE).unwrap().digest, before, "TPM Restart");
    tpm.restart(Some(1), 1);
    assert_eq!(command_digest(&mut tpm, NULL, &NONE).unwrap().digest, before, "TPM Resume");
    tpm.restart(Some(0), 0);
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.digest, log.counter), (vec![], 1), "TPM Reset");
    assert_eq!(audited(&mut tpm), [cc::SET_COMMAND_CODE_AUDIT_STATUS, cc::GET_RANDOM]);
}

#[test]
fn get_command_audit_digest_checks_in_order_and_may_be_audited_itself() {
    let mut tpm = Fixture::new();
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(command_digest(&mut tpm, decrypts, &NONE).err(), Some(handle(2, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(command_digest(&mut tpm, key, &NONE).err(), Some(param(2, SCHEME)));
    let params = [&tpm2b(b"data")[..], &scheme(alg::ECDSA, alg::SHA256)].concat();
    let outcome = tpm.run(cc::GET_COMMAND_AUDIT_DIGEST, &[OWNER, key], &[b"", b""], &params);
    assert_eq!(outcome, Err(handle(1, VALUE)));
    assert_eq!(set_status(&mut tpm, 0x10, &[cc::GET_COMMAND_AUDIT_DIGEST], &[]), Ok(vec![]));
    assert_eq!(command_digest(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256)).unwrap().counter, 1);
    let log = command_digest(&mut tpm, NULL, &NONE).unwrap();
    assert_eq!((log.counter, log.digest.len()), (2, 32), "the command that emptied the log is the first of the next");
}

// Audit sessions

const CONTINUE: u8 = 0x01;
const AUDIT_EXCLUSIVE: u8 = 0x02;
const AUDIT_RESET: u8 = 0x04;
const AUDIT: u8 = 0x80;

/// An HMAC session that is neither bound nor salted, unless bound to an entity with an empty authValue.
struct Session {
    handle: u32,
    nonce_tpm: Vec<u8>,
}

impl Session {
    fn start(tpm: &mut Fixture) -> Self {
        let params = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[0, 0, 0x10, 0, 0x0b]].concat();
        let response = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap();
        let mut r = Cursor(&response);
        Self { handle: r.u32(), nonce_tpm: r.tpm2b().to_vec() }
    }

    /// The session's part of an authorization area, for a command with these Names and parameters.
    fn area(&self, code: u32, names: &[u8], params: &[u8], attributes: u8) -> Vec<u8> {
        let cp_hash = sha256(&[&code.to_be_bytes(), names, params]);
        let nonce = [2; 16];
        let mac = hmac(HashAlg::Sha256, &[], &[&cp_hash, &nonce, &self.nonce_tpm, &[attributes]]);
        [&self.handle.to_be_bytes()[..], &tpm2b(&nonce), &[attributes], &tpm2b(mac.as_slice())].concat()
    }

    /// Runs a command without handles, audited by this session: its parameters, and the attributes that the response
    /// has.
    fn run(&mut self, tpm: &mut Fixture, code: u32, params: &[u8], attributes: u8) -> Result<(Vec<u8>, u8), u32> {
        let area = self.area(code, &[], params, attributes);
        let response = tpm.raw(&command(code, &[], &area, params));
        let mut r = Cursor(&response[6..]);
        match r.u32() {
            0 => {}
            rc => return Err(rc),
        }
        let len = r.u32() as usize;
        let answer = r.take(len).to_vec();
        self.nonce_tpm = r.tpm2b().to_vec();
        let attributes = r.take(1)[0];
        let rp_hash = sha256(&[&[0; 4], &code.to_be_bytes(), &answer]);
        let mac = hmac(HashAlg::Sha256, &[], &[&rp_hash, &self.nonce_tpm, &[2; 16], &[attributes]]);
        assert_eq!(r.tpm2b(), mac.as_slice());
        Ok((answer, attributes))
    }

    /// sessionDigest and exclusiveSession by TPM2_GetSessionAuditDigest without a key.
    fn digest(&self, tpm: &mut Fixture) -> (Vec<u8>, bool) {
        let response = session_digest(tpm, NULL, &NONE, self.handle).unwrap();
        let (_, attested, signature) = attested(&response, 0x8016);
        assert_eq!(signature, NULL_SIGNATURE);
        let mut r = Cursor(&attested);
        let exclusive = r.take(1)[0] == 1;
        (r.tpm2b().to_vec(), exclusive)
    }
}

fn session_digest(tpm: &mut Fixture, signer: u32, scheme: &[u8], session: u32) -> Outcome {
    let params = [&tpm2b(b"data")[..], scheme].concat();
    tpm.run(cc::GET_SESSION_AUDIT_DIGEST, &[ENDORSEMENT, signer, session], &[b"", b""], &params)
}

#[test]
fn a_session_digest_is_extended_by_what_the_session_audited() {
    let mut tpm = Fixture::new();
    let mut session = Session::start(&mut tpm);
    let (answer, attributes) = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE | AUDIT_EXCLUSIVE, "the first use makes it exclusive");
    let first = extended(&[0; 32], cc::GET_RANDOM, &[], &[0, 8], &answer);
    let (answer, attributes) = session.run(&mut tpm, cc::STIR_RANDOM, &tpm2b(b"x"), AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE | AUDIT_EXCLUSIVE, "and it stays so");
    let second = extended(&first, cc::STIR_RANDOM, &[], &tpm2b(b"x"), &answer);
    assert_eq!(session.digest(&mut tpm), (second.clone(), true), "until a command without it is done");
    assert_eq!(session.digest(&mut tpm), (second, false));
}

#[test]
fn a_reset_starts_the_session_digest_anew_and_makes_it_exclusive() {
    let mut tpm = Fixture::new();
    let mut session = Session::start(&mut tpm);
    session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).is_ok());
    let (answer, attributes) = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE | AUDIT_RESET).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE | AUDIT_EXCLUSIVE);
    assert_eq!(session.digest(&mut tpm).0, extended(&[0; 32], cc::GET_RANDOM, &[], &[0, 8], &answer));
}

#[test]
fn a_command_without_the_session_ends_exclusivity() {
    let mut tpm = Fixture::new();
    let mut session = Session::start(&mut tpm);
    session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).is_ok());
    let outcome = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE | AUDIT_EXCLUSIVE);
    assert_eq!(outcome, Err(EXCLUSIVE));
    let (_, attributes) = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE, "not exclusive, but it works");
    let reset = AUDIT | CONTINUE | AUDIT_EXCLUSIVE | AUDIT_RESET;
    let (_, attributes) = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], reset).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE | AUDIT_EXCLUSIVE);
    assert!(session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE | AUDIT_EXCLUSIVE).is_ok());
}

#[test]
fn a_failed_command_leaves_exclusivity_and_digest() {
    let mut tpm = Fixture::new();
    let mut session = Session::start(&mut tpm);
    let (answer, _) = session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0]).is_err());
    assert_eq!(session.digest(&mut tpm), (extended(&[0; 32], cc::GET_RANDOM, &[], &[0, 8], &answer), true));
}

#[test]
fn another_audit_session_takes_exclusivity() {
    let mut tpm = Fixture::new();
    let (mut one, mut two) = (Session::start(&mut tpm), Session::start(&mut tpm));
    one.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    let (_, attributes) = two.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE | AUDIT_EXCLUSIVE);
    let (_, attributes) = one.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE);
    let (_, attributes) = two.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    assert_eq!(attributes, AUDIT | CONTINUE, "nobody has it now");
}

/// A command that cannot have a session does not end exclusivity; here TPM2_FlushContext of another one.
#[test]
fn a_command_without_any_sessions_leaves_exclusivity() {
    let mut tpm = Fixture::new();
    let (mut session, other) = (Session::start(&mut tpm), Session::start(&mut tpm));
    session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    keys::flush(&mut tpm, other.handle);
    assert!(session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE | AUDIT_EXCLUSIVE).is_ok());
}

#[test]
fn an_audit_session_covers_the_names_of_handles() {
    let mut tpm = Fixture::new();
    let session = Session::start(&mut tpm);
    let names = 16u32.to_be_bytes();
    let area = [password(b""), session.area(cc::PCR_RESET, &names, &[], AUDIT | CONTINUE)].concat();
    assert_eq!(tpm.with_area(cc::PCR_RESET, &[16], &area, &[]), Ok(vec![]));
    assert_eq!(session.digest(&mut tpm).0, extended(&[0; 32], cc::PCR_RESET, &names, &[], &[]));
}

#[test]
fn get_session_audit_digest_checks_in_order() {
    let mut tpm = Fixture::new();
    let session = Session::start(&mut tpm);
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(session_digest(&mut tpm, decrypts, &NONE, session.handle), Err(handle(2, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(session_digest(&mut tpm, key, &NONE, session.handle), Err(param(2, SCHEME)));
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    assert_eq!(session_digest(&mut tpm, key, &ecdsa, session.handle), Err(handle(3, TYPE)), "not used for audit");
    assert_eq!(session_digest(&mut tpm, key, &ecdsa, 0x0300_0000), Err(handle(3, VALUE)), "a policy session");
}

#[test]
fn a_session_digest_is_signed() {
    let mut tpm = Fixture::new();
    let mut session = Session::start(&mut tpm);
    session.run(&mut tpm, cc::GET_RANDOM, &[0, 8], AUDIT | CONTINUE).unwrap();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let response = session_digest(&mut tpm, key, &NONE, session.handle).unwrap();
    let (whole, _, signature) = attested(&response, 0x8016);
    let qualified_name = names(&mut tpm, key).1;
    assert_eq!(whole[6..6 + 2 + 34], tpm2b(&qualified_name));
    assert!(verifies(&mut tpm, key, &sha256(&[&whole]), &signature));
}

/// A bound session leaves the authValue out of its HMAC key; once used for audit it is bound no longer (Part 1, 16.6.10
/// and 17).
#[test]
fn a_session_used_for_audit_is_no_longer_bound() {
    const INDEX: u32 = 0x0150_0001;
    let mut tpm = Fixture::new();
    let public = [&INDEX.to_be_bytes()[..], &[0, 0x0b, 2, 4, 0, 4, 0, 0, 0, 8]].concat();
    assert_eq!(
        tpm.run(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"secret"), tpm2b(&public)].concat()),
        Ok(vec![])
    );
    let write = [&tpm2b(&[5; 8])[..], &[0, 0]].concat();
    assert_eq!(tpm.run(cc::NV_WRITE, &[INDEX, INDEX], &[b"secret"], &write), Ok(vec![]));
    let name = tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]).unwrap();
    let mut r = Cursor(&name);
    r.tpm2b();
    let name = r.tpm2b();
    let start = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[0, 0, 0x10, 0, 0x0b]].concat();
    let response = tpm.run(cc::START_AUTH_SESSION, &[NULL, INDEX], &[], &start).unwrap();
    let mut r = Cursor(&response);
    let (session, mut nonce_tpm) = (r.u32(), r.tpm2b().to_vec());
    let mut session_key = [0; 32];
    tpm_crypto::kdf::kdfa(HashAlg::Sha256, b"secret", b"ATH", &nonce_tpm, &[1; 16], &mut session_key);
    let params = [0, 8, 0, 0];
    let cp_hash = sha256(&[&cc::NV_READ.to_be_bytes(), name, name, &params]);
    let mut read = |key: &[u8], attributes: u8| {
        let mac = hmac(HashAlg::Sha256, key, &[&cp_hash, &[2; 16], &nonce_tpm, &[attributes]]);
        let area = [&session.to_be_bytes()[..], &tpm2b(&[2; 16]), &[attributes], &tpm2b(mac.as_slice())].concat();
        let response = tpm.raw(&command(cc::NV_READ, &[INDEX, INDEX], &area, &params));
        let mut r = Cursor(&response[6..]);
        let rc = r.u32();
        if rc == 0 {
            let len = r.u32() as usize;
            r.take(len);
            nonce_tpm = r.tpm2b().to_vec();
        }
        rc
    };
    let with_auth = [&session_key[..], b"secret"].concat();
    assert_eq!(read(&session_key, CONTINUE), 0, "bound");
    assert_eq!(read(&session_key, CONTINUE | AUDIT), 0, "still bound when it becomes an audit session");
    assert_eq!(
        read(&session_key, CONTINUE | AUDIT),
        client::codes::session(1, client::codes::BAD_AUTH),
        "bound no longer"
    );
    assert_eq!(read(&with_auth, CONTINUE | AUDIT), 0);
}
