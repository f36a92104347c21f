//! The keys of loaded objects as `crypto` takes them. `None` for another type, or without a sensitive area where it is
//! needed.

use super::load;
use crate::crypto::Error;
use crate::crypto::ecc::{Point, Scalar};
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::data::object::Object;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::{EccParms, ObjectAttributes, Parms, RsaParms, SensitiveComposite};

impl Object {
    /// The parameters of an RSA key.
    pub(crate) fn rsa_parms(&self) -> Option<&RsaParms> {
        match &self.public.parms {
            Parms::Rsa(parms) => Some(parms),
            _ => None,
        }
    }

    /// The parameters of an ECC key.
    pub(crate) fn ecc_parms(&self) -> Option<&EccParms> {
        match &self.public.parms {
            Parms::Ecc(parms) => Some(parms),
            _ => None,
        }
    }

    /// The public key of an RSA object.
    pub(crate) fn rsa_public(&self) -> Option<RsaPublic> {
        load::rsa_public(&self.public).ok()
    }

    /// The private key of an RSA object.
    pub(crate) fn rsa_private(&self) -> Option<RsaPrivate> {
        load::rsa_private(&self.public, self.sensitive.as_ref()?).ok()
    }

    /// The public point of an ECC object.
    pub(crate) fn ecc_public(&self) -> Option<Point> {
        load::ecc_public(&self.public).ok()
    }

    /// The private scalar of an ECC object.
    pub(crate) fn ecc_private(&self) -> Option<Scalar> {
        match &self.sensitive.as_ref()?.composite {
            SensitiveComposite::Ecc(d) => Scalar::from_slice(d.as_slice()).ok(),
            _ => None,
        }
    }
}

/// Whether a wrong result of a private operation can only be the TPM's fault: with a key that this TPM has made for
/// itself. Of any other, the factors may never have been primes, and nobody has looked: anyone who can load a key could
/// put the TPM out of service with it.
pub(crate) fn is_own(key: &Object) -> bool {
    key.has(ObjectAttributes::FIXED_TPM)
}

/// Why a private operation has failed with a key that [`is_own`], or is not.
///
/// - `BINDING`: its result does not fit the public key, which is not the TPM's own
/// - `otherwise`
pub(crate) fn private_failed(is_own: bool, error: Error, otherwise: Rc) -> Rc {
    if error == Error::Fault && !is_own { Fmt1::BINDING.plain() } else { crypto_failed(error, otherwise) }
}

/// Why a cryptographic operation has failed: `otherwise`, unless it is a fault of the TPM.
pub(crate) fn crypto_failed(error: Error, otherwise: Rc) -> Rc {
    match error {
        Error::Reseed => Fault::NoRandom.into(),
        Error::Fault => Fault::PrivateOperation.into(),
        Error::Length | Error::Range | Error::Key | Error::Invalid | Error::Canceled => otherwise,
    }
}
