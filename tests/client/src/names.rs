//! Algorithms, capabilities and properties as numbers, by the names of the wire crate. Command codes are [`crate::cc`],
//! response codes and handles [`crate::codes`].

pub use tpm_wire::pt;

macro_rules! numbers {
    ($name:ident, $type:ident as $number:ty: $($constant:ident),* $(,)?) => {
        #[doc = concat!("The numbers of `", stringify!($type), "`.")]
        pub mod $name {
            $(
                #[doc = concat!("`", stringify!($type), "::", stringify!($constant), "`")]
                pub const $constant: $number = tpm_wire::$type::$constant.0;
            )*
        }
    };
}
numbers! {
    alg, AlgId as u16:
        RSA, SHA1, HMAC, AES, MGF1, KEYEDHASH, XOR, SHA256, SHA384, SHA512, NULL, SM3, SM4, RSASSA, RSAES, RSAPSS,
        OAEP, ECDSA, ECDH, ECDAA, SM2, ECSCHNORR, ECMQV, HKDF, KDF1_SP800_56A, KDF2, KDF1_SP800_108, ECC, SYMCIPHER,
        CAMELLIA, SHA3_256, SHA3_384, SHA3_512, CMAC, CTR, OFB, CBC, CFB, ECB, MLKEM, MLDSA, HASH_MLDSA,
}
numbers! {
    cap, Cap as u32:
        ALGS, HANDLES, COMMANDS, PP_COMMANDS, AUDIT_COMMANDS, PCRS, TPM_PROPERTIES, PCR_PROPERTIES, ECC_CURVES,
        AUTH_POLICIES, ACT, PUB_KEYS, SPDM_SESSION_INFO, VENDOR_PROPERTY,
}
