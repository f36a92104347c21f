//! The owner's word that one measurement may follow another. A firmware cannot list a successor that is built after it,
//! since it would have to be in its own measurement; so whoever owns the state signs that, with a key that both
//! firmwares' settings name.
//!
//! | offset | octets | is |
//! |---|---|---|
//! | 0 | 32 | the TPM's identity; zeros: any TPM of a firmware that names the owner's key |
//! | 32 | 48 | the measurement that the state comes from |
//! | 80 | 48 | the measurement that it goes to |
//! | 128 | 8 | the last epoch of the state at which it may go, little-endian |
//! | 136 | 96 | r and s of ECDSA P-384, big-endian, of SHA-384 of [`LABEL`] and all before |

use tpm_crypto::Rng;
use tpm_crypto::ecc::{Curve, Signature};
use tpm_crypto::hash::{Digest, HashAlg, digest};

use crate::octets::Octets;
use crate::refusal::Refusal;
use crate::terms::point;
use crate::{Identity, Measurement};

/// What the signature is over begins with it.
pub const LABEL: &[u8; 32] = b"Quoin: grant of migration, 1    ";
/// Octets of a grant.
pub const SIZE: usize = SIGNED + 96;
const SIGNED: usize = 136;

/// The owner's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose state; zeros for any.
    pub identity: Identity,
    /// Where it comes from.
    pub from: Measurement,
    /// Where it goes to.
    pub to: Measurement,
    /// The last epoch at which it may go.
    pub until: u64,
    /// r and s.
    pub signature: [u8; 96],
}

/// Who wants to follow whom, with what state.
pub(crate) struct Move<'a> {
    pub(crate) from: &'a Measurement,
    pub(crate) to: &'a Measurement,
    pub(crate) identity: &'a Identity,
    pub(crate) epoch: u64,
}

impl Grant {
    /// The owner signs with the private scalar `d`.
    ///
    /// # Errors
    /// `Entropy` if there are no random numbers, or `d` is no private scalar of P-384.
    pub fn sign(mut self, d: &[u8], rng: &mut dyn Rng) -> Result<Self, Refusal> {
        let Signature { r, s } = Curve::NistP384.ecdsa_sign(d, self.hash().as_slice(), rng)?;
        let both = r.as_slice().iter().chain(s.as_slice());
        self.signature.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        Ok(self)
    }

    /// Reads a grant.
    ///
    /// # Errors
    /// `Shape` for any other length.
    pub fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(octets);
        let (identity, from, to) = (r.array()?, r.array()?, r.array()?);
        let grant = Self { identity, from, to, until: r.u64()?, signature: r.array()? };
        r.end()?;
        Ok(grant)
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        let all = self.signed().into_iter().chain(self.signature);
        out.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        out
    }

    /// Whether this owner has signed it.
    #[must_use]
    pub fn is_signed_by(&self, owner: &[u8; 96]) -> bool {
        let (r, s) = self.signature.split_at(48);
        let (Ok(owner), Ok(signature)) = (point(owner), Signature::new(Curve::NistP384, r, s)) else { return false };
        Curve::NistP384.ecdsa_verify(&owner, self.hash().as_slice(), &signature).is_ok()
    }

    /// Whether `owner` lets that happen.
    pub(crate) fn covers(&self, owner: &[u8; 96], what: &Move<'_>) -> Result<(), Refusal> {
        if !self.is_signed_by(owner) {
            return Err(Refusal::GrantSignature);
        }
        if self.from != *what.from || self.to != *what.to {
            return Err(Refusal::GrantMeasurement);
        }
        if self.identity != [0; 32] && self.identity != *what.identity {
            return Err(Refusal::GrantIdentity);
        }
        if what.epoch > self.until { Err(Refusal::GrantExpired) } else { Ok(()) }
    }

    fn signed(&self) -> [u8; SIGNED] {
        let mut out = [0; SIGNED];
        let parts = [&self.identity[..], &self.from, &self.to, &self.until.to_le_bytes()];
        out.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        out
    }

    fn hash(&self) -> Digest {
        digest(HashAlg::Sha384, &[LABEL, &self.signed()])
    }
}
