//! Templates of objects (TPMT_PUBLIC) and what goes around them, as octets.

use super::codes::NULL;
use super::{Fixture, Outcome, tpm2b};
use crate::harness::names::alg;
use tpm_core::cc;

/// TPMA_OBJECT.
pub(crate) mod a {
    pub(crate) const FIXED_TPM: u32 = 1 << 1;
    pub(crate) const ST_CLEAR: u32 = 1 << 2;
    pub(crate) const FIXED_PARENT: u32 = 1 << 4;
    pub(crate) const ORIGIN: u32 = 1 << 5;
    pub(crate) const USER: u32 = 1 << 6;
    pub(crate) const ADMIN_POLICY: u32 = 1 << 7;
    pub(crate) const NO_DA: u32 = 1 << 10;
    pub(crate) const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
    pub(crate) const RESTRICTED: u32 = 1 << 16;
    pub(crate) const DECRYPT: u32 = 1 << 17;
    pub(crate) const SIGN: u32 = 1 << 18;
    pub(crate) const X509_SIGN: u32 = 1 << 19;
    pub(crate) const FIRMWARE_LIMITED: u32 = 1 << 8;
    pub(crate) const SVN_LIMITED: u32 = 1 << 9;
    pub(crate) const FIXED: u32 = FIXED_TPM | FIXED_PARENT;
    pub(crate) const STORAGE: u32 = FIXED | ORIGIN | USER | RESTRICTED | DECRYPT | NO_DA;
}

pub(crate) const AES_128_CFB: &[u8] = &[0, 6, 0, 128, 0, 0x43];
pub(crate) const NONE: &[u8] = &[0, 0x10];

/// A template, in the parts that tests change.
#[derive(Clone)]
pub(crate) struct Template {
    pub(crate) object_type: u16,
    pub(crate) name_alg: u16,
    pub(crate) attributes: u32,
    pub(crate) policy: Vec<u8>,
    pub(crate) parms: Vec<u8>,
    pub(crate) unique: Vec<u8>,
}

impl Template {
    pub(crate) fn bytes(&self) -> Vec<u8> {
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

    pub(crate) fn sized(&self) -> Vec<u8> {
        tpm2b(&self.bytes())
    }

    pub(crate) fn with(mut self, attributes: u32) -> Self {
        self.attributes |= attributes;
        self
    }

    pub(crate) fn without(mut self, attributes: u32) -> Self {
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
pub(crate) fn ecc_storage() -> Template {
    template(alg::ECC, a::STORAGE, &[AES_128_CFB, NONE, &[0, 3], NONE], &[0; 4])
}

/// An RSA-2048 storage key.
pub(crate) fn rsa_storage() -> Template {
    template(alg::RSA, a::STORAGE, &[AES_128_CFB, NONE, &[8, 0, 0, 0, 0, 0]], &[0; 2])
}

/// A symmetric storage key.
pub(crate) fn sym_storage() -> Template {
    template(alg::SYMCIPHER, a::STORAGE, &[AES_128_CFB], &[0; 2])
}

/// A P-256 signing key with scheme ECDSA, SHA-256.
pub(crate) fn ecc_signing() -> Template {
    template(alg::ECC, a::FIXED | a::ORIGIN | a::USER | a::SIGN, &[NONE, &[0, 0x18, 0, 0xb], &[0, 3], NONE], &[0; 4])
}

/// An RSA-2048 key for signing and decryption, without scheme.
pub(crate) fn rsa_any() -> Template {
    template(
        alg::RSA,
        a::FIXED | a::ORIGIN | a::USER | a::SIGN | a::DECRYPT,
        &[NONE, NONE, &[8, 0, 0, 0, 0, 0]],
        &[0; 2],
    )
}

/// Sealed data.
pub(crate) fn sealed() -> Template {
    template(alg::KEYEDHASH, a::FIXED | a::USER, &[NONE], &[0; 2])
}

/// An HMAC key with SHA-256.
pub(crate) fn hmac_key() -> Template {
    template(alg::KEYEDHASH, a::FIXED | a::ORIGIN | a::USER | a::SIGN, &[&[0, 5, 0, 0xb]], &[0; 2])
}

/// A derivation parent with SHA-256.
pub(crate) fn derivation_parent() -> Template {
    template(alg::KEYEDHASH, a::STORAGE, &[&[0, 0xa, 0, 0xb, 0, 0x22]], &[0; 2])
}

/// An AES-128 key in any mode.
pub(crate) fn aes_key() -> Template {
    template(
        alg::SYMCIPHER,
        a::FIXED | a::ORIGIN | a::USER | a::SIGN | a::DECRYPT,
        &[&[0, 6, 0, 128, 0, 0x10]],
        &[0; 2],
    )
}

/// TPM2B_SENSITIVE_CREATE.
pub(crate) fn sensitive(auth: &[u8], data: &[u8]) -> Vec<u8> {
    tpm2b(&[tpm2b(auth), tpm2b(data)].concat())
}

/// Parameters of TPM2_Create and TPM2_CreatePrimary with neither outsideInfo nor PCR.
pub(crate) fn creation(auth: &[u8], data: &[u8], template: &Template) -> Vec<u8> {
    [&sensitive(auth, data)[..], &template.sized(), &[0; 6]].concat()
}

/// TPM2B values one after the other, from the front of `bytes`.
pub(crate) fn take_2b<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let n = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let (head, tail) = bytes[2..].split_at(n);
    *bytes = tail;
    head
}

/// The handle in front of a reply.
pub(crate) fn handle_of(reply: &[u8]) -> u32 {
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

impl Fixture {
    /// TPM2_CreatePrimary with empty authorization.
    pub(crate) fn create_primary(&mut self, hierarchy: u32, template: &Template) -> Outcome {
        self.with(cc::CREATE_PRIMARY, &[hierarchy], &[b""], &creation(b"", b"", template))
    }

    /// The handle of a new Primary Object, and its public area.
    pub(crate) fn primary(&mut self, hierarchy: u32, template: &Template) -> (u32, Vec<u8>) {
        let reply = self.create_primary(hierarchy, template).unwrap();
        (handle_of(&reply), take_2b(&mut &reply[4..]).to_vec())
    }

    /// TPM2_Create below a parent with empty authValue: private and public area.
    pub(crate) fn create(
        &mut self,
        parent: u32,
        auth: &[u8],
        data: &[u8],
        template: &Template,
    ) -> Result<(Vec<u8>, Vec<u8>), u32> {
        let reply = self.with(cc::CREATE, &[parent], &[b""], &creation(auth, data, template))?;
        let rest = &mut &reply[..];
        Ok((take_2b(rest).to_vec(), take_2b(rest).to_vec()))
    }

    /// TPM2_Load below a parent with empty authValue.
    pub(crate) fn load(&mut self, parent: u32, private: &[u8], public: &[u8]) -> Result<u32, u32> {
        self.with(cc::LOAD, &[parent], &[b""], &[tpm2b(private), tpm2b(public)].concat()).map(|r| handle_of(&r))
    }

    /// A new object below a parent, loaded.
    pub(crate) fn child(&mut self, parent: u32, auth: &[u8], data: &[u8], template: &Template) -> u32 {
        let (private, public) = self.create(parent, auth, data, template).unwrap();
        self.load(parent, &private, &public).unwrap()
    }

    /// TPM2_LoadExternal of a public area and perhaps a sensitive one.
    pub(crate) fn load_external(&mut self, sensitive: &[u8], public: &[u8], hierarchy: u32) -> Result<u32, u32> {
        let params = [&tpm2b(sensitive)[..], &tpm2b(public), &hierarchy.to_be_bytes()].concat();
        self.run(cc::LOAD_EXTERNAL, &[], &[], &params).map(|r| handle_of(&r))
    }

    /// An object of the NULL hierarchy from a secret that the test knows, loaded by TPM2_LoadExternal.
    pub(crate) fn known(&mut self, sensitive: &[u8], public: &[u8]) -> u32 {
        self.load_external(sensitive, public, NULL).unwrap()
    }

    /// TPM2_FlushContext.
    pub(crate) fn flush(&mut self, handle: u32) -> Outcome {
        self.run(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes())
    }

    /// Name of an object.
    pub(crate) fn name(&mut self, handle: u32) -> Vec<u8> {
        let reply = self.run(cc::READ_PUBLIC, &[handle], &[], &[]).unwrap();
        let rest = &mut &reply[..];
        take_2b(rest);
        take_2b(rest).to_vec()
    }
}
