//! Sessions, objects, duplication, contexts (Part 3, 11 to 13 and 28), and TPM2_CreatePrimary.

use super::ciphers::events;
use super::keys::{
    AES_256_CFB, Child, child, ml_dsa, p521_exchange, p521_storage, primary, rsa, rsa_4096, rsa_child, rsa_storage,
    sealed, sized,
};
use super::policy::{policy, start};
use super::{ALL_PCR, DIGEST, LONG, ONE, Scene, TWO, scene};
use crate::tpm::Tpm;
use client::codes::{NULL, OWNER};
use client::hash::Alg;
use client::policy::PolicyDigest;
use client::session::{Session, Start};
use client::sym::Sym;
use client::template::{self, NONE, Template, sensitive};
use client::{cc, tpm2b};

pub(super) const SCENES: &[Scene] = &[
    scene(cc::START_AUTH_SESSION, |tpm| {
        // Salted with a key's private operation, and bound to it.
        let key = rsa(tpm);
        let label = tpm2b(b"SECRET\0");
        let salt = tpm.run(cc::RSA_ENCRYPT, &[key], &[], &[&tpm2b(&DIGEST), &[0, 0x17, 0, 0xd], &label]);
        let [salt] = sized(&salt);
        let salted = Start {
            alg: Alg::Sha512,
            sym: Sym::Aes256,
            bind: (key, b""),
            salt: (key, &salt, &DIGEST),
            ..Start::default()
        };
        Session::start(tpm, &salted);
        let key = primary(tpm, &p521_storage());
        let points = tpm.run(cc::ECDH_KEY_GEN, &[key], &[], &[]);
        let [_, point] = sized(&points);
        Session::start(tpm, &Start { salt: (key, &point, &DIGEST), ..salted });
    }),
    scene(cc::POLICY_RESTART, |tpm| {
        let session = policy(tpm);
        tpm.run(cc::POLICY_PCR, &[session], &[], &[&[0, 0], ALL_PCR]);
        tpm.run(cc::POLICY_RESTART, &[session], &[], &[]);
    }),
    scene(cc::CREATE_PRIMARY, |tpm| {
        // Each from another seed: how long it takes is a matter of luck.
        for number in 0..10 {
            let parms = [NONE, NONE, &[8, 0, 0, 0, 0, 0]].concat();
            let template = Template { parms, unique: tpm2b(&[number]), ..template::rsa_any() };
            let key = primary(tpm, &template);
            tpm.flush(key);
        }
        primary(tpm, &rsa_4096());
    }),
    scene(cc::CREATE, |tpm| {
        let parent = primary(tpm, &p521_storage());
        let parameters = [&sensitive(b"", b"")[..], &rsa_4096().sized(), &tpm2b(&DIGEST), ALL_PCR].concat();
        tpm.run(cc::CREATE, &[parent], ONE, &[&parameters]);
        child(tpm, parent, b"", &ml_dsa(3));
    }),
    scene(cc::LOAD, |tpm| {
        let parent = primary(tpm, &p521_storage());
        rsa_child(tpm, parent, b"").load(tpm, parent);
        child(tpm, parent, b"", &ml_dsa(3)).load(tpm, parent);
        child(tpm, parent, b"", &p521_exchange(NONE)).load(tpm, parent);
    }),
    scene(cc::LOAD_EXTERNAL, |tpm| {
        let key = rsa(tpm);
        let public = tpm.run(cc::READ_PUBLIC, &[key], &[], &[]);
        let [public] = sized(&public);
        tpm.run(cc::LOAD_EXTERNAL, &[], &[], &[&[0, 0], &tpm2b(&public), &OWNER.to_be_bytes()]);
        let key = primary(tpm, &ml_dsa(3));
        let public = tpm.run(cc::READ_PUBLIC, &[key], &[], &[]);
        let [public] = sized(&public);
        tpm.run(cc::LOAD_EXTERNAL, &[], &[], &[&[0, 0], &tpm2b(&public), &NULL.to_be_bytes()]);
    }),
    scene(cc::READ_PUBLIC, |tpm| {
        let key = primary(tpm, &ml_dsa(3));
        tpm.run(cc::READ_PUBLIC, &[key], &[], &[]);
    }),
    scene(cc::MAKE_CREDENTIAL, |tpm| {
        let key = primary(tpm, &p521_storage());
        credential(tpm, key);
    }),
    scene(cc::ACTIVATE_CREDENTIAL, |tpm| {
        for key in parents(tpm) {
            let made = credential(tpm, key);
            tpm.run(cc::ACTIVATE_CREDENTIAL, &[key, key], TWO, &[&made]);
        }
    }),
    scene(cc::UNSEAL, |tpm| {
        let parent = primary(tpm, &p521_storage());
        let data = child(tpm, parent, &LONG[..128], &sealed()).load(tpm, parent);
        tpm.run(cc::UNSEAL, &[data], ONE, &[]);
    }),
    scene(cc::OBJECT_CHANGE_AUTH, |tpm| {
        let parent = primary(tpm, &p521_storage());
        let key = rsa_child(tpm, parent, b"").load(tpm, parent);
        tpm.run(cc::OBJECT_CHANGE_AUTH, &[key, parent], ONE, &[&tpm2b(&DIGEST)]);
    }),
    scene(cc::CREATE_LOADED, |tpm| {
        let parent = primary(tpm, &p521_storage());
        tpm.run(cc::CREATE_LOADED, &[parent], ONE, &[&sensitive(b"", b""), &rsa_4096().sized()]);
    }),
    scene(cc::DUPLICATE, |tpm| {
        for parent in parents(tpm) {
            duplicate(tpm, parent, AES_256_CFB);
        }
    }),
    scene(cc::REWRAP, |tpm| {
        let [ecc, rsa] = parents(tpm);
        let Duplicate { private, seed, name, .. } = duplicate(tpm, rsa, NONE);
        tpm.run(cc::REWRAP, &[rsa, ecc], ONE, &[&tpm2b(&private), &tpm2b(&name), &tpm2b(&seed)]);
    }),
    scene(cc::IMPORT, |tpm| {
        for parent in parents(tpm) {
            let Duplicate { key, public, private, seed, .. } = duplicate(tpm, parent, AES_256_CFB);
            let areas = [key, public, private, seed].map(|octets| tpm2b(&octets)).concat();
            tpm.run(cc::IMPORT, &[parent], ONE, &[&areas, AES_256_CFB]);
        }
    }),
    scene(cc::CONTEXT_SAVE, |tpm| {
        for object in [own_rsa(tpm), primary(tpm, &ml_dsa(3)), events(tpm)] {
            tpm.run(cc::CONTEXT_SAVE, &[object], &[], &[]);
        }
    }),
    scene(cc::CONTEXT_LOAD, |tpm| {
        for object in [own_rsa(tpm), primary(tpm, &ml_dsa(3)), events(tpm)] {
            let context = tpm.run(cc::CONTEXT_SAVE, &[object], &[], &[]);
            tpm.flush(object);
            tpm.run(cc::CONTEXT_LOAD, &[], &[], &[&context]);
        }
    }),
    scene(cc::FLUSH_CONTEXT, |tpm| {
        let object = primary(tpm, &ml_dsa(3));
        tpm.flush(object);
    }),
    scene(cc::EVICT_CONTROL, |tpm| {
        const KEPT: u32 = 0x8100_7000;
        let key = primary(tpm, &ml_dsa(3));
        for object in [key, KEPT] {
            tpm.run(cc::EVICT_CONTROL, &[OWNER, object], ONE, &[&KEPT.to_be_bytes()]);
        }
    }),
];

/// An RSA-4096 key of the TPM's.
fn own_rsa(tpm: &mut Tpm<'_>) -> u32 {
    let parent = primary(tpm, &p521_storage());
    rsa_child(tpm, parent, b"").load(tpm, parent)
}

/// Storage keys with the slowest operations: P-521, RSA-4096.
fn parents(tpm: &mut Tpm<'_>) -> [u32; 2] {
    let ecc = primary(tpm, &p521_storage());
    [ecc, rsa_storage(tpm)]
}

/// TPM2_MakeCredential for a key itself.
fn credential(tpm: &mut Tpm<'_>, key: u32) -> Vec<u8> {
    let name = client::session::name(tpm, key);
    tpm.run(cc::MAKE_CREDENTIAL, &[key], &[], &[&tpm2b(&DIGEST), &tpm2b(&name)])
}

/// What TPM2_Duplicate gives.
struct Duplicate {
    key: Vec<u8>,
    private: Vec<u8>,
    seed: Vec<u8>,
    public: Vec<u8>,
    name: Vec<u8>,
}

/// TPM2_Duplicate of an RSA-4096 key to a parent, with an inner wrapper or without.
fn duplicate(tpm: &mut Tpm<'_>, parent: u32, inner: &[u8]) -> Duplicate {
    let code = cc::DUPLICATE.to_be_bytes();
    let policy = PolicyDigest::new(Alg::Sha512).then(cc::POLICY_COMMAND_CODE, &[&code]).digest;
    let home = primary(tpm, &p521_storage());
    let Child { private, public } = rsa_child(tpm, home, &policy);
    let object = Child { private, public: public.clone() }.load(tpm, home);
    let name = client::session::name(tpm, object);
    let mut session = start(tpm);
    tpm.run(cc::POLICY_COMMAND_CODE, &[session.handle], &[], &[&code]);
    let auth = vec![session.with(0).raw(b"").last().into()];
    let parameters = [&[0, 0], inner].concat();
    let answer = client::session::execute(tpm, cc::DUPLICATE, &[object, parent], auth, &parameters, |_| ());
    let [key, private, seed] = sized(&answer.expect("a duplicate"));
    tpm.flush(object);
    tpm.flush(home);
    Duplicate { key, private, seed, public, name }
}
