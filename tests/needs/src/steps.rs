//! The calls that go deep: each kind of key made, loaded and used, states, tests.

use crate::caller::Caller;
use client::attributes::object as a;
use client::codes::{LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM};
use client::command::{handle_of, take_2b, tpm2b};
use client::names::alg;
use client::session::{Kind, Session, Start, execute};
use client::sym::Sym;
use client::template::{Template, aes_key, ecc_signing, ecc_storage, hmac_key, rsa_any, rsa_storage, sealed};
use std::collections::BTreeMap;
use tpm_core::{StateForm, cc};

/// Does them all; how deep each call went, and in which step.
#[must_use]
pub fn all() -> BTreeMap<&'static str, (usize, String)> {
    let mut tpm = Caller::new();
    life(&mut tpm);
    rsa(&mut tpm);
    curves(&mut tpm);
    ml_dsa(&mut tpm);
    ml_kem(&mut tpm);
    storage(&mut tpm);
    duplication(&mut tpm);
    sessions(&mut tpm);
    nv(&mut tpm);
    others(&mut tpm);
    states(&mut tpm);
    tpm.deepest
}

fn life(tpm: &mut Caller) {
    tpm.step("a new TPM");
    tpm.platform("manufacture", |tpm, hooks| tpm.manufacture(hooks)).expect("entropy");
    tpm.run(cc::STARTUP, &[], 0, &[0, 0]);
    tpm.run(cc::SELF_TEST, &[], 0, &[1]);
    tpm.step("after TPM2_Shutdown(STATE)");
    tpm.run(cc::SHUTDOWN, &[], 0, &[0, 1]);
    tpm.platform("_TPM_Init", |tpm, hooks| tpm.init(hooks));
    tpm.run(cc::STARTUP, &[], 0, &[0, 1]);
}

fn rsa_with(bits: u16) -> Template {
    Template { parms: [&[0, 16, 0, 16][..], &bits.to_be_bytes(), &[0; 4]].concat(), ..rsa_any() }
}

fn rsa(tpm: &mut Caller) {
    let parent = tpm.primary(&rsa_storage());
    for bits in [2048, 3072, 4096] {
        tpm.step(&format!("RSA-{bits}"));
        let key = tpm.child(parent, &rsa_with(bits));
        let scheme = [&alg::OAEP.to_be_bytes()[..], &alg::SHA256.to_be_bytes()].concat();
        let sealed = tpm.run(cc::RSA_ENCRYPT, &[key], 0, &[&tpm2b(b"secret")[..], &scheme, &[0; 2]].concat());
        tpm.run(cc::RSA_DECRYPT, &[key], 1, &[&sealed[..], &scheme, &[0; 2]].concat());
        for scheme in [alg::RSASSA, alg::RSAPSS] {
            sign_and_verify(tpm, key, &[scheme, alg::SHA256]);
        }
        context(tpm, key);
    }
    tpm.step("RSA-4096");
    let key = tpm.primary(&rsa_with(4096));
    attest(tpm, key, &[alg::RSAPSS, alg::SHA256]);
    tpm.flush(key);
    let storage =
        Template { parms: [&[0, 6, 0, 128, 0, 0x43, 0, 16][..], &[16, 0, 0, 0, 0, 0]].concat(), ..rsa_storage() };
    let key = tpm.primary(&storage);
    credential(tpm, key);
    salted(tpm, key);
    tpm.flush(key);
    tpm.flush(parent);
}

/// TPM2_Sign over a digest, and TPM2_VerifySignature.
fn sign_and_verify(tpm: &mut Caller, key: u32, scheme: &[u16]) {
    let scheme: Vec<u8> = scheme.iter().flat_map(|word| word.to_be_bytes()).collect();
    let validation = [&[0x80, 0x24][..], &NULL.to_be_bytes(), &[0; 2]].concat();
    let digest = tpm2b(&[7; 32]);
    let signature = tpm.run(cc::SIGN, &[key], 1, &[&digest[..], &scheme, &validation].concat());
    tpm.run(cc::VERIFY_SIGNATURE, &[key], 0, &[digest, signature].concat());
}

/// Saves and loads a transient object, which is flushed then.
fn context(tpm: &mut Caller, key: u32) {
    let context = tpm.run(cc::CONTEXT_SAVE, &[key], 0, &[]);
    tpm.flush(key);
    let key = handle_of(&tpm.run(cc::CONTEXT_LOAD, &[], 0, &context));
    tpm.flush(key);
}

/// Structures that a key signs.
fn attest(tpm: &mut Caller, key: u32, scheme: &[u16]) {
    let scheme: Vec<u8> = scheme.iter().flat_map(|word| word.to_be_bytes()).collect();
    let pcrs = [&[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0xff, 0xff][..]].concat();
    tpm.run(cc::QUOTE, &[key], 1, &[&tpm2b(b"nonce")[..], &scheme, &pcrs].concat());
    tpm.run(cc::CERTIFY, &[key, key], 2, &[&tpm2b(b"nonce")[..], &scheme].concat());
    tpm.run(cc::GET_TIME, &[client::codes::ENDORSEMENT, key], 2, &[&tpm2b(b"nonce")[..], &scheme].concat());
}

/// TPM2_MakeCredential, for a storage key.
fn credential(tpm: &mut Caller, key: u32) {
    let name = client::session::name(tpm, key);
    let made = tpm.run(cc::MAKE_CREDENTIAL, &[key], 0, &[tpm2b(b"secret"), tpm2b(&name)].concat());
    tpm.run(cc::ACTIVATE_CREDENTIAL, &[key, key], 2, &made);
}

/// A session whose salt the TPM decrypts: here one that is no salt, so that all but the last step is done.
fn salted(tpm: &mut Caller, key: u32) {
    use client::session::Transport;
    let start = Start { salt: (key, &[0x55; 512], &[]), ..Start::default() };
    let (handles, parameters) = start.request(&[0x11; 16]);
    assert!(tpm.outcome(cc::START_AUTH_SESSION, &handles, &[], &parameters).is_err());
}

fn curves(tpm: &mut Caller) {
    for (words, curve) in
        [("P-192", 1), ("P-224", 2), ("P-256", 3), ("P-384", 4), ("P-521", 5), ("BN-256", 0x10), ("SM2", 0x20)]
    {
        tpm.step(words);
        let parms = [0, 16, 0, 16, 0, curve, 0, 16].to_vec();
        let both = Template { parms, ..ecc_signing() }.with(a::DECRYPT);
        let key = tpm.primary(&both);
        sign_and_verify(tpm, key, &[alg::ECDSA, alg::SHA256]);
        sign_and_verify(tpm, key, &[alg::ECSCHNORR, alg::SHA256]);
        let made = tpm.run(cc::ECDH_KEY_GEN, &[key], 0, &[]);
        let rest = &mut &made[..];
        take_2b(rest);
        tpm.run(cc::ECDH_ZGEN, &[key], 1, &tpm2b(take_2b(rest)));
        attest(tpm, key, &[alg::ECDSA, alg::SHA256]);
        context(tpm, key);
        tpm.run(cc::EC_EPHEMERAL, &[], 0, &[0, curve]);
    }
}

fn ml_dsa(tpm: &mut Caller) {
    let parent = tpm.primary(&ecc_storage());
    for (words, set) in [("ML-DSA-44", 1), ("ML-DSA-65", 2), ("ML-DSA-87", 3)] {
        tpm.step(words);
        let template = Template { object_type: 0xa1, parms: vec![0, set, 0], unique: tpm2b(b""), ..ecc_signing() };
        let key = tpm.primary(&template);
        tpm.flush(key);
        let key = tpm.child(parent, &template);
        let sequence = handle_of(&tpm.run(cc::SIGN_SEQUENCE_START, &[key], 0, &[0; 4]));
        let signature = tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], 2, &tpm2b(b"message"));
        let sequence = handle_of(&tpm.run(cc::VERIFY_SEQUENCE_START, &[key], 0, &[0; 6]));
        tpm.run(cc::SEQUENCE_UPDATE, &[sequence], 1, &tpm2b(b"message"));
        tpm.run(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, key], 1, &signature);
        attest(tpm, key, &[alg::MLDSA]);
        context(tpm, key);
    }
    tpm.flush(parent);
}

fn ml_kem(tpm: &mut Caller) {
    let parent = tpm.primary(&ecc_storage());
    for (words, set) in [("ML-KEM-512", 1), ("ML-KEM-768", 2), ("ML-KEM-1024", 3)] {
        tpm.step(words);
        let plain = |attributes, parms: &[u8]| Template {
            object_type: 0xa0,
            attributes,
            parms: parms.to_vec(),
            unique: tpm2b(b""),
            ..ecc_storage()
        };
        let template = plain(a::MADE_HERE | a::USER | a::DECRYPT, &[0, 16, 0, set]);
        let key = tpm.primary(&template);
        tpm.flush(key);
        let key = tpm.child(parent, &template);
        let made = tpm.run(cc::ENCAPSULATE, &[key], 0, &[]);
        let rest = &mut &made[..];
        take_2b(rest);
        tpm.run(cc::DECAPSULATE, &[key], 1, &tpm2b(take_2b(rest)));
        context(tpm, key);
        let storage = tpm.primary(&plain(a::STORAGE, &[0, 6, 0, 128, 0, 0x43, 0, set]));
        credential(tpm, storage);
        let child = tpm.child(storage, &aes_key());
        tpm.flush(child);
        tpm.flush(storage);
    }
    tpm.flush(parent);
}

fn storage(tpm: &mut Caller) {
    tpm.step("a storage key of P-256");
    let parent = tpm.primary(&ecc_storage());
    credential(tpm, parent);
    let key = tpm.child(parent, &hmac_key());
    tpm.run(cc::MAC, &[key], 1, &[&tpm2b(&[1; 1024])[..], &[0, 16]].concat());
    tpm.flush(key);
    let key = tpm.child(parent, &aes_key());
    let request = [&tpm2b(&[1; 1024])[..], &[0, 0, 0x43], &tpm2b(&[2; 16])].concat();
    tpm.run(cc::ENCRYPT_DECRYPT_2, &[key], 1, &request);
    tpm.flush(key);
    let made = tpm.run(cc::CREATE, &[parent], 1, &client::template::creation(b"", &[5; 128], &sealed()));
    let rest = &mut &made[..];
    let (private, public) = (take_2b(rest), take_2b(rest));
    let data = handle_of(&tpm.run(cc::LOAD, &[parent], 1, &[tpm2b(private), tpm2b(public)].concat()));
    tpm.run(cc::UNSEAL, &[data], 1, &[]);
    tpm.run(cc::OBJECT_CHANGE_AUTH, &[data, parent], 1, &tpm2b(b"value"));
    tpm.flush(data);
    tpm.run(cc::CREATE_LOADED, &[parent], 1, &[client::template::sensitive(b"", b""), ecc_signing().sized()].concat());
    let key = tpm.primary(&rsa_storage());
    tpm.run(cc::EVICT_CONTROL, &[OWNER, key], 1, &0x8101_0000_u32.to_be_bytes());
    tpm.run(cc::EVICT_CONTROL, &[OWNER, 0x8101_0000], 1, &0x8101_0000_u32.to_be_bytes());
    tpm.run(cc::CLEAR, &[LOCKOUT_HIERARCHY], 1, &[]);
    tpm.platform("_TPM_Init", |tpm, hooks| tpm.init(hooks));
    tpm.run(cc::STARTUP, &[], 0, &[0, 0]);
}

fn duplication(tpm: &mut Caller) {
    tpm.step("duplication of RSA-4096");
    let parent = tpm.primary(&rsa_storage());
    let policy = [
        0xbe, 0xf5, 0x6b, 0x8c, 0x1c, 0xc8, 0x4e, 0x11, 0xed, 0xd7, 0x17, 0x52, 0x8d, 0x2c, 0xd9, 0x93, 0x56, 0xbd,
        0x2b, 0xbf, 0x8f, 0x01, 0x52, 0x09, 0xc3, 0xf8, 0x4a, 0xee, 0xab, 0xa8, 0xe8, 0xa2,
    ];
    let template = Template { policy: policy.to_vec(), ..rsa_with(4096) }.without(a::FIXED);
    let key = tpm.child(parent, &template);
    let mut session = Session::plain(tpm, Kind::Policy);
    tpm.run(cc::POLICY_COMMAND_CODE, &[session.handle], 0, &cc::DUPLICATE.to_be_bytes());
    let auths = vec![session.with(0).into()];
    let parameters = [&[0, 0][..], &[0, 6, 0, 128, 0, 0x43]].concat();
    let made = execute(tpm, cc::DUPLICATE, &[key, parent], auths, &parameters, |_| ()).expect("TPM2_Duplicate");
    let public = tpm.run(cc::READ_PUBLIC, &[key], 0, &[]);
    let (rest, public) = (&mut &made[..], tpm2b(take_2b(&mut &public[..])));
    let (inner, duplicate, seed) = (take_2b(rest), take_2b(rest), take_2b(rest));
    let parameters = [&tpm2b(inner)[..], &public, &tpm2b(duplicate), &tpm2b(seed), &[0, 6, 0, 128, 0, 0x43]].concat();
    tpm.run(cc::IMPORT, &[parent], 1, &parameters);
    for handle in [key, parent, session.handle] {
        tpm.flush(handle);
    }
}

fn sessions(tpm: &mut Caller) {
    tpm.step("RSA-2048 in an encrypting session");
    let mut session = Session::start(tpm, &Start { sym: Sym::Aes128, ..Start::default() });
    let auths = vec![session.with(0x60).into()];
    let parameters = client::template::creation(b"", b"", &rsa_storage());
    let made = execute(tpm, cc::CREATE_PRIMARY, &[OWNER], auths, &parameters, |_| ()).expect("a key");
    tpm.flush(handle_of(&made));
    let context = tpm.run(cc::CONTEXT_SAVE, &[session.handle], 0, &[]);
    tpm.run(cc::CONTEXT_LOAD, &[], 0, &context);
    tpm.flush(session.handle);
}

fn nv(tpm: &mut Caller) {
    tpm.step("an NV Index of 2048 octets");
    let index = 0x0180_0000_u32;
    let public = [&index.to_be_bytes()[..], &[0, 0xb], &0x0004_0004_u32.to_be_bytes(), &[0, 0], &[8, 0]].concat();
    tpm.run(cc::NV_DEFINE_SPACE, &[OWNER], 1, &[tpm2b(b""), tpm2b(&public)].concat());
    tpm.run(cc::NV_WRITE, &[index, index], 1, &[tpm2b(&[3; 2048]), vec![0, 0]].concat());
    tpm.run(cc::NV_READ, &[index, index], 1, &[8, 0, 0, 0]);
    let key = tpm.primary(&ecc_signing());
    tpm.run(cc::NV_CERTIFY, &[key, index, index], 2, &[&[0, 0, 0, 0x10, 1, 0, 0, 0][..]].concat());
    tpm.flush(key);
}

fn others(tpm: &mut Caller) {
    tpm.step("others");
    tpm.run(cc::PCR_EXTEND, &[0], 1, &[&[0, 0, 0, 1, 0, 0xb][..], &[1; 32]].concat());
    tpm.run(cc::PCR_EVENT, &[1], 1, &tpm2b(&[1; 1024]));
    tpm.run(cc::PCR_READ, &[], 0, &[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0, 0]);
    tpm.run(cc::GET_CAPABILITY, &[], 0, &[0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 0x7f]);
    tpm.run(cc::GET_CAPABILITY, &[], 0, &[0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0xff]);
    tpm.run(cc::GET_RANDOM, &[], 0, &[0, 32]);
    tpm.run(cc::HASH, &[], 0, &[&tpm2b(&[1; 1024])[..], &[0, 0xb], &NULL.to_be_bytes()].concat());
    for control in [cc::CHANGE_EPS, cc::CHANGE_PPS] {
        tpm.run(control, &[PLATFORM], 1, &[]);
    }
}

/// A TPM that is full: its state is exported and imported.
fn states(tpm: &mut Caller) {
    tpm.step("the state of a full TPM");
    let key = tpm.primary(&rsa_storage());
    for n in 0..24 {
        let handle = 0x8101_0000_u32 + n;
        tpm.run(cc::EVICT_CONTROL, &[OWNER, key], 1, &handle.to_be_bytes());
    }
    for n in 0..7 {
        let index = 0x0180_1000_u32 + n;
        let public = [&index.to_be_bytes()[..], &[0, 0xb], &0x0004_0004_u32.to_be_bytes(), &[0, 0], &[16, 0]].concat();
        tpm.run(cc::NV_DEFINE_SPACE, &[OWNER], 1, &[tpm2b(b""), tpm2b(&public)].concat());
        tpm.run(cc::NV_WRITE, &[index, index], 1, &[tpm2b(&[3; 2048]), vec![8, 0]].concat());
    }
    let template = Template { object_type: 0xa1, parms: vec![0, 3, 0], unique: tpm2b(b""), ..ecc_signing() };
    for _ in 0..7 {
        tpm.primary(&template);
    }
    for _ in 0..8 {
        Session::plain(tpm, Kind::Policy);
    }
    for form in [StateForm::Whole, StateForm::PoweredOff] {
        let state = tpm.export(form);
        tpm.step(&format!("the state of a full TPM, {form:?}, {} octets", state.len()));
        let import = |tpm: &mut Caller| tpm.platform("import", |tpm, hooks| tpm.import(&state, hooks));
        assert_eq!(import(tpm), Ok(()), "{form:?}");
        let mut damaged = state.clone();
        damaged[100] ^= 1;
        tpm.platform("import", |tpm, hooks| tpm.import(&damaged, hooks)).expect_err("a digest");
        assert_eq!(import(tpm), Ok(()), "{form:?}");
    }
    tpm.run(cc::STARTUP, &[], 0, &[0, 0]);
    tpm.run(cc::SHUTDOWN, &[], 0, &[0, 1]);
    tpm.platform("generation", |tpm, _| tpm.generation());
    tpm.platform("shut_down", |tpm, hooks| tpm.shut_down(hooks));
    tpm.platform("check", |tpm, _| tpm.check()).expect("a state in order");
}
