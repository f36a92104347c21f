//! Templates of objects (TPMT_PUBLIC) and what goes around them, as octets.

use crate::attributes::object as a;
use crate::names::alg;
use crate::tpm2b;

/// TPMT_SYM_DEF_OBJECT of a storage key
pub const AES_128_CFB: &[u8] = &[0, 6, 0, 128, 0, 0x43];
/// A scheme or an algorithm that is none.
pub const NONE: &[u8] = &[0, 0x10];

/// A template, in the parts that tests change.
#[derive(Clone)]
pub struct Template {
    /// type
    pub object_type: u16,
    /// nameAlg
    pub name_alg: u16,
    /// objectAttributes
    pub attributes: u32,
    /// authPolicy
    pub policy: Vec<u8>,
    /// parameters
    pub parms: Vec<u8>,
    /// unique
    pub unique: Vec<u8>,
}

impl Template {
    /// TPMT_PUBLIC.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [
            &self.object_type.to_be_bytes()[..],
            &self.name_alg.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &tpm2b(&self.policy),
            &self.parms,
            &self.unique,
        ]
        .concat()
    }

    /// TPM2B_PUBLIC.
    #[must_use]
    pub fn sized(&self) -> Vec<u8> {
        tpm2b(&self.bytes())
    }

    /// With these attributes SET.
    #[must_use]
    pub fn with(mut self, attributes: u32) -> Self {
        self.attributes |= attributes;
        self
    }

    /// With these attributes CLEAR.
    #[must_use]
    pub fn without(mut self, attributes: u32) -> Self {
        self.attributes &= !attributes;
        self
    }
}

fn template(object_type: u16, attributes: u32, parms: &[&[u8]], unique: &[u8]) -> Template {
    Template {
        object_type,
        name_alg: alg::SHA256,
        attributes,
        policy: vec![],
        parms: parms.concat(),
        unique: unique.to_vec(),
    }
}

/// A P-256 storage key.
#[must_use]
pub fn ecc_storage() -> Template {
    template(alg::ECC, a::STORAGE, &[AES_128_CFB, NONE, &[0, 3], NONE], &[0; 4])
}

/// An RSA-2048 storage key.
#[must_use]
pub fn rsa_storage() -> Template {
    template(alg::RSA, a::STORAGE, &[AES_128_CFB, NONE, &[8, 0, 0, 0, 0, 0]], &[0; 2])
}

/// A symmetric storage key.
#[must_use]
pub fn sym_storage() -> Template {
    template(alg::SYMCIPHER, a::STORAGE, &[AES_128_CFB], &[0; 2])
}

/// A P-256 signing key with scheme ECDSA, SHA-256.
#[must_use]
pub fn ecc_signing() -> Template {
    template(alg::ECC, a::MADE_HERE | a::USER | a::SIGN, &[NONE, &[0, 0x18, 0, 0xb], &[0, 3], NONE], &[0; 4])
}

/// An RSA-2048 key for signing and decryption, without scheme.
#[must_use]
pub fn rsa_any() -> Template {
    template(alg::RSA, a::MADE_HERE | a::USER | a::SIGN | a::DECRYPT, &[NONE, NONE, &[8, 0, 0, 0, 0, 0]], &[0; 2])
}

/// Sealed data.
#[must_use]
pub fn sealed() -> Template {
    template(alg::KEYEDHASH, a::FIXED | a::USER, &[NONE], &[0; 2])
}

/// An HMAC key with SHA-256.
#[must_use]
pub fn hmac_key() -> Template {
    template(alg::KEYEDHASH, a::MADE_HERE | a::USER | a::SIGN, &[&[0, 5, 0, 0xb]], &[0; 2])
}

/// A derivation parent with SHA-256.
#[must_use]
pub fn derivation_parent() -> Template {
    template(alg::KEYEDHASH, a::STORAGE, &[&[0, 0xa, 0, 0xb, 0, 0x22]], &[0; 2])
}

/// An AES-128 key in any mode.
#[must_use]
pub fn aes_key() -> Template {
    template(alg::SYMCIPHER, a::MADE_HERE | a::USER | a::SIGN | a::DECRYPT, &[&[0, 6, 0, 128, 0, 0x10]], &[0; 2])
}

/// TPM2B_SENSITIVE_CREATE.
#[must_use]
pub fn sensitive(auth: &[u8], data: &[u8]) -> Vec<u8> {
    tpm2b(&[tpm2b(auth), tpm2b(data)].concat())
}

/// Parameters of TPM2_Create and TPM2_CreatePrimary with neither outsideInfo nor PCR.
#[must_use]
pub fn creation(auth: &[u8], data: &[u8], template: &Template) -> Vec<u8> {
    [&sensitive(auth, data)[..], &template.sized(), &[0; 6]].concat()
}
