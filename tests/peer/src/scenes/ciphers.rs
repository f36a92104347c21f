//! Asymmetric and symmetric primitives, random numbers, sequences of hashes, ephemeral keys (Part 3, 14 to 17 and 19).

use super::keys::{cipher, hmac, ml_kem, p521_ecdaa, p521_exchange, primary, rsa, sized};
use super::{DIGEST, LONG, ONE, Scene, TWO, scene};
use crate::tpm::Tpm;
use client::codes::OWNER;
use client::command::octets;
use client::names::alg;
use client::template::NONE;
use client::{cc, tpm2b};

/// P-521.
const CURVE: &[u8] = &[0, 5];
const OAEP: &[u8] = &[0, 0x17, 0, 0xd];
/// KDF2 with SHA-512.
const KDF2: &[u8] = &[0, 0x21, 0, 0xd];
/// HKDF with SHA-512.
const HKDF: &[u8] = &[0, 0x1f, 0, 0xd];
/// s2 of TPM2_Commit, and y2 for which (SHA-512(s2), y2) is on P-521.
const S2: [u8; 1] = [1];
const Y2: &str = "\
    00276b4b7d3ada3b6121d2102984fd690022f55abd3578f3b047a440463412244b149b01588e295b84f5e61b6fdaddded2ca9785c6f0f5e3\
    4a7a0f569d2ab90f72a7";

pub(super) const SCENES: &[Scene] = &[
    scene(cc::RSA_ENCRYPT, |tpm| {
        let key = rsa(tpm);
        encrypted(tpm, key);
    }),
    scene(cc::RSA_DECRYPT, |tpm| {
        let key = rsa(tpm);
        let text = encrypted(tpm, key);
        tpm.run(cc::RSA_DECRYPT, &[key], ONE, &[&text, OAEP, &tpm2b(b"label\0")]);
    }),
    scene(cc::ECDH_KEY_GEN, |tpm| {
        exchanged(tpm);
    }),
    scene(cc::ECDH_ZGEN, |tpm| {
        let (key, point) = exchanged(tpm);
        tpm.run(cc::ECDH_ZGEN, &[key], ONE, &[&point]);
    }),
    scene(cc::ECC_PARAMETERS, |tpm| {
        tpm.run(cc::ECC_PARAMETERS, &[], &[], &[CURVE]);
    }),
    scene(cc::ECC_ENCRYPT, |tpm| {
        let key = primary(tpm, &p521_exchange(NONE));
        tpm.run(cc::ECC_ENCRYPT, &[key], &[], &[&tpm2b(&LONG), KDF2]);
    }),
    scene(cc::ECC_DECRYPT, |tpm| {
        let key = primary(tpm, &p521_exchange(NONE));
        let text = tpm.run(cc::ECC_ENCRYPT, &[key], &[], &[&tpm2b(&LONG), KDF2]);
        tpm.run(cc::ECC_DECRYPT, &[key], ONE, &[&text, KDF2]);
    }),
    scene(cc::ENCAPSULATE, |tpm| {
        for template in [ml_kem(), p521_exchange(HKDF)] {
            let key = primary(tpm, &template);
            tpm.run(cc::ENCAPSULATE, &[key], &[], &[]);
        }
    }),
    scene(cc::DECAPSULATE, |tpm| {
        for template in [ml_kem(), p521_exchange(HKDF)] {
            let key = primary(tpm, &template);
            let answer = tpm.run(cc::ENCAPSULATE, &[key], &[], &[]);
            let [_, text] = sized(&answer);
            tpm.run(cc::DECAPSULATE, &[key], ONE, &[&tpm2b(&text)]);
        }
    }),
    scene(cc::ZGEN_2_PHASE, |tpm| {
        for scheme in [alg::ECDH, alg::ECMQV] {
            let (key, point) = exchanged(tpm);
            let answer = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[CURVE]);
            let counter = &answer[answer.len() - 2..];
            tpm.run(cc::ZGEN_2_PHASE, &[key], ONE, &[&point, &point, &scheme.to_be_bytes(), counter]);
            tpm.flush(key);
        }
    }),
    scene(cc::EC_EPHEMERAL, |tpm| {
        tpm.run(cc::EC_EPHEMERAL, &[], &[], &[CURVE]);
    }),
    scene(cc::COMMIT, |tpm| {
        let (_, point) = exchanged(tpm);
        let key = primary(tpm, &p521_ecdaa());
        tpm.run(cc::COMMIT, &[key], ONE, &[&point, &tpm2b(&S2), &tpm2b(&octets(Y2))]);
    }),
    scene(cc::ENCRYPT_DECRYPT, |tpm| {
        for key in ciphers(tpm) {
            tpm.run(cc::ENCRYPT_DECRYPT, &[key], ONE, &[&[1], &[0, 0x43], &tpm2b(&[7; 16]), &tpm2b(&LONG)]);
        }
    }),
    scene(cc::ENCRYPT_DECRYPT_2, |tpm| {
        for key in ciphers(tpm) {
            tpm.run(cc::ENCRYPT_DECRYPT_2, &[key], ONE, &[&tpm2b(&LONG), &[1], &[0, 0x43], &tpm2b(&[7; 16])]);
        }
    }),
    scene(cc::HASH, |tpm| {
        for hash in HASHES {
            tpm.run(cc::HASH, &[], &[], &[&tpm2b(&LONG), &hash.to_be_bytes(), &OWNER.to_be_bytes()]);
        }
    }),
    scene(cc::MAC, |tpm| {
        let key = primary(tpm, &hmac());
        for hash in HASHES {
            tpm.run(cc::MAC, &[key], ONE, &[&tpm2b(&LONG), &hash.to_be_bytes()]);
        }
    }),
    scene(cc::GET_RANDOM, |tpm| {
        tpm.run(cc::GET_RANDOM, &[], &[], &[&[0, 64]]);
    }),
    scene(cc::STIR_RANDOM, |tpm| {
        tpm.run(cc::STIR_RANDOM, &[], &[], &[&tpm2b(&LONG[..128])]);
    }),
    scene(cc::MAC_START, |tpm| {
        let key = primary(tpm, &hmac());
        for hash in HASHES {
            let sequence = tpm.make(cc::MAC_START, &[key], ONE, &[&tpm2b(&DIGEST), &hash.to_be_bytes()]);
            tpm.flush(sequence);
        }
    }),
    scene(cc::HASH_SEQUENCE_START, |tpm| {
        tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[&tpm2b(&DIGEST), NONE]);
    }),
    scene(cc::SEQUENCE_UPDATE, |tpm| {
        let sequence = events(tpm);
        tpm.run(cc::SEQUENCE_UPDATE, &[sequence], ONE, &[&tpm2b(&LONG)]);
    }),
    scene(cc::SEQUENCE_COMPLETE, |tpm| {
        for hash in HASHES {
            let sequence = tpm.make(cc::HASH_SEQUENCE_START, &[], &[], &[&[0, 0], &hash.to_be_bytes()]);
            tpm.run(cc::SEQUENCE_COMPLETE, &[sequence], ONE, &[&tpm2b(&LONG), &OWNER.to_be_bytes()]);
        }
    }),
    scene(cc::EVENT_SEQUENCE_COMPLETE, |tpm| {
        let sequence = events(tpm);
        tpm.run(cc::EVENT_SEQUENCE_COMPLETE, &[16, sequence], TWO, &[&tpm2b(&LONG)]);
    }),
];

/// Hashes of each kind: which of them takes longest is the processor's.
const HASHES: [u16; 5] = [alg::SHA1, alg::SHA256, alg::SHA512, alg::SM3, alg::SHA3_512];

/// The longest message for OAEP with SHA-512, encrypted.
fn encrypted(tpm: &mut Tpm<'_>, key: u32) -> Vec<u8> {
    tpm.run(cc::RSA_ENCRYPT, &[key], &[], &[&tpm2b(&LONG[..512 - 2 * 64 - 2]), OAEP, &tpm2b(b"label\0")])
}

/// A P-521 key, and a point for it: TPM2B_ECC_POINT.
fn exchanged(tpm: &mut Tpm<'_>) -> (u32, Vec<u8>) {
    let key = primary(tpm, &p521_exchange(NONE));
    let points = tpm.run(cc::ECDH_KEY_GEN, &[key], &[], &[]);
    let [_, point] = sized(&points);
    (key, tpm2b(&point))
}

/// A key of 256 bits with the processor's instructions, and one without.
fn ciphers(tpm: &mut Tpm<'_>) -> [u32; 2] {
    [alg::AES, alg::CAMELLIA].map(|algorithm| primary(tpm, &cipher(algorithm)))
}

/// An event sequence: a hash for each bank.
pub(super) fn events(tpm: &mut Tpm<'_>) -> u32 {
    tpm.make(cc::HASH_SEQUENCE_START, &[], &[], &[&[0, 0], NONE])
}
