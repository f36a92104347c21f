//! Keys for tests that sign: public and sensitive areas as a caller marshals them, loaded by TPM2_LoadExternal or made
//! by TPM2_CreatePrimary.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::harness::Fixture;
use client::attributes::object;
use client::codes::{NULL, SIGNATURE, param};
use client::names::alg;
use client::tpm2b;
use hex_literal::hex;
use tpm_core::cc;
use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::{HashAlg, digest};

pub(crate) use client::attributes::object::{DECRYPT, RESTRICTED, SIGN, X509_SIGN};
pub(crate) use client::command::handle_of as handle;

/// The NULL scheme.
pub(crate) const NONE: [u8; 2] = [0, 0x10];

/// What a primary key usually has.
pub(crate) const FIXED: u32 = object::MADE_HERE | object::USER;

/// A scheme with its hash; ECDAA also with count 1.
pub(crate) fn scheme(id: u16, hash: u16) -> Vec<u8> {
    let count: &[u8] = if id == alg::ECDAA { &[0, 1] } else { &[] };
    [&id.to_be_bytes()[..], &hash.to_be_bytes(), count].concat()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Rsa,
    Ecc,
    Hmac,
    Aes,
}

pub(crate) const ALL: [Key; 4] = [Key::Rsa, Key::Ecc, Key::Hmac, Key::Aes];

const SEED: [u8; 32] = [0x11; 32];
const BITS: [u8; 32] = [0x22; 32];
const AES_KEY: [u8; 16] = [0x33; 16];
const D: [u8; 32] = [0x44; 32];

fn head(object_type: u16, attributes: u32, policy: &[u8]) -> Vec<u8> {
    [&object_type.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &attributes.to_be_bytes(), &tpm2b(policy)].concat()
}

fn unique(key: &[u8]) -> Vec<u8> {
    tpm2b(digest(HashAlg::Sha256, &[&SEED, key]).as_slice())
}

impl Key {
    /// TPMT_PUBLIC. A keyed hash without a scheme must be for signing and decryption.
    pub(crate) fn public(self, attributes: u32, scheme: &[u8]) -> Vec<u8> {
        let attributes = if self == Self::Hmac && scheme == NONE { attributes | DECRYPT } else { attributes };
        match self {
            Self::Rsa => {
                let parms = [&NONE[..], scheme, &[0x08, 0x00, 0, 0, 0, 0]].concat();
                [head(0x01, attributes, &[]), parms, tpm2b(&MODULUS)].concat()
            }
            Self::Ecc => {
                let q = Curve::NistP256.public(&D).unwrap();
                let parms = [&NONE[..], scheme, &[0, 3], &NONE].concat();
                [head(0x23, attributes, &[]), parms, tpm2b(q.x().as_slice()), tpm2b(q.y().as_slice())].concat()
            }
            Self::Hmac => [head(0x08, attributes, &[]), scheme.to_vec(), unique(&BITS)].concat(),
            Self::Aes => [head(0x25, attributes, &[]), vec![0, 6, 0, 128, 0, 0x43], unique(&AES_KEY)].concat(),
        }
    }

    /// TPMT_SENSITIVE with an empty authValue
    pub(crate) fn sensitive(self) -> Vec<u8> {
        let (object_type, secret): (u16, &[u8]) = match self {
            Self::Rsa => (0x01, &PRIME_P),
            Self::Ecc => (0x23, &D),
            Self::Hmac => (0x08, &BITS),
            Self::Aes => (0x25, &AES_KEY),
        };
        let seed: &[u8] = if matches!(self, Self::Hmac | Self::Aes) { &SEED } else { &[] };
        [&object_type.to_be_bytes()[..], &tpm2b(b""), &tpm2b(seed), &tpm2b(secret)].concat()
    }

    /// The whole key, in the NULL hierarchy.
    pub(crate) fn load(self, tpm: &mut Fixture, attributes: u32, scheme: &[u8]) -> u32 {
        let scheme = if self == Self::Aes { &[] } else { scheme };
        let public = self.public(attributes | object::USER, scheme);
        load_external(tpm, &self.sensitive(), &public, NULL)
    }

    /// Only the public part, in any hierarchy.
    pub(crate) fn load_public(self, tpm: &mut Fixture, attributes: u32, scheme: &[u8], hierarchy: u32) -> u32 {
        load_external(tpm, b"", &self.public(attributes | object::USER, scheme), hierarchy)
    }

    /// The scheme that suits the key best, with SHA-256.
    pub(crate) fn usual(self) -> Vec<u8> {
        match self {
            Self::Rsa => scheme(alg::RSASSA, alg::SHA256),
            Self::Ecc => scheme(alg::ECDSA, alg::SHA256),
            Self::Hmac => scheme(alg::HMAC, alg::SHA256),
            Self::Aes => NONE.to_vec(),
        }
    }
}

pub(crate) fn load_external(tpm: &mut Fixture, sensitive: &[u8], public: &[u8], hierarchy: u32) -> u32 {
    let params = [&tpm2b(sensitive)[..], &tpm2b(public), &hierarchy.to_be_bytes()].concat();
    handle(&tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params).unwrap())
}

/// A primary P-256 signing key with these attributes, apart from the usual ones.
pub(crate) fn primary(tpm: &mut Fixture, hierarchy: u32, attributes: u32, scheme: &[u8]) -> u32 {
    handle(&create_primary(tpm, hierarchy, attributes, scheme))
}

/// The response of TPM2_CreatePrimary for such a key.
pub(crate) fn create_primary(tpm: &mut Fixture, hierarchy: u32, attributes: u32, scheme: &[u8]) -> Vec<u8> {
    let parms = [&NONE[..], scheme, &[0, 3], &NONE].concat();
    create_primary_of(tpm, hierarchy, 0x23, attributes, &parms, &[0; 4])
}

/// A primary key of any type, with these attributes apart from the usual ones, parameters and unique field.
pub(crate) fn primary_of(
    tpm: &mut Fixture,
    hierarchy: u32,
    object_type: u16,
    attributes: u32,
    parms: &[u8],
    unique: &[u8],
) -> u32 {
    handle(&create_primary_of(tpm, hierarchy, object_type, attributes, parms, unique))
}

fn create_primary_of(
    tpm: &mut Fixture,
    hierarchy: u32,
    object_type: u16,
    attributes: u32,
    parms: &[u8],
    unique: &[u8],
) -> Vec<u8> {
    let public = [&head(object_type, FIXED | object::NO_DA | attributes, &[])[..], parms, unique].concat();
    let params = [&tpm2b(&[0; 4])[..], &tpm2b(&public), &tpm2b(b""), &[0; 4]].concat();
    tpm.run(cc::CREATE_PRIMARY, &[hierarchy], &[b""], &params).unwrap()
}

pub(crate) fn flush(tpm: &mut Fixture, handle: u32) {
    assert_eq!(tpm.run(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes()), Ok(vec![]));
}

/// Reads a response from its front.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().unwrap())
    }
    pub(crate) fn tpm2b(&mut self) -> &'a [u8] {
        let n = self.u16();
        self.take(n.into())
    }
}

/// Name and Qualified Name, by TPM2_ReadPublic.
pub(crate) fn names(tpm: &mut Fixture, handle: u32) -> (Vec<u8>, Vec<u8>) {
    let response = tpm.run(cc::READ_PUBLIC, &[handle], &[], &[]).unwrap();
    let mut r = Cursor(&response);
    r.tpm2b();
    (r.tpm2b().to_vec(), r.tpm2b().to_vec())
}

/// Whether TPM2_VerifySignature finds the signature genuine.
pub(crate) fn verifies(tpm: &mut Fixture, key: u32, digest: &[u8], signature: &[u8]) -> bool {
    let params = [&tpm2b(digest)[..], signature].concat();
    match tpm.run(cc::VERIFY_SIGNATURE, &[key], &[], &params) {
        Ok(_) => true,
        Err(code) if code == param(2, SIGNATURE) => false,
        Err(rc) => panic!("{rc:#x}"),
    }
}

const MODULUS: [u8; 256] = hex!(
    "8c1535bb2ccb6ce7f80c239360937ba023ab09f87b2ebceff36b26930a8c1d1b08281c87fb6b907a"
    "49e2f3bd2fd0f335eb72f0a2a080cca2785e0b580a48da48be1f036f881fa15503d5ee1f066d9620"
    "27b24ea7ff22134c9f574c5ce133f8b17bc631c9a8205fa791b766bf054e27f9c46ad31c55222adb"
    "dac79c2a7f2f0a480f772f91fbf247570fb8393c29ba254076daa6a597afed7c8f172e965e9ba885"
    "414b5697dfe2029729ab2db4f72de78ce9b32b1e6c9f3b0ad8b562fc82b13903e7264afbdc7f2110"
    "c04bca513679a90894c1158fc9e9960a78bd273d23133b4bfcba6573d7d3a0b2a90b6e5d52591a6d"
    "045dd5bc92f296b85c25c9b4d6fba281"
);
const PRIME_P: [u8; 128] = hex!(
    "be510d7506fe45b99c4ac93ab62fef40c0dd76f3917bdf46aa5fa32ed3509a114c7973553f206cb1"
    "ea8ace2caf5f00ecc728467bccce18dda14c23d0eb07dbd0280e52013982cbaaaa801a6a11984c96"
    "3085b699e1b17c0304b6218f98659aa0b76090f9145fbf6aa439986cbcc0a41bfae1be7bd6a7b756"
    "48879a10564ce785"
);
