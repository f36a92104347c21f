//! Attestation, signatures and their verification (Part 3, 17, 18 and 20).

use super::keys::{RSASSA, hash_ml_dsa, ml_dsa, p521_signing, primary, rsa_for_certificates, signers, sized};
use super::{ALL_PCR, DIGEST, LONG, ONE, Scene, TWO, scene};
use crate::tpm::{Tpm, command};
use client::attributes::session as attr;
use client::codes::{ENDORSEMENT, OWNER};
use client::hash::Alg;
use client::session::{Session, Start, execute};
use client::template::{NONE, creation};
use client::{cc, tpm2b};

/// How often ML-DSA signs: how long it takes is a matter of luck.
const TRIES: usize = 6;
/// The longest qualifyingData.
const DATA: [u8; 66] = [7; 66];
/// The longest TPM2B_SIGNATURE_CTX.
const CONTEXT: [u8; 255] = [7; 255];
/// A ticket that says nothing of where a digest comes from.
const NO_TICKET: &[u8] = &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

pub(super) const SCENES: &[Scene] = &[
    scene(cc::CERTIFY, |tpm| {
        attest(tpm, |key, scheme| command(cc::CERTIFY, &[key, key], TWO, &[&tpm2b(&DATA), scheme]));
    }),
    scene(cc::CERTIFY_CREATION, |tpm| {
        let made = tpm.run(cc::CREATE_PRIMARY, &[OWNER], ONE, &[&creation(b"", b"", &p521_signing())]);
        let object = client::command::handle_of(&made);
        let [public, data, hash] = sized(&made[4..]);
        let after = 4 + 3 * 2 + public.len() + data.len() + hash.len();
        let size = 2 + 4 + 2 + usize::from(made[after + 7]);
        let ticket = made[after..after + size].to_vec();
        for (key, scheme) in signers(tpm) {
            for _ in 0..TRIES {
                let parameters = [&tpm2b(&DATA)[..], &tpm2b(&hash), scheme, &ticket];
                tpm.run(cc::CERTIFY_CREATION, &[key, object], ONE, &parameters);
            }
        }
    }),
    scene(cc::CERTIFY_X509, |tpm| {
        let object = primary(tpm, &p521_signing());
        let ecc = primary(tpm, &p521_signing().with(client::attributes::object::X509_SIGN));
        for (key, scheme) in [(rsa_for_certificates(tpm), RSASSA), (ecc, NONE)] {
            tpm.run(cc::CERTIFY_X509, &[object, key], TWO, &[&[0, 0], scheme, &tpm2b(&partial_certificate())]);
        }
    }),
    scene(cc::GET_COMMAND_AUDIT_DIGEST, |tpm| {
        attest(tpm, |key, scheme| {
            command(cc::GET_COMMAND_AUDIT_DIGEST, &[ENDORSEMENT, key], TWO, &[&tpm2b(&DATA), scheme])
        });
    }),
    scene(cc::GET_SESSION_AUDIT_DIGEST, |tpm| {
        let mut session = Session::start(tpm, &Start { alg: Alg::Sha512, ..Start::default() });
        let auth = vec![session.with(attr::AUDIT).into()];
        execute(tpm, cc::GET_RANDOM, &[], auth, &[0, 64], |_| ()).expect("an audited command");
        for (key, scheme) in signers(tpm) {
            for _ in 0..TRIES {
                let handles = [ENDORSEMENT, key, session.handle];
                tpm.run(cc::GET_SESSION_AUDIT_DIGEST, &handles, TWO, &[&tpm2b(&DATA), scheme]);
            }
        }
    }),
    scene(cc::GET_TIME, |tpm| {
        attest(tpm, |key, scheme| command(cc::GET_TIME, &[ENDORSEMENT, key], TWO, &[&tpm2b(&DATA), scheme]));
    }),
    scene(cc::QUOTE, |tpm| {
        attest(tpm, |key, scheme| command(cc::QUOTE, &[key], ONE, &[&tpm2b(&DATA), scheme, ALL_PCR]));
    }),
    scene(cc::SIGN, |tpm| {
        for (key, scheme) in rsa_4096_and_p521(tpm) {
            signed(tpm, key, scheme, &DIGEST);
        }
    }),
    scene(cc::VERIFY_SIGNATURE, |tpm| {
        for (key, scheme) in rsa_4096_and_p521(tpm) {
            let signature = signed(tpm, key, scheme, &DIGEST);
            tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &[&tpm2b(&DIGEST), &signature]);
        }
    }),
    scene(cc::SIGN_DIGEST, |tpm| {
        for key in digest_signers(tpm) {
            for number in 0..TRIES {
                digest_signed(tpm, key, number);
            }
        }
        let key = primary(tpm, &ml_dsa(3));
        for number in 0..TRIES {
            tpm.execute(&sign_digest((key, false), number));
        }
    }),
    scene(cc::VERIFY_DIGEST_SIGNATURE, |tpm| {
        for key in digest_signers(tpm) {
            let signature = digest_signed(tpm, key, 0);
            let context = context_of(key);
            tpm.run(cc::VERIFY_DIGEST_SIGNATURE, &[key.0], &[], &[&tpm2b(context), &tpm2b(&digest(0)), &signature]);
        }
    }),
    scene(cc::SIGN_SEQUENCE_START, |tpm| {
        let key = primary(tpm, &ml_dsa(2));
        begun(tpm, key);
    }),
    scene(cc::SIGN_SEQUENCE_COMPLETE, |tpm| {
        let key = primary(tpm, &ml_dsa(2));
        completed(tpm, key);
        // The signature of ML-DSA-87 is longer than a page, and is made all the same.
        let key = primary(tpm, &ml_dsa(3));
        for _ in 0..2 * TRIES {
            let sequence = begun(tpm, key);
            tpm.execute(&command(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], TWO, &[&tpm2b(&LONG)]));
            // Unanswered, the sequence is still there.
            tpm.execute(&command(cc::FLUSH_CONTEXT, &[], &[], &[&sequence.to_be_bytes()]));
        }
    }),
    scene(cc::VERIFY_SEQUENCE_START, |tpm| {
        let key = primary(tpm, &ml_dsa(2));
        verification(tpm, key);
    }),
    scene(cc::VERIFY_SEQUENCE_COMPLETE, |tpm| {
        let key = primary(tpm, &ml_dsa(2));
        let signature = completed(tpm, key);
        let sequence = verification(tpm, key);
        tpm.run(cc::SEQUENCE_UPDATE, &[sequence], ONE, &[&tpm2b(&LONG)]);
        tpm.run(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, key], ONE, &[&signature]);
    }),
];

/// An attestation by each signer; and by ML-DSA-87, whose signature is longer than a page: it is made all the same.
fn attest(tpm: &mut Tpm<'_>, attestation: fn(u32, &[u8]) -> Vec<u8>) {
    for (key, scheme) in signers(tpm) {
        for _ in 0..TRIES {
            tpm.ok(&attestation(key, scheme));
        }
    }
    let key = primary(tpm, &ml_dsa(3));
    for _ in 0..TRIES {
        tpm.execute(&attestation(key, NONE));
    }
}

/// Those of [`signers`] that TPM2_Sign takes.
fn rsa_4096_and_p521(tpm: &mut Tpm<'_>) -> [(u32, &'static [u8]); 2] {
    let [rsa, ecc, _] = signers(tpm);
    [rsa, ecc]
}

/// TPMT_SIGNATURE of a digest.
pub(super) fn signed(tpm: &mut Tpm<'_>, key: u32, scheme: &[u8], digest: &[u8]) -> Vec<u8> {
    tpm.run(cc::SIGN, &[key], ONE, &[&tpm2b(digest), scheme, NO_TICKET])
}

/// Keys for TPM2_SignDigest, and whether they take a context.
fn digest_signers(tpm: &mut Tpm<'_>) -> [(u32, bool); 3] {
    [(ml_dsa(2), false), (hash_ml_dsa(), true), (p521_signing(), false)].map(|(key, takes)| (primary(tpm, &key), takes))
}

/// A digest, or μ.
fn digest(number: usize) -> [u8; 64] {
    [u8::try_from(number).expect("few"); 64]
}

fn context_of((_, takes_one): (u32, bool)) -> &'static [u8] {
    if takes_one { &CONTEXT } else { b"" }
}

fn sign_digest(key: (u32, bool), number: usize) -> Vec<u8> {
    let parameters = [&tpm2b(context_of(key))[..], &tpm2b(&digest(number)), NO_TICKET];
    command(cc::SIGN_DIGEST, &[key.0], ONE, &parameters)
}

fn digest_signed(tpm: &mut Tpm<'_>, key: (u32, bool), number: usize) -> Vec<u8> {
    tpm.ok(&sign_digest(key, number))
}

/// TPM2_SignSequenceStart.
fn begun(tpm: &mut Tpm<'_>, key: u32) -> u32 {
    tpm.make(cc::SIGN_SEQUENCE_START, &[key], &[], &[&[0, 0], &tpm2b(&CONTEXT)])
}

/// A signature of the longest buffer.
fn completed(tpm: &mut Tpm<'_>, key: u32) -> Vec<u8> {
    let sequence = begun(tpm, key);
    tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], TWO, &[&tpm2b(&LONG)])
}

/// TPM2_VerifySequenceStart.
fn verification(tpm: &mut Tpm<'_>, key: u32) -> u32 {
    tpm.make(cc::VERIFY_SEQUENCE_START, &[key], &[], &[&[0, 0], &[0, 0], &tpm2b(&CONTEXT)])
}

/// partialCertificate without issuer and subject, for a key that signs.
fn partial_certificate() -> Vec<u8> {
    let usage = [&[0x30, 0x0e, 6, 3, 0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3, 2, 0][..], &[0x80]].concat();
    let validity = b"\x30\x1e\x17\x0d261126220000Z\x17\x0d361126220000Z";
    let extensions = [&[0xa3, 0x12, 0x30, 0x10][..], &usage].concat();
    let body = [&[0x30, 0][..], validity, &[0x30, 0], &extensions].concat();
    [&[0x30, u8::try_from(body.len()).expect("short")][..], &body].concat()
}
