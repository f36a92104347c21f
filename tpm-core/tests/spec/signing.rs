//! Signing and verifying (Part 3, 20): TPM2_Sign, TPM2_VerifySignature, TPM2_SignDigest, TPM2_VerifyDigestSignature.

use crate::harness::Fixture;
use crate::keys::{self, DECRYPT, Key, NONE, RESTRICTED, SIGN, X509_SIGN, flush, primary, scheme, verifies};
use client::codes::{
    ATTRIBUTES, AUTH_MISSING, ENDORSEMENT, HANDLE, HASH, KEY, NULL, OWNER, PLATFORM, SCHEME, SIGNATURE, SIZE, TAG,
    TICKET, VALUE, handle, param, plain,
};
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;
use tpm_crypto::hash::{HashAlg, digest};

/// TPM_ST_HASHCHECK, TPM_RH_NULL, Empty Digest.
const NULL_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
const HASHES: [(u16, HashAlg); 4] = [
    (alg::SHA1, HashAlg::Sha1),
    (alg::SHA256, HashAlg::Sha256),
    (alg::SHA384, HashAlg::Sha384),
    (alg::SHA512, HashAlg::Sha512),
];

fn sha256(data: &[u8]) -> Vec<u8> {
    digest(HashAlg::Sha256, &[data]).as_slice().to_vec()
}

fn sign(tpm: &mut Fixture, key: u32, digest: &[u8], scheme: &[u8], ticket: &[u8]) -> Outcome {
    tpm.run(cc::SIGN, &[key], &[b""], &[&tpm2b(digest)[..], scheme, ticket].concat())
}

fn sign_digest(tpm: &mut Fixture, key: u32, context: &[u8], digest: &[u8], ticket: &[u8]) -> Outcome {
    tpm.run(cc::SIGN_DIGEST, &[key], &[b""], &[&tpm2b(context)[..], &tpm2b(digest), ticket].concat())
}

fn verify(tpm: &mut Fixture, key: u32, digest: &[u8], signature: &[u8]) -> Outcome {
    tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &[&tpm2b(digest)[..], signature].concat())
}

fn verify_digest(tpm: &mut Fixture, key: u32, context: &[u8], digest: &[u8], signature: &[u8]) -> Outcome {
    let params = [&tpm2b(context)[..], &tpm2b(digest), signature].concat();
    tpm.run(cc::VERIFY_DIGEST_SIGNATURE, &[key], &[], &params)
}

/// Digest and ticket by TPM2_Hash.
fn hash(tpm: &mut Fixture, data: &[u8], alg: u16, hierarchy: u32) -> (Vec<u8>, Vec<u8>) {
    let params = [&tpm2b(data)[..], &alg.to_be_bytes(), &hierarchy.to_be_bytes()].concat();
    let response = tpm.run(cc::HASH, &[], &[], &params).unwrap();
    let mut r = keys::Cursor(&response);
    (r.tpm2b().to_vec(), r.0.to_vec())
}

#[test]
fn every_scheme_signs_with_every_hash_and_only_what_was_signed_verifies() {
    let mut tpm = Fixture::new();
    let pairs = [
        (Key::Rsa, alg::RSASSA),
        (Key::Rsa, alg::RSAPSS),
        (Key::Ecc, alg::ECDSA),
        (Key::Ecc, alg::ECSCHNORR),
        (Key::Ecc, alg::SM2),
    ];
    for (key, id) in pairs.into_iter().chain([(Key::Hmac, alg::HMAC)]) {
        let handle = key.load(&mut tpm, SIGN, &NONE);
        for (alg_id, alg) in HASHES {
            let message = digest(alg, &[b"message"]);
            let scheme = scheme(id, alg_id);
            let signature = sign(&mut tpm, handle, message.as_slice(), &scheme, &NULL_TICKET).unwrap();
            assert_eq!(signature[..4], scheme, "sigAlg and hash");
            assert!(verifies(&mut tpm, handle, message.as_slice(), &signature), "{key:?} {id:#x} {alg:?}");
            assert!(!verifies(&mut tpm, handle, digest(alg, &[b"massage"]).as_slice(), &signature));
            let mut other = signature.clone();
            *other.last_mut().unwrap() ^= 1;
            assert!(!verifies(&mut tpm, handle, message.as_slice(), &other), "{key:?} {id:#x} {alg:?}");
        }
        flush(&mut tpm, handle);
    }
}

#[test]
fn a_key_signs_with_its_own_scheme_if_the_command_has_none() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    for key in [Key::Rsa, Key::Ecc, Key::Hmac] {
        let own = key.usual();
        let handle = key.load(&mut tpm, SIGN, &own);
        for wanted in [&NONE[..], &own] {
            let signature = sign(&mut tpm, handle, &digest, wanted, &NULL_TICKET).unwrap();
            assert_eq!(signature[..4], own);
            assert!(verifies(&mut tpm, handle, &digest, &signature));
        }
        flush(&mut tpm, handle);
    }
}

#[test]
fn an_hmac_signature_is_the_hmac_of_the_digest() {
    let mut tpm = Fixture::new();
    let key = Key::Hmac.load(&mut tpm, SIGN, &NONE);
    let digest = sha256(b"message");
    let expected = tpm_crypto::hmac::hmac(HashAlg::Sha256, &[0x22; 32], &[&digest]);
    let signature = sign(&mut tpm, key, &digest, &scheme(alg::HMAC, alg::SHA256), &NULL_TICKET).unwrap();
    assert_eq!(signature, [&scheme(alg::HMAC, alg::SHA256)[..], expected.as_slice()].concat());
}

#[test]
fn sign_checks_in_the_order_of_the_specification() {
    let mut tpm = Fixture::new();
    let (digest, bad_ticket) = (sha256(b"message"), [0x80, 0x24, 0x40, 0, 0, 1, 0, 1, 0]);
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(sign(&mut tpm, decrypts, &digest, &NONE, &NULL_TICKET), Err(handle(1, KEY)), "not for signing");
    let cipher = Key::Aes.load(&mut tpm, SIGN | DECRYPT, &NONE);
    assert_eq!(sign(&mut tpm, cipher, &digest, &NONE, &NULL_TICKET), Err(handle(1, KEY)), "sign means encrypt");
    let x509 = Key::Ecc.load(&mut tpm, SIGN | X509_SIGN, &NONE);
    assert_eq!(sign(&mut tpm, x509, &digest, &NONE, &bad_ticket), Err(handle(1, ATTRIBUTES)));
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &bad_ticket), Err(param(2, SCHEME)), "no scheme at all");
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    assert_eq!(sign(&mut tpm, key, b"short", &ecdsa, &bad_ticket), Err(param(3, TICKET)), "even if not needed");
    assert_eq!(sign(&mut tpm, key, b"short", &ecdsa, &NULL_TICKET), Err(param(1, SIZE)));
    assert_eq!(sign(&mut tpm, key, &[0; 48], &ecdsa, &NULL_TICKET), Err(param(1, SIZE)));
    assert!(sign(&mut tpm, key, &digest, &ecdsa, &NULL_TICKET).is_ok());
    let params = [&tpm2b(&digest)[..], &ecdsa, &NULL_TICKET].concat();
    assert_eq!(tpm.run(cc::SIGN, &[key], &[], &params), Err(AUTH_MISSING));
}

#[test]
fn sign_unmarshals_in_order() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    assert_eq!(sign(&mut tpm, key, &[0; 65], &ecdsa, &NULL_TICKET), Err(param(1, SIZE)));
    assert_eq!(sign(&mut tpm, key, &[0; 32], &[0, 0x17, 0, 0x0b], &NULL_TICKET), Err(param(2, SCHEME)), "OAEP");
    assert_eq!(sign(&mut tpm, key, &[0; 32], &scheme(alg::ECDSA, 0x10), &NULL_TICKET), Err(param(2, HASH)));
    assert_eq!(sign(&mut tpm, key, &[0; 32], &ecdsa, &[0x80, 0x22, 0x40, 0, 0, 7, 0, 0]), Err(param(3, TAG)));
    assert_eq!(sign(&mut tpm, key, &[0; 32], &ecdsa, &[0x80, 0x24, 0x40, 0, 0, 9, 0, 0]), Err(param(3, VALUE)));
}

/// CVE-2025-2884 (TCGVRT0009): the very octets that read beyond a buffer in libtpms.
#[test]
fn cve_2025_2884_an_hmac_key_does_not_sign_as_rsa() {
    let mut tpm = Fixture::new();
    let create = "800200000037000001314000000700000009400000090000000000000400000000000e0008000b00060072000000100000000000000000";
    let request: Vec<u8> = unhex(create);
    assert_eq!(tpm.raw(&request)[6..14], [0, 0, 0, 0, 0x80, 0, 0, 0]);
    let sign = "8002000000490000015d80000000000000094000000900000000000020000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0014000b8024400000070000";
    assert_eq!(tpm.raw(&unhex(sign))[6..10], [0, 0, 0x02, 0xd2]);
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_restricted_key_signs_only_what_the_tpm_has_hashed() {
    let mut tpm = Fixture::new();
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &ecdsa);
    let digest = sha256(b"message");
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &NULL_TICKET), Err(param(3, TICKET)));
    for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
        let (hashed, ticket) = hash(&mut tpm, b"message", alg::SHA256, hierarchy);
        assert_eq!(hashed, digest);
        let signature = sign(&mut tpm, key, &digest, &NONE, &ticket).unwrap();
        assert!(verifies(&mut tpm, key, &digest, &signature), "of any hierarchy");
    }
    let (_, ticket) = hash(&mut tpm, b"\xffTCG", alg::SHA256, OWNER);
    assert_eq!(ticket, NULL_TICKET);
    assert_eq!(sign(&mut tpm, key, &sha256(b"\xffTCG"), &NONE, &ticket), Err(param(3, TICKET)));
}

#[test]
fn a_hash_check_ticket_is_good_for_one_digest_and_hierarchy() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    let (digest, ticket) = hash(&mut tpm, b"message", alg::SHA256, OWNER);
    assert!(sign(&mut tpm, key, &digest, &NONE, &ticket).is_ok());
    assert_eq!(sign(&mut tpm, key, &sha256(b"other"), &NONE, &ticket), Err(param(3, TICKET)));
    for octet in 8..ticket.len() {
        let mut other = ticket.clone();
        other[octet] ^= 0x80;
        assert_eq!(sign(&mut tpm, key, &digest, &NONE, &other), Err(param(3, TICKET)), "octet {octet}");
    }
    let endorsement = [&ticket[..2], &ENDORSEMENT.to_be_bytes(), &ticket[6..]].concat();
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &endorsement), Err(param(3, TICKET)), "another hierarchy");
    let shorter = [&ticket[..6], &[0, 31], &ticket[8..39]].concat();
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &shorter), Err(param(3, TICKET)));
}

/// Fix F-10831 of wolfTPM's firmware TPM: the ticket says with which hash, so that it cannot serve another one
/// with digests of the same size.
#[test]
fn tn_f_10831_a_hash_check_ticket_covers_the_hash() {
    let mut tpm = Fixture::new();
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA384));
    let (digest, ticket) = hash(&mut tpm, b"message", alg::SHA256, OWNER);
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &ticket), Err(param(3, TICKET)));
}

#[test]
fn tn_f_3722_a_key_for_certificates_does_not_sign_anything_else() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let key = Key::Ecc.load(&mut tpm, SIGN | X509_SIGN, &scheme(alg::ECDSA, alg::SHA256));
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &NULL_TICKET), Err(handle(1, ATTRIBUTES)));
    assert_eq!(sign_digest(&mut tpm, key, b"", &digest, &NULL_TICKET), Err(handle(1, ATTRIBUTES)));
}

#[test]
fn tn_f_4845_another_hash_than_the_key_has_is_refused() {
    let mut tpm = Fixture::new();
    for (key, id) in [(Key::Rsa, alg::RSASSA), (Key::Ecc, alg::ECDSA), (Key::Hmac, alg::HMAC)] {
        let handle = key.load(&mut tpm, SIGN, &scheme(id, alg::SHA256));
        for (alg_id, alg) in HASHES.into_iter().filter(|(id, _)| *id != alg::SHA256) {
            let message = digest(alg, &[b"message"]);
            let outcome = sign(&mut tpm, handle, message.as_slice(), &scheme(id, alg_id), &NULL_TICKET);
            assert_eq!(outcome, Err(param(2, SCHEME)), "{key:?} {alg:?}");
        }
        flush(&mut tpm, handle);
    }
}

#[test]
fn verification_gives_a_ticket_of_the_keys_hierarchy() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let signer = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let signature = sign(&mut tpm, signer, &digest, &scheme(alg::ECDSA, alg::SHA256), &NULL_TICKET).unwrap();
    let null = [0x80, 0x22, 0x40, 0, 0, 7, 0, 0];
    assert_eq!(verify(&mut tpm, signer, &digest, &signature), Ok(null.to_vec()), "in the NULL hierarchy");
    let mut tickets = Vec::new();
    for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
        let key = Key::Ecc.load_public(&mut tpm, SIGN, &NONE, hierarchy);
        let ticket = verify(&mut tpm, key, &digest, &signature).unwrap();
        assert_eq!(ticket[..8], [&[0x80, 0x22][..], &hierarchy.to_be_bytes(), &[0, 32]].concat());
        tickets.push(ticket[8..].to_vec());
        flush(&mut tpm, key);
    }
    assert!(tickets[0] != tickets[1] && tickets[1] != tickets[2] && tickets[0] != tickets[2]);
}

#[test]
fn verification_checks_in_the_order_of_the_specification() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let signer = Key::Hmac.load(&mut tpm, SIGN, &NONE);
    let hmac = sign(&mut tpm, signer, &digest, &scheme(alg::HMAC, alg::SHA256), &NULL_TICKET).unwrap();
    let decrypts = Key::Rsa.load_public(&mut tpm, DECRYPT, &NONE, OWNER);
    assert_eq!(verify(&mut tpm, decrypts, &digest, &hmac), Err(handle(1, ATTRIBUTES)));
    let rsa = Key::Rsa.load_public(&mut tpm, SIGN, &NONE, OWNER);
    assert_eq!(verify(&mut tpm, rsa, &digest, &hmac), Err(param(2, SCHEME)), "not a scheme of RSA");
    let cipher = Key::Aes.load(&mut tpm, SIGN | DECRYPT, &NONE);
    assert_eq!(verify(&mut tpm, cipher, &digest, &hmac), Err(param(2, SCHEME)));
    let public = Key::Hmac.load_public(&mut tpm, SIGN, &NONE, OWNER);
    assert_eq!(verify(&mut tpm, public, &digest, &hmac), Err(param(2, HANDLE)), "no private part");
    assert_eq!(verify(&mut tpm, signer, &sha256(b"other"), &hmac), Err(param(2, SIGNATURE)));
    assert_eq!(verify(&mut tpm, signer, &digest, &[0, 0x10]), Err(param(2, SCHEME)), "the NULL Signature");
    assert_eq!(verify(&mut tpm, signer, &digest, &[0, 0x15, 0, 0x0b]), Err(param(2, SCHEME)), "RSAES");
    assert_eq!(verify(&mut tpm, signer, &digest, &[0, 5, 0, 0x10]), Err(param(2, HASH)));
}

/// Who knows the public key of the group verifies ECDAA, not the TPM.
#[test]
fn an_anonymous_signature_is_not_for_the_tpm_to_verify() {
    let mut tpm = Fixture::new();
    let key = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    let signature =
        [&alg::ECDAA.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &tpm2b(&[1; 32]), &tpm2b(&[1; 32])].concat();
    assert_eq!(verify(&mut tpm, key, &sha256(b"message"), &signature), Err(param(2, SCHEME)));
}

#[test]
fn an_hmac_key_with_a_scheme_does_not_vouch_for_a_weaker_hash() {
    let mut tpm = Fixture::new();
    let free = Key::Hmac.load(&mut tpm, SIGN, &NONE);
    let bound = Key::Hmac.load(&mut tpm, SIGN, &scheme(alg::HMAC, alg::SHA256));
    let digest = digest(HashAlg::Sha1, &[b"message"]);
    let signature = sign(&mut tpm, free, digest.as_slice(), &scheme(alg::HMAC, alg::SHA1), &NULL_TICKET).unwrap();
    assert!(verifies(&mut tpm, free, digest.as_slice(), &signature));
    assert!(!verifies(&mut tpm, bound, digest.as_slice(), &signature));
}

#[test]
fn a_signature_of_another_length_is_not_genuine() {
    let mut tpm = Fixture::new();
    let (rsa, ecc) = (Key::Rsa.load(&mut tpm, SIGN, &NONE), Key::Ecc.load(&mut tpm, SIGN, &NONE));
    let digest = sha256(b"message");
    let mut signature = sign(&mut tpm, rsa, &digest, &scheme(alg::RSASSA, alg::SHA256), &NULL_TICKET).unwrap();
    signature.truncate(6 + 255);
    signature[4..6].copy_from_slice(&[0, 255]);
    assert!(!verifies(&mut tpm, rsa, &digest, &signature));
    let zero = [&scheme(alg::ECDSA, alg::SHA256)[..], &tpm2b(&[0; 32]), &tpm2b(&[0; 32])].concat();
    assert!(!verifies(&mut tpm, ecc, &digest, &zero));
    let empty = [&scheme(alg::ECDSA, alg::SHA256)[..], &tpm2b(b""), &tpm2b(b"")].concat();
    assert!(!verifies(&mut tpm, ecc, &digest, &empty));
    let ones = [&scheme(alg::ECDSA, alg::SHA256)[..], &tpm2b(&[0xff; 32]), &tpm2b(&[0xff; 32])].concat();
    assert!(!verifies(&mut tpm, ecc, &digest, &ones), "not below the order");
}

#[test]
fn sign_digest_uses_the_keys_own_scheme() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    for key in [Key::Rsa, Key::Ecc] {
        let handle = key.load(&mut tpm, SIGN, &key.usual());
        let signature = sign_digest(&mut tpm, handle, b"", &digest, &NULL_TICKET).unwrap();
        assert_eq!(signature[..4], key.usual());
        assert!(verifies(&mut tpm, handle, &digest, &signature));
        let null = [0x80, 0x27, 0x40, 0, 0, 7, 0, 0];
        assert_eq!(verify_digest(&mut tpm, handle, b"", &digest, &signature), Ok(null.to_vec()));
        flush(&mut tpm, handle);
    }
}

#[test]
fn sign_digest_checks_in_order() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(sign_digest(&mut tpm, decrypts, b"c", b"d", &NULL_TICKET), Err(handle(1, KEY)));
    let free = Key::Ecc.load(&mut tpm, SIGN, &NONE);
    assert_eq!(sign_digest(&mut tpm, free, b"c", b"d", &NULL_TICKET), Err(handle(1, SCHEME)), "no scheme of its own");
    let hmac = Key::Hmac.load(&mut tpm, SIGN, &scheme(alg::HMAC, alg::SHA256));
    let outcome = sign_digest(&mut tpm, hmac, b"", &digest, &NULL_TICKET);
    assert_eq!(outcome, Err(handle(1, SCHEME)), "HMAC keys sign messages");
    flush(&mut tpm, hmac);
    let key = primary(&mut tpm, OWNER, SIGN | RESTRICTED, &scheme(alg::ECDSA, alg::SHA256));
    assert_eq!(sign_digest(&mut tpm, key, b"c", b"d", &NULL_TICKET), Err(param(1, VALUE)), "ECDSA takes no context");
    assert_eq!(sign_digest(&mut tpm, key, b"", &digest, &NULL_TICKET), Err(param(3, TICKET)));
    let (_, ticket) = hash(&mut tpm, b"message", alg::SHA256, OWNER);
    assert!(sign_digest(&mut tpm, key, b"", &digest, &ticket).is_ok());
    let key = Key::Ecc.load(&mut tpm, SIGN, &scheme(alg::ECDSA, alg::SHA256));
    assert_eq!(sign_digest(&mut tpm, key, b"", &digest[1..], &NULL_TICKET), Err(param(2, SIZE)));
    assert_eq!(sign_digest(&mut tpm, key, &[0; 256], &digest, &NULL_TICKET), Err(param(1, SIZE)));
}

#[test]
fn verify_digest_signature_checks_in_order_and_names_the_hash_in_its_ticket() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let ecdsa = scheme(alg::ECDSA, alg::SHA256);
    let signer = Key::Ecc.load(&mut tpm, SIGN, &ecdsa);
    let signature = sign_digest(&mut tpm, signer, b"", &digest, &NULL_TICKET).unwrap();
    let decrypts = Key::Rsa.load(&mut tpm, DECRYPT, &NONE);
    assert_eq!(verify_digest(&mut tpm, decrypts, b"c", &digest, &signature), Err(handle(1, KEY)));
    let free = Key::Ecc.load_public(&mut tpm, SIGN, &NONE, OWNER);
    assert_eq!(verify_digest(&mut tpm, free, b"c", &digest, &signature), Err(param(3, SCHEME)), "no scheme of its own");
    let mut other_hash = signature.clone();
    other_hash[3] = 0x0c;
    assert_eq!(verify_digest(&mut tpm, signer, b"", &[0; 48], &other_hash), Err(param(3, SCHEME)));
    assert_eq!(verify_digest(&mut tpm, signer, b"c", &digest, &signature), Err(param(1, VALUE)));
    assert_eq!(verify_digest(&mut tpm, signer, b"", &digest[1..], &signature), Err(param(2, SIZE)));
    assert_eq!(verify_digest(&mut tpm, signer, b"", &sha256(b"other"), &signature), Err(param(3, SIGNATURE)));
    let hmac = Key::Hmac.load(&mut tpm, SIGN, &scheme(alg::HMAC, alg::SHA256));
    let hmac_signature = [&scheme(alg::HMAC, alg::SHA256)[..], &[0; 32]].concat();
    let outcome = verify_digest(&mut tpm, hmac, b"", &digest, &hmac_signature);
    assert_eq!(outcome, Err(param(3, SCHEME)), "HMAC keys sign messages");
    flush(&mut tpm, hmac);
    let key = Key::Ecc.load_public(&mut tpm, SIGN, &ecdsa, OWNER);
    let ticket = verify_digest(&mut tpm, key, b"", &digest, &signature).unwrap();
    assert_eq!(ticket[..10], [&[0x80, 0x27][..], &OWNER.to_be_bytes(), &[0, 0x0b, 0, 32]].concat());
    assert_eq!(ticket.len(), 42);
}

/// The context is the count of TPM2_Commit.
#[test]
fn sign_digest_with_a_commitment() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let key = Key::Ecc.load(&mut tpm, SIGN, &scheme(alg::ECDAA, alg::SHA256));
    let committed = tpm.with(cc::COMMIT, &[key], &[b""], &[&[0, 4, 0, 0, 0, 0][..], &[0; 4]].concat()).unwrap();
    let count = &committed[committed.len() - 2..];
    assert_eq!(sign_digest(&mut tpm, key, b"", &digest, &NULL_TICKET), Err(param(1, SIZE)));
    let signature = sign_digest(&mut tpm, key, count, &digest, &NULL_TICKET).unwrap();
    assert_eq!(signature[..4], scheme(alg::ECDAA, alg::SHA256)[..4]);
    assert_eq!(sign_digest(&mut tpm, key, count, &digest, &NULL_TICKET), Err(plain(VALUE)), "VALUE: it serves once");
}

#[test]
fn a_signature_needs_the_private_part() {
    let mut tpm = Fixture::new();
    let public = Key::Ecc.load_public(&mut tpm, SIGN, &scheme(alg::ECDSA, alg::SHA256), NULL);
    let outcome = sign(&mut tpm, public, &sha256(b"message"), &NONE, &NULL_TICKET);
    assert_eq!(outcome, Err(client::codes::AUTH_UNAVAILABLE), "without a policy it cannot even be authorized");
}

// ML-DSA (1.85)

/// ML-DSA-44, with external μ or without.
fn ml_dsa(tpm: &mut Fixture, attributes: u32, external_mu: u8) -> u32 {
    keys::primary_of(tpm, OWNER, alg::MLDSA, attributes, &[0, 1, external_mu], &tpm2b(b""))
}

/// Hash-ML-DSA-44 with SHA-256.
fn hash_ml_dsa(tpm: &mut Fixture, hierarchy: u32, attributes: u32) -> u32 {
    keys::primary_of(tpm, hierarchy, alg::HASH_MLDSA, attributes, &[0, 1, 0, 0x0b], &tpm2b(b""))
}

#[test]
fn hash_ml_dsa_signs_a_digest_with_a_context() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let key = hash_ml_dsa(&mut tpm, OWNER, SIGN);
    for context in [&b""[..], b"context", &[7; 255]] {
        let signature = sign_digest(&mut tpm, key, context, &digest, &NULL_TICKET).unwrap();
        assert_eq!(signature[..6], [0, 0xa2, 0, 0x0b, 0x09, 0x74], "2,420 octets");
        let ticket = verify_digest(&mut tpm, key, context, &digest, &signature).unwrap();
        assert_eq!(ticket[..10], [&[0x80, 0x27][..], &OWNER.to_be_bytes(), &[0, 0x0b, 0, 32]].concat());
        let outcome = verify_digest(&mut tpm, key, b"another", &digest, &signature);
        assert_eq!(outcome, Err(param(3, SIGNATURE)));
        let outcome = verify_digest(&mut tpm, key, context, &sha256(b"massage"), &signature);
        assert_eq!(outcome, Err(param(3, SIGNATURE)));
    }
}

#[test]
fn hash_ml_dsa_checks_digest_and_hash() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let key = hash_ml_dsa(&mut tpm, NULL, SIGN);
    let signature = sign_digest(&mut tpm, key, b"", &digest, &NULL_TICKET).unwrap();
    assert_eq!(sign_digest(&mut tpm, key, b"", &digest[1..], &NULL_TICKET), Err(param(2, SIZE)));
    assert_eq!(verify_digest(&mut tpm, key, b"", &digest[1..], &signature), Err(param(2, SIZE)));
    let mut other_hash = signature.clone();
    other_hash[3] = 0x0c;
    assert_eq!(verify_digest(&mut tpm, key, b"", &digest, &other_hash), Err(param(3, SCHEME)));
    let ecdsa = [&scheme(alg::ECDSA, alg::SHA256)[..], &tpm2b(&[1; 32]), &tpm2b(&[1; 32])].concat();
    assert_eq!(verify_digest(&mut tpm, key, b"", &digest, &ecdsa), Err(param(3, SCHEME)));
    let null = [0x80, 0x27, 0x40, 0, 0, 7, 0, 0];
    assert_eq!(verify_digest(&mut tpm, key, b"", &digest, &signature), Ok(null.to_vec()));
}

#[test]
fn a_restricted_hash_ml_dsa_key_signs_only_what_the_tpm_has_hashed() {
    let mut tpm = Fixture::new();
    let key = hash_ml_dsa(&mut tpm, OWNER, SIGN | RESTRICTED);
    let (digest, ticket) = hash(&mut tpm, b"message", alg::SHA256, OWNER);
    assert_eq!(sign_digest(&mut tpm, key, b"c", &digest, &NULL_TICKET), Err(param(3, TICKET)));
    assert!(sign_digest(&mut tpm, key, b"c", &digest, &ticket).is_ok());
}

#[test]
fn ml_dsa_signs_external_mu_if_the_key_admits_it() {
    let mut tpm = Fixture::new();
    let refuses = ml_dsa(&mut tpm, SIGN, 0);
    assert_eq!(sign_digest(&mut tpm, refuses, b"", &[5; 64], &NULL_TICKET), Err(handle(1, ATTRIBUTES)));
    let key = ml_dsa(&mut tpm, SIGN, 1);
    assert_eq!(sign_digest(&mut tpm, key, b"c", &[5; 64], &NULL_TICKET), Err(param(1, VALUE)), "μ has its context");
    assert_eq!(sign_digest(&mut tpm, key, b"", &[5; 32], &NULL_TICKET), Err(param(2, SIZE)));
    let signature = sign_digest(&mut tpm, key, b"", &[5; 64], &NULL_TICKET).unwrap();
    assert_eq!(signature[..4], [0, 0xa1, 0x09, 0x74]);
    assert_eq!(verify_digest(&mut tpm, refuses, b"", &[5; 64], &signature), Err(handle(1, ATTRIBUTES)));
    assert_eq!(verify_digest(&mut tpm, key, b"", &[6; 64], &signature), Err(param(3, SIGNATURE)));
    assert_eq!(verify_digest(&mut tpm, key, b"", &[5; 32], &signature), Err(param(2, SIZE)));
    let null = [0x80, 0x27, 0x40, 0, 0, 7, 0, 0];
    let ticket = verify_digest(&mut tpm, key, b"", &[5; 64], &signature);
    assert_eq!(ticket, Ok(null.to_vec()), "μ is no digest of a hash that a ticket could name");
}

#[test]
fn ml_dsa_keys_are_not_for_the_commands_that_came_before_them() {
    let mut tpm = Fixture::new();
    let digest = sha256(b"message");
    let key = hash_ml_dsa(&mut tpm, OWNER, SIGN);
    assert_eq!(sign(&mut tpm, key, &digest, &NONE, &NULL_TICKET), Err(param(2, SCHEME)));
    let signature = sign_digest(&mut tpm, key, b"", &digest, &NULL_TICKET).unwrap();
    assert_eq!(verify(&mut tpm, key, &digest, &signature), Err(param(2, SCHEME)));
}
