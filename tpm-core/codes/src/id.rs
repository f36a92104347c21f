//! Identifiers of algorithms, curves and parameter sets (Part 2, 6.3, 6.4 and 11.2.6). They need not be implemented.

macro_rules! ids { ($(#[$tm:meta])* $type:ident: $($(#[$m:meta])* $name:ident = $v:literal),* $(,)?) => {
    $(#[$tm])*
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub struct $type(pub u16);

    impl $type {
        $($(#[$m])* pub const $name: Self = Self($v);)*
        /// Every identifier that has a name here, ascending.
        pub const NAMED: &'static [Self] = &[$(Self::$name),*];
    }
} }
ids! {
    /// TPM_ALG_ID
    AlgId:
    /// TPM_ALG_RSA
    RSA = 0x0001,
    /// TPM_ALG_SHA1
    SHA1 = 0x0004,
    /// TPM_ALG_HMAC
    HMAC = 0x0005,
    /// TPM_ALG_AES
    AES = 0x0006,
    /// TPM_ALG_MGF1
    MGF1 = 0x0007,
    /// TPM_ALG_KEYEDHASH
    KEYEDHASH = 0x0008,
    /// TPM_ALG_XOR
    XOR = 0x000a,
    /// TPM_ALG_SHA256
    SHA256 = 0x000b,
    /// TPM_ALG_SHA384
    SHA384 = 0x000c,
    /// TPM_ALG_SHA512
    SHA512 = 0x000d,
    /// TPM_ALG_NULL
    NULL = 0x0010,
    /// TPM_ALG_SM3_256
    SM3 = 0x0012,
    /// TPM_ALG_SM4
    SM4 = 0x0013,
    /// TPM_ALG_RSASSA
    RSASSA = 0x0014,
    /// TPM_ALG_RSAES
    RSAES = 0x0015,
    /// TPM_ALG_RSAPSS
    RSAPSS = 0x0016,
    /// TPM_ALG_OAEP
    OAEP = 0x0017,
    /// TPM_ALG_ECDSA
    ECDSA = 0x0018,
    /// TPM_ALG_ECDH
    ECDH = 0x0019,
    /// TPM_ALG_ECDAA
    ECDAA = 0x001a,
    /// TPM_ALG_SM2
    SM2 = 0x001b,
    /// TPM_ALG_ECSCHNORR
    ECSCHNORR = 0x001c,
    /// TPM_ALG_ECMQV
    ECMQV = 0x001d,
    /// TPM_ALG_HKDF (1.85)
    HKDF = 0x001f,
    /// TPM_ALG_KDF1_SP800_56A
    KDF1_SP800_56A = 0x0020,
    /// TPM_ALG_KDF2
    KDF2 = 0x0021,
    /// TPM_ALG_KDF1_SP800_108
    KDF1_SP800_108 = 0x0022,
    /// TPM_ALG_ECC
    ECC = 0x0023,
    /// TPM_ALG_SYMCIPHER
    SYMCIPHER = 0x0025,
    /// TPM_ALG_CAMELLIA
    CAMELLIA = 0x0026,
    /// TPM_ALG_SHA3_256
    SHA3_256 = 0x0027,
    /// TPM_ALG_SHA3_384
    SHA3_384 = 0x0028,
    /// TPM_ALG_SHA3_512
    SHA3_512 = 0x0029,
    /// TPM_ALG_CMAC
    CMAC = 0x003f,
    /// TPM_ALG_CTR
    CTR = 0x0040,
    /// TPM_ALG_OFB
    OFB = 0x0041,
    /// TPM_ALG_CBC
    CBC = 0x0042,
    /// TPM_ALG_CFB
    CFB = 0x0043,
    /// TPM_ALG_ECB
    ECB = 0x0044,
    /// TPM_ALG_MLKEM
    MLKEM = 0x00a0,
    /// TPM_ALG_MLDSA
    MLDSA = 0x00a1,
    /// TPM_ALG_HASH_MLDSA
    HASH_MLDSA = 0x00a2,
}
ids! {
    /// TPM_ECC_CURVE
    EccCurve:
    /// TPM_ECC_NIST_P192
    NIST_P192 = 0x0001,
    /// TPM_ECC_NIST_P224
    NIST_P224 = 0x0002,
    /// TPM_ECC_NIST_P256
    NIST_P256 = 0x0003,
    /// TPM_ECC_NIST_P384
    NIST_P384 = 0x0004,
    /// TPM_ECC_NIST_P521
    NIST_P521 = 0x0005,
    /// TPM_ECC_BN_P256
    BN_P256 = 0x0010,
    /// TPM_ECC_SM2_P256
    SM2_P256 = 0x0020,
}
ids! {
    /// TPMI_MLKEM_PARMS (1.85)
    MlKemSet:
    /// TPM_MLKEM_512
    MLKEM_512 = 0x0001,
    /// TPM_MLKEM_768
    MLKEM_768 = 0x0002,
    /// TPM_MLKEM_1024
    MLKEM_1024 = 0x0003,
}
ids! {
    /// TPMI_MLDSA_PARMS (1.85)
    MlDsaSet:
    /// TPM_MLDSA_44
    MLDSA_44 = 0x0001,
    /// TPM_MLDSA_65
    MLDSA_65 = 0x0002,
    /// TPM_MLDSA_87
    MLDSA_87 = 0x0003,
}
