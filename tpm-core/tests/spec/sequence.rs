//! Part 3, 17: Hash/HMAC/Event Sequences.
#![allow(clippy::type_complexity, clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use crate::harness::Fixture;
use crate::harness::external::{DECRYPT, SIGN, cipher_key, handle_of, hmac_key, restricted_hmac_key, storage_key};
use client::codes::{
    ATTRIBUTES, AUTH_MISSING, AUTH_TYPE, AUTH_UNAVAILABLE, BAD_AUTH, ENDORSEMENT, HASH, INTEGRITY, KEY, LOCALITY,
    LOCKOUT_HIERARCHY, MODE, NULL, OBJECT_MEMORY, OWNER, PLATFORM, POLICY_FAIL, SCHEME, SEQUENCE, SIZE, SYMMETRIC,
    TYPE, VALUE, handle, param, reference_h, session,
};
use client::names::alg;
use client::session::Outcome;
use client::{command, tpm2b};
use hex_literal::hex;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tpm_core::cc;
use tpm_crypto::hash::HashAlg;
use tpm_crypto::hmac::hmac;

/// TPM_ST_HASHCHECK, TPM_RH_NULL, Empty Digest.
const NULL_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

fn start(tpm: &mut Fixture, auth: &[u8], alg: u16) -> u32 {
    handle_of(tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[&tpm2b(auth)[..], &alg.to_be_bytes()].concat()))
}

fn mac_start(tpm: &mut Fixture, key: u32, auth: &[u8], alg: u16) -> Outcome {
    tpm.with(cc::MAC_START, &[key], &[b""], &[&tpm2b(auth)[..], &alg.to_be_bytes()].concat())
}

fn update(tpm: &mut Fixture, sequence: u32, auth: &[u8], data: &[u8]) -> Outcome {
    tpm.with(cc::SEQUENCE_UPDATE, &[sequence], &[auth], &tpm2b(data))
}

fn complete(tpm: &mut Fixture, sequence: u32, auth: &[u8], data: &[u8], hierarchy: u32) -> Outcome {
    tpm.with(cc::SEQUENCE_COMPLETE, &[sequence], &[auth], &[&tpm2b(data)[..], &hierarchy.to_be_bytes()].concat())
}

fn event_complete(tpm: &mut Fixture, pcr: u32, sequence: u32, auth: &[u8], data: &[u8]) -> Outcome {
    tpm.with(cc::EVENT_SEQUENCE_COMPLETE, &[pcr, sequence], &[b"", auth], &tpm2b(data))
}

/// What TPM2_Hash answers.
fn hash(tpm: &mut Fixture, data: &[u8], alg: u16, hierarchy: u32) -> Vec<u8> {
    tpm.run(cc::HASH, &[], &[], &[&tpm2b(data)[..], &alg.to_be_bytes(), &hierarchy.to_be_bytes()].concat()).unwrap()
}

/// TPML_DIGEST_VALUES of the first four banks over these data.
fn event_digests(data: &[u8]) -> Vec<u8> {
    [
        [&alg::SHA1.to_be_bytes()[..], &Sha1::digest(data)].concat(),
        [&alg::SHA256.to_be_bytes()[..], &Sha256::digest(data)].concat(),
        [&alg::SHA384.to_be_bytes()[..], &Sha384::digest(data)].concat(),
        [&alg::SHA512.to_be_bytes()[..], &Sha512::digest(data)].concat(),
    ]
    .concat()
}

#[test]
fn a_hash_sequence_gives_what_hash_gives() {
    let mut tpm = Fixture::new();
    let data: Vec<u8> = (0..2500u32).map(|i| i as u8).collect();
    for alg in [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512] {
        let sequence = start(&mut tpm, b"", alg);
        for block in data[..2048].chunks(1024) {
            assert_eq!(update(&mut tpm, sequence, b"", block), Ok(vec![]));
        }
        let reply = complete(&mut tpm, sequence, b"", &data[2048..], NULL).unwrap();
        let digest = match alg {
            alg::SHA1 => Sha1::digest(&data).to_vec(),
            alg::SHA256 => Sha256::digest(&data).to_vec(),
            alg::SHA384 => Sha384::digest(&data).to_vec(),
            _ => Sha512::digest(&data).to_vec(),
        };
        assert_eq!(reply, [&tpm2b(&digest)[..], &NULL_TICKET].concat());
        assert_eq!(update(&mut tpm, sequence, b"", b""), Err(reference_h(0)), "completion flushes it");
    }
}

#[test]
fn a_sequence_needs_no_update() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"", alg::SHA256);
    assert_eq!(complete(&mut tpm, sequence, b"", b"abcd", OWNER), Ok(hash(&mut tpm, b"abcd", alg::SHA256, OWNER)));
    let sequence = start(&mut tpm, b"", alg::SHA256);
    let empty = complete(&mut tpm, sequence, b"", b"", OWNER).unwrap();
    assert_eq!(empty, [&tpm2b(&Sha256::digest(b""))[..], &NULL_TICKET].concat());
}

#[test]
fn the_ticket_is_that_of_hash() {
    let mut tpm = Fixture::new();
    for hierarchy in [OWNER, PLATFORM] {
        let sequence = start(&mut tpm, b"", alg::SHA256);
        update(&mut tpm, sequence, b"", b"some ").unwrap();
        let reply = complete(&mut tpm, sequence, b"", b"data", hierarchy).unwrap();
        assert_eq!(reply, hash(&mut tpm, b"some data", alg::SHA256, hierarchy));
        assert_ne!(reply[34..], NULL_TICKET);
    }
}

#[test]
fn a_first_block_that_could_be_the_tpms_own_gives_no_ticket() {
    // blocks before completion, the last block, whether there is a ticket
    let cases: [(&[&[u8]], &[u8], bool); 9] = [
        (&[], b"\xffTCG and more", false),
        (&[], b"\xffTCG", false),
        (&[], b"\xffTC", false),
        (&[b"\xffTCG"], b"more", false),
        (&[b"\xff"], b"TCG and more", false),
        (&[b""], b"\xffTCG", false),
        (&[b"good"], b"\xffTCG", true),
        (&[b"good", b"\xffTCG"], b"", true),
        (&[b" \xffTCG"], b"", true),
    ];
    for (blocks, last, ticket) in cases {
        let mut tpm = Fixture::new();
        let sequence = start(&mut tpm, b"", alg::SHA256);
        for block in blocks {
            update(&mut tpm, sequence, b"", block).unwrap();
        }
        let reply = complete(&mut tpm, sequence, b"", last, OWNER).unwrap();
        assert_eq!(reply[34..] != NULL_TICKET, ticket, "{blocks:?} {last:?}");
    }
}

#[test]
fn a_sequence_has_an_auth_value_without_dictionary_attack_protection() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"secret\0\0", alg::SHA256);
    for _ in 0..40 {
        assert_eq!(update(&mut tpm, sequence, b"wrong", b"abc"), Err(session(1, BAD_AUTH)));
    }
    assert_eq!(complete(&mut tpm, sequence, b"", b"", NULL), Err(session(1, BAD_AUTH)));
    assert_eq!(update(&mut tpm, sequence, b"secret", b"abc"), Ok(vec![]));
    assert_eq!(tpm.run(cc::SEQUENCE_UPDATE, &[sequence], &[], &tpm2b(b"")), Err(AUTH_MISSING));
    let reply = complete(&mut tpm, sequence, b"secret\0", b"", NULL).unwrap();
    assert_eq!(reply[2..34], Sha256::digest(b"abc")[..], "what was refused changed nothing");
}

#[test]
fn sequences_take_the_slots_of_objects() {
    let mut tpm = Fixture::new();
    let handles: Vec<u32> = (0..8).map(|_| start(&mut tpm, b"", alg::SHA256)).collect();
    assert_eq!(handles, (0x8000_0000..0x8000_0008).collect::<Vec<u32>>());
    assert_eq!(tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]), Err(OBJECT_MEMORY));
    complete(&mut tpm, handles[3], b"", b"", NULL).unwrap();
    assert_eq!(start(&mut tpm, b"", alg::NULL), handles[3]);
    assert_eq!(tpm.run(cc::FLUSH_CONTEXT, &[], &[], &handles[5].to_be_bytes()), Ok(vec![]));
    assert_eq!(start(&mut tpm, b"", alg::SHA1), handles[5]);
    tpm.restart(Some(0), 0);
    assert_eq!(update(&mut tpm, handles[0], b"", b""), Err(reference_h(0)), "_TPM_Init forgets them");
}

#[test]
fn a_sequence_is_no_object() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"", alg::SHA256);
    assert_eq!(tpm.with(cc::MAC, &[sequence], &[b""], &[0, 0, 0, 0x10]), Err(handle(1, TYPE)));
    assert_eq!(mac_start(&mut tpm, sequence, b"", alg::NULL), Err(handle(1, TYPE)));
    assert_eq!(tpm.run(cc::READ_PUBLIC, &[sequence], &[], &[]), Err(SEQUENCE));
}

#[test]
fn an_object_is_no_sequence() {
    let mut tpm = Fixture::new();
    let key = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"key");
    assert_eq!(update(&mut tpm, key, b"", b""), Err(handle(1, MODE)));
    assert_eq!(complete(&mut tpm, key, b"", b"", NULL), Err(handle(1, MODE)));
    assert_eq!(event_complete(&mut tpm, 0, key, b"", b""), Err(handle(2, MODE)));
}

#[test]
fn an_event_sequence_extends_every_bank() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"a", alg::NULL);
    update(&mut tpm, sequence, b"a", b"\xffTCG ").unwrap();
    assert_eq!(complete(&mut tpm, sequence, b"a", b"", NULL), Err(handle(1, MODE)), "no hash sequence");
    let reply = event_complete(&mut tpm, 16, sequence, b"a", b"event").unwrap();
    let expected = event_digests(b"\xffTCG event");
    assert_eq!(reply[4..4 + expected.len()], expected);
    // TPM2_PCR_Read of PCR 16 in the SHA-256 bank
    let value = tpm.run(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1]).unwrap();
    let extended = Sha256::digest([&[0; 32][..], &Sha256::digest(b"\xffTCG event")].concat());
    assert_eq!(value[value.len() - 32..], extended[..]);
    assert_eq!(update(&mut tpm, sequence, b"a", b""), Err(reference_h(0)));
}

#[test]
fn an_event_sequence_needs_no_pcr() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"", alg::NULL);
    let reply = event_complete(&mut tpm, NULL, sequence, b"", b"event").unwrap();
    let expected = event_digests(b"event");
    assert_eq!(reply[4..4 + expected.len()], expected);
}

#[test]
fn event_sequence_complete_checks_sequence_then_locality() {
    let mut tpm = Fixture::new();
    let (hash, event) = (start(&mut tpm, b"", alg::SHA256), start(&mut tpm, b"", alg::NULL));
    assert_eq!(event_complete(&mut tpm, 17, hash, b"", b""), Err(handle(2, MODE)));
    assert_eq!(event_complete(&mut tpm, 17, event, b"", b"lost"), Err(LOCALITY));
    assert_eq!(event_complete(&mut tpm, 24, event, b"", b""), Err(handle(1, VALUE)));
    assert_eq!(
        tpm.with(cc::EVENT_SEQUENCE_COMPLETE, &[16, event], &[b""], &tpm2b(b"")),
        Err(AUTH_MISSING),
        "both need authorization"
    );
    let reply = event_complete(&mut tpm, 16, event, b"", b"event").unwrap();
    assert_eq!(reply[4..30], event_digests(b"event")[..26], "what was refused changed nothing");
}

#[test]
fn an_hmac_sequence_gives_the_hmac_and_no_ticket() {
    // RFC 4231, test cases 2 and 7
    let cases: [(&[u8], &[u8], &[u8]); 2] = [
        (b"Jefe", b"what do ya want for nothing?", &hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
            &hex!("9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ),
    ];
    for (key, data, expected) in cases {
        // The longest key of an object has the block size of its hash.
        let hashed = Sha256::digest(key);
        let key = if key.len() > 64 { &hashed[..] } else { key };
        let mut tpm = Fixture::new();
        let key = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", key);
        let sequence = handle_of(mac_start(&mut tpm, key, b"auth", alg::NULL));
        assert_eq!(tpm.run(cc::FLUSH_CONTEXT, &[], &[], &key.to_be_bytes()), Ok(vec![]), "the key may go");
        for block in data.chunks(50) {
            update(&mut tpm, sequence, b"auth", block).unwrap();
        }
        let reply = complete(&mut tpm, sequence, b"auth", b"", OWNER).unwrap();
        assert_eq!(reply, [&tpm2b(expected)[..], &NULL_TICKET].concat());
    }
}

#[test]
fn mac_and_mac_start_have_one_way_to_choose_a_scheme() {
    for code in [cc::MAC, cc::MAC_START] {
        let mut tpm = Fixture::new();
        let run = |tpm: &mut Fixture, key: u32, alg: u16| {
            tpm.with(code, &[key], &[b""], &[&[0, 0][..], &alg.to_be_bytes()].concat()).map(drop)
        };
        let none = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
        assert_eq!(run(&mut tpm, none, alg::SHA384), Ok(()));
        assert_eq!(run(&mut tpm, none, alg::NULL), Err(param(2, VALUE)), "neither has one");
        assert_eq!(run(&mut tpm, none, 0x3f), Err(param(2, SCHEME)), "CMAC is not for an HMAC key");
        assert_eq!(run(&mut tpm, none, 0x43), Err(param(2, SYMMETRIC)), "no MAC scheme");
        let own = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"key");
        assert_eq!(run(&mut tpm, own, alg::NULL), Ok(()));
        assert_eq!(run(&mut tpm, own, alg::SHA256), Ok(()));
        assert_eq!(run(&mut tpm, own, alg::SHA384), Err(param(2, VALUE)), "not the key's own");
    }
}

#[test]
fn mac_and_mac_start_check_the_key() {
    for code in [cc::MAC, cc::MAC_START] {
        let mut tpm = Fixture::new();
        let run = |tpm: &mut Fixture, key: u32, alg: u16| {
            tpm.with(code, &[key], &[b""], &[&[0, 0][..], &alg.to_be_bytes()].concat()).map(drop)
        };
        let asymmetric = storage_key(&mut tpm);
        assert_eq!(run(&mut tpm, asymmetric, alg::NULL), Err(handle(1, TYPE)));
        let cipher = cipher_key(&mut tpm, SIGN | DECRYPT, 6, 0x43, b"", &[7; 16]);
        assert_eq!(run(&mut tpm, cipher, alg::NULL), Err(param(2, SCHEME)), "its mode is not one of a MAC");
        assert_eq!(run(&mut tpm, cipher, alg::SHA256), Err(param(2, VALUE)));
        let any_mode = cipher_key(&mut tpm, SIGN | DECRYPT, 6, alg::NULL, b"", &[7; 16]);
        assert_eq!(run(&mut tpm, any_mode, alg::SHA256), Err(param(2, SCHEME)), "HMAC is not for a cipher key");
        assert_eq!(run(&mut tpm, any_mode, 0x3f), Ok(()));
        let restricted = restricted_hmac_key(&mut tpm);
        assert_eq!(run(&mut tpm, restricted, alg::SHA384), Err(param(2, VALUE)), "the scheme comes first");
        assert_eq!(run(&mut tpm, restricted, alg::NULL), Err(handle(1, ATTRIBUTES)));
        let sealed = hmac_key(&mut tpm, 0, None, b"", b"key");
        assert_eq!(run(&mut tpm, sealed, alg::SHA256), Err(handle(1, KEY)));
    }
}

#[test]
fn mac_gives_the_hmac() {
    let mut tpm = Fixture::new();
    let key = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"pw", b"Jefe");
    let mut mac = |alg: u16| {
        let params = [&tpm2b(b"what do ya want for nothing?")[..], &alg.to_be_bytes()].concat();
        tpm.with(cc::MAC, &[key], &[b"pw"], &params)
    };
    // RFC 4231, test case 2
    let sha256 = hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let sha384 =
        hex!("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
    assert_eq!(mac(alg::SHA256), Ok(tpm2b(&sha256)));
    assert_eq!(mac(alg::SHA384), Ok(tpm2b(&sha384)));
}

#[test]
fn parameters_are_checked_in_order() {
    let mut tpm = Fixture::new();
    let start = |tpm: &mut Fixture, params: &[u8]| tpm.run(cc::HASH_SEQUENCE_START, &[], &[], params).map(drop);
    assert_eq!(start(&mut tpm, &[&tpm2b(&[1; 65])[..], &[0, 0x12]].concat()), Err(param(1, SIZE)));
    assert_eq!(start(&mut tpm, &[0, 0, 0xff, 0xff]), Err(param(2, HASH)));
    assert_eq!(start(&mut tpm, &[&tpm2b(&[1; 64])[..], &[0, 0xb]].concat()), Ok(()));
    assert_eq!(start(&mut tpm, &[0, 0, 0, 0xb]), Ok(()));
    assert_eq!(update(&mut tpm, 0x8000_0001, b"", &[0; 1024]), Ok(vec![]));
    assert_eq!(update(&mut tpm, 0x8000_0001, b"", &[0; 1025]), Err(param(1, SIZE)));
    assert_eq!(complete(&mut tpm, 0x8000_0001, b"", &[0; 1025], NULL), Err(param(1, SIZE)));
    assert_eq!(complete(&mut tpm, 0x8000_0001, b"", b"", LOCKOUT_HIERARCHY), Err(param(2, VALUE)));
    let event = handle_of(tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0x10]));
    assert_eq!(event_complete(&mut tpm, 16, event, b"", &[0; 1025]), Err(param(1, SIZE)));
    assert_eq!(update(&mut tpm, 0x0100_0000, b"", b""), Err(handle(1, VALUE)));
}

#[test]
fn a_policy_session_cannot_authorize_a_sequence() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"", alg::SHA256);
    // TPM2_StartAuthSession: policy, no salt, unbound, nonce of 16 octets, no symmetric algorithm, SHA-256
    let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[1], &[0, 0x10], &[0, 0xb]].concat();
    let policy = handle_of(tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params));
    let area = [&policy.to_be_bytes()[..], &[0, 0], &[0], &[0, 0]].concat();
    assert_eq!(tpm.with_area(cc::SEQUENCE_UPDATE, &[sequence], &area, &tpm2b(b"")), Err(AUTH_UNAVAILABLE));
}

#[test]
fn the_response_to_completion_is_authenticated_with_the_auth_value_of_what_it_flushed() {
    let mut tpm = Fixture::new();
    let sequence = start(&mut tpm, b"secret", alg::SHA256);
    // TPM2_StartAuthSession: HMAC, no salt, unbound, no symmetric algorithm, SHA-256
    let nonce_caller = [1; 16];
    let params = [&tpm2b(&nonce_caller)[..], &[0, 0], &[0], &[0, 0x10], &[0, 0xb]].concat();
    let reply = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap();
    let (hmac_session, nonce_tpm) = (&reply[..4], &reply[6..]);
    let params = [&tpm2b(b"abcd")[..], &NULL.to_be_bytes()].concat();
    // Names are the Empty Buffer.
    let cp_hash = Sha256::digest([&cc::SEQUENCE_COMPLETE.to_be_bytes()[..], &params].concat());
    let mac = hmac(HashAlg::Sha256, b"secret", &[&cp_hash, &nonce_caller, nonce_tpm, &[1]]);
    let area = [hmac_session, &tpm2b(&nonce_caller), &[1], &tpm2b(mac.as_slice())].concat();
    let response = tpm.raw(&command(cc::SEQUENCE_COMPLETE, &[sequence], &area, &params));
    assert_eq!(response[6..10], [0; 4]);
    let size = u32::from_be_bytes(response[10..14].try_into().unwrap()) as usize;
    let (params, rest) = response[14..].split_at(size);
    assert_eq!(params[2..34], Sha256::digest(b"abcd")[..]);
    let (nonce_tpm, rest) = rest[2..].split_at(usize::from(rest[1]));
    let rp_hash = Sha256::digest([&[0; 4][..], &cc::SEQUENCE_COMPLETE.to_be_bytes(), params].concat());
    let mac = hmac(HashAlg::Sha256, b"secret", &[&rp_hash, nonce_tpm, &nonce_caller, &[1]]);
    assert_eq!(rest, [&[1][..], &tpm2b(mac.as_slice())].concat());
    assert_eq!(update(&mut tpm, sequence, b"secret", b""), Err(reference_h(0)));
}

#[test]
fn sequences_can_be_saved_and_loaded() {
    let mut tpm = Fixture::new();
    let key = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"Jefe");
    let starts = [
        start(&mut tpm, b"auth", alg::SHA384),
        handle_of(mac_start(&mut tpm, key, b"auth", alg::NULL)),
        start(&mut tpm, b"auth", alg::NULL),
    ];
    let contexts: Vec<Vec<u8>> = starts
        .into_iter()
        .map(|sequence| {
            update(&mut tpm, sequence, b"auth", b"what do ya want ").unwrap();
            let context = tpm.run(cc::CONTEXT_SAVE, &[sequence], &[], &[]).unwrap();
            assert_eq!(context[8..16], [0x8000_0001_u32.to_be_bytes(), NULL.to_be_bytes()].concat());
            update(&mut tpm, sequence, b"auth", b"is not what is saved").unwrap();
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &sequence.to_be_bytes()).unwrap();
            context
        })
        .collect();
    let loaded: Vec<u32> =
        contexts.iter().map(|context| handle_of(tpm.run(cc::CONTEXT_LOAD, &[], &[], context))).collect();
    let last = b"for nothing?";
    let data = b"what do ya want for nothing?";
    let reply = complete(&mut tpm, loaded[0], b"auth", last, OWNER).unwrap();
    assert_eq!(reply, hash(&mut tpm, data, alg::SHA384, OWNER), "its ticket too");
    let reply = complete(&mut tpm, loaded[1], b"auth", last, OWNER).unwrap();
    assert_eq!(reply[2..34], hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    let reply = event_complete(&mut tpm, NULL, loaded[2], b"auth", last).unwrap();
    let expected = event_digests(data);
    assert_eq!(reply[4..4 + expected.len()], expected);
    let mut bad = contexts[0].clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &bad), Err(param(1, INTEGRITY)));
}

#[test]
fn cmac_is_for_cipher_keys() {
    // SP 800-38B, D.1
    let cipher = hex!("2b7e151628aed2a6abf7158809cf4f3c");
    let data = hex!("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411");
    let expected = hex!("dfa66747de9ae63030ca32611497c827");
    let mut tpm = Fixture::new();
    let own = cipher_key(&mut tpm, SIGN, 6, 0x3f, b"", &cipher);
    let params = [&tpm2b(&data)[..], &alg::NULL.to_be_bytes()].concat();
    assert_eq!(tpm.with(cc::MAC, &[own], &[b""], &params), Ok(tpm2b(&expected)));
    let sequence = handle_of(mac_start(&mut tpm, own, b"", 0x3f));
    update(&mut tpm, sequence, b"", &data[..17]).unwrap();
    let context = tpm.run(cc::CONTEXT_SAVE, &[sequence], &[], &[]).unwrap();
    let loaded = handle_of(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context));
    for sequence in [sequence, loaded] {
        let reply = complete(&mut tpm, sequence, b"", &data[17..], OWNER).unwrap();
        assert_eq!(reply, [&tpm2b(&expected)[..], &NULL_TICKET].concat());
    }
    // TPM2_EncryptDecrypt with a key for CMAC
    let encrypt = [&[0][..], &[0, 0x43], &tpm2b(&[0; 16]), &tpm2b(b"data")].concat();
    assert_eq!(tpm.with(cc::ENCRYPT_DECRYPT, &[own], &[b""], &encrypt), Err(handle(1, MODE)));
}

/// Part 2, 6.6.3: TPM_RC_SEQUENCE is "improper use of a sequence handle"; Part 3 says so of TPM2_ReadPublic only, and
/// of others what is wrong with a key or object that is not one. No command but those for sequences takes a sequence
/// object.
#[test]
fn a_sequence_object_is_no_object_for_any_other_command() {
    const ASYMMETRIC_SCHEME: [u8; 2] = [0, 0x10];
    let mut tpm = Fixture::new();
    let s = start(&mut tpm, b"", alg::SHA256);
    let key = storage_key(&mut tpm);
    let signer = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"key");
    let [hmac_session, session] = [0, 1].map(|kind| {
        let params = [&[0, 16][..], &[1; 16], &[0, 0, kind, 0, 0x10, 0, 0xb]].concat();
        handle_of(tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params))
    });
    let index = 0x0150_0000u32;
    let public = [&index.to_be_bytes()[..], &[0, 0xb, 0x02, 0x06, 0, 0x06, 0, 0, 0, 8]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[&[0, 0][..], &tpm2b(&public)].concat()).unwrap();
    // TPM2_NV_Write: what has not been written is refused before the key is looked at.
    tpm.with(cc::NV_WRITE, &[OWNER, index], &[b""], &[&tpm2b(&[0; 8])[..], &[0, 0]].concat()).unwrap();
    let point = tpm2b(&[tpm2b(&[1; 32]), tpm2b(&[1; 32])].concat());
    let digest = tpm2b(&[0; 32]);
    let none = &ASYMMETRIC_SCHEME;
    let hmac = [&[0, 5, 0, 0xb][..], &[0; 32]].concat();
    let hash_check = [&[0x80, 0x24][..], &NULL.to_be_bytes(), &[0, 0]].concat();
    let creation = [&[0x80, 0x21][..], &OWNER.to_be_bytes(), &digest].concat();
    let storage = |attributes: u8| {
        let head = [0, 0x23, 0, 0xb, 0, 3, 4, attributes, 0, 0];
        tpm2b(&[&head[..], &[0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10], &[0; 4]].concat())
    };
    let (template, duplicable) = (storage(0x72), storage(0x40));
    let (e, sensitive) = (&tpm2b(b"")[..], &tpm2b(&[0; 4])[..]);
    let cases: Vec<(&str, u32, Vec<u32>, usize, Vec<u8>, u32)> = vec![
        ("Decapsulate", cc::DECAPSULATE, vec![s], 1, digest.clone(), handle(1, KEY)),
        ("Encapsulate", cc::ENCAPSULATE, vec![s], 0, vec![], handle(1, KEY)),
        ("ECC_Decrypt", cc::ECC_DECRYPT, vec![s], 1, [&point, e, &digest, none].concat(), handle(1, KEY)),
        ("ECC_Encrypt", cc::ECC_ENCRYPT, vec![s], 0, [e, none].concat(), handle(1, KEY)),
        ("ECDH_KeyGen", cc::ECDH_KEY_GEN, vec![s], 0, vec![], handle(1, KEY)),
        ("ECDH_ZGen", cc::ECDH_ZGEN, vec![s], 1, point.clone(), handle(1, KEY)),
        ("RSA_Decrypt", cc::RSA_DECRYPT, vec![s], 1, [e, none, e].concat(), handle(1, KEY)),
        ("RSA_Encrypt", cc::RSA_ENCRYPT, vec![s], 0, [e, none, e].concat(), handle(1, KEY)),
        ("ZGen_2Phase", cc::ZGEN_2_PHASE, vec![s], 1, [&point[..], &point, &[0, 0x19, 0, 0]].concat(), handle(1, KEY)),
        ("Certify", cc::CERTIFY, vec![s, NULL], 2, [e, none].concat(), SEQUENCE),
        ("Certify by it", cc::CERTIFY, vec![key, s], 2, [e, none].concat(), handle(2, KEY)),
        ("CertifyCreation", cc::CERTIFY_CREATION, vec![NULL, s], 1, [e, &digest, none, &creation].concat(), SEQUENCE),
        (
            "CertifyCreation by it",
            cc::CERTIFY_CREATION,
            vec![s, key],
            1,
            [e, &digest, none, &creation].concat(),
            handle(1, KEY),
        ),
        ("CertifyX509", cc::CERTIFY_X509, vec![s, signer], 2, [e, none, e].concat(), SEQUENCE),
        ("CertifyX509 by it", cc::CERTIFY_X509, vec![key, s], 2, [e, none, e].concat(), handle(2, KEY)),
        (
            "GetCommandAuditDigest",
            cc::GET_COMMAND_AUDIT_DIGEST,
            vec![ENDORSEMENT, s],
            2,
            [e, none].concat(),
            handle(2, KEY),
        ),
        (
            "GetSessionAuditDigest",
            cc::GET_SESSION_AUDIT_DIGEST,
            vec![ENDORSEMENT, s, hmac_session],
            2,
            [e, none].concat(),
            handle(2, KEY),
        ),
        ("GetTime", cc::GET_TIME, vec![ENDORSEMENT, s], 2, [e, none].concat(), handle(2, KEY)),
        ("Quote", cc::QUOTE, vec![s], 1, [e, none, &[0; 4]].concat(), handle(1, KEY)),
        ("NV_Certify", cc::NV_CERTIFY, vec![s, index, index], 2, [e, none, &[0, 8, 0, 0]].concat(), handle(1, KEY)),
        (
            "EvictControl",
            cc::EVICT_CONTROL,
            vec![OWNER, s],
            1,
            0x8100_0000u32.to_be_bytes().to_vec(),
            handle(2, ATTRIBUTES),
        ),
        ("Duplicate below it", cc::DUPLICATE, vec![key, s], 1, [e, none].concat(), AUTH_TYPE),
        ("Import", cc::IMPORT, vec![s], 1, [e, &duplicable, e, e, none].concat(), handle(1, TYPE)),
        ("Rewrap from it", cc::REWRAP, vec![s, NULL], 1, [e, e, &digest].concat(), handle(1, TYPE)),
        ("Rewrap for it", cc::REWRAP, vec![NULL, s], 1, [e, e, e].concat(), handle(2, TYPE)),
        ("Commit", cc::COMMIT, vec![s], 1, [&tpm2b(&[0; 4]), e, e].concat(), handle(1, KEY)),
        ("ActivateCredential for it", cc::ACTIVATE_CREDENTIAL, vec![s, key], 2, [e, e].concat(), SEQUENCE),
        ("ActivateCredential by it", cc::ACTIVATE_CREDENTIAL, vec![key, s], 2, [e, e].concat(), handle(2, TYPE)),
        ("MakeCredential", cc::MAKE_CREDENTIAL, vec![s], 0, [e, e].concat(), handle(1, TYPE)),
        ("Create", cc::CREATE, vec![s], 1, [sensitive, &template, e, &[0; 4]].concat(), handle(1, TYPE)),
        ("CreateLoaded", cc::CREATE_LOADED, vec![s], 1, [sensitive, &template].concat(), handle(1, TYPE)),
        ("Load", cc::LOAD, vec![s], 1, [&digest, &template[..]].concat(), handle(1, TYPE)),
        ("ObjectChangeAuth", cc::OBJECT_CHANGE_AUTH, vec![s, key], 1, e.to_vec(), handle(1, TYPE)),
        ("ObjectChangeAuth below it", cc::OBJECT_CHANGE_AUTH, vec![key, s], 1, e.to_vec(), handle(2, TYPE)),
        ("ReadPublic", cc::READ_PUBLIC, vec![s], 0, vec![], SEQUENCE),
        ("Unseal", cc::UNSEAL, vec![s], 1, vec![], handle(1, TYPE)),
        (
            "PolicySigned",
            cc::POLICY_SIGNED,
            vec![s, session],
            0,
            [e, e, e, &[0; 4], &hmac].concat(),
            param(5, POLICY_FAIL),
        ),
        ("MAC_Start", cc::MAC_START, vec![s], 1, [e, none].concat(), handle(1, TYPE)),
        ("SignSequenceStart", cc::SIGN_SEQUENCE_START, vec![s], 0, [e, e].concat(), handle(1, KEY)),
        ("VerifySequenceStart", cc::VERIFY_SEQUENCE_START, vec![s], 0, [e, e, e].concat(), handle(1, KEY)),
        (
            "StartAuthSession",
            cc::START_AUTH_SESSION,
            vec![s, NULL],
            0,
            [&digest, e, &[0, 0, 0x10, 0, 0xb]].concat(),
            handle(1, KEY),
        ),
        ("Sign", cc::SIGN, vec![s], 1, [&digest, &none[..], &hash_check].concat(), handle(1, KEY)),
        ("SignDigest", cc::SIGN_DIGEST, vec![s], 1, [e, &digest, &hash_check].concat(), handle(1, KEY)),
        (
            "VerifyDigestSignature",
            cc::VERIFY_DIGEST_SIGNATURE,
            vec![s],
            0,
            [e, &digest, &hmac].concat(),
            handle(1, KEY),
        ),
        ("VerifySignature", cc::VERIFY_SIGNATURE, vec![s], 0, [&digest[..], &hmac].concat(), handle(1, ATTRIBUTES)),
        ("EncryptDecrypt", cc::ENCRYPT_DECRYPT, vec![s], 1, [&[0], &none[..], e, e].concat(), handle(1, KEY)),
        ("EncryptDecrypt2", cc::ENCRYPT_DECRYPT_2, vec![s], 1, [e, &[0], none, e].concat(), handle(1, KEY)),
        ("MAC", cc::MAC, vec![s], 1, [e, none].concat(), handle(1, TYPE)),
    ];
    for (what, code, handles, auths, params, expected) in cases {
        let refused = tpm.with(code, &handles, &[b"".as_slice(); 2][..auths], &params);
        assert_eq!(refused, Err(expected), "{what}");
    }
    assert!(complete(&mut tpm, s, b"", b"", NULL).is_ok(), "it is still there");
}
