//! Who signs: ECDSA over P-384 and SHA-384.
//!
//! A trait, so that a simulation of millions of schedules can have keys that cost nothing.

use crate::wire::{Key, Signature};
use core::fmt;
use p384::PublicKey;
use p384::ecdsa::signature::{Signer, Verifier};
use p384::ecdsa::{self, SigningKey, VerifyingKey};
use p384::elliptic_curve::sec1::ToSec1Point;

/// A key pair.
pub trait Keys {
    /// The public key.
    fn public(&self) -> &Key;
    /// A signature; nothing where none can be made.
    fn sign(&self, octets: &[u8]) -> Option<Signature>;
    /// Whether `signature` is one of this public key's owner.
    fn holds(key: &Key, octets: &[u8], signature: &Signature) -> bool;
}

/// A key pair of P-384. Signatures are deterministic (RFC 6979), so that no bad generator gives the key away.
pub struct P384 {
    secret: SigningKey,
    public: Key,
}

impl P384 {
    /// The key pair of a scalar: nothing for zero, and for what is not below the order.
    #[must_use]
    pub fn new(scalar: &[u8; 48]) -> Option<Self> {
        let secret = SigningKey::from_slice(scalar).ok()?;
        let public = compressed(&secret.verifying_key().into())?;
        Some(Self { secret, public })
    }
}

/// The public key only.
impl fmt::Debug for P384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P384").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Keys for P384 {
    fn public(&self) -> &Key {
        &self.public
    }

    fn sign(&self, octets: &[u8]) -> Option<Signature> {
        let signature: ecdsa::Signature = self.secret.try_sign(octets).ok()?;
        signature.to_bytes().as_slice().try_into().ok()
    }

    fn holds(key: &Key, octets: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_sec1_bytes(key) else { return false };
        let Ok(signature) = ecdsa::Signature::from_slice(signature) else { return false };
        key.verify(octets, &signature).is_ok()
    }
}

/// Whether this is a point of the curve, as a key must be.
#[must_use]
pub fn is_key(key: &Key) -> bool {
    VerifyingKey::from_sec1_bytes(key).is_ok()
}

/// A public key as messages have it.
pub(crate) fn compressed(key: &PublicKey) -> Option<Key> {
    key.to_sec1_point(true).as_bytes().try_into().ok()
}
