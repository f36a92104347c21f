//! TPM_CAP_ALGS: what is implemented, with TPMA_ALGORITHM (Part 2, 8.2).

use crate::profile::PROFILE;
use crate::wire::AlgId;

const ASYMMETRIC: u32 = 1 << 0;
const SYMMETRIC: u32 = 1 << 1;
const HASH: u32 = 1 << 2;
const OBJECT: u32 = 1 << 3;
const SIGNING: u32 = 1 << 8;
const ENCRYPTING: u32 = 1 << 9;
const METHOD: u32 = 1 << 10;

/// Every algorithm, by identifier.
pub(super) const ALGORITHMS: [(AlgId, u32); 41] = [
    (AlgId::RSA, ASYMMETRIC | OBJECT),
    (AlgId::SHA1, HASH),
    (AlgId::HMAC, HASH | SIGNING),
    (AlgId::AES, SYMMETRIC),
    (AlgId::MGF1, HASH | METHOD),
    (AlgId::KEYEDHASH, HASH | OBJECT | SIGNING | ENCRYPTING),
    (AlgId::XOR, HASH | SYMMETRIC),
    (AlgId::SHA256, HASH),
    (AlgId::SHA384, HASH),
    (AlgId::SHA512, HASH),
    (AlgId::SM3, HASH),
    (AlgId::SM4, SYMMETRIC),
    (AlgId::RSASSA, ASYMMETRIC | SIGNING),
    (AlgId::RSAES, ASYMMETRIC | ENCRYPTING),
    (AlgId::RSAPSS, ASYMMETRIC | SIGNING),
    (AlgId::OAEP, ASYMMETRIC | ENCRYPTING),
    (AlgId::ECDSA, ASYMMETRIC | SIGNING),
    (AlgId::ECDH, ASYMMETRIC | METHOD),
    (AlgId::ECDAA, ASYMMETRIC | SIGNING),
    (AlgId::SM2, ASYMMETRIC | SIGNING),
    (AlgId::ECSCHNORR, ASYMMETRIC | SIGNING),
    (AlgId::ECMQV, ASYMMETRIC | METHOD),
    (AlgId::HKDF, HASH | METHOD),
    (AlgId::KDF1_SP800_56A, HASH | METHOD),
    (AlgId::KDF2, HASH | METHOD),
    (AlgId::KDF1_SP800_108, HASH | METHOD),
    (AlgId::ECC, ASYMMETRIC | OBJECT),
    (AlgId::SYMCIPHER, SYMMETRIC | OBJECT),
    (AlgId::CAMELLIA, SYMMETRIC),
    (AlgId::SHA3_256, HASH),
    (AlgId::SHA3_384, HASH),
    (AlgId::SHA3_512, HASH),
    (AlgId::CMAC, SYMMETRIC | SIGNING),
    (AlgId::CTR, SYMMETRIC | ENCRYPTING),
    (AlgId::OFB, SYMMETRIC | ENCRYPTING),
    (AlgId::CBC, SYMMETRIC | ENCRYPTING),
    (AlgId::CFB, SYMMETRIC | ENCRYPTING),
    (AlgId::ECB, SYMMETRIC | ENCRYPTING),
    (AlgId::MLKEM, ASYMMETRIC | OBJECT | ENCRYPTING),
    (AlgId::MLDSA, ASYMMETRIC | OBJECT | SIGNING),
    (AlgId::HASH_MLDSA, ASYMMETRIC | OBJECT | SIGNING),
];

/// Whether the profile has the algorithm.
pub(crate) fn is_implemented(alg: AlgId) -> bool {
    identifiers().any(|id| id == alg)
}

/// Every algorithm of the profile, by identifier.
pub(crate) fn identifiers() -> impl Iterator<Item = AlgId> {
    ALGORITHMS.iter().map(|(id, _)| *id).filter(|alg| PROFILE.has(alg.0))
}

#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const _: () = {
    let mut i = 1;
    while i < ALGORITHMS.len() {
        assert!(ALGORITHMS[i - 1].0.0 < ALGORITHMS[i].0.0);
        i += 1;
    }
};
