//! Keys by which what we write is signed: P-256 or P-384, PKCS#8 in PEM or DER.

use crate::pem;
use anyhow::{Context, Result, anyhow};
use graviola::hashing::{Sha256, Sha384};
use graviola::signing::ecdsa::{P256, P384, SigningKey};

/// A private key.
pub enum Key {
    /// ES256.
    P256(SigningKey<P256>),
    /// ES384.
    P384(SigningKey<P384>),
}

impl Key {
    /// Reads a key.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let der = pem::der(file)?;
        let p256 = SigningKey::<P256>::from_pkcs8_der(&der).map(Self::P256);
        let key = p256.or_else(|_| SigningKey::<P384>::from_pkcs8_der(&der).map(Self::P384));
        key.ok().context("this is no key for P-256 or P-384 in PKCS#8")
    }

    /// The name that JSON Web Signatures have for it (RFC 7518).
    pub const fn jose_name(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
        }
    }

    /// r ‖ s over `message`, which is hashed as the curve wants it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = [0; 96];
        let signed = match self {
            Self::P256(key) => key.sign::<Sha256>(&[message], &mut signature),
            Self::P384(key) => key.sign::<Sha384>(&[message], &mut signature),
        };
        Ok(signed.map_err(|error| anyhow!("signing: {error:?}"))?.to_vec())
    }
}
