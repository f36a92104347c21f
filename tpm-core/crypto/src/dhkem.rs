//! DHKEM over elliptic curves (RFC 9180, 4.1): P-256, P-384 and P-521, each with HKDF of the hash that the RFC pairs it
//! with.

use zeroize::Zeroize;

use super::ecc::{Curve, MAX_SIZE, Point, Scalar};
use super::hash::{HashAlg, MAX_DIGEST};
use super::hmac::{Hmac, hmac};
use super::{Error, Rng};
use crate::secret::Secret;

/// The longest serialized point, in bytes.
pub const MAX_CIPHERTEXT: usize = 1 + 2 * MAX_SIZE;

/// A shared secret, as long as the hash's digest.
pub type SharedSecret = Secret<MAX_DIGEST>;

/// A serialized point: 04 ‖ x ‖ y.
type Serialized = Secret<MAX_CIPHERTEXT>;

/// A KEM of RFC 9180, 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhKem {
    id: u16,
    curve: Curve,
    hash: HashAlg,
}

impl DhKem {
    /// The KEM of a curve and a hash, if the RFC has it.
    #[must_use]
    pub const fn new(curve: Curve, hash: HashAlg) -> Option<Self> {
        let id = match (curve, hash) {
            (Curve::NistP256, HashAlg::Sha256) => 0x0010,
            (Curve::NistP384, HashAlg::Sha384) => 0x0011,
            (Curve::NistP521, HashAlg::Sha512) => 0x0012,
            _ => return None,
        };
        Some(Self { id, curve, hash })
    }

    /// The bytes of a ciphertext.
    #[must_use]
    pub const fn ciphertext_size(self) -> usize {
        1 + 2 * self.curve.size()
    }

    /// A new shared secret for the holder of the private key, and its ciphertext into `out`.
    ///
    /// # Errors
    /// `Error::Range` for a point of another curve, `Error::Length` unless `out` has [`DhKem::ciphertext_size`] bytes,
    /// `Error::Reseed` from `rng`.
    pub fn encapsulate(self, public: &Point, rng: &mut dyn Rng, out: &mut [u8]) -> Result<SharedSecret, Error> {
        let (d, ephemeral) = self.curve.generate(rng)?;
        self.encapsulate_with(public, &d, &ephemeral, out)
    }

    fn encapsulate_with(
        self,
        public: &Point,
        d: &Scalar,
        ephemeral: &Point,
        out: &mut [u8],
    ) -> Result<SharedSecret, Error> {
        let z = self.curve.multiply(d.as_slice(), public)?;
        let ciphertext = serialize(ephemeral)?;
        let ciphertext = ciphertext.as_slice();
        if out.len() != ciphertext.len() {
            return Err(Error::Length);
        }
        out.copy_from_slice(ciphertext);
        self.extract_and_expand(&z, out, public)
    }

    /// The shared secret of a ciphertext, with the private scalar `d` of `public`.
    ///
    /// # Errors
    /// `Error::Length` unless the ciphertext has [`DhKem::ciphertext_size`] bytes; `Error::Range` if it is no point of
    /// the curve.
    pub fn decapsulate(self, d: &[u8], public: &Point, ciphertext: &[u8]) -> Result<SharedSecret, Error> {
        if ciphertext.len() != self.ciphertext_size() {
            return Err(Error::Length);
        }
        let (&form, numbers) = ciphertext.split_first().ok_or(Error::Length)?;
        let (x, y) = numbers.split_at_checked(self.curve.size()).ok_or(Error::Length)?;
        if form != 4 {
            return Err(Error::Range);
        }
        let z = self.curve.multiply(d, &Point::new(self.curve, x, y)?)?;
        self.extract_and_expand(&z, ciphertext, public)
    }

    /// ExtractAndExpand: as the secret has the size of a digest, HKDF-Expand is one HMAC.
    fn extract_and_expand(self, z: &Point, ciphertext: &[u8], public: &Point) -> Result<SharedSecret, Error> {
        let public = serialize(public)?;
        let id = self.id.to_be_bytes();
        let mut key = hmac(self.hash, &[], &[b"HPKE-v1KEM", &id, b"eae_prk", z.x().as_slice()]);
        let size = u16::try_from(self.hash.digest_size()).map_err(|_| Error::Length)?.to_be_bytes();
        let expand = Hmac::new(self.hash, key.as_slice()).chain(&size).chain(b"HPKE-v1KEM").chain(&id);
        let mut secret = expand.chain(b"shared_secret").chain(ciphertext).chain(public.as_slice()).chain(&[1]).finish();
        let shared = SharedSecret::from_slice(secret.as_slice());
        key.zeroize();
        secret.zeroize();
        Ok(shared?)
    }
}

fn serialize(point: &Point) -> Result<Serialized, Error> {
    let mut bytes = Serialized::from_slice(&[4])?;
    bytes.extend(point.x().as_slice())?;
    bytes.extend(point.y().as_slice())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drbg::Drbg;
    use hex_literal::hex;

    /// RFC 9180, A.3.1
    #[test]
    fn p256_gives_the_secret_of_the_rfc() {
        let kem = DhKem::new(Curve::NistP256, HashAlg::Sha256).unwrap();
        let sk_e = hex!("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb");
        let sk_r = hex!("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2");
        let enc = hex!(
            "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
        );
        let secret = hex!("c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8");
        let public = Curve::NistP256.public(&sk_r).unwrap();
        let mut out = [0; 65];
        let d = Scalar::from_slice(&sk_e).ok().unwrap();
        let ephemeral = Curve::NistP256.public(&sk_e).unwrap();
        let shared = kem.encapsulate_with(&public, &d, &ephemeral, &mut out).ok().unwrap();
        assert!(shared.ct_eq(&secret));
        assert_eq!(out, enc);
        assert!(kem.decapsulate(&sk_r, &public, &enc).ok().unwrap().ct_eq(&secret));
    }

    #[test]
    fn every_curve_agrees_with_itself_and_refuses_what_is_no_point() {
        let mut rng = Drbg::from_seed(&[b"dhkem"]);
        for (curve, hash) in
            [(Curve::NistP256, HashAlg::Sha256), (Curve::NistP384, HashAlg::Sha384), (Curve::NistP521, HashAlg::Sha512)]
        {
            let kem = DhKem::new(curve, hash).unwrap();
            let (d, public) = curve.generate(&mut rng).ok().unwrap();
            let mut bytes = [0; MAX_CIPHERTEXT];
            let ciphertext = &mut bytes[..kem.ciphertext_size()];
            let shared = kem.encapsulate(&public, &mut rng, ciphertext).ok().unwrap();
            assert_eq!(shared.len(), hash.digest_size());
            assert!(kem.decapsulate(d.as_slice(), &public, ciphertext).ok().unwrap().ct_eq(shared.as_slice()));
            let refused = |c: &[u8]| kem.decapsulate(d.as_slice(), &public, c).err().unwrap();
            assert_eq!(refused(&ciphertext[1..]), Error::Length);
            ciphertext[0] = 5;
            assert_eq!(refused(ciphertext), Error::Range);
            ciphertext[0] = 4;
            *ciphertext.last_mut().unwrap() ^= 1;
            assert_eq!(refused(ciphertext), Error::Range);
        }
        assert_eq!(DhKem::new(Curve::NistP256, HashAlg::Sha384), None);
        assert_eq!(DhKem::new(Curve::Sm2P256, HashAlg::Sm3), None);
    }
}
