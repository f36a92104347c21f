//! The largest keys: made by the TPM where that is quick, and known where it would search for primes.

use super::{DIGEST, ONE};
use crate::tpm::{Tpm, command};
use client::attributes::object as a;
use client::codes::{NULL, OWNER};
use client::command::{Rest, handle_of, octets};
use client::names::alg;
use client::template::{self, NONE, Template, creation};
use client::{cc, tpm2b};

/// An RSA-4096 key that is for this alone: its modulus,
const MODULUS: &str = "\
    d8fdce54d9ce451df6ec26edb8648a9ed18ab367ca6b2467d01dabe131d0e4dcb872b6d6dddc3f7f14c0445bc7a1e12222a332ac1deff7a1\
    0eb16d8cdd5ceaa981f1ba563004874192332bb147349102d6306b33fb20d761efc2760d1ea57f404412d26f777ee7863c604c8ed6d8b050\
    d0424cae958e1e31a6dd4b3a97a5f45f6e07f3ce1f4768c776cbb1247a652e51ead64ffcb1ceb013f30c8f9db6b6e3c30ff0b0de1a3a7f3e\
    97ea5ed94c8f9da56d5fd68389d3e87aa819c9f7b69766c4aa87513b09bf7205fae63d7e6f63ce5d1ff9dd165152bf8ec5fcf3de7163aaf8\
    36c9479d9a6983ffa9a16d89f8df8879d4f36af6ddbcfdbf9c67db6f5f9a2ea6a7be011e5c9ed8f43da704b967a2558a068f1e1465e47578\
    dee076d82c0c7085718da2d6bc827cdba86803f6a5ef2c2337c9fd8b830259b07ee531f6dbf5494c7a814d880613a493f5b83ccc0a7781ac\
    eda1e7fcfe5d04e9c85d41d400c95bc2de8fc99ceeff26505baddfa1f9180611aaad2ee6e1ad08d8fb1ade5df9977c03d5190715d41faec6\
    a6c9300bc9d1423065e1bb638b0a979e17d3b1bbf7d3a18c9af3892f0707d5ef780e978c97b8b16bc6d56c611ed944e1bb86173fc4171e41\
    e76650dc6d116ce84b809c8076ecf134f667d54ef3f16fbea51853a7bdfd52e52d29119e8ea3ab7932ea0f9275f404153f89f1cf2b3993d5\
    652676792b35d709";
/// and one of its primes.
const PRIME: &str = "\
    edd5a1bf58bfa7ef86644319f90392035523ab4c1a070b1781500cffe5f4a780738e57672d7b4b81713b9dc67314563a6e4fcd4c9d602985\
    45e3f975467d3e5502f0cdac83109c67738c86a960dc027bdfed747c906efe0c723f271a85c5c6359ccddeec78162b68af1b9bca35a8a9aa\
    fb3f171c60e945c04d66556d553ac7496a58bcb6f750ebf5c8fde3a92279532f5421cffd9285e5f612b8a01d8e8ba4541c739da322f7b0b7\
    09641e60e08de84250356b893f104f282c9d0b21deed90778ad27156b7676660a0ca594bb0047239d8a2cff6d7d75979b8aac1f7ac0b9952\
    a952f8277167d3db583ed51793fa8ecf3813254705bbe3ac2a3b4b3b13cbd445";

/// TPMT_SYM_DEF_OBJECT of a storage key: AES-256, CFB.
pub(super) const AES_256_CFB: &[u8] = &[0, 6, 1, 0, 0, 0x43];
/// RSASSA with SHA-512.
pub(super) const RSASSA: &[u8] = &[0, 0x14, 0, 0xd];

/// What the TPM makes in a hierarchy.
pub(super) fn primary(tpm: &mut Tpm<'_>, template: &Template) -> u32 {
    tpm.make(cc::CREATE_PRIMARY, &[OWNER], ONE, &[&creation(b"", b"", template)])
}

/// With SHA-512 as nameAlg, and not under dictionary attack protection.
fn large(template: Template) -> Template {
    Template { name_alg: alg::SHA512, ..template.with(a::NO_DA) }
}

fn p521(attributes: u32, symmetric: &[u8], scheme: &[u8], kdf: &[u8]) -> Template {
    let parms = [symmetric, scheme, &[0, 5], kdf].concat();
    let free = template::ecc_signing().without(a::SIGN).with(attributes);
    large(Template { parms, ..free })
}

/// A P-521 storage key.
pub(super) fn p521_storage() -> Template {
    p521(a::RESTRICTED | a::DECRYPT, AES_256_CFB, NONE, NONE)
}

/// A P-521 key for ECDSA.
pub(super) fn p521_signing() -> Template {
    p521(a::SIGN, NONE, &[0, 0x18, 0, 0xd], NONE)
}

/// A P-521 key for ECDAA.
pub(super) fn p521_ecdaa() -> Template {
    p521(a::SIGN, NONE, &[0, 0x1a, 0, 0xd, 0, 0], NONE)
}

/// A P-521 key for key exchange, with this KDF.
pub(super) fn p521_exchange(kdf: &[u8]) -> Template {
    p521(a::DECRYPT, NONE, NONE, kdf)
}

/// An ML-KEM-1024 key.
pub(super) fn ml_kem() -> Template {
    let free = p521_exchange(NONE);
    Template { object_type: alg::MLKEM, parms: [NONE, &[0, 3]].concat(), unique: vec![0, 0], ..free }
}

/// An ML-DSA key with this parameter set, that admits external μ.
pub(super) fn ml_dsa(set: u8) -> Template {
    Template { object_type: alg::MLDSA, parms: vec![0, set, 1], unique: vec![0, 0], ..p521_signing() }
}

/// A Hash-ML-DSA-65 key.
pub(super) fn hash_ml_dsa() -> Template {
    Template { object_type: alg::HASH_MLDSA, parms: vec![0, 2, 0, 0xd], ..ml_dsa(2) }
}

/// An RSA-4096 key for signing and decryption, whose primes are to be searched for.
pub(super) fn rsa_4096() -> Template {
    large(Template { parms: [NONE, NONE, &[16, 0, 0, 0, 0, 0]].concat(), ..template::rsa_any() })
}

/// An HMAC key for any hash.
pub(super) fn hmac() -> Template {
    let parms = NONE.to_vec();
    large(Template { parms, ..template::hmac_key().with(a::DECRYPT) })
}

/// A cipher's key of 256 bits, in any mode.
pub(super) fn cipher(algorithm: u16) -> Template {
    let parms = [&algorithm.to_be_bytes()[..], &[1, 0, 0, 0x10]].concat();
    large(Template { parms, ..template::aes_key() })
}

/// Sealed data.
pub(super) fn sealed() -> Template {
    large(template::sealed())
}

/// The known key, with other attributes or parameters; it is of no TPM.
fn known(attributes: u32, parms: &[u8]) -> Template {
    let free = large(template::rsa_any()).without(a::MADE_HERE | a::SIGN | a::DECRYPT).with(attributes);
    Template { parms: parms.to_vec(), unique: tpm2b(&octets(MODULUS)), ..free }
}

/// TPM2B_SENSITIVE of the known key; a storage key has a seed.
fn sensitive(seed: &[u8]) -> Vec<u8> {
    tpm2b(&[&alg::RSA.to_be_bytes()[..], &[0, 0], &tpm2b(seed), &tpm2b(&octets(PRIME))].concat())
}

/// The known key for signing and decryption.
pub(super) fn rsa(tpm: &mut Tpm<'_>) -> u32 {
    external(tpm, a::SIGN | a::DECRYPT)
}

/// The known key for certificates alone.
pub(super) fn rsa_for_certificates(tpm: &mut Tpm<'_>) -> u32 {
    external(tpm, a::SIGN | a::X509_SIGN)
}

/// TPM2_LoadExternal of the known key.
fn external(tpm: &mut Tpm<'_>, attributes: u32) -> u32 {
    let parms = [NONE, NONE, &[16, 0, 0, 0, 0, 0]].concat();
    let public = known(attributes, &parms).sized();
    tpm.make(cc::LOAD_EXTERNAL, &[], &[], &[&sensitive(b""), &public, &NULL.to_be_bytes()])
}

/// An object that is to be loaded below a parent.
pub(super) struct Child {
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

impl Child {
    /// TPM2_Load.
    pub(super) fn load(&self, tpm: &mut Tpm<'_>, parent: u32) -> u32 {
        tpm.make(cc::LOAD, &[parent], ONE, &[&tpm2b(&self.private), &tpm2b(&self.public)])
    }
}

/// TPM2_Create.
pub(super) fn child(tpm: &mut Tpm<'_>, parent: u32, data: &[u8], template: &Template) -> Child {
    let answer = tpm.run(cc::CREATE, &[parent], ONE, &[&creation(b"", data, template)]);
    let [private, public] = sized(&answer);
    Child { private, public }
}

/// TPM2_Import of the known key in the clear.
fn import(tpm: &mut Tpm<'_>, parent: u32, seed: &[u8], template: &Template) -> Child {
    let duplicate = tpm2b(&sensitive(seed));
    let answer = tpm.run(cc::IMPORT, &[parent], ONE, &[&[0, 0], &template.sized(), &duplicate, &[0, 0], NONE]);
    let [private] = sized(&answer);
    Child { private, public: template.bytes() }
}

/// The known key below a parent, with a policy.
pub(super) fn rsa_child(tpm: &mut Tpm<'_>, parent: u32, policy: &[u8]) -> Child {
    let parms = [NONE, NONE, &[16, 0, 0, 0, 0, 0]].concat();
    let template = Template { policy: policy.to_vec(), ..known(a::SIGN | a::DECRYPT, &parms) };
    import(tpm, parent, b"", &template)
}

/// An RSA-4096 storage key, below a P-521 storage key.
pub(super) fn rsa_storage(tpm: &mut Tpm<'_>) -> u32 {
    let parent = primary(tpm, &p521_storage());
    let parms = [AES_256_CFB, NONE, &[16, 0, 0, 0, 0, 0]].concat();
    import(tpm, parent, &DIGEST, &known(a::RESTRICTED | a::DECRYPT, &parms)).load(tpm, parent)
}

/// Keys that sign, each with the scheme to be asked for: which takes longest is a matter of the command.
pub(super) fn signers(tpm: &mut Tpm<'_>) -> [(u32, &'static [u8]); 3] {
    [(rsa(tpm), RSASSA), (primary(tpm, &p521_signing()), NONE), (primary(tpm, &ml_dsa(2)), NONE)]
}

/// The contents of the first TPM2Bs of an answer.
pub(super) fn sized<const N: usize>(answer: &[u8]) -> [Vec<u8>; N] {
    let mut rest = Rest(answer);
    core::array::from_fn(|_| rest.sized().expect("a TPM2B").to_vec())
}

impl Tpm<'_> {
    /// A command with passwords that must succeed; its handle and parameters.
    pub(super) fn run(&mut self, code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[&[u8]]) -> Vec<u8> {
        self.ok(&command(code, handles, passwords, parameters))
    }

    /// The same; the new handle.
    pub(super) fn make(&mut self, code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[&[u8]]) -> u32 {
        handle_of(&self.run(code, handles, passwords, parameters))
    }
}
