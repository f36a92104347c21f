//! Public areas, and what must go with them, in every command that takes one (Part 2, 8.3.3 and 12.2.3; Part 3, 12,
//! 13.3, 24.1 and 30.3).

use crate::harness::Fixture;
use crate::harness::keys::{
    NONE, Template, a, aes_key, creation, ecc_signing, ecc_storage, handle_of, hmac_key, rsa_any, rsa_storage, sealed,
    sensitive, sym_storage, take_2b,
};
use client::codes::{ATTRIBUTES, BINDING, ECC_POINT, KEY, KEY_SIZE, NULL, OWNER, RANGE, SIZE, VALUE, param, plain};
use client::hash::Alg;
use client::names::alg;
use client::session::Outcome;
use client::sym::cfb;
use client::tpm2b;
use tpm_core::cc;
use tpm_crypto::ecc::Curve;
use tpm_crypto::{mldsa::MlDsa, mlkem::MlKem};

/// TPMT_SENSITIVE with an empty authValue.
fn secret(object_type: u16, seed: &[u8], key: &[u8]) -> Vec<u8> {
    [&object_type.to_be_bytes()[..], &[0, 0], &tpm2b(seed), &tpm2b(key)].concat()
}

/// The same key as it comes from outside.
fn free(template: Template) -> Template {
    template.without(a::FIXED | a::ORIGIN)
}

fn unnamed(template: Template) -> Template {
    Template { name_alg: 0x10, ..template }
}

/// TPM2_Import of an area that is not wrapped.
fn import(tpm: &mut Fixture, parent: u32, template: &Template, secret: &[u8]) -> Outcome {
    let params = [&[0, 0][..], &template.sized(), &tpm2b(&tpm2b(secret)), &[0, 0], NONE].concat();
    tpm.with(cc::IMPORT, &[parent], &[b""], &params)
}

/// The seedValue of the parent that [`known_parent`] makes, and its secret.
const SEED: [u8; 32] = [0x5e; 32];
const KEY_OF_PARENT: [u8; 16] = [0x6e; 16];

/// A symmetric storage key without fixedTPM, of which the caller knows all: he can wrap what no TPM has made.
fn known_parent(tpm: &mut Fixture) -> u32 {
    let (fixed, _) = tpm.primary(OWNER, &ecc_storage());
    let unique = Alg::Sha256.hmac(&SEED, &[&KEY_OF_PARENT]);
    let template = Template { unique: tpm2b(&unique), ..free(sym_storage()) };
    let private = import(tpm, fixed, &template, &secret(alg::SYMCIPHER, &SEED, &KEY_OF_PARENT)).unwrap();
    let parent = tpm.load(fixed, &private[2..], &template.bytes()).unwrap();
    tpm.flush(fixed).unwrap();
    parent
}

/// TPM2B_PRIVATE below [`known_parent`] (Part 1, 19.4 and 19.5).
fn wrapped(template: &Template, secret: &[u8]) -> Vec<u8> {
    let name = [&alg::SHA256.to_be_bytes()[..], &Alg::Sha256.hash(&[&template.bytes()])].concat();
    let key = Alg::Sha256.kdfa(&SEED, b"STORAGE", &name, &[], 16);
    let mut area = tpm2b(secret);
    cfb(&key, &[0; 16], true, &mut area);
    let body = [tpm2b(&[0; 16]), area].concat();
    let hmac_key = Alg::Sha256.kdfa(&SEED, b"INTEGRITY", &[], &[], 32);
    [tpm2b(&Alg::Sha256.hmac(&hmac_key, &[&body, &name])), body].concat()
}

/// An ECC key with d = 1, whose point is the base point of P-256.
fn ecc_pair() -> (Template, Vec<u8>) {
    let base = Curve::NistP256.parameters();
    let mut d = [0; 32];
    d[31] = 1;
    (Template { unique: [tpm2b(base.gx), tpm2b(base.gy)].concat(), ..free(ecc_signing()) }, secret(alg::ECC, b"", &d))
}

/// A way into the TPM for a template and a secret of the caller's.
type Way = fn(&mut Fixture, &Template, &[u8]) -> Option<u32>;

fn error(outcome: Result<impl Sized, u32>) -> Option<u32> {
    outcome.err()
}

/// The commands in which the TPM makes the key.
const CREATIONS: [(&str, Way); 4] = [
    ("CreatePrimary", |tpm, t, _| error(tpm.create_primary(OWNER, t))),
    ("Create", |tpm, t, _| {
        let (parent, _) = tpm.primary(OWNER, &ecc_storage());
        error(tpm.with(cc::CREATE, &[parent], &[b""], &creation(b"", b"", t)))
    }),
    ("CreateLoaded", |tpm, t, _| {
        error(tpm.with(cc::CREATE_LOADED, &[OWNER], &[b""], &[sensitive(b"", b""), t.sized()].concat()))
    }),
    ("CreateLoaded below a parent", |tpm, t, _| {
        let (parent, _) = tpm.primary(OWNER, &ecc_storage());
        error(tpm.with(cc::CREATE_LOADED, &[parent], &[b""], &[sensitive(b"", b""), t.sized()].concat()))
    }),
];

/// The commands to which the caller gives a key.
const ENTRIES: [(&str, Way); 5] = [
    ("LoadExternal", |tpm, t, secret| error(tpm.load_external(secret, &t.bytes(), NULL))),
    ("LoadExternal without nameAlg", |tpm, t, secret| {
        error(tpm.load_external(secret, &unnamed(t.clone()).bytes(), NULL))
    }),
    ("Import", |tpm, t, secret| {
        let (parent, _) = tpm.primary(OWNER, &ecc_storage());
        error(import(tpm, parent, t, secret))
    }),
    ("Import below a parent without fixedTPM", |tpm, t, secret| {
        let parent = known_parent(tpm);
        error(import(tpm, parent, t, secret))
    }),
    ("Load", |tpm, t, secret| {
        let parent = known_parent(tpm);
        error(tpm.load(parent, &wrapped(t, secret), &t.bytes()))
    }),
];

/// Part 2, 8.3.3.15: for Creation, Load, Import and External x509sign "shall not be SET if sign is CLEAR or if the
/// object is not an asymmetric key".
#[test]
fn x509sign_is_for_asymmetric_keys_that_sign() {
    let decrypts = Template { parms: [NONE, NONE, &[0, 3], NONE].concat(), ..ecc_signing().without(a::SIGN) };
    let decrypts = decrypts.with(a::DECRYPT);
    let ml_kem =
        Template { object_type: alg::MLKEM, parms: [NONE, &[0, 1]].concat(), unique: vec![0, 0], ..decrypts.clone() };
    let wrong = [
        ("RSA key that decrypts", rsa_any().without(a::SIGN), alg::RSA),
        ("RSA storage key", rsa_storage(), alg::RSA),
        ("ECC key that decrypts", decrypts, alg::ECC),
        ("ECC storage key", ecc_storage(), alg::ECC),
        ("ML-KEM key", ml_kem, alg::MLKEM),
        ("HMAC key", hmac_key(), alg::KEYEDHASH),
        ("cipher", aes_key(), alg::SYMCIPHER),
        ("symmetric storage key", sym_storage(), alg::SYMCIPHER),
    ];
    for (what, template, object_type) in wrong {
        for (way, send) in CREATIONS {
            let mut tpm = Fixture::new();
            assert_eq!(send(&mut tpm, &template, b""), None, "{what}, {way}: without it");
            let template = template.clone().with(a::X509_SIGN);
            assert_eq!(send(&mut Fixture::new(), &template, b""), Some(param(2, ATTRIBUTES)), "{what}, {way}");
        }
        for (way, send) in ENTRIES {
            let template = free(template.clone()).with(a::X509_SIGN);
            let refused = send(&mut Fixture::new(), &template, &secret(object_type, b"", &[1; 16]));
            assert_eq!(refused, Some(param(2, ATTRIBUTES)), "{what}, {way}");
        }
    }
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let data = sealed().with(a::X509_SIGN);
    assert_eq!(tpm.create(parent, b"", b"data", &data).map(drop), Err(param(2, ATTRIBUTES)), "sealed data");
    let derived = Template { unique: [0; 4].to_vec(), ..aes_key().without(a::ORIGIN).with(a::X509_SIGN) };
    let derivation = tpm.child(parent, b"", b"", &crate::harness::keys::derivation_parent());
    let params = [sensitive(b"", b""), derived.sized()].concat();
    assert_eq!(tpm.with(cc::CREATE_LOADED, &[derivation], &[b""], &params), Err(param(2, ATTRIBUTES)), "derived");

    for (way, send) in CREATIONS {
        for template in [ecc_signing(), rsa_any()] {
            assert_eq!(send(&mut Fixture::new(), &template.with(a::X509_SIGN), b""), None, "{way}");
        }
    }
    // TPM2_CreatePrimary of an HMAC key that was accepted, octet by octet.
    let hmac = b"\x80\x02\0\0\0\x39\0\0\x01\x31\x40\0\0\x01\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x04\0\0\0\0\0\x10\0\x08\0\x0b\0\x0c\0\x72\0\0\0\x05\0\x0b\0\0\0\0\0\0\0\0";
    assert_eq!(Fixture::new().raw(hmac)[6..], param(2, ATTRIBUTES).to_be_bytes());
    let (template, secret) = ecc_pair();
    for (way, send) in ENTRIES {
        assert_eq!(send(&mut Fixture::new(), &template.clone().with(a::X509_SIGN), &secret), None, "{way}");
    }
    let mut tpm = Fixture::new();
    let public = free(aes_key()).with(a::X509_SIGN);
    let public = Template { unique: tpm2b(&[0; 32]), ..public };
    assert!(
        tpm.load_external(b"", &public.bytes(), OWNER).is_ok(),
        "a public area alone is checked for reserved bits only"
    );
}

/// Part 2, 8.3.3.2 to 8.3.3.14: the rules for External hold for a key without nameAlg as well, as both of its areas are
/// loaded.
#[test]
fn an_external_key_has_the_attributes_of_one_whether_it_has_a_name_or_not() {
    let (template, secret) = ecc_pair();
    let wrong = [
        ("fixedTPM", a::FIXED_TPM),
        ("fixedParent", a::FIXED_PARENT),
        ("restricted", a::RESTRICTED),
        ("firmwareLimited", a::FIRMWARE_LIMITED),
        ("svnLimited", a::SVN_LIMITED),
    ];
    for (what, attribute) in wrong {
        for template in [template.clone(), unnamed(template.clone())] {
            let refused = Fixture::new().load_external(&secret, &template.with(attribute).bytes(), NULL);
            assert_eq!(refused, Err(param(2, ATTRIBUTES)), "{what}");
        }
    }
    for may_be in [a::ST_CLEAR, a::ORIGIN, a::USER, a::ADMIN_POLICY, a::NO_DA, a::ENCRYPTED_DUPLICATION] {
        for template in [template.clone(), unnamed(template.clone())] {
            assert!(Fixture::new().load_external(&secret, &template.with(may_be).bytes(), NULL).is_ok());
        }
    }
}

/// Part 2, 8.3.3: the rules for Import hold below any parent. Part 3, 13.3.1: whether the two areas belong together may
/// wait, below a parent without fixedTPM, until the object is loaded.
#[test]
fn the_attributes_of_what_is_imported_are_checked_below_every_parent() {
    let (template, secret) = ecc_pair();
    let both = Template { parms: [NONE, NONE, &[0, 3], NONE].concat(), ..template.clone() };
    let cases = [
        ("fixedTPM", template.clone().with(a::FIXED_TPM)),
        ("fixedParent", template.clone().with(a::FIXED_PARENT)),
        ("firmwareLimited", template.clone().with(a::FIRMWARE_LIMITED)),
        ("svnLimited", template.clone().with(a::SVN_LIMITED)),
        ("restricted, sign and decrypt", both.with(a::RESTRICTED | a::DECRYPT)),
    ];
    for (what, template) in cases {
        for (way, send) in &ENTRIES[2..4] {
            assert_eq!(send(&mut Fixture::new(), &template, &secret), Some(param(2, ATTRIBUTES)), "{what}, {way}");
        }
    }
    // 8.3.3.11: encryptedDuplication is that of a new parent without fixedTPM.
    let mut tpm = Fixture::new();
    let (fixed, _) = tpm.primary(OWNER, &ecc_storage());
    let storage = ecc_storage().without(a::FIXED).with(a::ENCRYPTED_DUPLICATION);
    let encrypting = tpm.child(fixed, b"", b"", &storage);
    assert_eq!(import(&mut tpm, encrypting, &template, &secret), Err(param(2, ATTRIBUTES)));
    assert!(import(&mut tpm, fixed, &template, &secret).is_ok());
    let parent = known_parent(&mut tpm);
    assert!(import(&mut tpm, parent, &template, &secret).is_ok());
    // What does not belong together: refused where the TPM will not look again, and otherwise when it is loaded.
    let other = self::secret(alg::ECC, b"", &[2; 32]);
    assert_eq!(ENTRIES[2].1(&mut Fixture::new(), &template, &other), Some(plain(BINDING)));
    let private = import(&mut tpm, parent, &template, &other).unwrap();
    assert_eq!(tpm.load(parent, &private[2..], &template.bytes()), Err(plain(BINDING)));
}

/// Part 3, 12.3.1: without nameAlg the TPM "will still perform cryptographic validity checks (e.g., the ECC public
/// point is on the curve) and public/private key pair consistency checks".
#[test]
fn without_name_alg_the_two_areas_must_still_belong_together() {
    let mut tpm = Fixture::new();
    let load = |tpm: &mut Fixture, template: &Template, secret: &[u8]| {
        let hierarchy = if secret.is_empty() { OWNER } else { NULL };
        let handle = tpm.load_external(secret, &unnamed(template.clone()).bytes(), hierarchy)?;
        tpm.flush(handle).map(drop)
    };
    let (ecc, good) = ecc_pair();
    assert_eq!(load(&mut tpm, &ecc, &good), Ok(()));
    assert_eq!(load(&mut tpm, &ecc, &secret(alg::ECC, b"", &[2; 32])), Err(plain(BINDING)), "another private key");
    assert_eq!(load(&mut tpm, &ecc, b""), Ok(()));
    let off = Template { unique: [tpm2b(&[1; 32]), tpm2b(&[1; 32])].concat(), ..ecc };
    assert_eq!(load(&mut tpm, &off, b""), Err(param(2, ECC_POINT)), "a point that is not on the curve");
    assert_eq!(load(&mut tpm, &off, &good), Err(plain(BINDING)));

    let rsa = Template { unique: tpm2b(&[0xc5; 256]), ..free(rsa_any()) };
    assert_eq!(load(&mut tpm, &rsa, &secret(alg::RSA, b"", &[0xc7; 128])), Err(plain(BINDING)));
    assert_eq!(load(&mut tpm, &rsa, &secret(alg::RSA, b"", &[0xc5; 127])), Err(param(1, KEY_SIZE)));
    let aes = Template { unique: vec![0, 0], ..free(aes_key()) };
    assert_eq!(load(&mut tpm, &aes, &secret(alg::SYMCIPHER, b"", &[1; 15])), Err(param(1, KEY_SIZE)));
    assert_eq!(load(&mut tpm, &aes, &secret(alg::SYMCIPHER, b"", &[1; 16])), Ok(()));
    let hmac = Template { unique: vec![0, 0], ..free(hmac_key()) };
    assert_eq!(load(&mut tpm, &hmac, &secret(alg::KEYEDHASH, b"", &[1; 65])), Err(param(1, KEY_SIZE)));
    assert_eq!(load(&mut tpm, &hmac, &secret(alg::KEYEDHASH, b"", &[1; 64])), Ok(()));

    let mut public = [0; 2600];
    let kem = &mut public[..MlKem::MlKem512.public_size()];
    MlKem::MlKem512.public(&[7; 64], kem).unwrap();
    let parms = [NONE, &[0, 1]].concat();
    let kem = Template { object_type: alg::MLKEM, parms, unique: tpm2b(kem), ..free(rsa_any()).without(a::SIGN) };
    assert_eq!(load(&mut tpm, &kem, &secret(alg::MLKEM, b"", &[7; 64])), Ok(()));
    assert_eq!(load(&mut tpm, &kem, &secret(alg::MLKEM, b"", &[8; 64])), Err(plain(BINDING)));
    let out_of_range = Template { unique: tpm2b(&[0xff; 800]), ..kem };
    assert_eq!(load(&mut tpm, &out_of_range, b""), Err(param(2, KEY)), "no polynomial");
    let dsa = &mut public[..MlDsa::MlDsa44.public_size()];
    MlDsa::MlDsa44.public(&[7; 32], dsa).unwrap();
    let dsa = Template { object_type: alg::MLDSA, parms: vec![0, 1, 0], unique: tpm2b(dsa), ..free(ecc_signing()) };
    assert_eq!(load(&mut tpm, &dsa, &secret(alg::MLDSA, b"", &[7; 32])), Ok(()));
    assert_eq!(load(&mut tpm, &dsa, &secret(alg::MLDSA, b"", &[8; 32])), Err(plain(BINDING)));
}

/// An RSA-1024 key with this exponent.
fn rsa_with(exponent: u32) -> Template {
    let mut template = rsa_any();
    template.parms = [NONE, NONE, &[4, 0], &exponent.to_be_bytes()].concat();
    template
}

/// Part 2, 12.2.3.4: "an odd number greater than 2", other values than zero being optional: those that are prime are
/// good in every command, all others in none.
#[test]
fn a_public_exponent_is_good_everywhere_or_nowhere() {
    for good in [0, 3, 5, 7, 17, 37, 257, 65537, 4_294_967_291] {
        let template = rsa_with(good);
        for (way, send) in CREATIONS {
            assert_eq!(send(&mut Fixture::new(), &template, b""), None, "{way}, {good}");
        }
        let mut tpm = Fixture::new();
        assert_eq!(test_parms(&mut tpm, good), Ok(vec![]), "TestParms, {good}");
        // A key that the TPM has made leaves it, comes back in every way, and works.
        let (key, prime) = made(&mut tpm, good);
        for (way, send) in ENTRIES {
            assert_eq!(send(&mut Fixture::new(), &key, &prime), None, "{way}, {good}");
        }
        for key in [key.clone(), unnamed(key)] {
            let (public, pair) = (key.bytes(), tpm.load_external(&prime, &key.bytes(), NULL).unwrap());
            let only = tpm.load_external(b"", &public, OWNER).unwrap();
            signs_and_decrypts(&mut tpm, pair, only);
            tpm.flush(pair).unwrap();
            tpm.flush(only).unwrap();
        }
    }
    for bad in [1, 2, 4, 6, 9, 15, 35, 65536, 65541, u32::MAX] {
        let template = rsa_with(bad);
        for (way, send) in CREATIONS {
            assert_eq!(send(&mut Fixture::new(), &template, b""), Some(plain(RANGE)), "{way}, {bad}");
        }
        let mut tpm = Fixture::new();
        assert_eq!(test_parms(&mut tpm, bad), Err(param(1, VALUE)), "TestParms, {bad}");
        let public = Template { unique: tpm2b(&[0xc5; 128]), ..free(template) };
        for (way, send) in ENTRIES {
            let secret = secret(alg::RSA, b"", &[0xc5; 64]);
            assert_eq!(send(&mut Fixture::new(), &public, &secret).map(unplaced), Some(VALUE), "{way}, {bad}");
        }
        assert_eq!(tpm.load_external(b"", &public.bytes(), OWNER), Err(param(2, VALUE)), "{bad}");
    }
}

/// A code of format one at a parameter, without the position.
fn unplaced(rc: u32) -> u32 {
    assert_eq!(rc & 0xfc0, 0x2c0, "{rc:#x}");
    rc & 0x3f
}

fn test_parms(tpm: &mut Fixture, exponent: u32) -> Outcome {
    tpm.run(cc::TEST_PARMS, &[], &[], &[&alg::RSA.to_be_bytes()[..], &rsa_with(exponent).parms].concat())
}

/// A key with this exponent that a TPM has made: its public area, free, and its prime.
fn made(tpm: &mut Fixture, exponent: u32) -> (Template, Vec<u8>) {
    let parent = known_parent(tpm);
    let template = rsa_with(exponent).without(a::FIXED);
    let reply = tpm.with(cc::CREATE, &[parent], &[b""], &creation(b"", b"", &template)).unwrap();
    let rest = &mut &reply[..];
    let (private, public) = (take_2b(rest), take_2b(rest));
    let modulus = &public[public.len() - 128..];
    // outerHMAC, IV, encrypted area
    let rest = &mut &private[..];
    take_2b(rest);
    let iv = take_2b(rest).to_vec();
    let name = [&alg::SHA256.to_be_bytes()[..], &Alg::Sha256.hash(&[public])].concat();
    let mut area = rest.to_vec();
    cfb(&Alg::Sha256.kdfa(&SEED, b"STORAGE", &name, &[], 16), &iv, false, &mut area);
    let prime = secret(alg::RSA, b"", &area[area.len() - 64..]);
    tpm.flush(parent).unwrap();
    (Template { unique: tpm2b(modulus), ..free(template) }, prime)
}

/// The pair signs what the public key verifies, and decrypts what it encrypts.
fn signs_and_decrypts(tpm: &mut Fixture, pair: u32, public: u32) {
    let digest = [0x77; 32];
    let params = [&tpm2b(&digest)[..], &[0, 0x16, 0, 0xb], &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]].concat();
    let signature = tpm.with(cc::SIGN, &[pair], &[b""], &params).unwrap();
    assert!(tpm.run(cc::VERIFY_SIGNATURE, &[public], &[], &[tpm2b(&digest), signature].concat()).is_ok());
    let encrypted =
        tpm.run(cc::RSA_ENCRYPT, &[public], &[], &[&tpm2b(b"secret")[..], &[0, 0x15, 0, 0]].concat()).unwrap();
    let decrypted = tpm.with(cc::RSA_DECRYPT, &[pair], &[b""], &[&encrypted[..], &[0, 0x15, 0, 0]].concat()).unwrap();
    assert_eq!(decrypted, tpm2b(b"secret"));
}

/// Part 3, 12.1.1: the TPM validates that the caller's key "is no larger than the key size indicated in the inPublic
/// template (TPM_RC_SIZE)". One that is shorter could never be loaded (12.2.1: TPM_RC_KEY_SIZE), and is refused at
/// once.
#[test]
fn a_callers_cipher_key_is_as_long_as_the_template_says() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let template = aes_key().without(a::ORIGIN);
    for (len, expected) in [(1, Some(KEY_SIZE)), (15, Some(KEY_SIZE)), (16, None), (17, Some(SIZE)), (32, Some(SIZE))] {
        let params = creation(b"", &vec![1; len], &template);
        let expected = expected.map(plain);
        assert_eq!(tpm.with(cc::CREATE, &[parent], &[b""], &params).err(), expected, "Create, {len}");
        let primary = tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &params);
        assert_eq!(primary.as_ref().err().copied(), expected, "CreatePrimary, {len}");
        if let Ok(reply) = primary {
            tpm.flush(handle_of(&reply)).unwrap();
        }
    }
}
