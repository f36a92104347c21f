//! Part 3, 12 and 24.1: objects are created, loaded, unsealed; credentials; codes in the order of the checks.

use crate::harness::Fixture;
use crate::harness::keys::*;
use client::codes::*;
use client::hash::Alg;
use client::names::alg;
use client::session::Outcome;
use client::sym::cfb;
use client::tpm2b;
use sha2::{Digest, Sha256};
use tpm_core::cc;

fn unseal(tpm: &mut Fixture, item: u32, auth: &[u8]) -> Outcome {
    tpm.with(cc::UNSEAL, &[item], &[auth], &[]).map(|r| take_2b(&mut &r[..]).to_vec())
}

/// The base point of P-256.
const BASE: [[u8; 32]; 2] = [
    hex_literal::hex!("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
    hex_literal::hex!("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
];

/// An ECC key of the NULL hierarchy that another TPM could have made: sensitive and public area.
fn external_ecc(attributes: u32) -> (Vec<u8>, Vec<u8>) {
    let mut template = ecc_signing();
    template.attributes = attributes;
    // d = 1: the public point is the base point
    template.unique = BASE.map(|coordinate| tpm2b(&coordinate)).concat();
    let mut d = [0; 32];
    d[31] = 1;
    ([&[0, 0x23][..], &tpm2b(b""), &tpm2b(b""), &tpm2b(&d)].concat(), template.bytes())
}

#[test]
fn sealed_data_come_back_with_the_right_auth_only() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let item = tpm.child(parent, b"pw", b"the secret", &sealed());
    assert_eq!(unseal(&mut tpm, item, b"pw").unwrap(), *b"the secret");
    assert_eq!(unseal(&mut tpm, item, b"pw\0\0").unwrap(), *b"the secret", "trailing zeros do not count");
    assert_eq!(unseal(&mut tpm, item, b"no"), Err(session(1, AUTH_FAIL)));
    assert_eq!(unseal(&mut tpm, parent, b""), Err(handle(1, TYPE)));
    let key = tpm.child(parent, b"", b"", &hmac_key());
    assert_eq!(unseal(&mut tpm, key, b""), Err(handle(1, ATTRIBUTES)));
}

#[test]
fn a_primary_object_is_a_function_of_seed_and_template() {
    let mut tpm = Fixture::new();
    let public = |tpm: &mut Fixture, hierarchy, template: &Template| {
        let (h, public) = tpm.primary(hierarchy, template);
        tpm.flush(h).unwrap();
        public
    };
    for template in [ecc_storage(), rsa_storage(), sym_storage(), hmac_key()] {
        let first = public(&mut tpm, OWNER, &template);
        assert_eq!(first, public(&mut tpm, OWNER, &template));
        assert_ne!(first, public(&mut tpm, ENDORSEMENT, &template));
        let mut other = template.clone();
        other.attributes &= !a::NO_DA;
        other.policy = vec![0; 32];
        assert_ne!(first[4..], public(&mut tpm, OWNER, &other)[4..]);
    }
    let null = public(&mut tpm, NULL, &ecc_storage());
    assert_eq!(null, public(&mut tpm, NULL, &ecc_storage()));
    let owner = public(&mut tpm, OWNER, &ecc_storage());
    tpm.restart(None, 0);
    assert_ne!(null, public(&mut tpm, NULL, &ecc_storage()), "TPM Reset: a new NULL seed");
    assert_eq!(owner, public(&mut tpm, OWNER, &ecc_storage()));
}

#[test]
fn the_endorsement_keys_of_the_profile_need_no_slot() {
    use tpm_core::EkTemplate;
    let mut tpm = Fixture::new();
    let mut out = [0; tpm_core::MAX_EK_PUBLIC];
    let n = tpm.tpm.endorsement_key(EkTemplate::Rsa2048, &mut out).ok().unwrap();
    let mut template = rsa_storage();
    template.attributes = 0x0003_00b2;
    template.policy = hex_literal::hex!("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa").to_vec();
    template.unique = tpm2b(&[0; 256]);
    assert_eq!(tpm.primary(ENDORSEMENT, &template).1, out[..n]);
    let mut p256 = ecc_storage();
    p256.attributes = 0x0003_00b2;
    p256.policy = template.policy.clone();
    p256.unique = [tpm2b(&[0; 32]), tpm2b(&[0; 32])].concat();
    let n = tpm.tpm.endorsement_key(EkTemplate::EccP256, &mut out).ok().unwrap();
    assert_eq!(tpm.primary(ENDORSEMENT, &p256).1, out[..n]);
    let n = tpm.tpm.endorsement_key(EkTemplate::EccP384, &mut out).ok().unwrap();
    assert_eq!((n, &out[..8]), (2 + 2 + 4 + 2 + 48 + 14 - 2 + 2 * 50, &[0, 0x23, 0, 0xc, 0, 3, 0, 0xf2][..]));
    assert!(tpm.tpm.endorsement_key(EkTemplate::Rsa2048, &mut out[..100]).is_err());
}

/// EK Credential Profile 2.6, B.4: unique is empty in the high range. As many octets as a key of this kind has.
#[test]
fn the_endorsement_keys_of_the_high_range_are_of_their_sizes() {
    use tpm_core::EkTemplate as T;
    let tpm = Fixture::new();
    let mut out = [0; tpm_core::MAX_EK_PUBLIC];
    // algorithm, nameAlg, and octets of policy, parameters and unique
    for (template, algorithm, hash, sizes) in [
        (T::Rsa2048High, 1, 0xb, [32, 14, 258]),
        (T::EccP256High, 0x23, 0xb, [32, 12, 68]),
        (T::EccP521, 0x23, 0xd, [64, 12, 136]),
        (T::Rsa3072, 1, 0xc, [48, 14, 386]),
        (T::MlKem512, 0xa0, 0xb, [32, 8, 802]),
        (T::MlKem768, 0xa0, 0xc, [48, 8, 1186]),
        (T::MlKem1024, 0xa0, 0xd, [64, 8, 1570]),
    ] {
        assert!(template.is_offered());
        let n = tpm.tpm.endorsement_key(template, &mut out).unwrap();
        assert_eq!(out[..8], [0, algorithm, 0, hash, 0, 3, 0, 0xf2], "{template:?}");
        assert_eq!(n, 8 + 2 + sizes.iter().sum::<usize>(), "{template:?}");
    }
}

#[test]
fn the_attestation_keys_of_the_firmware_are_those_that_their_templates_make() {
    use tpm_core::AkTemplate;
    let mut tpm = Fixture::new();
    for (template, head) in
        [(AkTemplate::Rsa2048, [0, 1, 0, 0xb, 0, 5, 4, 0x72]), (AkTemplate::EccP256, [0, 0x23, 0, 0xb, 0, 5, 4, 0x72])]
    {
        let mut public = [0; tpm_core::MAX_EK_PUBLIC];
        let n = template.marshal(&mut public).unwrap();
        assert_eq!(public[..8], head);
        // inSensitive, inPublic, outsideInfo, creationPCR
        let params = [&[0, 4, 0, 0, 0, 0][..], &tpm2b(&public[..n]), &[0; 2], &[0; 4]].concat();
        let reply = tpm.with(cc::CREATE_PRIMARY, &[ENDORSEMENT], &[b""], &params).unwrap();
        let mut out = [0; tpm_core::MAX_EK_PUBLIC];
        let n = tpm.tpm.attestation_key(template, &mut out).unwrap();
        assert_eq!(take_2b(&mut &reply[4..]), &out[..n]);
        assert!(template.marshal(&mut out[..20]).is_err());
    }
}

/// The platform's place for its attestation key is the platform's, whoever owns the TPM; what is there goes.
#[test]
fn an_attestation_key_is_placed_whatever_a_guest_has_done() {
    use tpm_core::AkTemplate;
    const PLACE: u32 = 0x8100_0003;
    let mut tpm = Fixture::new();
    let object = |tpm: &mut Fixture| {
        let reply = tpm.run(cc::READ_PUBLIC, &[PLACE], &[], &[]);
        reply.map(|reply| take_2b(&mut &reply[..]).to_vec())
    };
    assert!(object(&mut tpm).is_err());
    assert!(tpm.tpm.place_attestation_key(AkTemplate::Rsa2048, PLACE).unwrap());
    let first = object(&mut tpm).unwrap();
    // TPM2_HierarchyChangeAuth of the owner and of the endorsement hierarchy.
    for hierarchy in [OWNER, ENDORSEMENT] {
        tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[hierarchy], &[b""], &tpm2b(b"own")).unwrap();
    }
    assert!(tpm.tpm.place_attestation_key(AkTemplate::EccP256, PLACE).unwrap());
    assert_ne!(object(&mut tpm).unwrap(), first);
    let mut public = [0; tpm_core::MAX_EK_PUBLIC];
    let n = tpm.tpm.attestation_key(AkTemplate::EccP256, &mut public).unwrap();
    assert_eq!(object(&mut tpm).unwrap(), public[..n]);
    for none in [0x8180_0003, 0x8000_0003, 0x0100_0003] {
        assert!(tpm.tpm.place_attestation_key(AkTemplate::EccP256, none).is_err(), "{none:#x}");
    }
    let mut next = PLACE + 1;
    while tpm.tpm.place_attestation_key(AkTemplate::EccP256, next).unwrap() {
        next += 1;
    }
    assert!(next > PLACE + 1, "there was no room from the beginning");
    assert!(tpm.tpm.place_attestation_key(AkTemplate::Rsa2048, PLACE).unwrap(), "its own place is there");
    assert_eq!(object(&mut tpm).unwrap(), first);
}

/// Part 3, 24.5: the seed is another, and so are the keys; TPM2_Clear (24.6) leaves both.
#[test]
fn a_seed_is_told_from_another_as_its_keys_are() {
    use tpm_core::EkTemplate;
    let mut tpm = Fixture::new();
    let seen = |tpm: &Fixture| {
        let mut key = [0; tpm_core::MAX_EK_PUBLIC];
        let len = tpm.tpm.endorsement_key(EkTemplate::EccP256, &mut key).ok().unwrap();
        (tpm.tpm.endorsement_seed_id().unwrap(), key[..len].to_vec())
    };
    let first = seen(&tpm);
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert_eq!(seen(&tpm), first);
    tpm.with(cc::CHANGE_EPS, &[PLATFORM], &[b""], &[]).unwrap();
    let second = seen(&tpm);
    assert!(second.0 != first.0 && second.1 != first.1);
    assert_eq!(tpm_core::Tpm::blank().endorsement_seed_id(), None);
}

#[test]
fn names_and_qualified_names_are_hashes() {
    let mut tpm = Fixture::new();
    let (h, public) = tpm.primary(OWNER, &ecc_storage());
    let name = [&alg::SHA256.to_be_bytes()[..], &Sha256::digest(&public)].concat();
    let qualified = Sha256::digest([&OWNER.to_be_bytes()[..], &name].concat());
    let reply = tpm.run(cc::READ_PUBLIC, &[h], &[], &[]).unwrap();
    let rest = &mut &reply[..];
    assert_eq!(take_2b(rest), public);
    assert_eq!(take_2b(rest), name);
    assert_eq!(take_2b(rest), [&alg::SHA256.to_be_bytes()[..], &qualified].concat());
    assert_eq!(tpm.run(cc::READ_PUBLIC, &[0x8000_0007], &[], &[]), Err(reference_h(0)));
    assert_eq!(tpm.run(cc::READ_PUBLIC, &[0x8100_0007], &[], &[]), Err(handle(1, HANDLE)));
    assert_eq!(tpm.run(cc::READ_PUBLIC, &[OWNER], &[], &[]), Err(handle(1, VALUE)));
}

#[test]
fn creation_data_tell_the_environment() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 1, 0, 0];
    let params = [&sensitive(b"", b"x")[..], &sealed().sized(), &tpm2b(b"outside"), &selection].concat();
    let reply = tpm.with(cc::CREATE, &[parent], &[b""], &params).unwrap();
    let rest = &mut &reply[..];
    take_2b(rest);
    take_2b(rest);
    let data = take_2b(rest);
    assert_eq!(take_2b(rest), &Sha256::digest(data)[..], "creationHash");
    assert_eq!(rest[..6], [0x80, 0x21, 0x40, 0, 0, 1], "TPM_ST_CREATION of the owner");
    assert_eq!(data[..10], selection);
    let rest = &mut &data[10..];
    assert_eq!(take_2b(rest), &Sha256::digest([0; 32])[..], "pcrDigest");
    assert_eq!(rest[..3], [1, 0, 0xb], "locality 0, parentNameAlg");
    *rest = &rest[3..];
    assert_eq!(take_2b(rest), tpm.name(parent));
    take_2b(rest);
    assert_eq!(take_2b(rest), b"outside");
}

#[test]
fn templates_that_cannot_be_are_refused() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let scheme = |mut t: Template, at: usize, bytes: &[u8]| {
        t.parms.splice(at..at + 2, bytes.iter().copied());
        t
    };
    let unschemed = |t: Template| Template { parms: [NONE, NONE, &[0, 3], NONE].concat(), ..t };
    let policy = |mut t: Template| {
        t.policy = vec![0; 20];
        t
    };
    let name_alg = |mut t: Template, alg| {
        t.name_alg = alg;
        t
    };
    let cases: &[(&str, Template, &[u8], u32)] = &[
        ("no nameAlg", name_alg(ecc_signing(), 0x10), b"", HASH),
        ("unknown nameAlg", name_alg(ecc_signing(), 0x99), b"", HASH),
        ("policy of another size", policy(ecc_signing()), b"", SIZE),
        ("no origin, no data", sealed(), b"", ATTRIBUTES),
        ("origin and data", hmac_key(), b"x", ATTRIBUTES),
        ("data object with origin", sealed().with(a::ORIGIN), b"", ATTRIBUTES),
        ("asymmetric without origin", ecc_signing().without(a::ORIGIN), b"x", ATTRIBUTES),
        ("fixedTPM without fixedParent", ecc_signing().without(a::FIXED_PARENT), b"", ATTRIBUTES),
        ("fixedParent without fixedTPM", ecc_signing().without(a::FIXED_TPM), b"", ATTRIBUTES),
        ("neither sign nor decrypt", ecc_signing().without(a::SIGN), b"", ATTRIBUTES),
        ("restricted, sign and decrypt", rsa_any().with(a::RESTRICTED), b"", ATTRIBUTES),
        ("fixedTPM, encryptedDuplication", ecc_signing().with(a::ENCRYPTED_DUPLICATION), b"", ATTRIBUTES),
        ("restricted signing without scheme", unschemed(ecc_signing()).with(a::RESTRICTED), b"", SCHEME),
        ("scheme of a key for both", scheme(rsa_any(), 2, &[0, 0x14, 0, 0xb]), b"", SCHEME),
        ("decryption scheme of a signing key", scheme(rsa_any(), 2, &[0, 0x15]).without(a::DECRYPT), b"", SCHEME),
        ("signing scheme of a decryption key", scheme(rsa_any(), 2, &[0, 0x14, 0, 0xb]).without(a::SIGN), b"", SCHEME),
        ("storage key with a scheme", scheme(rsa_storage(), 6, &[0, 0x15]), b"", SCHEME),
        (
            "storage key without symmetric",
            scheme(rsa_any(), 0, NONE).without(a::SIGN).with(a::RESTRICTED),
            b"",
            SYMMETRIC,
        ),
        ("signing key with symmetric", scheme(ecc_signing(), 0, AES_128_CFB), b"", SYMMETRIC),
        ("HMAC key without scheme", Template { parms: NONE.to_vec(), ..hmac_key() }, b"", SCHEME),
        ("ECC key with KDF", scheme(ecc_signing(), 8, &[0, 0x20, 0, 0xb]), b"", KDF),
        ("storage key with another nameAlg", name_alg(ecc_storage(), alg::SHA384), b"", HASH),
        ("AES-256 below AES-128", scheme(ecc_storage(), 2, &[1, 0]), b"", SYMMETRIC),
        ("unknown curve", scheme(ecc_signing(), 6, &[0x77, 0x77]), b"", CURVE),
        ("RSA 2047", scheme(rsa_any(), 4, &[7, 0xff]), b"", VALUE),
        ("unknown type", Template { object_type: 0x99, ..ecc_signing() }, b"", TYPE),
        ("reserved attribute", ecc_signing().with(1), b"", RESERVED_BITS),
    ];
    for (what, template, data, code) in cases {
        assert_eq!(tpm.create(parent, b"", data, template), Err(param(2, *code)), "{what}");
    }
    assert_eq!(tpm.create(parent, &[1; 33], b"x", &sealed()), Err(param(1, SIZE)), "userAuth longer than a digest");
    assert_eq!(tpm.create(parent, b"", &[1; 129], &sealed()), Err(param(1, SIZE)), "MAX_SYM_DATA");
    let aes = aes_key().without(a::ORIGIN);
    assert_eq!(tpm.create(parent, b"", &[1; 15], &aes), Err(plain(KEY_SIZE)));
    assert!(tpm.create(parent, b"", &[1; 16], &aes).is_ok());
    let hmac = hmac_key().without(a::ORIGIN);
    assert_eq!(tpm.create(parent, b"", &[1; 65], &hmac), Err(plain(SIZE)), "a block of SHA-256");
    assert!(tpm.create(parent, b"", &[1; 64], &hmac).is_ok());
    let mut exponent = rsa_any();
    let end = exponent.parms.len();
    exponent.parms[end - 4..].copy_from_slice(&9u32.to_be_bytes());
    assert_eq!(tpm.create(parent, b"", b"", &exponent), Err(plain(RANGE)));
    let leaf = tpm.child(parent, b"", b"", &ecc_signing());
    assert_eq!(tpm.create(leaf, b"", b"x", &sealed()), Err(handle(1, TYPE)));
}

#[test]
fn a_primary_template_is_checked_likewise() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.create_primary(OWNER, &ecc_signing().without(a::SIGN)), Err(param(2, ATTRIBUTES)));
    let params = creation(&[1; 33], b"", &ecc_signing());
    assert_eq!(tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params), Err(param(1, SIZE)));
    assert_eq!(tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[], &params), Err(AUTH_MISSING));
    assert_eq!(tpm.with(cc::CREATE_PRIMARY, &[LOCKOUT_HIERARCHY], &[b""], &params), Err(handle(1, VALUE)));
    // sensitive.data of a Primary Object whose secret is the TPM's: another object
    let with_data = creation(b"", b"salt", &ecc_storage());
    let reply = tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &with_data).unwrap();
    assert_ne!(take_2b(&mut &reply[4..]), tpm.primary(OWNER, &ecc_storage()).1);
}

#[test]
fn there_are_eight_slots_and_a_ninth_object_changes_nothing() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let (private, public) = tpm.create(parent, b"", b"x", &sealed()).unwrap();
    for n in 1..8 {
        assert_eq!(tpm.load(parent, &private, &public), Ok(0x8000_0000 + n));
    }
    assert_eq!(tpm.load(parent, &private, &public), Err(OBJECT_MEMORY));
    assert_eq!(tpm.create(parent, b"", b"x", &sealed()).map(drop), Err(OBJECT_MEMORY));
    assert_eq!(tpm.create_primary(OWNER, &ecc_storage()), Err(OBJECT_MEMORY));
    let (sensitive, external) = external_ecc(a::USER | a::SIGN);
    assert_eq!(tpm.load_external(&sensitive, &external, NULL), Err(OBJECT_MEMORY));
    tpm.flush(0x8000_0003).unwrap();
    assert_eq!(tpm.load(parent, &private, &public), Ok(0x8000_0003));
}

#[test]
fn a_private_area_is_of_one_tpm_parent_and_name() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let (private, public) = tpm.create(parent, b"", b"x", &sealed()).unwrap();
    assert_eq!(tpm.load(parent, b"", &public), Err(param(1, SIZE)));
    for bit in (0..private.len() * 8).step_by(7) {
        let mut bad = private.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let rc = tpm.load(parent, &bad, &public).unwrap_err();
        assert!([param(1, INTEGRITY), param(1, SIZE), param(1, INSUFFICIENT)].contains(&rc), "bit {bit}: {rc:#x}");
    }
    for n in 1..private.len() {
        assert!(tpm.load(parent, &private[..n], &public).is_err());
    }
    let mut renamed = public.clone();
    renamed[7] ^= 0x40;
    assert_eq!(tpm.load(parent, &private, &renamed), Err(param(1, INTEGRITY)), "another Name");
    let (other, _) = tpm.primary(OWNER, &rsa_storage());
    assert_eq!(tpm.load(other, &private, &public), Err(param(1, INTEGRITY)));
    let leaf = tpm.child(parent, b"", b"", &ecc_signing());
    assert_eq!(tpm.load(leaf, &private, &public), Err(handle(1, TYPE)));
    let mut unnamed = public.clone();
    unnamed[2..4].copy_from_slice(NONE);
    assert_eq!(tpm.load(parent, &private, &unnamed), Err(param(2, HASH)));
}

#[test]
fn an_external_key_is_checked_against_its_public_area() {
    let mut tpm = Fixture::new();
    let attributes = a::USER | a::SIGN;
    let (secret, public) = external_ecc(attributes);
    let h = tpm.known(&secret, &public);
    assert_eq!(tpm.name(h), [&alg::SHA256.to_be_bytes()[..], &Sha256::digest(&public)].concat());
    assert_eq!(tpm.load_external(&secret, &public, OWNER), Err(param(3, HIERARCHY)));
    for bad in [a::FIXED_TPM, a::FIXED_PARENT, a::RESTRICTED] {
        let (secret, public) = external_ecc(attributes | bad);
        assert_eq!(tpm.load_external(&secret, &public, NULL), Err(param(2, ATTRIBUTES)));
    }
    let mut other = secret.clone();
    *other.last_mut().unwrap() = 2;
    assert_eq!(tpm.load_external(&other, &public, NULL), Err(plain(BINDING)));
    *other.last_mut().unwrap() = 0;
    assert_eq!(tpm.load_external(&other, &public, NULL), Err(plain(KEY_SIZE)), "zero is no private key");
    let mut typed = secret.clone();
    typed[1] = 8;
    assert_eq!(tpm.load_external(&typed, &public, NULL), Err(param(1, TYPE)));
    let mut off = public.clone();
    *off.last_mut().unwrap() ^= 1;
    assert_eq!(tpm.load_external(b"", &off, OWNER), Err(param(2, ECC_POINT)));
    assert!(tpm.load_external(b"", &public, OWNER).is_ok());
    let auth = [&[0, 0x23][..], &tpm2b(&[1; 33]), &tpm2b(b""), &secret[6..]].concat();
    assert_eq!(tpm.load_external(&auth, &public, NULL), Err(param(1, SIZE)));
    let seed = [&[0, 0x23][..], &tpm2b(b""), &tpm2b(&[1; 33]), &secret[6..]].concat();
    assert_eq!(tpm.load_external(&seed, &public, NULL), Err(param(1, KEY_SIZE)));
}

#[test]
fn an_external_rsa_key_is_checked_against_its_public_area() {
    let mut tpm = Fixture::new();
    let mut template = rsa_any();
    template.attributes = a::USER | a::SIGN;
    let load = |tpm: &mut Fixture, modulus: &[u8]| {
        let template = Template { unique: tpm2b(modulus), ..template.clone() };
        tpm.load_external(b"", &template.bytes(), OWNER)
    };
    let mut modulus = vec![0xff; 256];
    assert!(load(&mut tpm, &modulus).is_ok());
    assert_eq!(load(&mut tpm, &modulus[1..]), Err(param(2, KEY)));
    modulus[0] = 0x7f;
    assert_eq!(load(&mut tpm, &modulus), Err(param(2, KEY)));
    modulus[0] = 0xff;
    let public = Template { unique: tpm2b(&modulus), ..template.clone() };
    let prime = |bytes: &[u8]| [&[0, 1][..], &tpm2b(b""), &tpm2b(b""), &tpm2b(bytes)].concat();
    assert_eq!(tpm.load_external(&prime(&[0xff; 127]), &public.bytes(), NULL), Err(param(1, KEY_SIZE)));
    assert_eq!(tpm.load_external(&prime(&[0x7f; 128]), &public.bytes(), NULL), Err(param(1, KEY_SIZE)));
    assert_eq!(tpm.load_external(&prime(&[0xfe; 128]), &public.bytes(), NULL), Err(plain(BINDING)));
    let mut exponent = public.clone();
    let end = exponent.parms.len();
    exponent.parms[end - 1] = 9;
    assert_eq!(tpm.load_external(b"", &exponent.bytes(), OWNER), Err(param(2, VALUE)));
}

#[test]
fn an_external_symmetric_key_is_bound_by_its_seed() {
    let mut tpm = Fixture::new();
    let (seed, key) = ([7; 32], b"key");
    let unique = Sha256::digest([&seed[..], key].concat());
    let template = Template { attributes: a::USER | a::SIGN, unique: tpm2b(&unique), ..hmac_key() };
    let sensitive = |seed: &[u8], key: &[u8]| [&[0, 8][..], &tpm2b(b""), &tpm2b(seed), &tpm2b(key)].concat();
    assert!(tpm.load_external(&sensitive(&seed, key), &template.bytes(), NULL).is_ok());
    assert_eq!(tpm.load_external(&sensitive(&seed, b"kez"), &template.bytes(), NULL), Err(plain(BINDING)));
    assert_eq!(tpm.load_external(&sensitive(&seed[1..], key), &template.bytes(), NULL), Err(param(1, KEY_SIZE)));
    assert_eq!(tpm.load_external(&sensitive(&seed, &[1; 65]), &template.bytes(), NULL), Err(param(1, KEY_SIZE)));
    let short = Template { unique: tpm2b(&[0; 31]), ..template };
    assert_eq!(tpm.load_external(b"", &short.bytes(), OWNER), Err(param(2, KEY)));
}

#[test]
fn a_credential_opens_for_its_name_and_key_only() {
    let mut tpm = Fixture::new();
    for storage in [ecc_storage(), rsa_storage()] {
        let (ek, _) = tpm.primary(ENDORSEMENT, &storage);
        let (ak, _) = tpm.primary(OWNER, &ecc_signing());
        let name = tpm.name(ak);
        let reply = tpm.run(cc::MAKE_CREDENTIAL, &[ek], &[], &[tpm2b(b"credential"), tpm2b(&name)].concat()).unwrap();
        let rest = &mut &reply[..];
        let (blob, secret) = (take_2b(rest).to_vec(), take_2b(rest).to_vec());
        let activate = |tpm: &mut Fixture, handles: [u32; 2], blob: &[u8], secret: &[u8]| {
            tpm.with(cc::ACTIVATE_CREDENTIAL, &handles, &[b"", b""], &[tpm2b(blob), tpm2b(secret)].concat())
        };
        assert_eq!(activate(&mut tpm, [ak, ek], &blob, &secret).unwrap(), tpm2b(b"credential"));
        let mut bad = blob.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(activate(&mut tpm, [ak, ek], &bad, &secret), Err(param(1, INTEGRITY)));
        assert_eq!(activate(&mut tpm, [ek, ek], &blob, &secret), Err(param(1, INTEGRITY)), "another Name");
        let mut bad = secret.clone();
        *bad.last_mut().unwrap() ^= 1;
        let rc = activate(&mut tpm, [ak, ek], &blob, &bad).unwrap_err();
        assert!([param(2, VALUE), param(2, ECC_POINT)].contains(&rc), "{rc:#x}");
        assert_eq!(activate(&mut tpm, [ak, ak], &blob, &secret), Err(handle(2, TYPE)));
        let longest = tpm.run(cc::MAKE_CREDENTIAL, &[ek], &[], &[tpm2b(&[1; 32]), tpm2b(&name)].concat()).unwrap();
        let opened = tpm.with(cc::ACTIVATE_CREDENTIAL, &[ak, ek], &[b"", b""], &longest).unwrap();
        assert_eq!(opened, tpm2b(&[1; 32]), "as long as a digest of the key's nameAlg");
        let long = [tpm2b(&[1; 33]), tpm2b(&name)].concat();
        assert_eq!(tpm.run(cc::MAKE_CREDENTIAL, &[ek], &[], &long), Err(param(1, SIZE)));
        assert_eq!(tpm.run(cc::MAKE_CREDENTIAL, &[ak], &[], &long), Err(handle(1, TYPE)));
        tpm.flush(ek).unwrap();
        tpm.flush(ak).unwrap();
    }
}

/// TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET for a P-256 storage key, around anything: whoever chooses the seed can do
/// so (Part 1, 21.3). The ephemeral key is d = 1, so what both sides agree on is the storage key's own point.
fn credential_around(inner: &[u8], storage_key: &[u8], name: &[u8]) -> Vec<u8> {
    let x = &storage_key[storage_key.len() - 66..storage_key.len() - 34];
    let seed = Alg::Sha256.kdfe(x, b"IDENTITY", &BASE[0], x);
    let mut area = inner.to_vec();
    cfb(&Alg::Sha256.kdfa(&seed, b"STORAGE", name, &[], 16), &[0; 16], true, &mut area);
    let hmac = Alg::Sha256.hmac(&Alg::Sha256.kdfa(&seed, b"INTEGRITY", &[], &[], 32), &[&area, name]);
    let secret = BASE.map(|coordinate| tpm2b(&coordinate)).concat();
    [tpm2b(&[tpm2b(&hmac), area].concat()), tpm2b(&secret)].concat()
}

#[test]
fn a_credential_of_whoever_knows_the_seed_is_one_tpm2b_and_no_longer_than_a_digest() {
    let mut tpm = Fixture::new();
    let (ek, public) = tpm.primary(ENDORSEMENT, &ecc_storage());
    let (ak, _) = tpm.primary(OWNER, &ecc_signing());
    let name = tpm.name(ak);
    let mut activate = |inner: &[u8]| {
        let params = credential_around(inner, &public, &name);
        tpm.with(cc::ACTIVATE_CREDENTIAL, &[ak, ek], &[b"", b""], &params)
    };
    assert_eq!(activate(&tpm2b(&[1; 32])), Ok(tpm2b(&[1; 32])));
    assert_eq!(activate(&tpm2b(&[1; 33])), Err(param(1, SIZE)), "longer than a digest of the key's nameAlg");
    assert_eq!(activate(&[&tpm2b(&[1; 32])[..], &[0]].concat()), Err(param(1, SIZE)), "an octet behind it");
    assert_eq!(activate(&tpm2b(&[1; 32])[..33]), Err(param(1, INSUFFICIENT)));
    assert_eq!(activate(&tpm2b(b"")), Ok(tpm2b(b"")));
}

#[test]
fn a_new_auth_value_is_in_the_new_private_area() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let (private, public) = tpm.create(parent, b"old", b"x", &sealed()).unwrap();
    let item = tpm.load(parent, &private, &public).unwrap();
    let change = |tpm: &mut Fixture, handles: [u32; 2], auth: &[u8], new: &[u8]| {
        tpm.with(cc::OBJECT_CHANGE_AUTH, &handles, &[auth], &tpm2b(new))
    };
    let private = change(&mut tpm, [item, parent], b"old", b"new").unwrap();
    let changed = tpm.load(parent, &private[2..], &public).unwrap();
    assert_eq!(unseal(&mut tpm, changed, b"new").unwrap(), *b"x");
    assert_eq!(unseal(&mut tpm, item, b"old").unwrap(), *b"x", "the loaded object keeps its own");
    assert_eq!(change(&mut tpm, [item, parent], b"old", &[1; 33]), Err(param(1, SIZE)));
    let (other, _) = tpm.primary(OWNER, &rsa_storage());
    assert_eq!(change(&mut tpm, [item, other], b"old", b"new"), Err(handle(2, TYPE)));
    assert_eq!(change(&mut tpm, [item, item], b"old", b"new"), Err(handle(2, TYPE)));
}

#[test]
fn an_object_without_a_name_is_nobodys_child() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &sym_storage());
    let mut nameless = sealed().without(a::FIXED_TPM | a::FIXED_PARENT);
    nameless.name_alg = 0x10;
    let secret = [&[0, 8][..], &tpm2b(b""), &tpm2b(b""), &tpm2b(b"data")].concat();
    let item = tpm.known(&secret, &nameless.bytes());
    assert_eq!(tpm.with(cc::OBJECT_CHANGE_AUTH, &[item, parent], &[b""], &tpm2b(b"")), Err(handle(2, TYPE)));
}

#[test]
fn create_loaded_makes_primary_ordinary_and_derived_objects() {
    let mut tpm = Fixture::new();
    let loaded = |tpm: &mut Fixture, parent: u32, data: &[u8], template: &Template| {
        tpm.with(cc::CREATE_LOADED, &[parent], &[b""], &[sensitive(b"", data), template.sized()].concat())
    };
    let parts = |reply: &[u8]| {
        let rest = &mut &reply[4..];
        (handle_of(reply), take_2b(rest).to_vec(), take_2b(rest).to_vec(), take_2b(rest).to_vec())
    };
    let reply = loaded(&mut tpm, OWNER, b"", &ecc_storage()).unwrap();
    let (primary, private, public, name) = parts(&reply);
    assert!(private.is_empty());
    assert_eq!(public, tpm.primary(OWNER, &ecc_storage()).1, "as TPM2_CreatePrimary");
    assert_eq!(name, tpm.name(primary));

    let reply = loaded(&mut tpm, primary, b"data", &sealed()).unwrap();
    let (ordinary, private, public, _) = parts(&reply);
    assert_eq!(unseal(&mut tpm, ordinary, b"").unwrap(), *b"data");
    assert!(tpm.load(primary, &private, &public).is_ok());

    let derivation = tpm.child(primary, b"", b"", &derivation_parent());
    let derive = |label: &[u8], context: &[u8]| [tpm2b(label), tpm2b(context)].concat();
    let derived = |t: Template, unique: Vec<u8>| Template { unique, ..t.without(a::ORIGIN) };
    let signing = derived(ecc_signing(), derive(b"label", b"context"));
    let reply = loaded(&mut tpm, derivation, b"", &signing).unwrap();
    let (first, private, public, _) = parts(&reply);
    assert!(private.is_empty());
    tpm.flush(first).unwrap();
    let from_data = derived(ecc_signing(), derive(b"", b""));
    let reply = loaded(&mut tpm, derivation, &derive(b"label", b"context"), &from_data).unwrap();
    assert_eq!(parts(&reply).2, public, "label and context may be in either place");
    tpm.flush(parts(&reply).0).unwrap();
    let other = derived(ecc_signing(), derive(b"label", b"other"));
    let reply = loaded(&mut tpm, derivation, b"", &other).unwrap();
    assert_ne!(parts(&reply).2, public);
    tpm.flush(parts(&reply).0).unwrap();
    assert!(loaded(&mut tpm, derivation, b"", &derived(hmac_key(), derive(b"l", b"c"))).is_ok());

    let rsa = derived(rsa_any(), derive(b"l", b"c"));
    assert_eq!(loaded(&mut tpm, derivation, b"", &rsa), Err(param(2, TYPE)));
    assert_eq!(loaded(&mut tpm, derivation, b"", &signing.clone().with(a::ORIGIN)), Err(plain(ATTRIBUTES)));
    let long = [&derive(b"l", b"c")[..], &[0]].concat();
    assert_eq!(loaded(&mut tpm, derivation, &long, &from_data), Err(plain(SIZE)));
    assert_eq!(loaded(&mut tpm, 0x8000_0007, b"", &signing), Err(reference_h(0)));
    assert_eq!(loaded(&mut tpm, ordinary, b"x", &sealed()), Err(handle(1, TYPE)));
    assert_eq!(tpm.create(derivation, b"", b"x", &sealed()).map(drop), Err(handle(1, TYPE)), "no storage key");
    let mut cut = ecc_storage().bytes();
    cut.push(0);
    let params = [sensitive(b"", b""), tpm2b(&cut)].concat();
    assert_eq!(tpm.with(cc::CREATE_LOADED, &[OWNER], &[b""], &params), Err(param(2, SIZE)));
    let params = [sensitive(&[1; 33], b""), ecc_storage().sized()].concat();
    assert_eq!(tpm.with(cc::CREATE_LOADED, &[OWNER], &[b""], &params), Err(param(1, SIZE)));
}
