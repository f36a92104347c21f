//! Messages signed and verified over several commands (1.85: Part 3, 17.5, 17.6, 20.3 and 20.6).

use crate::harness::Fixture;
use crate::harness::external::{
    DECRYPT, MADE_HERE, RESTRICTED, SIGN, USER, create_primary, ecc_key, ecc_parms, handle_of, hmac_key, point, public,
    restricted_hmac_key, rsa_key, storage_key,
};
use client::codes::{
    ATTRIBUTES, AUTH_MISSING, BAD_AUTH, KEY, MODE, NULL, OBJECT_MEMORY, OWNER, SCHEME, SIGN_CONTEXT_KEY, SIGNATURE,
    SIZE, VALUE, handle, param, plain, reference_h, session,
};
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use hex_literal::hex;
use sha2::{Digest, Sha256};
use tpm_core::cc;

const X509_SIGN: u32 = 1 << 19;
const RSASSA: [u8; 4] = [0, 0x14, 0, 0xb];
const RSAPSS: [u8; 4] = [0, 0x16, 0, 0xb];
const ECDSA: [u8; 4] = [0, 0x18, 0, 0xb];
const ECDAA: [u8; 6] = [0, 0x1a, 0, 0xb, 0, 0];
const NO_SCHEME: [u8; 2] = [0, 0x10];
const MESSAGE: &[u8] = b"what do ya want for nothing?";

const D: [u8; 32] = hex!("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
const QX: [u8; 32] = hex!("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230");
const QY: [u8; 32] = hex!("28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141");

const MODULUS: [u8; 256] = hex!(
    "e298b43ea185196071dd7ea66154b768230bd235f5d9f0e02413e884849e6eb37947b94b505b56dba63a6f6fb5e4acfab9ce4bb0b80a8e346aa891353a76c64d"
    "155a381d109380d97931a74a003770d64e4b4319c597b65d89f34247944f2727c31ff2e91b5edbcb3523460392f5e938edc32d5e28cb0ed84d6c4a41ee0d4b40"
    "829c481acf8d6314b0ced4cd64c62cf7f39890e5e1241f7b3414c5ba47de7ba89be52b1052da6ab96bbe1ecd9de85f6a020de7b5ac2125b39da92aeae3bd6462"
    "3cc770a1455b54b19d156c9af9ea180dbefc7bf00a0dbe6fcb19bfdac3b73d253018ca81e03b882032d95155ae63972bf23df1e8ad96722f60cd25ea5db55115"
);
const PRIME: [u8; 128] = hex!(
    "f806c088b7b72fd9e4e4cee28af641d340a8ff2dec90e4d7076cadc6640180c4a64431eadaa43b8319b7b04d76a149be0319256b26f3ea02f585840dadbc061f"
    "f853edd04c7fd297fa707d7acd2472c642a1a3bc0a2ec55b7174771839b030f8d9e8b3197105b79cd2407767093d346cc17588286e4f084d51d82f2bd8fef3a7"
);

fn ecc(tpm: &mut Fixture, scheme: &[u8]) -> u32 {
    ecc_key(tpm, SIGN, &ecc_parms(scheme, &NO_SCHEME), &point(&QX, &QY), &D)
}

fn rsa(tpm: &mut Fixture, scheme: &[u8]) -> u32 {
    rsa_key(tpm, SIGN, scheme, &MODULUS, &PRIME)
}

/// ML-DSA-44, pure.
fn ml_dsa(tpm: &mut Fixture) -> u32 {
    create_primary(tpm, &public(alg::MLDSA, USER | MADE_HERE | SIGN, &[0, 1, 0], &[0; 2]))
}

/// ML-DSA-44 over SHA-256 digests.
fn hash_ml_dsa(tpm: &mut Fixture) -> u32 {
    create_primary(tpm, &public(alg::HASH_MLDSA, USER | MADE_HERE | SIGN, &[0, 1, 0, 0xb], &[0; 2]))
}

fn sign_start(tpm: &mut Fixture, key: u32, auth: &[u8], context: &[u8]) -> Outcome {
    tpm.run(cc::SIGN_SEQUENCE_START, &[key], &[], &[tpm2b(auth), tpm2b(context)].concat())
}

fn verify_start(tpm: &mut Fixture, key: u32, hint: &[u8], context: &[u8]) -> Outcome {
    tpm.run(cc::VERIFY_SEQUENCE_START, &[key], &[], &[tpm2b(b""), tpm2b(hint), tpm2b(context)].concat())
}

fn update(tpm: &mut Fixture, sequence: u32, data: &[u8]) -> Outcome {
    tpm.with(cc::SEQUENCE_UPDATE, &[sequence], &[b""], &tpm2b(data))
}

fn sign_complete(tpm: &mut Fixture, sequence: u32, key: u32, last: &[u8]) -> Outcome {
    tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &tpm2b(last))
}

fn verify_complete(tpm: &mut Fixture, sequence: u32, key: u32, signature: &[u8]) -> Outcome {
    tpm.with(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, key], &[b""], signature)
}

/// Signs a message in pieces of seven octets.
fn sign(tpm: &mut Fixture, key: u32, context: &[u8], message: &[u8]) -> Vec<u8> {
    let sequence = handle_of(sign_start(tpm, key, b"", context));
    let (first, last) = message.split_at(message.len() / 2);
    for piece in first.chunks(7) {
        assert_eq!(update(tpm, sequence, piece), Ok(vec![]));
    }
    let signature = sign_complete(tpm, sequence, key, last).unwrap();
    assert_eq!(update(tpm, sequence, b""), Err(reference_h(0)), "completion flushes it");
    signature
}

fn verify(tpm: &mut Fixture, key: u32, context: &[u8], message: &[u8], signature: &[u8]) -> Outcome {
    let sequence = handle_of(verify_start(tpm, key, b"", context));
    for piece in message.chunks(5) {
        assert_eq!(update(tpm, sequence, piece), Ok(vec![]));
    }
    let outcome = verify_complete(tpm, sequence, key, signature);
    if outcome.is_err() {
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &sequence.to_be_bytes()).unwrap();
    }
    outcome
}

/// A key of every kind.
fn keys(tpm: &mut Fixture) -> [u32; 6] {
    [
        rsa(tpm, &RSASSA),
        rsa(tpm, &RSAPSS),
        ecc(tpm, &ECDSA),
        hmac_key(tpm, SIGN, Some(alg::SHA256), b"", b"Jefe"),
        ml_dsa(tpm),
        hash_ml_dsa(tpm),
    ]
}

#[test]
fn what_is_signed_verifies_and_nothing_else_does() {
    let mut tpm = Fixture::new();
    for key in keys(&mut tpm) {
        let signature = sign(&mut tpm, key, b"", MESSAGE);
        let ticket = verify(&mut tpm, key, b"", MESSAGE, &signature).unwrap();
        assert_eq!(ticket[..2], [0x80, 0x26], "TPM_ST_MESSAGE_VERIFIED");
        assert_eq!(verify(&mut tpm, key, b"", b"what do ya want for something?", &signature), Err(param(1, SIGNATURE)));
        let mut wrong = signature.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&mut tpm, key, b"", MESSAGE, &wrong), Err(param(1, SIGNATURE)));
    }
}

#[test]
fn classical_keys_sign_the_digest_of_the_message() {
    let mut tpm = Fixture::new();
    for key in [rsa(&mut tpm, &RSASSA), rsa(&mut tpm, &RSAPSS), ecc(&mut tpm, &ECDSA)] {
        let signature = sign(&mut tpm, key, b"", MESSAGE);
        let params = [tpm2b(&Sha256::digest(MESSAGE)), signature].concat();
        assert!(tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &params).is_ok());
    }
}

#[test]
fn an_hmac_key_gives_the_hmac_of_the_message() {
    let mut tpm = Fixture::new();
    let key = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"Jefe");
    // RFC 4231, test case 2
    let mac = hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(sign(&mut tpm, key, b"", MESSAGE), [&[0, 5, 0, 0xb][..], &mac].concat());
}

#[test]
fn the_ticket_is_of_the_hierarchy_of_the_key() {
    let mut tpm = Fixture::new();
    let (owned, external) = (ml_dsa(&mut tpm), ecc(&mut tpm, &ECDSA));
    let signature = sign(&mut tpm, owned, b"", MESSAGE);
    let ticket = verify(&mut tpm, owned, b"", MESSAGE, &signature).unwrap();
    assert_eq!(ticket[2..8], [&OWNER.to_be_bytes()[..], &[0, 32]].concat());
    let signature = sign(&mut tpm, external, b"", MESSAGE);
    let ticket = verify(&mut tpm, external, b"", MESSAGE, &signature).unwrap();
    assert_eq!(ticket, [&[0x80, 0x26][..], &NULL.to_be_bytes(), &[0, 0]].concat());
}

#[test]
fn the_context_is_signed_where_the_scheme_has_one() {
    let mut tpm = Fixture::new();
    for key in [ml_dsa(&mut tpm), hash_ml_dsa(&mut tpm)] {
        let signature = sign(&mut tpm, key, b"context", MESSAGE);
        assert!(verify(&mut tpm, key, b"context", MESSAGE, &signature).is_ok());
        assert_eq!(verify(&mut tpm, key, b"", MESSAGE, &signature), Err(param(1, SIGNATURE)));
        assert_eq!(sign_start(&mut tpm, key, b"", &[0; 256]), Err(param(2, SIZE)));
    }
    let key = ecc(&mut tpm, &ECDSA);
    assert_eq!(sign_start(&mut tpm, key, b"", b"context"), Err(param(2, VALUE)));
    assert_eq!(verify_start(&mut tpm, key, b"", b"context"), Err(param(3, VALUE)));
    assert_eq!(verify_start(&mut tpm, key, b"hint", b""), Err(param(2, VALUE)));
}

#[test]
fn the_key_must_sign_and_have_a_scheme() {
    let mut tpm = Fixture::new();
    for code in [cc::SIGN_SEQUENCE_START, cc::VERIFY_SEQUENCE_START] {
        let start = |tpm: &mut Fixture, key: u32, auth: &[u8]| {
            let params = [tpm2b(auth), vec![0; if code == cc::SIGN_SEQUENCE_START { 2 } else { 4 }]].concat();
            tpm.run(code, &[key], &[], &params).map(drop)
        };
        let storage = storage_key(&mut tpm);
        assert_eq!(start(&mut tpm, storage, b""), Err(handle(1, KEY)));
        let none = ecc(&mut tpm, &NO_SCHEME);
        assert_eq!(start(&mut tpm, none, b""), Err(handle(1, SCHEME)));
        let any_hmac = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
        assert_eq!(start(&mut tpm, any_hmac, b""), Err(handle(1, SCHEME)));
        let anonymous = ecc(&mut tpm, &ECDAA);
        let outcome = if code == cc::SIGN_SEQUENCE_START { param(2, SIZE) } else { handle(1, SCHEME) };
        assert_eq!(start(&mut tpm, anonymous, b""), Err(outcome), "no count, or not for the TPM to verify");
        let restricted = restricted_hmac_key(&mut tpm);
        let outcome = if code == cc::SIGN_SEQUENCE_START { Err(handle(1, ATTRIBUTES)) } else { Ok(()) };
        assert_eq!(start(&mut tpm, restricted, b""), outcome);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &restricted.to_be_bytes()).unwrap();
        assert_eq!(start(&mut tpm, none, &[1; 33]), Err(param(1, SIZE)), "longer than nameAlg's digests");
        for key in [storage, none, any_hmac, anonymous] {
            tpm.run(cc::FLUSH_CONTEXT, &[], &[], &key.to_be_bytes()).unwrap();
        }
    }
}

#[test]
fn completion_checks_in_order() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, &ECDSA);
    let other = rsa(&mut tpm, &RSASSA);
    let storage = storage_key(&mut tpm);
    let signs = handle_of(sign_start(&mut tpm, key, b"", b""));
    let verifies = handle_of(verify_start(&mut tpm, key, b"", b""));
    assert_eq!(sign_complete(&mut tpm, verifies, storage, b""), Err(handle(1, MODE)));
    assert_eq!(sign_complete(&mut tpm, key, storage, b""), Err(handle(1, MODE)));
    assert_eq!(sign_complete(&mut tpm, signs, storage, b""), Err(handle(2, KEY)));
    assert_eq!(sign_complete(&mut tpm, signs, other, b""), Err(handle(2, SIGN_CONTEXT_KEY)));
    assert_eq!(
        tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[signs, key], &[b""], &tpm2b(b"")),
        Err(AUTH_MISSING),
        "both need authorization"
    );
    let signature = sign_complete(&mut tpm, signs, key, MESSAGE).unwrap();
    update(&mut tpm, verifies, MESSAGE).unwrap();
    assert_eq!(verify_complete(&mut tpm, verifies, other, &signature), Err(handle(2, SIGN_CONTEXT_KEY)));
    assert_eq!(verify_complete(&mut tpm, key, key, &signature), Err(handle(1, MODE)));
    let hmac = [&[0, 5, 0, 0xb][..], &[0; 32]].concat();
    assert_eq!(verify_complete(&mut tpm, verifies, key, &hmac), Err(param(1, SCHEME)));
    let mut other_hash = signature.clone();
    other_hash[3] = 0xc;
    assert_eq!(verify_complete(&mut tpm, verifies, key, &other_hash), Err(param(1, SCHEME)));
    let params = [&[0, 0][..], &NULL.to_be_bytes()].concat();
    assert_eq!(tpm.with(cc::SEQUENCE_COMPLETE, &[verifies], &[b""], &params), Err(handle(1, MODE)));
    assert!(verify_complete(&mut tpm, verifies, key, &signature).is_ok(), "what was refused changed nothing");
}

#[test]
fn keys_for_certificates_and_restricted_keys() {
    let mut tpm = Fixture::new();
    let parms = ecc_parms(&ECDSA, &NO_SCHEME);
    let x509 = create_primary(&mut tpm, &public(0x23, USER | MADE_HERE | SIGN | X509_SIGN, &parms, &[0; 4]));
    let sequence = handle_of(sign_start(&mut tpm, x509, b"", b""));
    assert_eq!(sign_complete(&mut tpm, sequence, x509, b""), Err(handle(2, ATTRIBUTES)));
    let restricted = create_primary(&mut tpm, &public(0x23, USER | MADE_HERE | SIGN | RESTRICTED, &parms, &[0; 4]));
    for (first, last, rc) in [
        (&b""[..], &b"\xffTCG and more"[..], Err(param(1, VALUE))),
        (b"\xff", b"TCG", Err(param(1, VALUE))),
        (b"\xffTCG", b"", Err(param(1, VALUE))),
        (b"\xffTC", b"", Ok(())),
        (b" \xffTCG", b"", Ok(())),
    ] {
        let sequence = handle_of(sign_start(&mut tpm, restricted, b"", b""));
        update(&mut tpm, sequence, first).unwrap();
        assert_eq!(sign_complete(&mut tpm, sequence, restricted, last).map(drop), rc);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &sequence.to_be_bytes()).ok();
    }
}

/// What the TPM attests to with an HMAC key is the HMAC of a digest. If the key signed messages, a message like that
/// digest would make it attest to anything.
#[test]
fn a_restricted_hmac_key_signs_no_message() {
    let mut tpm = Fixture::new();
    let key = restricted_hmac_key(&mut tpm);
    let digest = Sha256::digest([&b"\xffTCG"[..], b"what the TPM never said"].concat());
    assert_eq!(sign_start(&mut tpm, key, b"", b""), Err(handle(1, ATTRIBUTES)));
    let free = hmac_key(&mut tpm, SIGN, Some(alg::SHA256), b"", b"Jefe");
    let sequence = handle_of(sign_start(&mut tpm, free, b"", b""));
    assert_eq!(sign_complete(&mut tpm, sequence, key, &digest), Err(handle(2, ATTRIBUTES)));
}

/// Without nameAlg nothing binds an HMAC key's secret to its public area: a key of one's own may have the public area
/// of another's.
#[test]
fn an_hmac_key_without_a_name_is_not_authorized_by_another() {
    let mut tpm = Fixture::new();
    let nameless = |tpm: &mut Fixture, auth: &[u8], secret: &[u8]| {
        let public = [&[0, 8, 0, 0x10][..], &(SIGN | USER).to_be_bytes(), &[0, 0, 0, 5, 0, 0xb, 0, 0]].concat();
        let sensitive = [&[0, 8][..], &tpm2b(auth), &tpm2b(b""), &tpm2b(secret)].concat();
        let params = [&tpm2b(&sensitive)[..], &tpm2b(&public), &NULL.to_be_bytes()].concat();
        handle_of(tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params))
    };
    let victim = nameless(&mut tpm, b"secret", b"a key that is not mine");
    let mine = nameless(&mut tpm, b"", b"mine");
    let sequence = handle_of(sign_start(&mut tpm, victim, b"", b""));
    assert_eq!(sign_complete(&mut tpm, sequence, mine, MESSAGE), Err(handle(2, SIGN_CONTEXT_KEY)));
    assert!(tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, victim], &[b"", b"secret"], &tpm2b(MESSAGE)).is_ok());
}

/// The context of an ECDAA key is the count of TPM2_Commit, and the commitment serves once.
#[test]
fn ecdaa_signs_a_message_with_a_commitment() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, &ECDAA);
    let committed = tpm.with(cc::COMMIT, &[key], &[b""], &[&[0, 4, 0, 0, 0, 0][..], &[0; 4]].concat()).unwrap();
    let count = committed[committed.len() - 2..].to_vec();
    let complete = |tpm: &mut Fixture| {
        let sequence = handle_of(sign_start(tpm, key, b"", &count));
        let outcome = sign_complete(tpm, sequence, key, MESSAGE);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &sequence.to_be_bytes()).ok();
        outcome
    };
    let signature = complete(&mut tpm).unwrap();
    assert_eq!(signature[..4], ECDAA[..4]);
    assert_eq!(complete(&mut tpm), Err(plain(VALUE)), "VALUE: the commitment is closed");
    assert_eq!(sign_start(&mut tpm, key, b"", &[0]), Err(param(2, SIZE)));
}

#[test]
fn a_message_has_an_auth_value_and_a_slot() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, &ECDSA);
    let sequence = handle_of(sign_start(&mut tpm, key, b"secret", b""));
    assert_eq!(update(&mut tpm, sequence, b""), Err(session(1, BAD_AUTH)));
    assert!(tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"secret", b""], &tpm2b(b"")).is_ok());
    for _ in 0..7 {
        sign_start(&mut tpm, key, b"", b"").unwrap();
    }
    assert_eq!(sign_start(&mut tpm, key, b"", b""), Err(OBJECT_MEMORY));
    assert_eq!(verify_start(&mut tpm, key, b"", b""), Err(OBJECT_MEMORY));
}

#[test]
fn a_message_can_be_saved_and_loaded() {
    let mut tpm = Fixture::new();
    for key in keys(&mut tpm) {
        let signature = sign(&mut tpm, key, b"", MESSAGE);
        let sequence = handle_of(verify_start(&mut tpm, key, b"", b""));
        update(&mut tpm, sequence, &MESSAGE[..9]).unwrap();
        let context = tpm.run(cc::CONTEXT_SAVE, &[sequence], &[], &[]).unwrap();
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &sequence.to_be_bytes()).unwrap();
        let sequence = handle_of(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context));
        update(&mut tpm, sequence, &MESSAGE[9..]).unwrap();
        assert!(verify_complete(&mut tpm, sequence, key, &signature).is_ok());
    }
}
