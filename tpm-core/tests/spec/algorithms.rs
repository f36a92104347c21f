//! Every type of key and every algorithm of the profile at the interface: primary keys, what is refused and how,
//! signatures of each scheme, the SM3 bank.
#![allow(clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use crate::harness::Fixture;
use client::codes::{
    ATTRIBUTES, CURVE, HASH, MODE, NULL, OWNER, PARMS, PLATFORM, SCHEME, SYMMETRIC, TYPE, VALUE, param,
};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;
use tpm_core::profile::{PROFILE, PROFILES};
use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::HashAlg;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth
const FIXED: u32 = 0x72;
const SIGNING: u32 = FIXED | 1 << 18;
const DECRYPTING: u32 = FIXED | 1 << 17;
const STORAGE: u32 = DECRYPTING | 1 << 16;

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// TPMT_PUBLIC with an empty policy.
fn template(kind: u16, name_alg: u16, attributes: u32, parms: &[u8], unique: &[u8]) -> Vec<u8> {
    [&words(&[kind, name_alg])[..], &attributes.to_be_bytes(), &[0, 0], parms, unique].concat()
}

fn create(tpm: &mut Fixture, public: &[u8]) -> Outcome {
    let params = [&tpm2b(&[0; 4])[..], &tpm2b(public), &[0, 0], &[0; 4]].concat();
    tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params)
}

/// The handle and the TPMT_PUBLIC of a new primary key.
fn created(tpm: &mut Fixture, public: &[u8]) -> (u32, Vec<u8>) {
    let reply = create(tpm, public).unwrap();
    let size = usize::from(u16::from_be_bytes([reply[4], reply[5]]));
    (u32::from_be_bytes(reply[..4].try_into().unwrap()), reply[6..6 + size].to_vec())
}

fn flush(tpm: &mut Fixture, handle: u32) {
    assert_eq!(tpm.run(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes()), Ok(vec![]));
}

/// An ECC key without symmetric algorithm, scheme or KDF.
fn ecc(curve: u16, attributes: u32) -> Vec<u8> {
    template(0x23, 0xb, attributes, &words(&[0x10, 0x10, curve, 0x10]), &[0; 4])
}

#[test]
fn every_curve_gives_the_same_primary_key_each_time() {
    let mut tpm = Fixture::new();
    for curve in PROFILE.curves {
        let (handle, public) = created(&mut tpm, &ecc(curve.0, SIGNING));
        flush(&mut tpm, handle);
        let (handle, again) = created(&mut tpm, &ecc(curve.0, SIGNING));
        flush(&mut tpm, handle);
        assert_eq!(public, again);
        let coordinates = 2 * (2 + Curve::from_id(curve.0).unwrap().size());
        assert_eq!(public.len(), 10 + 8 + coordinates, "{curve:?}");
    }
}

#[test]
fn every_ml_parameter_set_gives_a_primary_key_with_its_public_key() {
    let mut tpm = Fixture::new();
    let aes = words(&[6, 128, 0x43]);
    let kems = [(1, 800), (2, 1184), (3, 1568)];
    for (set, size) in kems {
        for (attributes, symmetric) in [(DECRYPTING, words(&[0x10])), (STORAGE, aes.clone())] {
            let parms = [&symmetric[..], &words(&[set])].concat();
            let public = template(0xa0, 0xb, attributes, &parms, &[0, 0]);
            let (handle, new) = created(&mut tpm, &public);
            flush(&mut tpm, handle);
            assert_eq!(new.len(), public.len() + size);
        }
    }
    for (set, size) in [(1, 1312), (2, 1952), (3, 2592)] {
        for external_mu in [0, 1] {
            let public = template(0xa1, 0xb, SIGNING, &[0, set, external_mu], &[0, 0]);
            let (handle, new) = created(&mut tpm, &public);
            flush(&mut tpm, handle);
            assert_eq!(new.len(), public.len() + size);
        }
        let public = template(0xa2, 0xb, SIGNING, &words(&[set.into(), 0xd]), &[0, 0]);
        let (handle, new) = created(&mut tpm, &public);
        flush(&mut tpm, handle);
        assert_eq!(new.len(), public.len() + size);
    }
}

#[test]
fn ml_keys_of_the_wrong_kind_are_refused() {
    let mut tpm = Fixture::new();
    let kem = |attributes, symmetric: &[u16], set| {
        template(0xa0, 0xb, attributes, &[words(symmetric), words(&[set])].concat(), &[0, 0])
    };
    for set in [0, 4] {
        assert_eq!(create(&mut tpm, &kem(DECRYPTING, &[0x10], set)), Err(param(2, PARMS)));
        assert_eq!(create(&mut tpm, &template(0xa1, 0xb, SIGNING, &[0, set as u8, 0], &[0, 0])), Err(param(2, PARMS)));
    }
    assert_eq!(create(&mut tpm, &template(0xa1, 0xb, SIGNING, &[0, 1, 2], &[0, 0])), Err(param(2, VALUE)), "YES_NO");
    assert_eq!(create(&mut tpm, &template(0xa2, 0xb, SIGNING, &words(&[1, 0x10]), &[0, 0])), Err(param(2, HASH)));
    assert_eq!(create(&mut tpm, &kem(SIGNING, &[0x10], 1)), Err(param(2, ATTRIBUTES)));
    assert_eq!(create(&mut tpm, &kem(STORAGE, &[0x10], 1)), Err(param(2, SYMMETRIC)), "a storage key needs one");
    assert_eq!(create(&mut tpm, &kem(DECRYPTING, &[6, 128, 0x43], 1)), Err(param(2, SYMMETRIC)), "no other has one");
    let decrypting = template(0xa1, 0xb, DECRYPTING, &[0, 1, 0], &[0, 0]);
    assert_eq!(create(&mut tpm, &decrypting), Err(param(2, ATTRIBUTES)));
    let restricted = |external_mu| template(0xa1, 0xb, SIGNING | 1 << 16, &[0, 1, external_mu], &[0, 0]);
    assert!(create(&mut tpm, &restricted(0)).is_ok());
    assert_eq!(create(&mut tpm, &restricted(1)), Err(param(2, ATTRIBUTES)), "what μ is made of nobody sees");
}

#[test]
fn ciphers_have_their_key_sizes_and_modes() {
    let mut tpm = Fixture::new();
    let with = |attributes: u32, alg: u16, bits: u16, mode: u16| {
        template(0x25, 0xb, FIXED | attributes, &words(&[alg, bits, mode]), &[0, 0])
    };
    let key = |alg: u16, bits: u16, mode: u16| {
        // A key for CMAC only signs.
        with(if mode == 0x3f { 1 << 18 } else { 1 << 17 | 1 << 18 }, alg, bits, mode)
    };
    for (alg, bits) in [(6, 128), (6, 192), (6, 256), (0x26, 128), (0x26, 192), (0x26, 256), (0x13, 128)] {
        for mode in [0x10, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44] {
            let (handle, _) = created(&mut tpm, &key(alg, bits, mode));
            flush(&mut tpm, handle);
        }
    }
    assert_eq!(create(&mut tpm, &with(1 << 17 | 1 << 18, 6, 128, 0x3f)), Err(param(2, SCHEME)));
    assert_eq!(create(&mut tpm, &key(0x13, 256, 0x43)), Err(param(2, VALUE)));
    assert_eq!(create(&mut tpm, &key(0x26, 64, 0x43)), Err(param(2, VALUE)));
    assert_eq!(create(&mut tpm, &key(3, 128, 0x43)), Err(param(2, SYMMETRIC)), "TDES");
    assert_eq!(create(&mut tpm, &key(6, 128, 0x45)), Err(param(2, MODE)));
}

#[test]
fn every_hash_can_be_the_name_algorithm_and_others_cannot() {
    let mut tpm = Fixture::new();
    for hash in tpm_wire::hashes() {
        let public = template(0x23, hash.id(), SIGNING, &words(&[0x10, 0x10, 3, 0x10]), &[0; 4]);
        let (handle, _) = created(&mut tpm, &public);
        flush(&mut tpm, handle);
    }
    for hash in [0x0f, 0x28 + 2, 0x2b] {
        let public = template(0x23, hash, SIGNING, &words(&[0x10, 0x10, 3, 0x10]), &[0; 4]);
        assert_eq!(create(&mut tpm, &public), Err(param(2, HASH)));
    }
}

#[test]
fn what_does_not_exist_is_refused_by_the_code_of_its_type() {
    let mut tpm = Fixture::new();
    assert_eq!(create(&mut tpm, &ecc(0x11, SIGNING)), Err(param(2, CURVE)), "BN P-638");
    assert_eq!(create(&mut tpm, &template(0xa3, 0xb, SIGNING, &[], &[])), Err(param(2, TYPE)));
    let rsa = |bits| template(1, 0xb, SIGNING, &[&words(&[0x10, 0x10, bits])[..], &[0; 4]].concat(), &[0, 0]);
    assert_eq!(create(&mut tpm, &rsa(1536)), Err(param(2, VALUE)));
    if PROFILE.rsa_key_bits.contains(&1024) {
        assert!(create(&mut tpm, &rsa(1024)).is_ok());
    }
}

#[test]
fn ecdsa_ecschnorr_and_sm2_sign_and_verify_on_every_curve() {
    let mut tpm = Fixture::new();
    let null_ticket = [&0x8024_u16.to_be_bytes()[..], &NULL.to_be_bytes(), &[0, 0]].concat();
    for curve in PROFILE.curves {
        let (handle, _) = created(&mut tpm, &ecc(curve.0, SIGNING));
        for scheme in [0x18, 0x1b, 0x1c] {
            let digest = tpm2b(&[7; 32]);
            let params = [&digest[..], &words(&[scheme, 0xb]), &null_ticket].concat();
            let signature = tpm.with(cc::SIGN, &[handle], &[b""], &params).unwrap();
            assert_eq!(signature[..4], words(&[scheme, 0xb]));
            let verify = |tpm: &mut Fixture, digest: &[u8], signature: &[u8]| {
                tpm.run(cc::VERIFY_SIGNATURE, &[handle], &[], &[digest, signature].concat()).map(drop)
            };
            assert_eq!(verify(&mut tpm, &digest, &signature), Ok(()), "{curve:?} {scheme:#x}");
            assert!(verify(&mut tpm, &tpm2b(&[8; 32]), &signature).is_err());
            let mut changed = signature;
            *changed.last_mut().unwrap() ^= 1;
            assert!(verify(&mut tpm, &digest, &changed).is_err());
        }
        flush(&mut tpm, handle);
    }
}

/// The TPM2Bs of a reply.
fn buffers(mut reply: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((size, rest)) = reply.split_first_chunk::<2>() {
        let (buffer, rest) = rest.split_at(u16::from_be_bytes(*size).into());
        all.push(buffer.to_vec());
        reply = rest;
    }
    all
}

/// Part 1, 47.4 of 1.85: a secret is exchanged with an ML-KEM key by encapsulation, and the ciphertext is bound in.
#[test]
fn credentials_are_made_for_and_activated_by_ml_kem_keys() {
    let mut tpm = Fixture::new();
    let (attested, _) = created(&mut tpm, &ecc(3, SIGNING));
    let name = buffers(&tpm.run(cc::READ_PUBLIC, &[attested], &[], &[]).unwrap()).swap_remove(1);
    for (set, size) in [(1, 768), (2, 1088), (3, 1568)] {
        let parms = words(&[6, 128, 0x43, set]);
        let (key, _) = created(&mut tpm, &template(0xa0, 0xb, STORAGE, &parms, &[0, 0]));
        let made = tpm.run(cc::MAKE_CREDENTIAL, &[key], &[], &[tpm2b(b"credential"), tpm2b(&name)].concat()).unwrap();
        let [blob, secret] = &buffers(&made)[..] else { panic!("two buffers") };
        assert_eq!(secret.len(), size);
        let activate = |tpm: &mut Fixture, secret: &[u8]| {
            tpm.with(cc::ACTIVATE_CREDENTIAL, &[attested, key], &[b"", b""], &[tpm2b(blob), tpm2b(secret)].concat())
        };
        assert_eq!(activate(&mut tpm, secret), Ok(tpm2b(b"credential")));
        let mut other = secret.clone();
        other[7] ^= 1;
        assert!(activate(&mut tpm, &other).is_err(), "another ciphertext gives another seed");
        assert!(activate(&mut tpm, &secret[1..]).is_err());
        flush(&mut tpm, key);
    }
}

#[test]
fn an_ml_kem_storage_key_has_children_and_survives_a_context() {
    let mut tpm = Fixture::new();
    let parms = words(&[6, 128, 0x43, 3]);
    let (parent, _) = created(&mut tpm, &template(0xa0, 0xb, STORAGE, &parms, &[0, 0]));
    let child = template(0xa1, 0xb, SIGNING, &[0, 3, 0], &[0, 0]);
    let params = [&tpm2b(&[0; 4])[..], &tpm2b(&child), &[0, 0], &[0; 4]].concat();
    let reply = tpm.with(cc::CREATE, &[parent], &[b""], &params).unwrap();
    let (private, rest) = reply[2..].split_at(u16::from_be_bytes([reply[0], reply[1]]).into());
    let public = &rest[2..][..usize::from(u16::from_be_bytes([rest[0], rest[1]]))];
    assert_eq!(public.len(), child.len() + 2592);
    let loaded = tpm.with(cc::LOAD, &[parent], &[b""], &[tpm2b(private), tpm2b(public)].concat()).unwrap();
    let handle = u32::from_be_bytes(loaded[..4].try_into().unwrap());
    let context = tpm.run(cc::CONTEXT_SAVE, &[handle], &[], &[]).unwrap();
    flush(&mut tpm, handle);
    let again = tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).unwrap();
    let again = u32::from_be_bytes(again[..4].try_into().unwrap());
    assert_eq!(buffers(&tpm.run(cc::READ_PUBLIC, &[again], &[], &[]).unwrap())[0], public);
}

#[test]
fn the_sm3_bank_can_be_allocated() {
    let mut tpm = Fixture::new();
    let selection = [&[0, 0, 0, 1][..], &[0, 0x12, 3, 255, 255, 255]].concat();
    let read =
        |tpm: &mut Fixture| tpm.run(cc::PCR_READ, &[], &[], &[&[0, 0, 0, 1][..], &[0, 0x12, 3, 1, 0, 0]].concat());
    assert_eq!(read(&mut tpm).unwrap()[14..], [0, 0, 0, 0], "no such bank yet");
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection).unwrap()[0], 1);
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm).unwrap()[14..20], [0, 0, 0, 1, 0, 32]);
    let digest = [&[0, 0, 0, 1, 0, 0x12][..], &[0x11; 32]].concat();
    tpm.with(cc::PCR_EXTEND, &[0], &[b""], &digest).unwrap();
    assert_ne!(read(&mut tpm).unwrap()[20..], [0; 32]);
}

/// What a profile lacks is refused also where an identifier stands alone: as a MAC scheme, as a key exchange, in front
/// of a Name.
#[test]
fn identifiers_that_the_profile_lacks_are_refused_everywhere() {
    let mut tpm = Fixture::new();
    let expected = |id: u16, refusal: u32| if PROFILE.has(id) { Ok(()) } else { Err(refusal) };

    let (hmac, _) = created(&mut tpm, &template(8, 0xb, FIXED | 1 << 17 | 1 << 18, &words(&[0x10]), &[0, 0]));
    let (cmac, _) = created(&mut tpm, &template(0x25, 0xb, SIGNING, &words(&[6, 128, 0x10]), &[0, 0]));
    let hashes = HashAlg::ALL.iter().map(|hash| hash.id());
    for (key, id) in hashes.clone().map(|id| (hmac, id)).chain([(cmac, 0x3f)]) {
        let params = [tpm2b(b"text"), words(&[id])].concat();
        let mac = tpm.with(cc::MAC, &[key], &[b""], &params).map(drop);
        assert_eq!(mac, expected(id, param(2, SYMMETRIC)), "MAC {id:#x}");
        let sequence = tpm.with(cc::MAC_START, &[key], &[b""], &params);
        if let Ok(reply) = &sequence {
            flush(&mut tpm, u32::from_be_bytes(reply[..4].try_into().unwrap()));
        }
        assert_eq!(sequence.map(drop), expected(id, param(2, SYMMETRIC)), "MAC_Start {id:#x}");
    }

    let (key, _) = created(&mut tpm, &ecc(3, DECRYPTING));
    let generator = tpm_crypto::ecc::Curve::NistP256.parameters();
    let point = tpm2b(&[tpm2b(generator.gx), tpm2b(generator.gy)].concat());
    for id in [0x19, 0x1d, 0x1b] {
        let reply = tpm.run(cc::EC_EPHEMERAL, &[], &[], &words(&[3])).unwrap();
        let params = [&point[..], &point, &words(&[id]), &reply[reply.len() - 2..]].concat();
        let exchange = tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &params).map(drop);
        assert_eq!(exchange, expected(id, param(3, SCHEME)), "ZGen_2Phase {id:#x}");
    }

    let start = [&tpm2b(&[1; 16])[..], &[0, 0], &[3], &words(&[0x10, 0xb])].concat();
    let reply = tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &start).unwrap();
    let trial = u32::from_be_bytes(reply[..4].try_into().unwrap());
    for hash in HashAlg::ALL {
        let name = tpm2b(&[&words(&[hash.id()])[..], &vec![7; hash.digest_size()]].concat());
        let ticket = [&words(&[0x8022])[..], &NULL.to_be_bytes(), &[0, 0]].concat();
        let authorize = [&tpm2b(&[0; 32])[..], &[0, 0], &name, &ticket].concat();
        let outcome = tpm.run(cc::POLICY_AUTHORIZE, &[trial], &[], &authorize).map(drop);
        assert_eq!(outcome, expected(hash.id(), param(3, HASH)), "PolicyAuthorize {hash:?}");
        let again = tpm.run(cc::POLICY_RESTART, &[trial], &[], &[]);
        assert_eq!(again, Ok(vec![]), "PolicyRestart");
        for (at, names) in [(1, [&name[..], &[0, 0]]), (2, [&[0, 0], &name[..]])] {
            let outcome = tpm.run(cc::POLICY_TRANSPORT_SPDM, &[trial], &[], &names.concat()).map(drop);
            assert_eq!(outcome, expected(hash.id(), param(at, HASH)), "PolicyTransportSPDM {hash:?}");
            assert_eq!(tpm.run(cc::POLICY_RESTART, &[trial], &[], &[]), Ok(vec![]));
        }
    }
}

#[test]
fn profiles_are_ordered_and_consistent() {
    for profile in PROFILES {
        assert!(profile.algorithms.is_sorted() && profile.curves.is_sorted() && profile.rsa_key_bits.is_sorted());
        assert!(profile.allocated_banks.iter().all(|bank| profile.has(bank.0)), "{}", profile.name);
        assert_eq!(profile.has(0xa0), !profile.ml_kem.is_empty());
        assert_eq!(profile.has(0xa1), !profile.ml_dsa.is_empty());
        assert!(profile.has(0xb) && profile.has(6) && profile.has(0x43), "what the TPM itself speaks");
    }
    assert!(PROFILES.iter().all(|p| p.has(4) == (p.name != "no-legacy")), "SHA-1");
    assert_eq!(PROFILES.map(|p| p.ml_parameter_sets()), [0x7f, 0, 0, 0, 0x7f]);
    assert!(PROFILES.iter().all(|p| p.max_nv_index_size == if p.name == "classic" { 2048 } else { 4096 }));
}
