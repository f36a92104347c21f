//! Part 3, 19: Ephemeral EC Keys. That an r is used once is shown by TPM2_ZGen_2Phase in `asymmetric.rs`.

use crate::harness::Fixture;
use crate::harness::external::{DECRYPT, SIGN, ecc_key, ecc_parms, hmac_key, point};
use client::codes::{CURVE, ECC_POINT, KEY, SCHEME, SIZE, handle, param};
use client::session::Outcome;
use client::tpm2b;
use hex_literal::hex;
use tpm_core::cc;

const D: [u8; 32] = hex!("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
const QX: [u8; 32] = hex!("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230");
const QY: [u8; 32] = hex!("28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141");
const GX: [u8; 32] = hex!("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
const GY: [u8; 32] = hex!("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
/// y2 for which (SHA-256(s2), y2) is on P-256, where s2 is one zero octet; and D times that point, computed with
/// another program.
const S2: [u8; 1] = [0];
const Y2: [u8; 32] = hex!("313dc74e70635eb3858a1a1dd25e5eef91b181d8d218bafbc829054aa3e13036");
const KX: [u8; 32] = hex!("ea96bcdfe8d3e35851f46ec77ae087682392d71d3f37275cff23134609ab6e88");
const KY: [u8; 32] = hex!("02934518f04d160ca2e01d621a61ebcd33d060e563e366db75015207f4a9f739");

const NO_SCHEME: [u8; 2] = [0, 0x10];
/// ECDAA with SHA-256
const ECDAA: [u8; 6] = [0, 0x1a, 0, 0xb, 0, 0];
const EMPTY_POINT: [u8; 6] = [0, 4, 0, 0, 0, 0];

fn ecdaa_key(tpm: &mut Fixture) -> u32 {
    ecc_key(tpm, SIGN, &ecc_parms(&ECDAA, &NO_SCHEME), &point(&QX, &QY), &D)
}

fn commit(tpm: &mut Fixture, key: u32, p1: &[u8], s2: &[u8], y2: &[u8]) -> Outcome {
    tpm.with(cc::COMMIT, &[key], &[b""], &[p1, &tpm2b(s2), &tpm2b(y2)].concat())
}

/// K, L, E and the counter.
fn parts(reply: &[u8]) -> ([Vec<u8>; 3], u16) {
    let mut rest = reply;
    let points = core::array::from_fn(|_| {
        let size = u16::from_be_bytes([rest[0], rest[1]]) as usize;
        let (one, after) = rest.split_at(2 + size);
        rest = after;
        one.to_vec()
    });
    (points, u16::from_be_bytes(rest.try_into().unwrap()))
}

#[test]
fn commit_multiplies_what_it_is_given() {
    let mut tpm = Fixture::new();
    let key = ecdaa_key(&mut tpm);
    let generator = tpm2b(&point(&GX, &GY));
    let ([k, l, e], counter) = parts(&commit(&mut tpm, key, &EMPTY_POINT, b"", b"").unwrap());
    assert_eq!((&k[..], &l[..], e.len(), counter), (&EMPTY_POINT[..], &EMPTY_POINT[..], 2 + 2 * 34, 0), "E = rG");
    let ([k, l, e], counter) = parts(&commit(&mut tpm, key, &generator, b"", b"").unwrap());
    assert_eq!((&k[..], &l[..], e.len(), counter), (&EMPTY_POINT[..], &EMPTY_POINT[..], 2 + 2 * 34, 1), "E = r·P1");
    let ([k, l, e], counter) = parts(&commit(&mut tpm, key, &EMPTY_POINT, &S2, &Y2).unwrap());
    assert_eq!(
        (k, l.len(), &e[..], counter),
        (tpm2b(&point(&KX, &KY)), 2 + 2 * 34, &EMPTY_POINT[..], 2),
        "K = d·P2, L = r·P2"
    );
    let ([k, l, e], counter) = parts(&commit(&mut tpm, key, &generator, &S2, &Y2).unwrap());
    assert_eq!((k, l.len(), e.len(), counter), (tpm2b(&point(&KX, &KY)), 2 + 2 * 34, 2 + 2 * 34, 3));
}

#[test]
fn every_commitment_has_its_own_r() {
    let mut tpm = Fixture::new();
    let key = ecdaa_key(&mut tpm);
    let first = parts(&commit(&mut tpm, key, &EMPTY_POINT, b"", b"").unwrap());
    let second = parts(&commit(&mut tpm, key, &EMPTY_POINT, b"", b"").unwrap());
    assert_ne!(first.0[2], second.0[2]);
    assert_eq!((first.1, second.1), (0, 1));
    let q = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    assert_eq!(q[q.len() - 2..], [0, 2], "TPM2_EC_Ephemeral counts with it");
}

#[test]
fn ephemeral_keys_are_of_the_curve() {
    let mut tpm = Fixture::new();
    let p256 = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    let p384 = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 4]).unwrap();
    assert_eq!((p256.len(), p384.len()), (2 + 2 * 34 + 2, 2 + 2 * 50 + 2));
    assert_eq!((&p256[p256.len() - 2..], &p384[p384.len() - 2..]), (&[0, 0][..], &[0, 1][..]));
    assert_eq!(tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 0]), Err(param(1, CURVE)));
}

#[test]
fn tpm_reset_starts_the_counter_anew() {
    let mut tpm = Fixture::new();
    let before = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    tpm.restart(Some(1), 1);
    assert_eq!(tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap().last(), Some(&1), "TPM Resume");
    tpm.restart(Some(1), 0);
    assert_eq!(tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap().last(), Some(&2), "TPM Restart");
    tpm.restart(Some(0), 0);
    let after = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    assert_eq!(after.last(), Some(&0), "TPM Reset");
    assert_ne!(after, before, "the nonce is new");
}

#[test]
fn commit_checks_in_order() {
    let mut tpm = Fixture::new();
    let bad_point = tpm2b(&point(&GX, &GX));
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    assert_eq!(commit(&mut tpm, other, &bad_point, b"", &Y2), Err(handle(1, KEY)));
    let no_scheme = ecc_key(&mut tpm, SIGN, &ecc_parms(&NO_SCHEME, &NO_SCHEME), &point(&QX, &QY), &D);
    assert_eq!(commit(&mut tpm, no_scheme, &bad_point, b"", &Y2), Err(handle(1, SCHEME)));
    let ecdsa = ecc_key(&mut tpm, SIGN, &ecc_parms(&[0, 0x18, 0, 0xb], &NO_SCHEME), &point(&QX, &QY), &D);
    assert_eq!(commit(&mut tpm, ecdsa, &bad_point, b"", &Y2), Err(handle(1, SCHEME)));
    let key = ecdaa_key(&mut tpm);
    assert_eq!(commit(&mut tpm, key, &bad_point, b"", &Y2), Err(param(3, SIZE)));
    assert_eq!(commit(&mut tpm, key, &bad_point, &S2, b""), Err(param(3, SIZE)));
    assert_eq!(commit(&mut tpm, key, &bad_point, &S2, &GX), Err(param(2, ECC_POINT)));
    assert_eq!(commit(&mut tpm, key, &bad_point, &S2, &Y2), Err(param(1, ECC_POINT)));
    assert_eq!(commit(&mut tpm, key, &[0, 0], b"", b""), Err(param(1, SIZE)), "an empty TPM2B_ECC_POINT");
    let (_, counter) = parts(&commit(&mut tpm, key, &EMPTY_POINT, b"", b"").unwrap());
    assert_eq!(counter, 0, "what was refused committed to nothing");
}
