//! Keys with known values, loaded by TPM2_LoadExternal, and templates for TPM2_CreatePrimary.

use super::Fixture;
use client::attributes::object;
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use sha2::{Digest, Sha256};
use tpm_core::cc;

pub(crate) use client::attributes::object::{DECRYPT, MADE_HERE, RESTRICTED, SIGN};

/// userWithAuth, noDA
pub(crate) const USER: u32 = object::USER | object::NO_DA;

/// TPMT_PUBLIC with nameAlg SHA-256 and no policy.
pub(crate) fn public(kind: u16, attributes: u32, parms: &[u8], unique: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &attributes.to_be_bytes(), &[0, 0], parms, unique].concat()
}

/// TPMT_SENSITIVE.
fn sensitive(kind: u16, auth: &[u8], seed: &[u8], key: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &tpm2b(auth), &tpm2b(seed), &tpm2b(key)].concat()
}

/// TPM2_LoadExternal into the NULL hierarchy (with a sensitive area) or the owner's; the handle.
pub(crate) fn load_external(tpm: &mut Fixture, sensitive: &[u8], public: &[u8]) -> u32 {
    let hierarchy = if sensitive.is_empty() { client::codes::OWNER } else { client::codes::NULL };
    let params = [&tpm2b(sensitive)[..], &tpm2b(public), &hierarchy.to_be_bytes()].concat();
    handle_of(tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params))
}

/// The response handle.
pub(crate) fn handle_of(outcome: Outcome) -> u32 {
    u32::from_be_bytes(outcome.unwrap()[..4].try_into().unwrap())
}

/// A keyed hash or a cipher, whose unique binds its key.
fn symmetric(tpm: &mut Fixture, kind: u16, attributes: u32, parms: &[u8], auth: &[u8], key: &[u8]) -> u32 {
    let seed = [0x5e; 32];
    let unique = Sha256::digest([&seed[..], key].concat());
    load_external(tpm, &sensitive(kind, auth, &seed, key), &public(kind, USER | attributes, parms, &tpm2b(&unique)))
}

/// An HMAC key whose scheme is HMAC with this hash, or none.
pub(crate) fn hmac_key(tpm: &mut Fixture, attributes: u32, hash: Option<u16>, auth: &[u8], key: &[u8]) -> u32 {
    let scheme = hash.map_or(vec![0, 0x10], |hash| [[0, 5], hash.to_be_bytes()].concat());
    symmetric(tpm, alg::KEYEDHASH, attributes, &scheme, auth, key)
}

/// A cipher key: TPMT_SYM_DEF_OBJECT of its algorithm, size and mode.
pub(crate) fn cipher_key(tpm: &mut Fixture, attributes: u32, alg: u16, mode: u16, auth: &[u8], key: &[u8]) -> u32 {
    let bits = key.len() as u16 * 8;
    let parms = [alg.to_be_bytes(), bits.to_be_bytes(), mode.to_be_bytes()].concat();
    symmetric(tpm, alg::SYMCIPHER, attributes, &parms, auth, key)
}

/// TPMS_RSA_PARMS of an unrestricted 2048-bit key with this TPMT_RSA_SCHEME.
pub(crate) fn rsa_parms(scheme: &[u8]) -> Vec<u8> {
    [&[0, 0x10][..], scheme, &2048u16.to_be_bytes(), &[0; 4]].concat()
}

/// An RSA key; with an empty prime its public area alone.
pub(crate) fn rsa_key(tpm: &mut Fixture, attributes: u32, scheme: &[u8], modulus: &[u8], prime: &[u8]) -> u32 {
    let private = if prime.is_empty() { vec![] } else { sensitive(alg::RSA, b"", b"", prime) };
    load_external(tpm, &private, &public(alg::RSA, USER | attributes, &rsa_parms(scheme), &tpm2b(modulus)))
}

/// TPMS_ECC_PARMS of an unrestricted P-256 key with this TPMT_ECC_SCHEME and TPMT_KDF_SCHEME.
pub(crate) fn ecc_parms(scheme: &[u8], kdf: &[u8]) -> Vec<u8> {
    [&[0, 0x10][..], scheme, &[0, 3], kdf].concat()
}

/// An ECC key; with an empty scalar its public area alone.
pub(crate) fn ecc_key(tpm: &mut Fixture, attributes: u32, parms: &[u8], point: &[u8], d: &[u8]) -> u32 {
    let private = if d.is_empty() { vec![] } else { sensitive(alg::ECC, b"", b"", d) };
    load_external(tpm, &private, &public(alg::ECC, USER | attributes, parms, point))
}

/// TPMS_ECC_POINT.
pub(crate) fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [tpm2b(x), tpm2b(y)].concat()
}

/// TPM2_CreatePrimary in the owner hierarchy with an empty authValue; the handle.
pub(crate) fn create_primary(tpm: &mut Fixture, public: &[u8]) -> u32 {
    let params = [&tpm2b(&[0; 4])[..], &tpm2b(public), &[0, 0], &[0; 4]].concat();
    handle_of(tpm.with(cc::CREATE_PRIMARY, &[client::codes::OWNER], &[b""], &params))
}

/// A storage key: restricted, decrypts.
pub(crate) fn storage_key(tpm: &mut Fixture) -> u32 {
    let parms = [&[0, 6, 0, 128, 0, 0x43][..], &[0, 0x10], &[0, 3], &[0, 0x10]].concat();
    create_primary(tpm, &public(alg::ECC, USER | MADE_HERE | RESTRICTED | DECRYPT, &parms, &[0; 4]))
}

/// A restricted HMAC key.
pub(crate) fn restricted_hmac_key(tpm: &mut Fixture) -> u32 {
    create_primary(tpm, &public(alg::KEYEDHASH, USER | MADE_HERE | RESTRICTED | SIGN, &[0, 5, 0, 0xb], &[0; 2]))
}

/// A restricted cipher key: a symmetric storage key.
pub(crate) fn restricted_cipher_key(tpm: &mut Fixture) -> u32 {
    let parms = [0, 6, 0, 128, 0, 0x43];
    create_primary(tpm, &public(alg::SYMCIPHER, USER | MADE_HERE | RESTRICTED | DECRYPT, &parms, &[0; 2]))
}

/// A restricted RSA key: a storage key.
pub(crate) fn restricted_rsa_key(tpm: &mut Fixture) -> u32 {
    let parms = [&[0, 6, 0, 128, 0, 0x43][..], &[0, 0x10], &2048u16.to_be_bytes(), &[0; 4]].concat();
    create_primary(tpm, &public(alg::RSA, USER | MADE_HERE | RESTRICTED | DECRYPT, &parms, &[0; 2]))
}
