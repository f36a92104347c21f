//! TPMT_SIGNATURE (Part 2, 11.3).

use super::{AlgId, Buffer, EccParameter, Ha, MAX_RSA_KEY_BYTES, Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;
use tpm_crypto::hash::HashAlg;
use tpm_crypto::mldsa;

/// TPMT_SIGNATURE (11.3.4); Null stands for TPM_ALG_NULL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// TPM_ALG_NULL
    Null,
    /// TPM_ALG_RSASSA
    Rsassa(HashAlg, Buffer<MAX_RSA_KEY_BYTES>),
    /// TPM_ALG_RSAPSS
    Rsapss(HashAlg, Buffer<MAX_RSA_KEY_BYTES>),
    /// an elliptic-curve scheme: TPM_ALG_ECDSA, ECDAA, SM2 or ECSCHNORR
    Ecc {
        /// the scheme
        scheme: AlgId,
        /// hash
        hash: HashAlg,
        /// signatureR
        r: EccParameter,
        /// signatureS
        s: EccParameter,
    },
    /// TPM_ALG_HMAC
    Hmac(Ha),
    /// TPM_ALG_MLDSA
    MlDsa(MlDsaSignature),
    /// TPM_ALG_HASH_MLDSA
    HashMlDsa(HashAlg, MlDsaSignature),
}

/// TPM2B_SIGNATURE_MLDSA (1.85).
pub type MlDsaSignature = Buffer<{ mldsa::MAX_SIGNATURE }>;

impl Signature {
    /// sigAlg.
    pub fn id(&self) -> AlgId {
        match self {
            Self::Null => AlgId::NULL,
            Self::Rsassa(..) => AlgId::RSASSA,
            Self::Rsapss(..) => AlgId::RSAPSS,
            Self::Ecc { scheme, .. } => *scheme,
            Self::Hmac(_) => AlgId::HMAC,
            Self::MlDsa(_) => AlgId::MLDSA,
            Self::HashMlDsa(..) => AlgId::HASH_MLDSA,
        }
    }

    /// The hash of the signature.
    pub fn hash(&self) -> Option<HashAlg> {
        match self {
            Self::Null | Self::MlDsa(_) => None,
            Self::Rsassa(h, _) | Self::Rsapss(h, _) | Self::Ecc { hash: h, .. } | Self::HashMlDsa(h, _) => Some(*h),
            Self::Hmac(ha) => Some(ha.alg),
        }
    }
}

impl Unmarshal<'_> for Signature {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id.on().is_none() {
            return Err(Fmt1::SCHEME);
        }
        Ok(match id {
            AlgId::RSASSA => Self::Rsassa(r.get()?, r.get()?),
            AlgId::RSAPSS => Self::Rsapss(r.get()?, r.get()?),
            scheme @ (AlgId::ECDSA | AlgId::ECDAA | AlgId::SM2 | AlgId::ECSCHNORR) => {
                Self::Ecc { scheme, hash: r.get()?, r: r.get()?, s: r.get()? }
            }
            AlgId::HMAC => Self::Hmac(r.get()?),
            AlgId::MLDSA => Self::MlDsa(r.get()?),
            AlgId::HASH_MLDSA => Self::HashMlDsa(r.get()?, r.get()?),
            _ => return Err(Fmt1::SCHEME),
        })
    }
}

impl Marshal for Signature {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.id().marshal(w);
        match self {
            Self::Null => {}
            Self::Rsassa(hash, sig) | Self::Rsapss(hash, sig) => {
                hash.marshal(w);
                sig.marshal(w);
            }
            Self::Ecc { hash, r, s, .. } => {
                hash.marshal(w);
                r.marshal(w);
                s.marshal(w);
            }
            Self::Hmac(ha) => ha.marshal(w),
            Self::MlDsa(sig) => sig.marshal(w),
            Self::HashMlDsa(hash, sig) => {
                hash.marshal(w);
                sig.marshal(w);
            }
        }
    }
}
