//! Secrets exchanged with a key: salts, seeds of credentials and of duplication (Part 1, 8.4.10.3, 16.6.13, 20 and 21;
//! Annexes B.10 and C.6).

use super::create::point_of;
use super::load;
use crate::crypto::ecc::Point;
use crate::crypto::hash::HashAlg;
use crate::crypto::kdf;
use crate::crypto::mlkem::{self, SharedSecret};
use crate::crypto::rsa::padding::CryptScheme;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    EccPoint, EncryptedSecret, Handle, MAX_RSA_KEY_BYTES, Marshal, Parms, Reader, Scheme, SensitiveComposite, Unique,
};

/// A secret that was exchanged: at most as long as a digest.
pub(crate) type Seed = Secret<64>;

/// What an exchanged secret is for: L of OAEP and of KDFe, without the terminating zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// the salt of a session
    Secret,
    /// the seed of a duplication blob
    Duplicate,
    /// the seed of a credential blob
    Identity,
}

impl Use {
    /// With the terminating zero.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Secret => b"SECRET\0",
            Self::Duplicate => b"DUPLICATE\0",
            Self::Identity => b"IDENTITY\0",
        }
    }

    fn without_zero(self) -> &'static [u8] {
        self.label().split_last().map_or(&[], |(_, label)| label)
    }
}

/// The hash of OAEP: that of the key's scheme, or else nameAlg.
///
/// - `SCHEME`: a scheme other than OAEP
fn oaep_hash(key: &Object) -> Result<HashAlg, Rc> {
    match &key.public.parms {
        Parms::Rsa(p) => match p.scheme.0 {
            Scheme::Null => key.public.name_alg.ok_or(Fmt1::SCHEME.plain()),
            Scheme::Oaep(hash) => Ok(hash),
            _ => Err(Fmt1::SCHEME.plain()),
        },
        _ => Err(Fmt1::SCHEME.plain()),
    }
}

impl Tpm {
    /// A new secret of the size of nameAlg's digests, and its encryption to the key.
    ///
    /// - `KEY`: no key with which secrets can be exchanged
    /// - `SCHEME`: an RSA key with a scheme other than OAEP
    pub(crate) fn new_secret(&mut self, key: Handle, purpose: Use) -> Result<(Seed, EncryptedSecret), Rc> {
        let alg = self.object(key).and_then(|k| k.public.name_alg).ok_or(Fmt1::KEY.plain())?;
        match self.object(key).map(|k| &k.public.parms) {
            Some(Parms::Rsa(_)) => self.new_rsa_secret(key, alg, purpose),
            Some(Parms::Ecc(_)) => self.new_ecc_secret(key, alg, purpose),
            Some(Parms::MlKem(_)) => self.new_ml_kem_secret(key, alg, purpose),
            _ => Err(Fmt1::KEY.plain()),
        }
    }

    fn new_rsa_secret(&mut self, key: Handle, alg: HashAlg, purpose: Use) -> Result<(Seed, EncryptedSecret), Rc> {
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let hash = oaep_hash(object)?;
        let public = load::rsa_public(&object.public).map_err(Fmt1::plain)?;
        let mut seed = Seed::zeroed(alg.digest_size()).map_err(|_| Fault::Capacity)?;
        self.random(seed.as_mut_slice())?;
        let mut out = [0; MAX_RSA_KEY_BYTES];
        let scheme = CryptScheme::Oaep(hash, purpose.label());
        let size =
            public.encrypt(&mut self.drbg, scheme, seed.as_slice(), &mut out).map_err(|_| Fmt1::VALUE.plain())?;
        let secret = EncryptedSecret::from_slice(out.get(..size).unwrap_or_default()).map_err(|_| Fault::Capacity)?;
        Ok((seed, secret))
    }

    fn new_ecc_secret(&mut self, key: Handle, alg: HashAlg, purpose: Use) -> Result<(Seed, EncryptedSecret), Rc> {
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let public = load::ecc_public(&object.public).map_err(Fmt1::plain)?;
        let (d, ephemeral) = public.curve().generate(&mut self.drbg).map_err(|_| Fault::NoRandom)?;
        let z = public.curve().multiply(d.as_slice(), &public).map_err(|_| Fmt1::KEY.plain())?;
        let ephemeral = point_of(&ephemeral);
        let secret = EncryptedSecret::of(|w| ephemeral.marshal(w)).map_err(|_| Fault::Capacity)?;
        Ok((agreed(alg, &z, purpose, &ephemeral, &public)?, secret))
    }

    /// The secret that was encrypted to the key, which has a sensitive area.
    ///
    /// - `KEY`: no key with which secrets can be exchanged
    /// - `SCHEME`: an RSA key with a scheme other than OAEP
    /// - `VALUE`, `SIZE`, `ECC_POINT` and the like: the secret is not one for this key and use
    pub(crate) fn open_secret(&mut self, key: Handle, purpose: Use, secret: &[u8]) -> Result<Seed, Rc> {
        match self.object(key).map(|k| &k.public.parms) {
            Some(Parms::Rsa(_)) => self.open_rsa_secret(key, purpose, secret),
            Some(Parms::Ecc(_)) => self.open_ecc_secret(key, purpose, secret),
            Some(Parms::MlKem(_)) => self.open_ml_kem_secret(key, purpose, secret),
            _ => Err(Fmt1::KEY.plain()),
        }
    }

    fn open_rsa_secret(&mut self, key: Handle, purpose: Use, secret: &[u8]) -> Result<Seed, Rc> {
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let hash = oaep_hash(object)?;
        let sensitive = object.sensitive.as_ref().ok_or(Fmt1::KEY.plain())?;
        let private = load::rsa_private(&object.public, sensitive)?;
        if secret.len() != private.public().size() {
            return Err(Fmt1::SIZE.plain());
        }
        let message = private
            .decrypt(&mut self.drbg, CryptScheme::Oaep(hash, purpose.label()), secret)
            .map_err(|_| Fmt1::VALUE.plain())?;
        if message.len() > hash.digest_size() {
            return Err(Fmt1::VALUE.plain());
        }
        Seed::from_slice(message.as_slice()).map_err(|_| Fmt1::VALUE.plain())
    }

    fn open_ecc_secret(&mut self, key: Handle, purpose: Use, secret: &[u8]) -> Result<Seed, Rc> {
        let mut r = Reader::new(secret);
        let ephemeral: EccPoint = r.get().map_err(Fmt1::plain)?;
        if !r.is_empty() {
            return Err(Fmt1::SIZE.plain());
        }
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let alg = object.public.name_alg.ok_or(Fmt1::KEY.plain())?;
        let public = load::ecc_public(&object.public).map_err(Fmt1::plain)?;
        let curve = public.curve();
        let point =
            Point::new(curve, ephemeral.x.as_slice(), ephemeral.y.as_slice()).map_err(|_| Fmt1::ECC_POINT.plain())?;
        let Some(SensitiveComposite::Ecc(d)) = object.sensitive.as_ref().map(|s| &s.composite) else {
            return Err(Fmt1::KEY.plain());
        };
        let z = curve.multiply(d.as_slice(), &point).map_err(|_| Fmt1::ECC_POINT.plain())?;
        agreed(alg, &z, purpose, &ephemeral, &public)
    }

    fn new_ml_kem_secret(&mut self, key: Handle, alg: HashAlg, purpose: Use) -> Result<(Seed, EncryptedSecret), Rc> {
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let (Parms::MlKem(parms), Unique::MlKem(public)) = (&object.public.parms, &object.public.unique) else {
            return Err(Fmt1::KEY.plain());
        };
        let (set, public) = (parms.set, public.clone());
        let mut ciphertext = [0; mlkem::MAX_CIPHERTEXT];
        let ciphertext = ciphertext.get_mut(..set.ciphertext_size()).ok_or(Fault::Capacity)?;
        let shared = set.encapsulate(public.as_slice(), &mut self.drbg, ciphertext).map_err(|_| Fmt1::KEY.plain())?;
        let seed = labeled(alg, &shared, purpose, ciphertext, public.as_slice())?;
        Ok((seed, EncryptedSecret::from_slice(ciphertext).map_err(|_| Fault::Capacity)?))
    }

    fn open_ml_kem_secret(&mut self, key: Handle, purpose: Use, secret: &[u8]) -> Result<Seed, Rc> {
        let object = self.object(key).ok_or(Fault::NoObject)?;
        let alg = object.public.name_alg.ok_or(Fmt1::KEY.plain())?;
        let composite = object.sensitive.as_ref().map(|s| &s.composite);
        match (&object.public.parms, &object.public.unique, composite) {
            (Parms::MlKem(parms), Unique::MlKem(public), Some(SensitiveComposite::MlKem(private))) => {
                let shared = parms.set.decapsulate(private.as_slice(), secret).map_err(|_| Fmt1::SIZE.plain())?;
                labeled(alg, &shared, purpose, secret, public.as_slice())
            }
            _ => Err(Fmt1::KEY.plain()),
        }
    }
}

/// The labeled KEM of 1.85 (Part 1, 47.4): KDFa(nameAlg, shared secret, use, ciphertext, public key, bits of a digest).
fn labeled(alg: HashAlg, shared: &SharedSecret, purpose: Use, ciphertext: &[u8], public: &[u8]) -> Result<Seed, Rc> {
    let mut seed = Seed::zeroed(alg.digest_size()).map_err(|_| Fault::Capacity)?;
    kdf::kdfa(alg, shared.as_slice(), purpose.without_zero(), ciphertext, public, seed.as_mut_slice());
    Ok(seed)
}

/// KDFe(nameAlg, Z.x, use, ephemeral.x, public.x, bits of a digest).
fn agreed(alg: HashAlg, z: &Point, purpose: Use, ephemeral: &EccPoint, public: &Point) -> Result<Seed, Rc> {
    let mut seed = Seed::zeroed(alg.digest_size()).map_err(|_| Fault::Capacity)?;
    let label = purpose.without_zero();
    kdf::kdfe(alg, z.x().as_slice(), label, ephemeral.x.as_slice(), public.x().as_slice(), seed.as_mut_slice());
    Ok(seed)
}
