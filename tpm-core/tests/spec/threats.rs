//! Published attacks on TPMs and known mistakes of new ones that no other test file shows; docs/threats.md lists them
//! all.

use crate::harness::Fixture;
use crate::harness::keys::{aes_key, derivation_parent, ecc_signing, ecc_storage, sealed};
use client::codes::{AUTH_FAIL, KEY_SIZE, NULL, OWNER, PLATFORM, SIZE, param};
use client::names::alg;
use client::{command, password, tpm2b};
use crypto_bigint::{U512, U1024};
use crypto_primes::{Flavor, is_prime};
use p256::elliptic_curve::ff::PrimeField;
use tpm_core::cc;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::Curve;
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::{Error, Rng};

fn drbg(seed: u8) -> Drbg {
    Drbg::new(&[seed; 32], b"", b"").unwrap()
}

/// Moduli of 1024 bits and their primes p and q.
fn rsa_keys(count: u8) -> Vec<(U1024, U512, U512)> {
    let (mut candidates, mut witnesses) = (drbg(1), drbg(2));
    let key = |_| {
        let key = RsaPrivate::generate(1024, 0, &mut candidates, &mut witnesses).unwrap();
        let mut modulus = [0; 128];
        let n = U1024::from_be_slice(key.public().modulus(&mut modulus).unwrap());
        let p = U512::from_be_slice(key.prime().as_slice());
        let wide = U1024::from((p, U512::ZERO));
        let q = n.wrapping_div(&wide.to_nz().unwrap());
        assert_eq!(q.wrapping_mul(&wide), n);
        (n, p, q.resize())
    };
    (0..count).map(key).collect()
}

/// The primes are prime by another library's test, far apart, of full length, and 65537 divides neither less one; no
/// two keys share one.
#[test]
fn cve_2021_3505_primes_are_what_they_must_be() {
    let keys = rsa_keys(32);
    for (n, p, q) in &keys {
        assert_eq!((n.bit_width(), p.bit_width(), q.bit_width()), (1024, 512, 512));
        assert!(is_prime(Flavor::Any, p) && is_prime(Flavor::Any, q));
        let distance = if p > q { p.wrapping_sub(q) } else { q.wrapping_sub(p) };
        assert!(distance.bit_width() > 512 - 100);
        let e = U512::from(65537u32).to_nz().unwrap();
        assert!([p, q].iter().all(|prime| prime.rem(&e) != U512::ONE));
    }
    let mut primes: Vec<_> = keys.iter().flat_map(|(_, p, q)| [p, q]).collect();
    primes.sort();
    assert!(primes.windows(2).all(|pair| pair[0] != pair[1]));
}

/// No modulus has the fingerprint of primes k · M + (65537^a mod M): to be a power of 65537 modulo each small prime.
#[test]
fn cve_2017_15361_no_modulus_has_the_structure_of_roca() {
    const PRIMES: [u32; 20] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157, 7, 23, 29];
    let looks_structured = |n: &U1024| {
        PRIMES.iter().all(|&prime| {
            let rest = n.rem(&U1024::from(prime).to_nz().unwrap()).to_words()[0];
            let mut power = 1;
            (0..prime).any(|_| {
                power = power * 65537 % u64::from(prime);
                power == rest
            })
        })
    };
    assert!(looks_structured(&U1024::from(65537u64 * 65537)), "the test finds what it looks for");
    assert!(rsa_keys(32).iter().all(|(n, ..)| !looks_structured(n)));
}

/// TPM-FAIL and Minerva used nonces that were short. Who knows d computes k = (z + r · d) / s from a signature: each of
/// its bits is SET as often as not.
#[test]
fn cve_2019_11090_cve_2019_16863_nonces_use_the_whole_range() {
    const COUNT: usize = 512;
    let mut rng = drbg(3);
    let d = [0x42; 32];
    let scalar =
        |bytes: &[u8]| Option::<p256::Scalar>::from(p256::Scalar::from_repr(bytes.try_into().unwrap())).unwrap();
    let mut set = [0; 256];
    for _ in 0..COUNT {
        let signature = Curve::NistP256.ecdsa_sign(&d, &[7; 32], &mut rng).unwrap();
        let (r, s) = (scalar(signature.r.as_slice()), scalar(signature.s.as_slice()));
        let k = (scalar(&[7; 32]) + r * scalar(&d)) * s.invert().unwrap();
        let k = k.to_repr();
        (0..256).filter(|bit| k[bit / 8] >> (7 - bit % 8) & 1 == 1).for_each(|bit| set[bit] += 1);
    }
    // The order's upper 32 bits are ones, so k is as good as uniform; 3 in 8 and 5 in 8 are more than five standard
    // deviations away.
    assert!(set.iter().all(|count| (COUNT * 3 / 8..=COUNT * 5 / 8).contains(count)), "{set:?}");
}

/// Firmware that extends by TPM2_PCR_Event leaves no active bank as it was, whichever banks are active.
#[test]
fn cve_2021_42299_an_event_reaches_every_active_bank() {
    let mut tpm = Fixture::new();
    let bank = |alg: u16, on: u8| [&alg.to_be_bytes()[..], &[3, on, on, on]].concat();
    let banks = [(0x4, 0), (0xb, 0xff), (0xc, 0), (0xd, 0xff), (0x12, 0xff)].map(|(alg, on)| bank(alg, on)).concat();
    let allocated = tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &[&[0, 0, 0, 5][..], &banks].concat()).unwrap();
    assert_eq!(allocated[0], 1);
    tpm.restart(Some(0), 0);
    for pcr in 0..8 {
        tpm.with(cc::PCR_EVENT, &[pcr], &[b""], &tpm2b(b"event")).unwrap();
    }
    for (alg, size) in [(0xbu16, 32), (0xd, 64), (0x12, 32)] {
        let read = tpm
            .run(cc::PCR_READ, &[], &[], &[&[0, 0, 0, 1][..], &alg.to_be_bytes(), &[3, 0xff, 0, 0]].concat())
            .unwrap();
        let digests = &read[4 + 4 + 6..];
        assert_eq!(digests[..4], [0, 0, 0, 8], "{alg:#x}");
        for digest in digests[4..].chunks(2 + size) {
            assert!(digest[2..].iter().any(|octet| *octet != 0), "{alg:#x}");
        }
    }
}

/// A cipher key of another size than its algorithm's neither fits nor does harm.
#[test]
fn tn_f_4375_load_external_takes_no_cipher_key_of_another_size() {
    let mut tpm = Fixture::new();
    let mut template = aes_key().without(crate::harness::keys::a::FIXED | crate::harness::keys::a::ORIGIN);
    template.unique = tpm2b(&[0; 32]);
    for size in [0, 1, 15, 17, 24, 32, 33, 64, 128, 256, 1024, 4000] {
        let sensitive = [&alg::SYMCIPHER.to_be_bytes()[..], &[0, 0], &tpm2b(&[0; 32]), &tpm2b(&vec![1; size])].concat();
        let loaded = tpm.load_external(&sensitive, &template.bytes(), NULL);
        assert!([Err(param(1, SIZE)), Err(param(1, KEY_SIZE))].contains(&loaded), "{size}: {loaded:x?}");
    }
}

struct Stuck(u8);

impl Rng for Stuck {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        out.fill(self.0);
        Ok(())
    }
}

/// A private scalar is from 1 up and below the order, even from numbers at the edges.
#[test]
fn tn_f_9162_a_scalar_is_below_the_order() {
    for &curve in Curve::ALL {
        for octet in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
            let Ok((d, _)) = curve.generate(&mut Stuck(octet)) else { continue };
            assert!(d.as_slice() < curve.parameters().n, "{curve:?} {octet:#x}");
            assert!(d.as_slice().iter().any(|octet| *octet != 0), "{curve:?} {octet:#x}");
        }
        let mut rng = drbg(4);
        for _ in 0..32 {
            let (d, _) = curve.generate(&mut rng).unwrap();
            assert!(d.as_slice() < curve.parameters().n && d.len() == curve.parameters().n.len(), "{curve:?}");
        }
    }
    // Derived keys of many labels are points of the curve: the TPM itself loads them.
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &derivation_parent());
    for label in 0..16 {
        let mut template = ecc_signing().without(crate::harness::keys::a::ORIGIN);
        template.unique = [tpm2b(&[label]), tpm2b(b"")].concat();
        let params = [crate::harness::keys::sensitive(b"", b""), template.sized()].concat();
        let reply = tpm.with(cc::CREATE_LOADED, &[parent], &[b""], &params).unwrap();
        let mut rest = &reply[4..];
        assert!(crate::harness::keys::take_2b(&mut rest).is_empty());
        let mut public = crate::harness::keys::take_2b(&mut rest).to_vec();
        // LoadExternal as an owner's public key: without fixedTPM and fixedParent.
        public[7] &= !0x12;
        let loaded = tpm.load_external(b"", &public, OWNER).unwrap();
        tpm.flush(loaded).unwrap();
        tpm.flush(crate::harness::keys::handle_of(&reply)).unwrap();
    }
}

/// The answer to a password says continueSession, without nonce and HMAC, whatever the command said.
#[test]
fn tn_529_the_answer_to_a_password_says_continue_session() {
    let mut tpm = Fixture::new();
    for attributes in [0, 1] {
        let mut area = password(b"");
        area[6] = attributes;
        let response = tpm.raw(&command(cc::PCR_EVENT, &[16], &area, &tpm2b(b"event")));
        assert_eq!(response[6..10], [0; 4]);
        assert_eq!(response[response.len() - 5..], [0, 0, 1, 0, 0]);
    }
}

/// A password in a policy is compared as a whole: neither a part of it nor more than it will do.
#[test]
fn tn_f_3263_tn_f_7011_policy_password_compares_all_of_it() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let policy = client::hash::Alg::Sha256.hash(&[&[0; 32], &0x16bu32.to_be_bytes()]);
    let mut template = sealed();
    template.policy = policy;
    template.attributes |= crate::harness::keys::a::NO_DA;
    let item = tpm.child(parent, b"password", b"data", &template);
    let mut unseal = |given: &[u8]| {
        let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[1], &[0, 0x10], &[0, 0xb]].concat();
        let session =
            crate::harness::keys::handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap());
        tpm.run(cc::POLICY_PASSWORD, &[session], &[], &[]).unwrap();
        let area = [&session.to_be_bytes()[..], &[0, 0, 0], &tpm2b(given)].concat();
        let outcome = tpm.with_area(cc::UNSEAL, &[item], &area, &[]);
        let _ = tpm.flush(session);
        outcome
    };
    assert_eq!(unseal(b"password"), Ok(tpm2b(b"data")));
    for wrong in [&b""[..], b"p", b"passwor", b"passwore", b"Password", b"password1", &[0; 8]] {
        let rc = unseal(wrong).unwrap_err();
        assert!([0x9a2, 0x900 | 0x80 | AUTH_FAIL].contains(&rc), "{wrong:?} {rc:#x}");
    }
}
