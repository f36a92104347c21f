//! The keys of loaded objects as `crypto` takes them. `None` for another type, or without a sensitive area where it is
//! needed.

use super::load;
use crate::crypto::Error;
use crate::crypto::ecc::{Point, Scalar};
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{EccParms, Parms, RsaParms, SensitiveComposite};

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

impl Tpm {
    /// The response code for a failed cryptographic operation: `otherwise`, unless the TPM itself has failed and enters
    /// failure mode.
    pub(crate) fn crypto_failed(&mut self, error: Error, otherwise: Rc) -> Rc {
        match error {
            Error::Reseed | Error::Fault => self.fail(),
            Error::Length | Error::Range | Error::Key | Error::Invalid | Error::Canceled => otherwise,
        }
    }
}
