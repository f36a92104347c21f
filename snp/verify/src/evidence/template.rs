//! The key templates of evidence.

use super::wire::{Key, Public, alg, attribute};

/// PolicyA of the TCG EK Credential Profile (B.6.5): `TPM2_PolicySecret` of the endorsement hierarchy.
pub const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD, 0x52, 0xD7,
    0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
];

/// Template L-1 of the TCG EK Credential Profile (B.3.3): an RSA-2048 storage key; `unique` is 256 zero bytes.
pub fn ek_rsa_2048() -> Public {
    Public {
        name_alg: alg::SHA256,
        attributes: attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::ADMIN_WITH_POLICY
            | attribute::RESTRICTED
            | attribute::DECRYPT,
        policy: EK_POLICY.to_vec(),
        aes_128_cfb: true,
        scheme: None,
        key: Key::Rsa2048 { modulus: vec![0; 256] },
    }
}

/// The attestation key of Azure's firmware: RSA-2048 that signs only what the TPM itself has made, with RSASSA over
/// SHA-256; `unique` is 256 zero bytes.
pub fn ak_rsa_2048() -> Public {
    Public { scheme: Some((alg::RSASSA, alg::SHA256)), key: Key::Rsa2048 { modulus: vec![0; 256] }, ..ak_p256() }
}

/// The attestation key: P-256 that signs only what the TPM itself has made, with ECDSA over SHA-256.
pub fn ak_p256() -> Public {
    Public {
        name_alg: alg::SHA256,
        attributes: attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA
            | attribute::RESTRICTED
            | attribute::SIGN,
        policy: Vec::new(),
        aes_128_cfb: false,
        scheme: Some((alg::ECDSA, alg::SHA256)),
        key: Key::P256 { x: Vec::new(), y: Vec::new() },
    }
}
