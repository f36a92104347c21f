//! Response codes that no other test file provokes, command by command; `cargo xtask codes` compares with what the
//! commands document.

use crate::harness::Fixture;
use crate::harness::keys::{
    AES_128_CFB, NONE, Template, a, aes_key, creation, ecc_signing, ecc_storage, handle_of, hmac_key, rsa_any,
    rsa_storage, sealed, sensitive, sym_storage, take_2b,
};
use crate::harness::nv::{self, INDEX};
use client::codes::{
    ATTRIBUTES, BINDING, CPHASH, HASH, HIERARCHY, INSUFFICIENT, KDF, KEY, KEY_SIZE, NULL, NV_LOCKED, NV_SPACE,
    OBJECT_MEMORY, OWNER, PLATFORM, POLICY_FAIL, RANGE, SCHEME, SIZE, SYMMETRIC, TYPE, VALUE, handle, param, plain,
};
use client::hash::Alg;
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

/// TPMT_SENSITIVE with an empty authValue.
fn secret(object_type: u16, seed: &[u8], key: &[u8]) -> Vec<u8> {
    [&object_type.to_be_bytes()[..], &[0, 0], &tpm2b(seed), &tpm2b(key)].concat()
}

/// A template of a key that was not made in this TPM and may be anywhere.
fn free(template: Template) -> Template {
    template.without(a::FIXED | a::ORIGIN)
}

const MODULUS: [u8; 256] = [0xc5; 256];

/// A 2048-bit public key for signing or decryption with this modulus.
fn rsa_public(modulus: &[u8]) -> Template {
    Template { unique: tpm2b(modulus), ..free(rsa_any()) }
}

enum Where {
    Public,
    Secret,
    Nowhere,
}

/// Public and sensitive areas that do not go together or cannot be, and the code that says so.
fn impossible() -> Vec<(&'static str, Template, Vec<u8>, Where, u32)> {
    let ecc = || free(ecc_signing());
    let with_parms = |parms: &[&[u8]]| Template { parms: parms.concat(), ..ecc() };
    let ecc_secret = || secret(alg::ECC, b"", &[1; 32]);
    let generator = tpm_crypto::ecc::Curve::NistP256.parameters();
    let point = [tpm2b(generator.gx), tpm2b(generator.gy)].concat();
    vec![
        (
            "a signing key that exchanges",
            with_parms(&[NONE, &[0, 0x19, 0, 0xb], &[0, 3], NONE]),
            ecc_secret(),
            Where::Public,
            SCHEME,
        ),
        (
            "a signing key with a KDF",
            with_parms(&[NONE, &[0, 0x18, 0, 0xb], &[0, 3], &[0, 0x20, 0, 0xb]]),
            ecc_secret(),
            Where::Public,
            KDF,
        ),
        (
            "a signing key with a cipher",
            with_parms(&[AES_128_CFB, &[0, 0x18, 0, 0xb], &[0, 3], NONE]),
            ecc_secret(),
            Where::Public,
            SYMMETRIC,
        ),
        ("neither signs nor decrypts", ecc().without(a::SIGN), ecc_secret(), Where::Public, ATTRIBUTES),
        (
            "no point",
            Template { unique: [tpm2b(&[1; 32]), tpm2b(&[1; 32])].concat(), ..ecc() },
            ecc_secret(),
            Where::Nowhere,
            BINDING,
        ),
        (
            "another point",
            Template { unique: point.clone(), ..ecc() },
            secret(alg::ECC, b"", &[2; 32]),
            Where::Nowhere,
            BINDING,
        ),
        ("a short modulus", rsa_public(&MODULUS[1..]), secret(alg::RSA, b"", &[0xc5; 128]), Where::Public, KEY),
        ("a short prime", rsa_public(&MODULUS), secret(alg::RSA, b"", &[0xc5; 127]), Where::Secret, KEY_SIZE),
        (
            "a long seed",
            Template { unique: point, ..ecc() },
            secret(alg::ECC, &[1; 33], &[1; 32]),
            Where::Secret,
            KEY_SIZE,
        ),
        ("no prime of it", rsa_public(&MODULUS), secret(alg::RSA, b"", &[0xc7; 128]), Where::Nowhere, BINDING),
        ("another type", ecc(), secret(alg::RSA, b"", &[0xc5; 128]), Where::Secret, TYPE),
    ]
}

fn import(tpm: &mut Fixture, parent: u32, public: &[u8], blob: &[u8], seed: &[u8]) -> Outcome {
    let params = [&[0, 0][..], &tpm2b(public), &tpm2b(blob), &tpm2b(seed), NONE].concat();
    tpm.with(cc::IMPORT, &[parent], &[b""], &params)
}

/// A parent that may leave this TPM does not vouch for its children: what is imported below it is checked when it is
/// loaded.
#[test]
fn import_and_load_refuse_what_cannot_be() {
    let mut tpm = Fixture::new();
    let (fixed, _) = tpm.primary(OWNER, &ecc_storage());
    let storage = ecc_storage().without(a::FIXED);
    let leaving = tpm.child(fixed, b"", b"", &storage);
    for (what, template, sensitive, place, code) in impossible() {
        let code_at = |secret_at: u32| match place {
            Where::Public => [param(2, code); 2],
            Where::Secret => [param(secret_at, code); 2],
            Where::Nowhere => [plain(code), param(2, code)],
        };
        let public = template.bytes();
        let imported = import(&mut tpm, fixed, &public, &tpm2b(&sensitive), b"").unwrap_err();
        assert!(code_at(3).contains(&imported), "{what}: {imported:#x}");
        let private = import(&mut tpm, leaving, &public, &tpm2b(&sensitive), b"").unwrap();
        let loaded = tpm.load(leaving, &private[2..], &public).unwrap_err();
        assert!(code_at(1).contains(&loaded), "{what}: {loaded:#x}");
    }
}

#[test]
fn import_refuses_seeds_and_blobs_that_are_none() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let public = free(ecc_signing()).bytes();
    let generator = tpm_crypto::ecc::Curve::NistP256.parameters();
    let seed = [tpm2b(generator.gx), tpm2b(generator.gy)].concat();
    assert_eq!(import(&mut tpm, parent, &public, &[0; 40], &[&seed[..], &[0]].concat()), Err(param(4, SIZE)));
    assert_eq!(import(&mut tpm, parent, &public, &[0], &seed), Err(param(3, INSUFFICIENT)));
    assert_eq!(import(&mut tpm, parent, &public, &[0xff; 40], &seed), Err(param(3, SIZE)));
    let nameless = Template { name_alg: 0x10, ..free(ecc_signing()) };
    assert_eq!(import(&mut tpm, parent, &nameless.bytes(), &[0; 40], &seed), Err(param(2, HASH)));
    let (rsa, _) = tpm.primary(OWNER, &rsa_storage());
    assert_eq!(import(&mut tpm, rsa, &public, &[0; 40], &[1; 256]), Err(param(4, VALUE)));
    assert_eq!(import(&mut tpm, rsa, &public, &[0; 40], &[1; 255]), Err(param(4, SIZE)));
}

/// A policy for TPM2_Duplicate.
fn duplicable(attributes: u32) -> Template {
    let policy = Alg::Sha256.hash(&[&[0; 32], &0x16cu32.to_be_bytes(), &cc::DUPLICATE.to_be_bytes()]);
    Template { policy, ..sealed().without(a::FIXED).with(attributes) }
}

/// TPM2_Duplicate without inner wrapper.
fn duplicate(tpm: &mut Fixture, object: u32, new_parent: u32) -> Outcome {
    let session = policy_session(tpm);
    tpm.run(cc::POLICY_COMMAND_CODE, &[session], &[], &cc::DUPLICATE.to_be_bytes()).unwrap();
    let area = [&session.to_be_bytes()[..], &[0, 0, 0, 0, 0]].concat();
    let outcome = tpm.with_area(cc::DUPLICATE, &[object, new_parent], &area, &[&[0, 0], NONE].concat());
    let _ = tpm.flush(session);
    outcome
}

fn policy_session(tpm: &mut Fixture) -> u32 {
    let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[1], NONE, &[0, 0xb]].concat();
    handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap())
}

#[test]
fn duplicate_and_rewrap_want_an_asymmetric_new_parent() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let fixed = tpm.child(parent, b"", b"x", &duplicable(a::FIXED));
    assert_eq!(duplicate(&mut tpm, fixed, parent), Err(handle(1, ATTRIBUTES)));
    let item = tpm.child(parent, b"", b"x", &duplicable(0));
    let (sym, _) = tpm.primary(OWNER, &sym_storage());
    assert_eq!(duplicate(&mut tpm, item, sym), Err(handle(2, TYPE)));
    let even = Template { unique: tpm2b(&[0x80; 256]), ..rsa_storage().without(a::FIXED) };
    let no_key = tpm.load_external(&[], &even.bytes(), OWNER).unwrap();
    assert_eq!(duplicate(&mut tpm, item, no_key), Err(plain(KEY)), "an even modulus");
    let reply = duplicate(&mut tpm, item, parent).unwrap();
    let rest = &mut &reply[..];
    let (_, blob, seed) = (take_2b(rest), take_2b(rest), take_2b(rest));
    let name = tpm.name(item);
    let mut rewrap = |new: u32, blob: &[u8]| {
        tpm.with(cc::REWRAP, &[parent, new], &[b""], &[tpm2b(blob), tpm2b(&name), tpm2b(seed)].concat())
    };
    assert_eq!(rewrap(sym, blob), Err(handle(2, TYPE)));
    assert_eq!(rewrap(no_key, blob), Err(plain(KEY)));
    assert_eq!(rewrap(parent, &[0]), Err(param(1, INSUFFICIENT)));
    assert_eq!(rewrap(parent, &[0xff; 40]), Err(param(1, SIZE)));
    // Without new parent what is within the outer wrapper comes out, as it went in: not encrypted, for it has no inner
    // wrapper.
    let reply = rewrap(NULL, blob).unwrap();
    let rest = &mut &reply[..];
    assert!(take_2b(rest).ends_with(&tpm2b(b"x")));
    assert!(take_2b(rest).is_empty());
}

#[test]
fn activate_credential_refuses_blobs_that_are_none() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(OWNER, &ecc_storage());
    let name = tpm.name(key);
    let reply = tpm.run(cc::MAKE_CREDENTIAL, &[key], &[], &[tpm2b(b"credential"), tpm2b(&name)].concat()).unwrap();
    let rest = &mut &reply[..];
    take_2b(rest);
    let secret = take_2b(rest);
    for (blob, code) in [(&[0][..], INSUFFICIENT), (&[0xff; 40], SIZE)] {
        let params = [tpm2b(blob), tpm2b(secret)].concat();
        assert_eq!(tpm.with(cc::ACTIVATE_CREDENTIAL, &[key, key], &[b"", b""], &params), Err(param(1, code)));
    }
}

/// Templates with which nothing can be made: by TPM2_CreatePrimary and by TPM2_CreateLoaded, below a hierarchy and
/// below a storage key.
#[test]
fn create_primary_and_create_loaded_refuse_what_cannot_be() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let with_parms = |parms: &[&[u8]]| Template { parms: parms.concat(), ..ecc_signing() };
    let exponent_4 = Template { parms: [NONE, NONE, &[8, 0, 0, 0, 0, 4]].concat(), ..rsa_any() };
    let templates = [
        (with_parms(&[NONE, &[0, 0x19, 0, 0xb], &[0, 3], NONE]), &b""[..], param(2, SCHEME)),
        (with_parms(&[NONE, &[0, 0x18, 0, 0xb], &[0, 3], &[0, 0x20, 0, 0xb]]), b"", param(2, KDF)),
        (with_parms(&[AES_128_CFB, &[0, 0x18, 0, 0xb], &[0, 3], NONE]), b"", param(2, SYMMETRIC)),
        (Template { policy: vec![1; 31], ..ecc_signing() }, b"", param(2, SIZE)),
        (Template { name_alg: 0x10, ..ecc_signing() }, b"", param(2, HASH)),
        (ecc_signing().without(a::SIGN), b"", param(2, ATTRIBUTES)),
        (ecc_signing().without(a::ORIGIN), b"", param(2, ATTRIBUTES)),
        (aes_key().without(a::ORIGIN), b"fifteen octets.", plain(KEY_SIZE)),
        (exponent_4, b"", plain(RANGE)),
    ];
    for (template, data, code) in &templates {
        let primary = tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", data, template));
        assert_eq!(primary, Err(*code), "{code:#x}");
        for under in [OWNER, parent] {
            let params = [sensitive(b"", data), template.sized()].concat();
            let loaded = tpm.with(cc::CREATE_LOADED, &[under], &[b""], &params);
            assert_eq!(loaded, Err(*code), "{code:#x} under {under:#x}");
        }
    }
}

#[test]
fn load_external_refuses_schemes_that_do_not_suit() {
    let mut tpm = Fixture::new();
    let public = |parms: &[&[u8]]| Template { parms: parms.concat(), ..free(ecc_signing()) }.bytes();
    let cases = [
        (public(&[NONE, &[0, 0x19, 0, 0xb], &[0, 3], NONE]), SCHEME),
        (public(&[NONE, &[0, 0x18, 0, 0xb], &[0, 3], &[0, 0x20, 0, 0xb]]), KDF),
        (public(&[AES_128_CFB, &[0, 0x18, 0, 0xb], &[0, 3], NONE]), SYMMETRIC),
    ];
    for (public, code) in cases {
        assert_eq!(tpm.load_external(b"", &public, OWNER), Err(param(2, code)));
    }
}

/// Eight slots are full: nothing more can be made or loaded, and nothing has changed.
#[test]
fn without_a_slot_there_is_no_ninth_object() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(OWNER, &hmac_key());
    let context = tpm.run(cc::CONTEXT_SAVE, &[key], &[], &[]).unwrap();
    for _ in 1..8 {
        tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap();
    }
    let loaded = tpm.with(cc::CREATE_LOADED, &[OWNER], &[b""], &[sensitive(b"", b""), ecc_signing().sized()].concat());
    assert_eq!(loaded, Err(OBJECT_MEMORY));
    assert_eq!(tpm.with(cc::MAC_START, &[key], &[b""], &[0, 0, 0, 0x10]), Err(OBJECT_MEMORY));
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &context), Err(OBJECT_MEMORY));
}

#[test]
fn the_auth_value_of_a_sequence_is_not_changed() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let sequence = handle_of(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap());
    assert_eq!(tpm.with(cc::OBJECT_CHANGE_AUTH, &[sequence, parent], &[b""], &tpm2b(b"new")), Err(handle(1, TYPE)));
}

#[test]
fn ecdh_z_gen_wants_the_scheme_ecdh() {
    let mut tpm = Fixture::new();
    let attributes = a::FIXED | a::ORIGIN | a::USER | a::DECRYPT;
    let parms = [NONE, &[0, 0x1d, 0, 0xb], &[0, 3], NONE].concat();
    let (key, public) = tpm.primary(OWNER, &Template { attributes, parms, ..ecc_signing() });
    let point = public[public.len() - 68..].to_vec();
    assert_eq!(tpm.with(cc::ECDH_ZGEN, &[key], &[b""], &tpm2b(&point)), Err(handle(1, SCHEME)));
}

/// Without nameAlg there is no hash for s2.
#[test]
fn commit_wants_a_name_algorithm_for_a_second_point() {
    let mut tpm = Fixture::new();
    let generator = tpm_crypto::ecc::Curve::NistP256.parameters();
    let mut one = [0; 32];
    one[31] = 1;
    let ecdaa = Template {
        name_alg: 0x10,
        parms: [NONE, &[0, 0x1a, 0, 0xb, 0, 0], &[0, 3], NONE].concat(),
        unique: [tpm2b(generator.gx), tpm2b(generator.gy)].concat(),
        ..free(ecc_signing())
    };
    let key = tpm.load_external(&secret(alg::ECC, b"", &one), &ecdaa.bytes(), NULL).unwrap();
    let params = [&[0, 4, 0, 0, 0, 0][..], &tpm2b(b"s2"), &tpm2b(&[1; 32])].concat();
    assert_eq!(tpm.with(cc::COMMIT, &[key], &[b""], &params), Err(handle(1, HASH)));
}

#[test]
fn define_space_2_checks_as_define_space() {
    let mut tpm = Fixture::new();
    let define = |tpm: &mut Fixture, by: u32, index: u32, attributes: u32, size: u16| {
        let public = [&[1][..], &nv::public(index, attributes, &[], size)].concat();
        tpm.with(cc::NV_DEFINE_SPACE_2, &[by], &[b""], &[&[0, 0][..], &tpm2b(&tpm2b(&public)[2..])].concat())
    };
    assert_eq!(define(&mut tpm, OWNER, INDEX, nv::a::AUTH | nv::a::PLATFORMCREATE, 8), Err(handle(1, ATTRIBUTES)));
    assert_eq!(define(&mut tpm, OWNER, INDEX, nv::a::NO_DA, 8), Err(param(2, ATTRIBUTES)));
    for n in 0..16 {
        define(&mut tpm, OWNER, INDEX + n, nv::a::AUTH, 4096).unwrap();
    }
    assert_eq!(define(&mut tpm, OWNER, INDEX + 16, nv::a::AUTH, 8), Err(NV_SPACE));
    // TPM2_HierarchyControl: phEnableNV off
    tpm.with(cc::HIERARCHY_CONTROL, &[PLATFORM], &[b""], &[&0x4000_000du32.to_be_bytes()[..], &[0]].concat()).unwrap();
    let by_platform = define(&mut tpm, PLATFORM, INDEX + 20, nv::a::AUTH | nv::a::PLATFORMCREATE, 8);
    assert_eq!(by_platform, Err(handle(1, HIERARCHY)));
}

#[test]
fn policy_authorize_nv_reads_no_locked_index() {
    let mut tpm = Fixture::new();
    nv::define(&mut tpm, INDEX, nv::a::AUTH | nv::a::READ_STCLEAR, 34).unwrap();
    nv::write(&mut tpm, INDEX, INDEX, &[0; 34], 0).unwrap();
    tpm.with(cc::NV_READ_LOCK, &[INDEX, INDEX], &[b"pw"], &[]).unwrap();
    let session = policy_session(&mut tpm);
    assert_eq!(tpm.with(cc::POLICY_AUTHORIZE_NV, &[INDEX, INDEX, session], &[b"pw"], &[]), Err(NV_LOCKED));
}

#[test]
fn policy_signed_wants_the_key_and_the_same_cp_hash() {
    let mut tpm = Fixture::new();
    let session = policy_session(&mut tpm);
    let params =
        |cp_hash: &[u8], signature: &[u8]| [&[0, 0][..], &tpm2b(cp_hash), &[0, 0], &[0; 4], signature].concat();
    let hmac = [&[0, 5, 0, 0xb][..], &[0; 32]].concat();
    let only_public = Template { unique: tpm2b(&[1; 32]), ..free(hmac_key()) };
    let key = tpm.load_external(b"", &only_public.bytes(), OWNER).unwrap();
    assert_eq!(tpm.run(cc::POLICY_SIGNED, &[key, session], &[], &params(b"", &hmac)), Err(param(5, POLICY_FAIL)));
    // TPM2_PolicyCpHash, and then another one.
    tpm.run(cc::POLICY_CP_HASH, &[session], &[], &tpm2b(&[1; 32])).unwrap();
    assert_eq!(tpm.run(cc::POLICY_SIGNED, &[key, session], &[], &params(&[2; 32], &hmac)), Err(CPHASH));
}
