//! Non-volatile storage (Part 3, 31).

use super::keys::signers;
use super::policy::start;
use super::{DIGEST, ONE, SHA512, Scene, TWO, scene};
use crate::tpm::Tpm;
use client::attributes::nv as a;
use client::codes::{OWNER, PLATFORM};
use client::hash::Alg;
use client::policy::PolicyDigest;
use client::session::{Auth, Session, execute};
use client::{cc, tpm2b};

pub(super) const INDEX: u32 = 0x0180_0100;
/// Octets of the largest Index, and of the longest read or write.
const LARGEST: u16 = 4096;
const PIECE: [u8; 2048] = [7; 2048];

pub(super) const SCENES: &[Scene] = &[
    scene(cc::NV_DEFINE_SPACE, |tpm| {
        define(tpm, OWNER, a::AUTH, &[], LARGEST);
        undefine(tpm);
    }),
    scene(cc::NV_DEFINE_SPACE_2, |tpm| {
        let public = tpm2b(&[&[1][..], &public(a::AUTH, &[], LARGEST)].concat());
        tpm.run(cc::NV_DEFINE_SPACE_2, &[OWNER], ONE, &[&tpm2b(&DIGEST), &public]);
        undefine(tpm);
    }),
    scene(cc::NV_UNDEFINE_SPACE, |tpm| {
        whole(tpm, a::AUTH);
        undefine(tpm);
    }),
    scene(cc::NV_UNDEFINE_SPACE_SPECIAL, |tpm| {
        let attributes = a::AUTH | a::PLATFORMCREATE | a::POLICY_DELETE;
        define(tpm, PLATFORM, attributes, &command_code(cc::NV_UNDEFINE_SPACE_SPECIAL), LARGEST);
        let mut session = start_for(tpm, cc::NV_UNDEFINE_SPACE_SPECIAL);
        let auths = vec![session.with(0).raw(b"").last().into(), Auth::Password(b"")];
        execute(tpm, cc::NV_UNDEFINE_SPACE_SPECIAL, &[INDEX, PLATFORM], auths, &[], |_| ()).expect("undefined");
    }),
    scene(cc::NV_CHANGE_AUTH, |tpm| {
        define(tpm, OWNER, a::AUTH, &command_code(cc::NV_CHANGE_AUTH), LARGEST);
        let mut session = start_for(tpm, cc::NV_CHANGE_AUTH);
        let auths = vec![session.with(0).raw(b"").last().into()];
        execute(tpm, cc::NV_CHANGE_AUTH, &[INDEX], auths, &tpm2b(&DIGEST), |_| ()).expect("another authValue");
        undefine(tpm);
    }),
    scene(cc::NV_WRITE, |tpm| {
        whole(tpm, a::AUTH);
        undefine(tpm);
    }),
    scene(cc::NV_READ, |tpm| {
        whole(tpm, a::AUTH);
        tpm.run(cc::NV_READ, &[INDEX, INDEX], ONE, &[&[8, 0, 8, 0]]);
        undefine(tpm);
    }),
    scene(cc::NV_CERTIFY, |tpm| {
        whole(tpm, a::AUTH);
        let [rsa, ecc, ml_dsa] = signers(tpm);
        // Contents and a signature of ML-DSA are longer than a page: a digest of all in their place.
        for ((key, scheme), place) in [(rsa, [8, 0, 8, 0]), (ecc, [8, 0, 8, 0]), (ml_dsa, [0; 4])] {
            tpm.run(cc::NV_CERTIFY, &[key, INDEX, INDEX], TWO, &[&tpm2b(&DIGEST), scheme, &place]);
        }
        undefine(tpm);
    }),
    scene(cc::NV_READ_PUBLIC, |tpm| {
        define(tpm, OWNER, a::AUTH, &DIGEST, LARGEST);
        tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]);
        undefine(tpm);
    }),
    scene(cc::NV_READ_PUBLIC_2, |tpm| {
        define(tpm, OWNER, a::AUTH, &DIGEST, LARGEST);
        tpm.run(cc::NV_READ_PUBLIC_2, &[INDEX], &[], &[]);
        undefine(tpm);
    }),
    scene(cc::NV_EXTEND, |tpm| {
        define(tpm, OWNER, a::AUTH | a::EXTEND, &[], 64);
        tpm.run(cc::NV_EXTEND, &[INDEX, INDEX], ONE, &[&tpm2b(&PIECE)]);
        undefine(tpm);
    }),
    scene(cc::NV_INCREMENT, |tpm| {
        define(tpm, OWNER, a::AUTH | a::COUNTER, &[], 8);
        // The first one looks for the greatest count.
        act(tpm, cc::NV_INCREMENT, &[]);
        act(tpm, cc::NV_INCREMENT, &[]);
        undefine(tpm);
    }),
    scene(cc::NV_SET_BITS, |tpm| {
        define(tpm, OWNER, a::AUTH | a::BITS, &[], 8);
        act(tpm, cc::NV_SET_BITS, &[0xff; 8]);
        undefine(tpm);
    }),
    scene(cc::NV_READ_LOCK, |tpm| {
        whole(tpm, a::AUTH | a::READ_STCLEAR);
        act(tpm, cc::NV_READ_LOCK, &[]);
        undefine(tpm);
    }),
    scene(cc::NV_WRITE_LOCK, |tpm| {
        whole(tpm, a::AUTH | a::WRITEDEFINE);
        act(tpm, cc::NV_WRITE_LOCK, &[]);
        undefine(tpm);
    }),
    scene(cc::NV_GLOBAL_WRITE_LOCK, |tpm| {
        define(tpm, OWNER, a::AUTH | a::GLOBALLOCK, &[], LARGEST);
        tpm.run(cc::NV_GLOBAL_WRITE_LOCK, &[OWNER], ONE, &[]);
        undefine(tpm);
    }),
];

/// TPMS_NV_PUBLIC with SHA-512.
fn public(attributes: u32, policy: &[u8], size: u16) -> Vec<u8> {
    [&INDEX.to_be_bytes()[..], SHA512, &attributes.to_be_bytes(), &tpm2b(policy), &size.to_be_bytes()].concat()
}

/// The Index, with an empty authValue.
fn define(tpm: &mut Tpm<'_>, by: u32, attributes: u32, policy: &[u8], size: u16) {
    tpm.run(cc::NV_DEFINE_SPACE, &[by], ONE, &[&[0, 0], &tpm2b(&public(attributes, policy, size))]);
}

/// The Index with these contents.
pub(super) fn written(tpm: &mut Tpm<'_>, attributes: u32, contents: &[u8]) {
    define(tpm, OWNER, attributes, &[], u16::try_from(contents.len()).expect("short"));
    act(tpm, cc::NV_WRITE, &[&tpm2b(contents)[..], &[0, 0]].concat());
}

/// The largest Index, whose second half is written.
fn whole(tpm: &mut Tpm<'_>, attributes: u32) {
    define(tpm, OWNER, attributes, &[], LARGEST);
    act(tpm, cc::NV_WRITE, &[&tpm2b(&PIECE)[..], &[8, 0]].concat());
}

/// A command that the Index itself authorizes.
fn act(tpm: &mut Tpm<'_>, code: u32, parameters: &[u8]) {
    tpm.run(code, &[INDEX, INDEX], ONE, &[parameters]);
}

pub(super) fn undefine(tpm: &mut Tpm<'_>) {
    tpm.run(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX], ONE, &[]);
}

/// The policy of a command.
fn command_code(code: u32) -> Vec<u8> {
    PolicyDigest::new(Alg::Sha512).then(cc::POLICY_COMMAND_CODE, &[&code.to_be_bytes()]).digest
}

/// A session that fulfils it.
fn start_for(tpm: &mut Tpm<'_>, code: u32) -> Session {
    let session = start(tpm);
    tpm.run(cc::POLICY_COMMAND_CODE, &[session.handle], &[], &[&code.to_be_bytes()]);
    session
}
