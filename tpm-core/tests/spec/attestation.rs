//! Attestation (Part 3, 18): TPM2_Certify, CertifyCreation, Quote, GetTime, CertifyX509, and TPM2_NV_Certify (31.16).
//! The audit digests are in audit.rs.
#![allow(clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use crate::harness::Fixture;
use crate::keys::{
    self, Cursor, DECRYPT, FIXED, Key, NONE, RESTRICTED, SIGN, X509_SIGN, create_primary, flush, names, primary,
    scheme, verifies,
};
use client::attributes::object;
use client::codes::{
    ASYMMETRIC, ATTRIBUTES, AUTH_MISSING, AUTH_TYPE, AUTH_UNAVAILABLE, ENDORSEMENT, HANDLE, KEY, NULL,
    NV_AUTHORIZATION, NV_LOCKED, NV_RANGE, NV_UNINITIALIZED, OWNER, PLATFORM, RESERVED_BITS, SCHEME, SEQUENCE, SIZE,
    TICKET, VALUE, handle, param, plain,
};
use client::hash::Alg;
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;
use tpm_crypto::hash::{HashAlg, digest};

/// TPM_RH_NULL in a Name.
const NULL_NAME: [u8; 4] = [0x40, 0, 0, 7];
/// The NULL Signature.
const NULL_SIGNATURE: [u8; 2] = [0, 0x10];
const DATA: &[u8] = b"qualifying data";

fn sha256(data: &[u8]) -> Vec<u8> {
    digest(HashAlg::Sha256, &[data]).as_slice().to_vec()
}

/// Code and TPMA_CC (Part 2, 8.9): nv 0x400000, cHandles from bit 25.
#[test]
fn the_commands_that_sign_have_the_attributes_of_the_specification() {
    let mut tpm = Fixture::new();
    let params = [2u32.to_be_bytes(), 0u32.to_be_bytes(), 1000u32.to_be_bytes()].concat();
    let response = tpm.run(cc::GET_CAPABILITY, &[], &[], &params).unwrap();
    let all: Vec<_> = response[9..].chunks(4).map(|a| u32::from_be_bytes(a.try_into().unwrap())).collect();
    for attributes in [
        0x0440_0133, // GetCommandAuditDigest
        0x0240_0140, // SetCommandCodeAuditStatus
        0x0400_0148, // Certify
        0x0400_014a, // CertifyCreation
        0x0400_014c, // GetTime
        0x0600_014d, // GetSessionAuditDigest
        0x0200_0158, // Quote
        0x0200_015d, // Sign
        0x0200_0177, // VerifySignature
        0x0600_0184, // NV_Certify
        0x0400_0197, // CertifyX509
        0x0200_01a5, // VerifyDigestSignature
        0x0200_01a6, // SignDigest
    ] {
        assert!(all.contains(&attributes), "{attributes:#010x}");
    }
}

/// What an attestation command answered.
struct Attest {
    whole: Vec<u8>,
    tag: u16,
    signer: Vec<u8>,
    extra: Vec<u8>,
    clock: u64,
    resets: u32,
    restarts: u32,
    firmware: u64,
    attested: Vec<u8>,
    signature: Vec<u8>,
}

fn parse(response: &[u8]) -> Attest {
    let mut r = Cursor(response);
    let whole = r.tpm2b().to_vec();
    let signature = r.0.to_vec();
    let mut r = Cursor(&whole);
    assert_eq!(r.u32(), 0xff54_4347, "TPM_GENERATED_VALUE");
    let tag = r.u16();
    let (signer, extra) = (r.tpm2b().to_vec(), r.tpm2b().to_vec());
    let (clock, resets, restarts) = (r.u64(), r.u32(), r.u32());
    assert!(r.take(1)[0] < 2, "safe");
    let firmware = r.u64();
    let attested = r.0.to_vec();
    Attest { tag, signer, extra, clock, resets, restarts, firmware, attested, signature, whole }
}

/// qualifyingData, inScheme and what follows.
fn common(scheme: &[u8], rest: &[u8]) -> Vec<u8> {
    [&tpm2b(DATA)[..], scheme, rest].concat()
}

fn certify(tpm: &mut Fixture, object: u32, signer: u32, scheme: &[u8]) -> Outcome {
    tpm.run(cc::CERTIFY, &[object, signer], &[b"", b""], &common(scheme, b""))
}

/// One bank, SHA-256, with these PCR.
fn selection(pcrs: [u8; 3]) -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0x0b, 3][..], &pcrs].concat()
}

fn quote(tpm: &mut Fixture, signer: u32, scheme: &[u8], selection: &[u8]) -> Outcome {
    tpm.run(cc::QUOTE, &[signer], &[b""], &common(scheme, selection))
}

fn get_time(tpm: &mut Fixture, signer: u32, scheme: &[u8]) -> Outcome {
    tpm.run(cc::GET_TIME, &[ENDORSEMENT, signer], &[b"", b""], &common(scheme, b""))
}

const INDEX: u32 = 0x0150_0001;
/// AUTHWRITE, OWNERWRITE, AUTHREAD, OWNERREAD, NO_DA, READ_STCLEAR
const INDEX_ATTRIBUTES: u32 = 0x8206_0006;

/// An ordinary index of 16 octets; its public area.
fn define(tpm: &mut Fixture) -> Vec<u8> {
    let public =
        [&INDEX.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &INDEX_ATTRIBUTES.to_be_bytes(), &[0, 0, 0, 16]]
            .concat();
    assert_eq!(tpm.run(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()), Ok(vec![]));
    public
}

fn write(tpm: &mut Fixture, data: &[u8]) {
    let params = [&tpm2b(data)[..], &[0, 0]].concat();
    assert_eq!(tpm.run(cc::NV_WRITE, &[INDEX, INDEX], &[b""], &params), Ok(vec![]));
}

fn nv_certify(tpm: &mut Fixture, signer: u32, scheme: &[u8], size: u16, offset: u16) -> Outcome {
    let rest = [size.to_be_bytes(), offset.to_be_bytes()].concat();
    tpm.run(cc::NV_CERTIFY, &[signer, INDEX, INDEX], &[b"", b""], &common(scheme, &rest))
}

/// A key's answer is genuine: the signature is over the whole structure, whose common part is right.
fn check(tpm: &mut Fixture, key: u32, response: &[u8], tag: u16) -> Attest {
    let attest = parse(response);
    assert_eq!((attest.tag, &attest.extra[..]), (tag, DATA));
    assert_eq!(attest.signer, names(tpm, key).1, "qualifiedSigner");
    assert!(verifies(tpm, key, &sha256(&attest.whole), &attest.signature));
    attest
}

#[test]
fn certify_states_name_and_qualified_name() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let object = primary(&mut tpm, ENDORSEMENT, SIGN, &NONE);
    let response = certify(&mut tpm, object, key, &NONE).unwrap();
    let attest = check(&mut tpm, key, &response, 0x8017);
    let (name, qualified_name) = names(&mut tpm, object);
    assert_eq!(attest.attested, [tpm2b(&name), tpm2b(&qualified_name)].concat());
}

#[test]
fn every_type_of_key_certifies_and_so_does_nobody() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    for key in [Key::Rsa, Key::Ecc, Key::Hmac] {
        let signer = key.load(&mut tpm, SIGN, &NONE);
        let response = certify(&mut tpm, object, signer, &key.usual()).unwrap();
        let attest = check(&mut tpm, signer, &response, 0x8017);
        assert_eq!(attest.signature[..4], key.usual());
        flush(&mut tpm, signer);
    }
    let attest = parse(&certify(&mut tpm, object, NULL, &scheme(alg::RSASSA, alg::SHA256)).unwrap());
    assert_eq!((&attest.signer[..], &attest.signature[..]), (&NULL_NAME[..], &NULL_SIGNATURE[..]));
}

#[test]
fn certify_checks_in_order() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(certify(&mut tpm, object, decrypts, &NONE), Err(handle(2, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(certify(&mut tpm, object, key, &NONE), Err(param(2, SCHEME)));
    assert_eq!(certify(&mut tpm, object, key, &scheme(alg::RSASSA, alg::SHA256)), Err(param(2, SCHEME)));
    let area = [client::password(b"")].concat();
    let missing = tpm.with_area(cc::CERTIFY, &[object, key], &area, &common(&scheme(alg::ECDSA, alg::SHA256), b""));
    assert_eq!(missing, Err(AUTH_MISSING), "the signing key");
    let too_long = [&tpm2b(&[0; 67])[..], &NONE].concat();
    assert_eq!(tpm.run(cc::CERTIFY, &[object, key], &[b"", b""], &too_long), Err(param(1, SIZE)));
}

#[test]
fn certify_needs_the_admin_role_of_the_object() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    const ADMIN_WITH_POLICY: u32 = 1 << 7;
    let object = primary(&mut tpm, OWNER, SIGN | ADMIN_WITH_POLICY, &NONE);
    assert_eq!(certify(&mut tpm, object, key, &scheme(alg::ECDSA, alg::SHA256)), Err(AUTH_TYPE));
}

#[test]
fn a_key_for_certificates_may_attest() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN | X509_SIGN, &NONE);
    assert!(quote(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256), &selection([1, 0, 0])).is_ok());
}

/// A sequence object, a key of the caller's with and without nameAlg, and its public area alone: what is no object that
/// the TPM has made or protects.
fn strangers(tpm: &mut Fixture) -> [(&'static str, u32); 4] {
    let sequence = keys::handle(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0x0b]).unwrap());
    let mut unnamed = Key::Ecc.public(SIGN | object::USER, &NONE);
    unnamed[2..4].copy_from_slice(&NONE);
    [
        ("a sequence object", sequence),
        ("an external key", Key::Ecc.load(tpm, SIGN, &NONE)),
        ("an external key without nameAlg", keys::load_external(tpm, &Key::Ecc.sensitive(), &unnamed, NULL)),
        ("a public area", Key::Ecc.load_public(tpm, SIGN, &NONE, OWNER)),
    ]
}

/// Part 3, 18.2.1: "An object that only has its public area loaded cannot be certified", nor what has no Name to tell.
/// Part 1, 26.4: an external object of both parts can be used "in any command that is valid for the type including
/// certification", with a Qualified Name that is its Name (Part 3, 12.3.1).
#[test]
fn whole_objects_with_a_name_are_certified() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN, &scheme(alg::ECDSA, alg::SHA256));
    let [sequence, external, unnamed, public] = strangers(&mut tpm).map(|(_, handle)| handle);
    assert_eq!(certify(&mut tpm, sequence, key, &NONE), Err(SEQUENCE));
    assert_eq!(certify(&mut tpm, unnamed, key, &NONE), Err(handle(1, HANDLE)));
    assert_eq!(certify(&mut tpm, public, key, &NONE), Err(AUTH_UNAVAILABLE));
    let name = names(&mut tpm, external).0;
    let certified = certify(&mut tpm, external, key, &NONE).unwrap();
    assert!(certified.windows(2 * (2 + name.len())).any(|w| w == [tpm2b(&name), tpm2b(&name)].concat()));
    assert!(certify(&mut tpm, key, key, &NONE).is_ok());
}

/// Part 3, 18.3.1: "any object that is loaded with TPM2_Load() or TPM2_CreatePrimary()". A ticket for a Name and a hash
/// does not do for no Name and both.
#[test]
fn only_objects_of_the_tpm_have_a_certified_creation() {
    let mut tpm = Fixture::new();
    let response = {
        let parms = [&NONE[..], &NONE, &[0, 3], &NONE].concat();
        let public =
            [&[0, 0x23][..], &alg::SHA1.to_be_bytes(), &(FIXED | SIGN).to_be_bytes(), &[0, 0], &parms, &[0; 4]];
        let params = [&tpm2b(&[0; 4])[..], &tpm2b(&public.concat()), &tpm2b(b""), &[0; 4]].concat();
        tpm.run(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params).unwrap()
    };
    let mut r = Cursor(&response);
    let object = r.u32();
    r.tpm2b();
    r.tpm2b();
    let (hash, rest) = (r.tpm2b().to_vec(), r.0);
    r.take(6);
    let ticket = rest[..8 + r.tpm2b().len()].to_vec();
    let name = names(&mut tpm, object).0;
    assert!(certify_creation(&mut tpm, NULL, object, &hash, &NONE, &ticket).is_ok());
    let both = [&name[..], &hash].concat();
    for (what, stranger) in strangers(&mut tpm) {
        let expected = if what == "a sequence object" { SEQUENCE } else { handle(2, HANDLE) };
        for hash in [&hash, &both] {
            assert_eq!(certify_creation(&mut tpm, NULL, stranger, hash, &NONE, &ticket), Err(expected), "{what}");
        }
    }
}

/// Part 3, 18.8.1: the certificate has "the public key associated with objectHandle"; a sequence object has none (Part
/// 2, 6.6.3: TPM_RC_SEQUENCE).
#[test]
fn a_sequence_object_has_no_certificate() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN, &scheme(alg::ECDSA, alg::SHA256));
    let [(_, sequence), ..] = strangers(&mut tpm);
    let outcome = certify_x509(&mut tpm, sequence, key, &NONE, &partial(false, &key_usage(0x80)));
    assert_eq!(outcome, Err(SEQUENCE));
}

/// A primary key with creationHash and creationTicket.
fn created(tpm: &mut Fixture, hierarchy: u32) -> (u32, Vec<u8>, Vec<u8>) {
    let response = create_primary(tpm, hierarchy, SIGN, &NONE);
    let mut r = Cursor(&response);
    let object = r.u32();
    r.tpm2b();
    let data = r.tpm2b().to_vec();
    let hash = r.tpm2b().to_vec();
    assert_eq!(hash, sha256(&data));
    let start = r.0;
    r.take(6);
    let len = 8 + r.tpm2b().len();
    (object, hash, start[..len].to_vec())
}

fn certify_creation(tpm: &mut Fixture, signer: u32, object: u32, hash: &[u8], scheme: &[u8], ticket: &[u8]) -> Outcome {
    let params = [&tpm2b(DATA)[..], &tpm2b(hash), scheme, ticket].concat();
    tpm.run(cc::CERTIFY_CREATION, &[signer, object], &[b""], &params)
}

#[test]
fn certify_creation_states_name_and_creation_hash() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
        let (object, hash, ticket) = created(&mut tpm, hierarchy);
        let response = certify_creation(&mut tpm, key, object, &hash, &NONE, &ticket).unwrap();
        let attest = check(&mut tpm, key, &response, 0x801a);
        assert_eq!(attest.attested, [tpm2b(&names(&mut tpm, object).0), tpm2b(&hash)].concat());
        flush(&mut tpm, object);
    }
    let (object, hash, ticket) = created(&mut tpm, OWNER);
    let attest = parse(&certify_creation(&mut tpm, NULL, object, &hash, &NONE, &ticket).unwrap());
    assert_eq!(attest.signature, NULL_SIGNATURE);
}

#[test]
fn certify_creation_checks_in_order() {
    let mut tpm = Fixture::new();
    let (object, hash, ticket) = created(&mut tpm, OWNER);
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let mut bad = ticket.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(certify_creation(&mut tpm, decrypts, object, &hash, &NONE, &bad), Err(handle(1, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(certify_creation(&mut tpm, key, object, &hash, &NONE, &bad), Err(param(3, SCHEME)));
    assert_eq!(certify_creation(&mut tpm, key, object, &hash, &ecdsa, &bad), Err(param(4, TICKET)));
    assert_eq!(certify_creation(&mut tpm, key, object, &sha256(b""), &ecdsa, &ticket), Err(param(4, TICKET)));
    let other = primary(&mut tpm, OWNER, SIGN, &ecdsa);
    assert_eq!(certify_creation(&mut tpm, key, other, &hash, &ecdsa, &ticket), Err(param(4, TICKET)), "another object");
    assert!(certify_creation(&mut tpm, key, object, &hash, &ecdsa, &ticket).is_ok());
}

/// Fix F-4744 of wolfTPM's firmware TPM: a NULL Ticket, or one with a digest of zeros, says nothing.
#[test]
fn tn_f_4744_a_null_ticket_certifies_no_creation() {
    let mut tpm = Fixture::new();
    let (object, hash, _) = created(&mut tpm, OWNER);
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    for hierarchy in [NULL, OWNER] {
        for digest in [&[][..], &[0; 32]] {
            let ticket = [&[0x80, 0x21][..], &hierarchy.to_be_bytes(), &tpm2b(digest)].concat();
            let outcome = certify_creation(&mut tpm, key, object, &hash, &scheme(alg::ECDSA, alg::SHA256), &ticket);
            assert_eq!(outcome, Err(param(4, TICKET)));
        }
    }
}

#[test]
fn quote_states_selection_and_digest_of_the_pcr() {
    let mut tpm = Fixture::new();
    let extended = [&[0, 0, 0, 1, 0, 0x0b][..], &[7; 32]].concat();
    assert_eq!(tpm.run(cc::PCR_EXTEND, &[16], &[b""], &extended), Ok(vec![]));
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let response = quote(&mut tpm, key, &NONE, &selection([1, 0, 1])).unwrap();
    let attest = check(&mut tpm, key, &response, 0x8018);
    let pcr_16 = sha256(&[[0; 32], [7; 32]].concat());
    let values = sha256(&[&[0; 32][..], &pcr_16].concat());
    assert_eq!(attest.attested, [selection([1, 0, 1]), tpm2b(&values)].concat());
}

#[test]
fn the_hash_of_the_scheme_is_that_of_the_pcr_digest() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    for (id, alg) in [(alg::SHA1, HashAlg::Sha1), (alg::SHA384, HashAlg::Sha384)] {
        let attest = parse(&quote(&mut tpm, key, &scheme(alg::ECDSA, id), &selection([1, 0, 0])).unwrap());
        let values = digest(alg, &[&[0; 32]]);
        assert_eq!(attest.attested, [selection([1, 0, 0]), tpm2b(values.as_slice())].concat());
        assert!(verifies(&mut tpm, key, digest(alg, &[&attest.whole]).as_slice(), &attest.signature));
    }
    let empty = parse(&quote(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256), &[0; 4]).unwrap());
    assert_eq!(empty.attested, [&[0; 4][..], &tpm2b(&sha256(b""))].concat(), "no PCR");
}

#[test]
fn quote_checks_in_order() {
    let mut tpm = Fixture::new();
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(quote(&mut tpm, decrypts, &NONE, &selection([1, 0, 0])), Err(handle(1, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(quote(&mut tpm, key, &NONE, &selection([1, 0, 0])), Err(param(2, SCHEME)));
    assert_eq!(quote(&mut tpm, NULL, &NONE, &selection([1, 0, 0])), Err(param(2, SCHEME)), "no key and no hash");
    let nobody = parse(&quote(&mut tpm, NULL, &scheme(alg::ECDSA, alg::SHA384), &selection([1, 0, 0])).unwrap());
    let values = digest(HashAlg::Sha384, &[&[0; 32]]);
    assert_eq!(nobody.attested, [selection([1, 0, 0]), tpm2b(values.as_slice())].concat(), "the hash of the command");
    assert_eq!(nobody.signature, NULL_SIGNATURE);
    assert_eq!(quote(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256), &[0, 0, 0, 9]), Err(param(3, SIZE)));
}

#[test]
fn get_time_states_time_clock_and_firmware() {
    let mut tpm = Fixture::new();
    tpm.clock.0 += 12_345;
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let response = get_time(&mut tpm, key, &NONE).unwrap();
    let attest = check(&mut tpm, key, &response, 0x8019);
    let mut r = Cursor(&attest.attested);
    assert_eq!(r.u64(), 12_345, "time");
    assert_eq!((r.u64(), r.u32(), r.u32()), (attest.clock, 1, 0), "clock, resetCount, restartCount");
    r.take(1);
    assert_eq!(r.u64(), 1 << 32, "firmwareVersion");
    assert_eq!(r.0.len(), 0);
    let attest = parse(&get_time(&mut tpm, NULL, &scheme(alg::RSASSA, alg::SHA256)).unwrap());
    assert_eq!(attest.signature, NULL_SIGNATURE);
}

#[test]
fn get_time_checks_in_order() {
    let mut tpm = Fixture::new();
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(get_time(&mut tpm, decrypts, &NONE), Err(handle(2, KEY)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(get_time(&mut tpm, key, &NONE), Err(param(2, SCHEME)));
    let outcome = tpm.run(cc::GET_TIME, &[OWNER, key], &[b"", b""], &common(&scheme(alg::ECDSA, alg::SHA256), b""));
    assert_eq!(outcome, Err(handle(1, VALUE)), "only TPM_RH_ENDORSEMENT");
}

/// Part 2, 10.12.12: what could tell TPMs apart is shifted, the same for one key and another for another key.
#[test]
fn only_endorsement_and_platform_keys_state_counters_and_firmware_in_the_clear() {
    let mut tpm = Fixture::new();
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    for hierarchy in [ENDORSEMENT, PLATFORM] {
        let key = primary(&mut tpm, hierarchy, SIGN, &NONE);
        let attest = parse(&get_time(&mut tpm, key, &ecdsa).unwrap());
        assert_eq!((attest.resets, attest.restarts, attest.firmware), (1, 0, 1 << 32));
        flush(&mut tpm, key);
    }
    let mut shifts = Vec::new();
    for hierarchy in [OWNER, NULL] {
        let key = primary(&mut tpm, hierarchy, SIGN, &NONE);
        let attest = parse(&get_time(&mut tpm, key, &ecdsa).unwrap());
        assert_ne!((attest.resets, attest.restarts, attest.firmware), (1, 0, 1 << 32));
        let again = parse(&quote(&mut tpm, key, &ecdsa, &[0; 4]).unwrap());
        assert_eq!((attest.resets, attest.restarts, attest.firmware), (again.resets, again.restarts, again.firmware));
        shifts.push((attest.resets, attest.restarts, attest.firmware));
    }
    let nobody = parse(&get_time(&mut tpm, NULL, &NONE).unwrap());
    shifts.push((nobody.resets, nobody.restarts, nobody.firmware));
    assert!(shifts[0] != shifts[1] && shifts[1] != shifts[2] && shifts[0] != shifts[2]);
}

/// Part 3, 18.1: the obfuscation value is KDFa(signHandle→nameAlg, shProof, "OBFUSCATE", signHandle→QN, 0, 128), and
/// for TPM_RH_NULL it is made with the hash of context integrity. shProof is looked for in the state that leaves the
/// TPM.
#[test]
fn the_shift_is_made_with_name_alg() {
    let mut tpm = Fixture::new();
    let state = client::platform::export(&tpm.tpm, tpm_core::StateForm::Whole);
    let plain = |attest: &Attest| {
        let mut r = Cursor(&attest.attested);
        r.take(16);
        let (resets, restarts) = (r.u32(), r.u32());
        r.take(1);
        (
            attest.firmware.wrapping_sub(r.u64()),
            attest.resets.wrapping_sub(resets),
            attest.restarts.wrapping_sub(restarts),
        )
    };
    let mut proofs = Vec::new();
    for (name_alg, alg) in
        [(alg::SHA1, Some(Alg::Sha1)), (alg::SHA256, Some(Alg::Sha256)), (alg::SHA384, Some(Alg::Sha384)), (0, None)]
    {
        let key = if alg.is_some() {
            let parms = [&NONE[..], &NONE, &[0, 3], &NONE].concat();
            let public =
                [&[0, 0x23][..], &name_alg.to_be_bytes(), &(FIXED | SIGN).to_be_bytes(), &[0, 0], &parms, &[0; 4]];
            let params = [&tpm2b(&[0; 4])[..], &tpm2b(&public.concat()), &tpm2b(b""), &[0; 4]].concat();
            keys::handle(&tpm.run(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params).unwrap())
        } else {
            NULL
        };
        let shift = plain(&parse(&get_time(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256)).unwrap()));
        let signer = if key == NULL { NULL_NAME.to_vec() } else { names(&mut tpm, key).1 };
        let explains = |proof: &&[u8]| {
            let octets = alg.unwrap_or(Alg::Sha256).kdfa(proof, b"OBFUSCATE", &signer, &[], 16);
            let mut r = Cursor(&octets);
            (r.u64(), r.u32(), r.u32()) == shift
        };
        proofs.push(state.windows(64).find(explains).expect("shProof").to_vec());
    }
    assert!(proofs.iter().all(|proof| *proof == proofs[0]));
}

#[test]
fn the_shift_of_a_key_outlives_a_restart_and_counters_go_on() {
    let mut tpm = Fixture::new();
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let key = primary(&mut tpm, OWNER, SIGN, &NONE);
    let before = parse(&get_time(&mut tpm, key, &ecdsa).unwrap());
    tpm.restart(Some(0), 0);
    let key = primary(&mut tpm, OWNER, SIGN, &NONE);
    let after = parse(&get_time(&mut tpm, key, &ecdsa).unwrap());
    assert_eq!(after.firmware, before.firmware);
    assert_eq!(after.resets, before.resets.wrapping_add(1));
}

/// A signed clock may not be repeated: TPM2_Startup(STATE) would be refused after this.
#[test]
fn a_signed_attestation_voids_the_shutdown() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    assert!(quote(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256), &[0; 4]).is_ok());
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)));
}

#[test]
fn nv_certify_states_contents() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let mut public = define(&mut tpm);
    write(&mut tpm, b"0123456789abcdef");
    public[6] |= 0x20; // TPMA_NV_WRITTEN
    let name = [&[0, 0x0b][..], &sha256(&public)].concat();
    for (size, offset, contents) in [(16, 0, &b"0123456789abcdef"[..]), (4, 10, b"abcd"), (0, 3, b""), (0, 16, b"")] {
        let response = nv_certify(&mut tpm, key, &NONE, size, offset).unwrap();
        let attest = check(&mut tpm, key, &response, 0x8014);
        assert_eq!(attest.attested, [&tpm2b(&name)[..], &offset.to_be_bytes(), &tpm2b(contents)].concat());
    }
    let attest = parse(&nv_certify(&mut tpm, NULL, &NONE, 1, 0).unwrap());
    assert_eq!(attest.signature, NULL_SIGNATURE);
}

/// Part 3, 31.16.1; fix F-3503 of wolfTPM's firmware TPM.
#[test]
fn tn_f_3503_size_and_offset_zero_ask_for_a_digest() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    define(&mut tpm);
    write(&mut tpm, b"0123456789abcdef");
    let attest = parse(&nv_certify(&mut tpm, key, &scheme(alg::ECDSA, alg::SHA256), 0, 0).unwrap());
    assert_eq!(attest.tag, 0x801c);
    assert!(attest.attested.ends_with(&tpm2b(&sha256(b"0123456789abcdef"))));
    let nobody = parse(&nv_certify(&mut tpm, NULL, &scheme(alg::ECDSA, alg::SHA256), 0, 0).unwrap());
    assert!(nobody.attested.ends_with(&tpm2b(&sha256(b"0123456789abcdef"))) && nobody.signature == NULL_SIGNATURE);
    assert_eq!(nv_certify(&mut tpm, NULL, &NONE, 0, 0), Err(param(2, SCHEME)), "no key and no hash");
}

#[test]
fn nv_certify_checks_in_order() {
    let mut tpm = Fixture::new();
    define(&mut tpm);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(nv_certify(&mut tpm, decrypts, &NONE, 17, 0), Err(NV_UNINITIALIZED), "before the index' authValue");
    write(&mut tpm, &[0; 16]);
    assert_eq!(nv_certify(&mut tpm, decrypts, &NONE, 17, 0), Err(handle(1, KEY)));
    assert_eq!(nv_certify(&mut tpm, key, &NONE, 17, 0), Err(param(2, SCHEME)));
    let by_platform = [&tpm2b(DATA)[..], &ecdsa, &[0, 17, 0, 0]].concat();
    let outcome = tpm.run(cc::NV_CERTIFY, &[key, PLATFORM, INDEX], &[b"", b""], &by_platform);
    assert_eq!(outcome, Err(NV_AUTHORIZATION));
    assert_eq!(nv_certify(&mut tpm, key, &ecdsa, 17, 0), Err(NV_RANGE));
    assert_eq!(nv_certify(&mut tpm, key, &ecdsa, 1, 16), Err(NV_RANGE));
    assert_eq!(nv_certify(&mut tpm, key, &ecdsa, 0xffff, 0xffff), Err(NV_RANGE), "no wrap");
    assert!(nv_certify(&mut tpm, key, &ecdsa, 1, 15).is_ok());
    assert_eq!(tpm.run(cc::NV_READ_LOCK, &[INDEX, INDEX], &[b""], &[]), Ok(vec![]), "TPM2_NV_ReadLock");
    assert_eq!(nv_certify(&mut tpm, key, &ecdsa, 17, 0), Err(NV_LOCKED));
}

#[test]
fn nv_certify_answers_at_most_one_buffer() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let public =
        [&INDEX.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &INDEX_ATTRIBUTES.to_be_bytes(), &[0, 0, 0x10, 0]]
            .concat();
    assert_eq!(tpm.run(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()), Ok(vec![]));
    write(&mut tpm, b"some");
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    assert_eq!(nv_certify(&mut tpm, key, &ecdsa, 2049, 0), Err(param(3, VALUE)));
    let attest = parse(&nv_certify(&mut tpm, key, &ecdsa, 2048, 0).unwrap());
    assert!(attest.attested.len() > 2048);
    assert!(nv_certify(&mut tpm, key, &ecdsa, 0, 0).is_ok(), "the digest of all");
}

/// CVE-2026-6726 (TCGVRT0010): each command that signs, with each type of key and each scheme; only matching pairs
/// sign.
#[test]
fn cve_2026_6726_only_matching_keys_and_schemes_sign() {
    let mut tpm = Fixture::new();
    define(&mut tpm);
    write(&mut tpm, &[1; 16]);
    let session = start_audit_session(&mut tpm);
    let (object, hash, creation) = created(&mut tpm, ENDORSEMENT);
    for key in keys::ALL {
        let signer = key.load(&mut tpm, SIGN | if key == Key::Aes { DECRYPT } else { 0 }, &NONE);
        for id in [0x10, alg::RSASSA, alg::RSAPSS, alg::ECDSA, alg::ECDAA, alg::SM2, alg::ECSCHNORR, alg::HMAC] {
            let scheme = if id == 0x10 { NONE.to_vec() } else { scheme(id, alg::SHA256) };
            for (code, handles, auths, params, sign_handle, in_scheme) in
                signing_commands(signer, object, session, &scheme, &hash, &creation)
            {
                let auths = vec![&b""[..]; auths];
                let outcome = tpm.run(code, &handles, &auths, &params).map(drop);
                let expected = match (key, id) {
                    (Key::Aes, _) => Err(handle(sign_handle, KEY)),
                    (Key::Rsa, alg::RSASSA | alg::RSAPSS)
                    | (Key::Ecc, alg::ECDSA | alg::SM2 | alg::ECSCHNORR)
                    | (Key::Hmac, alg::HMAC) => Ok(()),
                    // There is no open commitment.
                    (Key::Ecc, alg::ECDAA) => Err(plain(VALUE)),
                    _ => Err(param(in_scheme, SCHEME)),
                };
                assert_eq!(outcome, expected, "{code:#x} {key:?} {id:#x}");
            }
        }
        flush(&mut tpm, signer);
    }
}

/// An anonymous signer is not named: neither by qualifiedSigner nor by extraData, and a certified key not by its
/// Qualified Name. The commitment serves once.
#[test]
fn ecdaa_attests_without_naming_the_signer() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let key = Key::Ecc.load(&mut tpm, SIGN, &scheme(alg::ECDAA, alg::SHA256));
    let mut counts = Vec::new();
    for _ in 0..2 {
        let commit = tpm.run(cc::COMMIT, &[key], &[b""], &[0, 4, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        counts.push(commit[commit.len() - 2..].to_vec());
    }
    let with_count = |count: &[u8]| [&scheme(alg::ECDAA, alg::SHA256)[..4], count].concat();
    let attest = parse(&certify(&mut tpm, object, key, &with_count(&counts[1])).unwrap());
    assert_eq!((&attest.signer[..], &attest.extra[..]), (&[][..], &[][..]));
    assert_eq!(attest.attested, [tpm2b(&names(&mut tpm, object).0), tpm2b(b"")].concat());
    assert_eq!(attest.signature[..4], scheme(alg::ECDAA, alg::SHA256)[..4]);
    assert_eq!(certify(&mut tpm, object, key, &with_count(&counts[1])), Err(plain(VALUE)), "used");
    assert!(certify(&mut tpm, object, key, &with_count(&counts[0])).is_ok());
    assert_eq!(certify(&mut tpm, object, key, &NONE), Err(param(2, SCHEME)), "the count must be given");
}

type SigningCommand = (u32, Vec<u32>, usize, Vec<u8>, u32, u32);

/// Code, handles, number of authorizations, parameters, the number of the signing key's handle and that of inScheme.
fn signing_commands(
    key: u32,
    object: u32,
    session: u32,
    scheme: &[u8],
    hash: &[u8],
    creation: &[u8],
) -> Vec<SigningCommand> {
    let sign = [&tpm2b(&[0; 32])[..], scheme, &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]].concat();
    let creation = [&tpm2b(DATA)[..], &tpm2b(hash), scheme, creation].concat();
    let x509 = [&tpm2b(b"")[..], scheme, &tpm2b(&partial(true, &key_usage(0x80)))].concat();
    let plain = common(scheme, b"");
    vec![
        (cc::SIGN, vec![key], 1, sign, 1, 2),
        (cc::CERTIFY, vec![object, key], 2, plain.clone(), 2, 2),
        (cc::CERTIFY_CREATION, vec![key, object], 1, creation, 1, 3),
        (cc::QUOTE, vec![key], 1, common(scheme, &selection([1, 0, 0])), 1, 2),
        (cc::GET_TIME, vec![ENDORSEMENT, key], 2, plain.clone(), 2, 2),
        (cc::GET_SESSION_AUDIT_DIGEST, vec![ENDORSEMENT, key, session], 2, plain.clone(), 2, 2),
        (cc::GET_COMMAND_AUDIT_DIGEST, vec![ENDORSEMENT, key], 2, plain, 2, 2),
        (cc::NV_CERTIFY, vec![key, INDEX, INDEX], 2, common(scheme, &[0, 1, 0, 0]), 1, 2),
        (cc::CERTIFY_X509, vec![object, key], 2, x509, 2, 2),
    ]
}

/// An HMAC session that has been used for audit once, by TPM2_GetRandom.
fn start_audit_session(tpm: &mut Fixture) -> u32 {
    let params = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[0, 0, 0x10, 0, 0x0b]].concat();
    let response = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap();
    let mut r = Cursor(&response);
    let session = r.u32();
    let nonce_tpm = r.tpm2b();
    let parameters = [0, 8];
    let cp_hash = sha256(&[&0x17b_u32.to_be_bytes()[..], &parameters].concat());
    let attributes = 0x81;
    let hmac = tpm_crypto::hmac::hmac(HashAlg::Sha256, &[], &[&cp_hash, &[2; 16], nonce_tpm, &[attributes]]);
    let area = [&session.to_be_bytes()[..], &tpm2b(&[2; 16]), &[attributes], &tpm2b(hmac.as_slice())].concat();
    assert!(tpm.with_area(cc::GET_RANDOM, &[], &area, &parameters).is_ok());
    session
}

// ML-DSA (1.85)

/// ML-DSA-44 without external μ, or Hash-ML-DSA-44 with SHA-384.
fn ml_dsa(tpm: &mut Fixture, kind: u16, attributes: u32) -> u32 {
    let parms: &[u8] = if kind == alg::MLDSA { &[0, 1, 0] } else { &[0, 1, 0, 0x0c] };
    keys::primary_of(tpm, OWNER, kind, attributes, parms, &tpm2b(b""))
}

/// Whether a signature of a message is the key's, by a sequence.
fn verifies_message(tpm: &mut Fixture, key: u32, message: &[u8], signature: &[u8]) -> bool {
    let started =
        tpm.run(cc::VERIFY_SEQUENCE_START, &[key], &[], &[tpm2b(b""), tpm2b(b""), tpm2b(b"")].concat()).unwrap();
    let sequence = u32::from_be_bytes(started[..4].try_into().unwrap());
    tpm.run(cc::SEQUENCE_UPDATE, &[sequence], &[b""], &tpm2b(message)).unwrap();
    let outcome = tpm.with(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, key], &[b""], signature);
    if outcome.is_err() {
        flush(tpm, sequence);
    }
    outcome.is_ok()
}

/// The structure itself is the message, with an empty context. Digests in it are by the hash of Hash-ML-DSA, or by
/// nameAlg.
#[test]
fn ml_dsa_keys_attest() {
    let mut tpm = Fixture::new();
    define(&mut tpm);
    write(&mut tpm, b"0123456789abcdef");
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    for (kind, hash) in [(alg::MLDSA, HashAlg::Sha256), (alg::HASH_MLDSA, HashAlg::Sha384)] {
        let key = ml_dsa(&mut tpm, kind, SIGN | RESTRICTED);
        for in_scheme in [&NONE[..], &kind.to_be_bytes()] {
            let certify = [&tpm2b(DATA)[..], in_scheme].concat();
            let responses = [
                tpm.run(cc::CERTIFY, &[object, key], &[b"", b""], &certify),
                quote(&mut tpm, key, in_scheme, &selection([1, 0, 0])),
                get_time(&mut tpm, key, in_scheme),
                nv_certify(&mut tpm, key, in_scheme, 4, 2),
                nv_certify(&mut tpm, key, in_scheme, 0, 0),
            ];
            let attested = responses.map(|response| parse(&response.unwrap()));
            for attest in &attested {
                assert_eq!(attest.signature[..2], kind.to_be_bytes());
                assert!(verifies_message(&mut tpm, key, &attest.whole, &attest.signature));
                let mut other = attest.whole.clone();
                *other.last_mut().unwrap() ^= 1;
                assert!(!verifies_message(&mut tpm, key, &other, &attest.signature));
            }
            assert!(attested[1].attested.ends_with(&tpm2b(digest(hash, &[&[0; 32]]).as_slice())));
            assert!(attested[4].attested.ends_with(&tpm2b(digest(hash, &[b"0123456789abcdef"]).as_slice())));
        }
        let other = if kind == alg::MLDSA { alg::HASH_MLDSA } else { alg::MLDSA };
        for wrong in [&other.to_be_bytes()[..], &scheme(alg::ECDSA, alg::SHA256)] {
            assert_eq!(quote(&mut tpm, key, wrong, &selection([1, 0, 0])), Err(param(2, SCHEME)));
        }
        let x509 = ml_dsa(&mut tpm, kind, SIGN | X509_SIGN);
        let outcome = certify_x509(&mut tpm, object, x509, &NONE, &partial(true, &key_usage(0x80)));
        assert_eq!(outcome, Err(param(2, SCHEME)), "it signs no digest");
        flush(&mut tpm, key);
        flush(&mut tpm, x509);
    }
    let ecc = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(get_time(&mut tpm, ecc, &alg::MLDSA.to_be_bytes()), Err(param(2, SCHEME)));
}

/// Without nameAlg there is no hash for the digests of a pure ML-DSA key: what has none is attested to all the same.
#[test]
fn an_ml_dsa_key_without_name_alg_attests_to_no_digest() {
    let mut tpm = Fixture::new();
    define(&mut tpm);
    write(&mut tpm, &[1; 16]);
    let (set, seed) = (tpm_crypto::mldsa::MlDsa::MlDsa44, [7; 32]);
    let mut point = [0; 1312];
    set.public(&seed, &mut point).unwrap();
    let attributes = (SIGN | 1 << 6).to_be_bytes();
    let public = [&[0, 0xa1, 0, 0x10][..], &attributes, &[0, 0], &[0, 1, 0], &tpm2b(&point)].concat();
    let sensitive = [&[0, 0xa1, 0, 0, 0, 0][..], &tpm2b(&seed)].concat();
    let key = keys::load_external(&mut tpm, &sensitive, &public, NULL);
    assert_eq!(quote(&mut tpm, key, &NONE, &selection([1, 0, 0])), Err(param(2, SCHEME)));
    assert_eq!(nv_certify(&mut tpm, key, &NONE, 0, 0), Err(param(2, SCHEME)));
    let attest = parse(&nv_certify(&mut tpm, key, &NONE, 4, 0).unwrap());
    assert!(verifies_message(&mut tpm, key, &attest.whole, &attest.signature));
}

// TPM2_CertifyX509

fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let head = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, contents.to_vec()].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

/// An extension with a BIT STRING, critical.
fn extension(oid: &[u8], bits: &[u8]) -> Vec<u8> {
    sequence(&[&der(6, oid), &[1, 1, 0xff], &der(4, &der(3, bits))])
}

/// keyUsage with these first eight bits.
fn key_usage(bits: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x0f], &[0, bits])
}

const ISSUER: &[u8] = &[0x30, 0x00];
const VALIDITY: &[u8] = b"\x30\x1e\x17\x0d261126220000Z\x17\x0d361126220000Z";
const SUBJECT: &[u8] = &[0x30, 0x00];
/// ecdsa-with-SHA256 as an AlgorithmIdentifier
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// partialCertificate, with an AlgorithmIdentifier or without, and these extensions.
fn partial(algorithm: bool, extensions: &[u8]) -> Vec<u8> {
    let algorithm = if algorithm { ECDSA_SHA256 } else { &[] };
    sequence(&[algorithm, ISSUER, VALIDITY, SUBJECT, &der(0xa3, &sequence(&[extensions]))])
}

fn certify_x509(tpm: &mut Fixture, object: u32, signer: u32, scheme: &[u8], partial: &[u8]) -> Outcome {
    let params = [&tpm2b(b"")[..], scheme, &tpm2b(partial)].concat();
    tpm.run(cc::CERTIFY_X509, &[object, signer], &[b"", b""], &params)
}

/// The first element and the rest.
fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    let (head, len) = match octets[1] {
        0x81 => (3, octets[2].into()),
        0x82 => (4, usize::from(octets[2]) << 8 | usize::from(octets[3])),
        len => (2, usize::from(len)),
    };
    octets.split_at(head + len)
}

fn contents(element: &[u8]) -> &[u8] {
    let head = match element[1] {
        0x81 => 3,
        0x82 => 4,
        _ => 2,
    };
    &element[head..]
}

#[test]
fn certify_x509_completes_and_signs_a_certificate() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    for key in [Key::Rsa, Key::Ecc] {
        let signer = key.load(&mut tpm, SIGN | X509_SIGN, &NONE);
        let usage = key_usage(0x80);
        let response = certify_x509(&mut tpm, object, signer, &key.usual(), &partial(false, &usage)).unwrap();
        let mut r = Cursor(&response);
        let (added, tbs_digest) = (r.tpm2b(), r.tpm2b());
        let signature = r.0;
        let (added, nothing) = split(added);
        assert!(nothing.is_empty());
        let (version, rest) = split(contents(added));
        assert_eq!(version, [0xa0, 3, 2, 1, 2]);
        let (serial, rest) = split(rest);
        assert!(serial[0] == 2 && (1..=21).contains(&serial[1]) && serial[2] & 0x80 == 0, "positive");
        let (algorithm, spki) = split(rest);
        let extensions = der(0xa3, &sequence(&[&usage]));
        let tbs = sequence(&[version, serial, algorithm, ISSUER, VALIDITY, SUBJECT, spki, &extensions]);
        assert_eq!(tbs_digest, sha256(&tbs));
        assert!(verifies(&mut tpm, signer, tbs_digest, signature));
        let expected = if key == Key::Ecc {
            ECDSA_SHA256
        } else {
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
        };
        assert_eq!(algorithm, expected);
        assert_eq!(spki[..27], *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04");
        flush(&mut tpm, signer);
    }
}

#[test]
fn certify_x509_describes_rsa_keys_and_pss() {
    let mut tpm = Fixture::new();
    let (object, signer) = (Key::Rsa.load(&mut tpm, SIGN, &NONE), Key::Rsa.load(&mut tpm, SIGN, &NONE));
    let response =
        certify_x509(&mut tpm, object, signer, &scheme(alg::RSAPSS, alg::SHA256), &partial(false, &key_usage(0x80)));
    let response = response.unwrap();
    let added = Cursor(&response).tpm2b();
    let (algorithm, spki) = split(split(split(contents(added)).1).1);
    let sha256_id = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
    let mgf = sequence(&[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08", sha256_id]);
    let parameters = sequence(&[&der(0xa0, sha256_id), &der(0xa1, &mgf), &der(0xa2, &[2, 1, 32])]);
    assert_eq!(algorithm, sequence(&[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", &parameters]));
    assert_eq!(
        spki[..24],
        *b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00"
    );
    assert!(spki.ends_with(&[2, 3, 1, 0, 1]), "exponent");
}

#[test]
fn a_given_algorithm_is_not_added() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let signer = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let response = certify_x509(&mut tpm, object, signer, &ecdsa, &partial(true, &key_usage(0x80))).unwrap();
    let mut r = Cursor(&response);
    let (_, rest) = split(contents(r.tpm2b()));
    let (serial, spki) = split(rest);
    let extensions = der(0xa3, &sequence(&[&key_usage(0x80)]));
    let version = [0xa0, 3, 2, 1, 2];
    let tbs = sequence(&[&version, serial, ECDSA_SHA256, ISSUER, VALIDITY, SUBJECT, spki, &extensions]);
    assert_eq!(r.tpm2b(), sha256(&tbs));
}

#[test]
fn serial_numbers_differ_with_what_is_certified() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let signer = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let mut serial = |object, partial: &[u8]| {
        let response = certify_x509(&mut tpm, object, signer, &ecdsa, partial).unwrap();
        let added = Cursor(&response).tpm2b().to_vec();
        split(split(contents(&added)).1).0.to_vec()
    };
    let first = serial(object, &partial(false, &key_usage(0x80)));
    assert_eq!(first, serial(object, &partial(false, &key_usage(0x80))));
    assert_ne!(first, serial(object, &partial(false, &key_usage(0x84))));
    assert_ne!(first, serial(signer, &partial(false, &key_usage(0x80))));
}

#[test]
fn certify_x509_checks_in_order() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let hmac = Key::Hmac.load(&mut tpm, SIGN, &scheme(alg::HMAC, alg::SHA256));
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let good = partial(false, &key_usage(0x80));
    let reserved = [&tpm2b(b"x")[..], &NONE, &tpm2b(b"")].concat();
    let outcome = tpm.run(cc::CERTIFY_X509, &[hmac, decrypts], &[b"", b""], &reserved);
    assert_eq!(outcome, Err(param(1, SIZE)));
    assert_eq!(certify_x509(&mut tpm, hmac, decrypts, &NONE, b""), Err(handle(2, KEY)));
    assert_eq!(certify_x509(&mut tpm, object, NULL, &ecdsa, &good), Err(handle(2, KEY)));
    assert_eq!(certify_x509(&mut tpm, hmac, key, &NONE, b""), Err(param(2, SCHEME)));
    assert_eq!(certify_x509(&mut tpm, hmac, key, &ecdsa, b""), Err(handle(1, ASYMMETRIC)));
    assert_eq!(certify_x509(&mut tpm, object, key, &ecdsa, b""), Err(param(3, VALUE)));
    assert_eq!(certify_x509(&mut tpm, object, hmac, &NONE, &good), Err(handle(2, SCHEME)), "no identifier for HMAC");
    assert!(certify_x509(&mut tpm, object, hmac, &NONE, &partial(true, &key_usage(0x80))).is_ok());
}

#[test]
fn certify_x509_refuses_what_is_no_partial_certificate() {
    let mut tpm = Fixture::new();
    let object = primary(&mut tpm, OWNER, SIGN, &NONE);
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let mut code = |partial: &[u8]| certify_x509(&mut tpm, object, key, &scheme(alg::ECDSA, alg::SHA256), partial);
    let extensions = der(0xa3, &sequence(&[&key_usage(0x80)]));
    let good = partial(false, &key_usage(0x80));
    let size = Err(param(3, SIZE));
    let value = Err(param(3, VALUE));
    assert_eq!(code(&[&good[..], &[0]].concat()), size, "something behind it");
    assert_eq!(code(&good[..good.len() - 1]), size, "cut off");
    assert_eq!(code(&[&[0x31], &good[1..]].concat()), size, "a SET");
    assert_eq!(code(&[0x30]), size);
    assert_eq!(code(&sequence(&[ISSUER, VALIDITY, &extensions])), value, "too few");
    assert_eq!(code(&sequence(&[ISSUER, ISSUER, ISSUER, VALIDITY, SUBJECT, &extensions])), value, "too many");
    assert_eq!(code(&sequence(&[ISSUER, VALIDITY, SUBJECT])), value, "no extensions");
    assert_eq!(code(&sequence(&[ISSUER, VALIDITY, SUBJECT, &extensions, &extensions])), value, "twice");
    assert_eq!(code(&sequence(&[&[2, 1, 0], ISSUER, VALIDITY, SUBJECT, &extensions])), value, "an INTEGER");
    assert_eq!(code(&sequence(&[ISSUER, VALIDITY, SUBJECT, &extensions, &[0x1f, 0]])), value, "a long tag");
    assert_eq!(code(&sequence(&[ISSUER, VALIDITY, SUBJECT, &der(0xa3, &[])])), value, "no list");
    assert_eq!(code(&partial(false, &[])), value, "no keyUsage");
    assert_eq!(code(&partial(false, &der(4, &[]))), value, "no extension");
    let no_bits = sequence(&[&der(6, &[0x55, 0x1d, 0x0f]), &der(4, &[2, 1, 0])]);
    assert_eq!(code(&partial(false, &no_bits)), value, "no BIT STRING");
    assert_eq!(code(&partial(false, &extension(&[0x55, 0x1d, 0x0f], &[0, 0x80, 0x40]))), Err(param(3, RESERVED_BITS)));
}

/// Part 3, 18.8.1: "verify that the attributes of objectHandle are consistent with the selected values
/// (TPM_RC_ATTRIBUTES)", and so for TPMA_OBJECT.
#[test]
fn extensions_may_not_claim_what_the_key_is_not() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let primary = primary(&mut tpm, OWNER, SIGN, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let (value, attributes_of_key) = (Err(param(3, VALUE)), Err(handle(1, ATTRIBUTES)));
    let mut code =
        |object, extensions: &[u8]| certify_x509(&mut tpm, object, key, &ecdsa, &partial(false, extensions)).map(drop);
    for signs in [0x80, 0x04, 0x02] {
        assert_eq!(code(key, &key_usage(signs)), Ok(()), "digitalSignature, keyCertSign, cRLSign");
    }
    for decrypts in [0x20, 0x10, 0x08, 0x01] {
        assert_eq!(
            code(key, &key_usage(decrypts)),
            attributes_of_key,
            "key and data encipherment, keyAgreement, encipherOnly"
        );
    }
    assert_eq!(code(key, &key_usage(0x40)), attributes_of_key, "nonRepudiation without fixedTPM");
    assert_eq!(code(primary, &key_usage(0x40)), Ok(()));
    const TPMA_OBJECT: [u8; 7] = [0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01];
    let attributes: u32 = FIXED | SIGN | object::NO_DA;
    let stated = |a: u32| [extension(&TPMA_OBJECT, &[&[0][..], &a.to_be_bytes()].concat()), key_usage(0x80)].concat();
    assert_eq!(code(primary, &stated(attributes)), Ok(()));
    assert_eq!(code(primary, &stated(attributes ^ RESTRICTED)), attributes_of_key);
    let no_octets = [sequence(&[&der(6, &TPMA_OBJECT)]), key_usage(0x80)].concat();
    assert_eq!(code(primary, &no_octets), value);
}
