//! Enhanced Authorization (Part 3, 23), by sessions with SHA-512 that are no trials.

use super::keys::{p521_signing, primary, sized};
use super::nv::{self, INDEX};
use super::signing::signed;
use super::{ALL_PCR, DIGEST, ONE, SHA512, Scene, scene};
use crate::tpm::Tpm;
use client::attributes::nv::AUTH;
use client::codes::OWNER;
use client::hash::Alg;
use client::names::{cap, pt};
use client::session::{Kind, Session, Start, name};
use client::template::NONE;
use client::{cc, tpm2b};

/// A scene of one assertion with these parameters.
macro_rules! alone {
    ($code:ident, $($parameter:expr),*) => {
        scene(cc::$code, |tpm| {
            let session = policy(tpm);
            tpm.run(cc::$code, &[session], &[], &[$($parameter),*]);
        })
    };
}

pub(super) const SCENES: &[Scene] = &[
    scene(cc::POLICY_SIGNED, |tpm| {
        let key = primary(tpm, &p521_signing());
        let mut session = start(tpm);
        let (expiration, reference) = ((-3600_i32).to_be_bytes(), DIGEST);
        let hash = Alg::Sha512.hash(&[&session.nonce_tpm, &expiration, &DIGEST, &reference]);
        let signature = signed(tpm, key, NONE, &hash);
        let nonce = tpm2b(&core::mem::take(&mut session.nonce_tpm));
        let limits = [nonce, tpm2b(&DIGEST), tpm2b(&reference), expiration.to_vec()].concat();
        tpm.run(cc::POLICY_SIGNED, &[key, session.handle], &[], &[&limits, &signature]);
    }),
    scene(cc::POLICY_SECRET, |tpm| {
        secret(tpm);
    }),
    scene(cc::POLICY_TICKET, |tpm| {
        let answer = secret(tpm);
        let [timeout] = sized(&answer);
        let parts = [timeout, DIGEST.to_vec(), DIGEST.to_vec(), OWNER.to_be_bytes().to_vec()];
        let session = policy(tpm);
        let parameters = [&parts.map(|part| tpm2b(&part)).concat(), &answer[2 + 8..]].concat();
        tpm.run(cc::POLICY_TICKET, &[session], &[], &[&parameters]);
    }),
    scene(cc::POLICY_OR, |tpm| {
        let session = policy(tpm);
        let branches = [&[0, 0, 0, 8][..], &tpm2b(&DIGEST).repeat(7), &tpm2b(&[0; 64])].concat();
        tpm.run(cc::POLICY_OR, &[session], &[], &[&branches]);
    }),
    alone!(POLICY_PCR, &[0, 0], ALL_PCR),
    alone!(POLICY_LOCALITY, &[1]),
    scene(cc::POLICY_NV, |tpm| {
        nv::written(tpm, AUTH, &DIGEST);
        let session = policy(tpm);
        tpm.run(cc::POLICY_NV, &[INDEX, INDEX, session], ONE, &[&tpm2b(&DIGEST), &[0; 4]]);
        nv::undefine(tpm);
    }),
    // Unsigned, greater or equal.
    alone!(POLICY_COUNTER_TIMER, &tpm2b(&[0; 8]), &[0, 0, 0, 7]),
    alone!(POLICY_COMMAND_CODE, &cc::NV_CERTIFY.to_be_bytes()),
    alone!(POLICY_PHYSICAL_PRESENCE,),
    alone!(POLICY_CP_HASH, &tpm2b(&DIGEST)),
    alone!(POLICY_NAME_HASH, &tpm2b(&DIGEST)),
    alone!(POLICY_DUPLICATION_SELECT, &tpm2b(&name_of_a_key()), &tpm2b(&name_of_a_key()), &[1]),
    scene(cc::POLICY_AUTHORIZE, |tpm| {
        let key = primary(tpm, &p521_signing());
        let session = policy(tpm);
        let hash = Alg::Sha512.hash(&[&[0; 64], &DIGEST]);
        let signature = signed(tpm, key, NONE, &hash);
        let ticket = tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &[&tpm2b(&hash), &signature]);
        let name = name(tpm, key);
        let parameters = [[&[0; 64][..], &DIGEST, &name].map(tpm2b).concat(), ticket].concat();
        tpm.run(cc::POLICY_AUTHORIZE, &[session], &[], &[&parameters]);
    }),
    alone!(POLICY_AUTH_VALUE,),
    alone!(POLICY_PASSWORD,),
    alone!(POLICY_GET_DIGEST,),
    alone!(POLICY_NV_WRITTEN, &[1]),
    alone!(POLICY_TEMPLATE, &tpm2b(&DIGEST)),
    scene(cc::POLICY_AUTHORIZE_NV, |tpm| {
        nv::written(tpm, AUTH, &[SHA512, &[0; 64]].concat());
        let session = policy(tpm);
        tpm.run(cc::POLICY_AUTHORIZE_NV, &[INDEX, INDEX, session], ONE, &[]);
        nv::undefine(tpm);
    }),
    // TPM_PT_MANUFACTURER is not all zeros.
    alone!(
        POLICY_CAPABILITY,
        &tpm2b(&[0; 4]),
        &[0, 4, 0, 1],
        &cap::TPM_PROPERTIES.to_be_bytes(),
        &pt::MANUFACTURER.to_be_bytes()
    ),
    alone!(POLICY_PARAMETERS, &tpm2b(&DIGEST)),
    alone!(POLICY_TRANSPORT_SPDM, &tpm2b(&name_of_a_key()), &tpm2b(&name_of_a_key())),
    alone!(POLICY_AC_SEND_SELECT, &tpm2b(&name_of_a_key()), &tpm2b(&name_of_a_key()), &tpm2b(&name_of_a_key()), &[1]),
];

/// The longest Name of a key.
fn name_of_a_key() -> Vec<u8> {
    [SHA512, &DIGEST].concat()
}

/// A policy session with SHA-512.
pub(super) fn start(tpm: &mut Tpm<'_>) -> Session {
    Session::start(tpm, &Start { kind: Kind::Policy, alg: Alg::Sha512, ..Start::default() })
}

/// Its handle.
pub(super) fn policy(tpm: &mut Tpm<'_>) -> u32 {
    start(tpm).handle
}

/// TPM2_PolicySecret with the owner's authValue: timeout and ticket.
fn secret(tpm: &mut Tpm<'_>) -> Vec<u8> {
    let session = start(tpm);
    let limits =
        [tpm2b(&session.nonce_tpm), tpm2b(&DIGEST), tpm2b(&DIGEST), (-3600_i32).to_be_bytes().to_vec()].concat();
    tpm.run(cc::POLICY_SECRET, &[OWNER, session.handle], ONE, &[&limits])
}
