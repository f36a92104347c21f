//! Schemes of asymmetric and keyed-hash keys (Part 2, 11.1 and 11.2).

use super::{AlgId, Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;
use tpm_crypto::hash::HashAlg;

/// Any scheme with its details. Which of them an interface type admits is in the types below.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    #[default]
    /// TPM_ALG_NULL
    Null,
    /// TPM_ALG_RSASSA
    Rsassa(HashAlg),
    /// TPM_ALG_RSAPSS
    Rsapss(HashAlg),
    /// TPM_ALG_RSAES
    Rsaes,
    /// TPM_ALG_OAEP
    Oaep(HashAlg),
    /// TPM_ALG_ECDSA
    Ecdsa(HashAlg),
    /// TPM_ALG_ECDAA, with the count
    Ecdaa(HashAlg, u16),
    /// TPM_ALG_SM2
    Sm2(HashAlg),
    /// TPM_ALG_ECSCHNORR
    Ecschnorr(HashAlg),
    /// TPM_ALG_ECDH
    Ecdh(HashAlg),
    /// TPM_ALG_ECMQV
    Ecmqv(HashAlg),
    /// TPM_ALG_HMAC
    Hmac(HashAlg),
    /// TPM_ALG_XOR
    Xor(HashAlg, Option<KdfAlg>),
    /// ML-DSA: no details, the key says all (1.85)
    MlDsa,
    /// Hash-ML-DSA: no details either
    HashMlDsa,
}

impl Scheme {
    /// TPM_ALG_ID of the scheme.
    pub fn id(self) -> AlgId {
        match self {
            Self::Null => AlgId::NULL,
            Self::Rsassa(_) => AlgId::RSASSA,
            Self::Rsapss(_) => AlgId::RSAPSS,
            Self::Rsaes => AlgId::RSAES,
            Self::Oaep(_) => AlgId::OAEP,
            Self::Ecdsa(_) => AlgId::ECDSA,
            Self::Ecdaa(..) => AlgId::ECDAA,
            Self::Sm2(_) => AlgId::SM2,
            Self::Ecschnorr(_) => AlgId::ECSCHNORR,
            Self::Ecdh(_) => AlgId::ECDH,
            Self::Ecmqv(_) => AlgId::ECMQV,
            Self::Hmac(_) => AlgId::HMAC,
            Self::Xor(..) => AlgId::XOR,
            Self::MlDsa => AlgId::MLDSA,
            Self::HashMlDsa => AlgId::HASH_MLDSA,
        }
    }

    /// The hash of the scheme.
    pub fn hash(self) -> Option<HashAlg> {
        match self {
            Self::Null | Self::Rsaes | Self::MlDsa | Self::HashMlDsa => None,
            Self::Rsassa(h)
            | Self::Rsapss(h)
            | Self::Oaep(h)
            | Self::Ecdsa(h)
            | Self::Ecdaa(h, _)
            | Self::Sm2(h)
            | Self::Ecschnorr(h)
            | Self::Ecdh(h)
            | Self::Ecmqv(h)
            | Self::Hmac(h)
            | Self::Xor(h, _) => Some(h),
        }
    }

    /// Whether an asymmetric signature scheme.
    pub fn signs(self) -> bool {
        matches!(
            self,
            Self::Rsassa(_) | Self::Rsapss(_) | Self::Ecdsa(_) | Self::Ecdaa(..) | Self::Sm2(_) | Self::Ecschnorr(_)
        )
    }

    /// Whether a scheme for encryption or key exchange.
    pub fn decrypts(self) -> bool {
        matches!(self, Self::Rsaes | Self::Oaep(_) | Self::Ecdh(_) | Self::Ecmqv(_))
    }

    fn details(id: AlgId, r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(match id {
            AlgId::NULL => Self::Null,
            AlgId::RSASSA => Self::Rsassa(r.get()?),
            AlgId::RSAPSS => Self::Rsapss(r.get()?),
            AlgId::RSAES => Self::Rsaes,
            AlgId::OAEP => Self::Oaep(r.get()?),
            AlgId::ECDSA => Self::Ecdsa(r.get()?),
            AlgId::ECDAA => Self::Ecdaa(r.get()?, r.get()?),
            AlgId::SM2 => Self::Sm2(r.get()?),
            AlgId::ECSCHNORR => Self::Ecschnorr(r.get()?),
            AlgId::ECDH => Self::Ecdh(r.get()?),
            AlgId::ECMQV => Self::Ecmqv(r.get()?),
            AlgId::HMAC => Self::Hmac(r.get()?),
            AlgId::XOR => Self::Xor(r.get()?, r.get()?),
            AlgId::MLDSA => Self::MlDsa,
            AlgId::HASH_MLDSA => Self::HashMlDsa,
            _ => return Err(Fmt1::SCHEME),
        })
    }
}

impl Marshal for Scheme {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.id().marshal(w);
        if let Some(hash) = self.hash() {
            hash.marshal(w);
        }
        match self {
            Self::Ecdaa(_, count) => count.marshal(w),
            Self::Xor(_, kdf) => kdf.marshal(w),
            _ => {}
        }
    }
}

macro_rules! schemes {
    ($($(#[$m:meta])* $name:ident: [$($id:ident),*], else $error:ident;)*) => { $(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name(pub Scheme);
        impl Unmarshal<'_> for $name {
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
                let id: AlgId = r.get()?;
                if id != AlgId::NULL && (id.on().is_none() || ![$(AlgId::$id),*].contains(&id)) { return Err(Fmt1::$error); }
                Scheme::details(id, r).map(Self)
            }
        }
        impl Marshal for $name { fn marshal(&self, w: &mut Writer<'_>) { self.0.marshal(w); } }
    )* };
}

schemes! {
    /// TPMT_KEYEDHASH_SCHEME+ (11.1.23)
    KeyedHashScheme: [HMAC, XOR], else VALUE;
    /// TPMT_SIG_SCHEME+ (11.2.1.5)
    SigScheme: [RSASSA, RSAPSS, ECDSA, ECDAA, SM2, ECSCHNORR, HMAC, MLDSA, HASH_MLDSA], else SCHEME;
    /// TPMT_RSA_SCHEME+ (11.2.4.2)
    RsaScheme: [RSASSA, RSAPSS, RSAES, OAEP], else VALUE;
    /// TPMT_RSA_DECRYPT+ (11.2.4.4)
    RsaDecrypt: [RSAES, OAEP], else VALUE;
    /// TPMT_ECC_SCHEME+ (11.2.5.6)
    EccScheme: [ECDSA, ECDAA, SM2, ECSCHNORR, ECDH, ECMQV], else SCHEME;
}

/// TPMI_ALG_KDF (9.33) without TPM_ALG_NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KdfAlg {
    /// TPM_ALG_MGF1
    Mgf1,
    /// TPM_ALG_HKDF
    Hkdf,
    /// TPM_ALG_KDF1_SP800_56A
    Kdf1Sp800_56a,
    /// TPM_ALG_KDF2
    Kdf2,
    /// TPM_ALG_KDF1_SP800_108
    Kdf1Sp800_108,
}

impl KdfAlg {
    const IDS: [(AlgId, Self); 5] = [
        (AlgId::MGF1, Self::Mgf1),
        (AlgId::HKDF, Self::Hkdf),
        (AlgId::KDF1_SP800_56A, Self::Kdf1Sp800_56a),
        (AlgId::KDF2, Self::Kdf2),
        (AlgId::KDF1_SP800_108, Self::Kdf1Sp800_108),
    ];

    fn id(self) -> AlgId {
        Self::IDS.iter().find(|(_, k)| *k == self).map_or(AlgId::NULL, |(id, _)| *id)
    }
}

/// TPMI_ALG_KDF+ : None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<KdfAlg> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id == AlgId::NULL {
            return Ok(None);
        }
        KdfAlg::IDS.iter().filter(|_| id.on().is_some()).find(|(i, _)| *i == id).map(|(_, k)| Some(*k)).ok_or(Fmt1::KDF)
    }
}

impl Marshal for Option<KdfAlg> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.map_or(AlgId::NULL, KdfAlg::id).marshal(w);
    }
}

/// TPMT_KDF_SCHEME (11.2.3.3): the function and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfScheme {
    /// scheme
    pub kdf: KdfAlg,
    /// details
    pub hash: HashAlg,
}

/// TPMT_KDF_SCHEME+ : None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<KdfScheme> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<Option<KdfAlg>>()? {
            Some(kdf) => Ok(Some(KdfScheme { kdf, hash: r.get()? })),
            None => Ok(None),
        }
    }
}

impl Marshal for Option<KdfScheme> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.map(|s| s.kdf).marshal(w);
        if let Some(s) = self {
            s.hash.marshal(w);
        }
    }
}

/// TPMI_ALG_MAC_SCHEME (9.35): a hash stands for HMAC with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacScheme {
    /// HMAC
    Hmac(HashAlg),
    /// TPM_ALG_CMAC
    Cmac,
}

impl MacScheme {
    /// TPM_ALG_ID of the hash or of CMAC.
    pub fn id(self) -> AlgId {
        match self {
            Self::Hmac(hash) => AlgId(hash.id()),
            Self::Cmac => AlgId::CMAC,
        }
    }

    /// The scheme of a hash or of CMAC, if the profile has it.
    pub fn from_id(id: AlgId) -> Option<Self> {
        let on = id.on()?;
        if id == AlgId::CMAC { Some(Self::Cmac) } else { HashAlg::from_id(on).map(Self::Hmac) }
    }
}

/// TPMI_ALG_MAC_SCHEME+ : None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<MacScheme> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id == AlgId::NULL { Ok(None) } else { MacScheme::from_id(id).map(Some).ok_or(Fmt1::SYMMETRIC) }
    }
}
