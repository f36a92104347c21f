//! Signing and verifying with a loaded key (Part 1, 8.4.6; Part 3, 18.1 and 20.1): which scheme is used, the signature,
//! and whether one is genuine.

use crate::crypto::Error;
use crate::crypto::ecc::{self, Point};
use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::hmac::{self, hmac};
use crate::crypto::mldsa::{self, Mu};
use crate::crypto::rsa::padding::SignScheme;
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::key::{crypto_failed, is_own, private_failed};
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{
    AlgId, Buffer, EccParameter, Ha, Handle, MAX_RSA_KEY_BYTES, ObjectAttributes, ObjectType, Parms, Scheme,
    SensitiveComposite, Signature, Unique,
};

/// Who signs, and how: a loaded key with a scheme that suits it, or nobody for TPM_RH_NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signer {
    /// the key, or TPM_RH_NULL
    pub(crate) key: Handle,
    /// the scheme; Null for TPM_RH_NULL, and only then
    pub(crate) scheme: Scheme,
    /// the hash for digests that are attested to
    pub(crate) hash: Option<HashAlg>,
}

impl Signer {
    /// A key with a scheme that has a hash.
    pub(crate) fn new(key: Handle, scheme: Scheme) -> Self {
        Self { key, scheme, hash: scheme.hash() }
    }

    /// Whether there is no key: what is attested to comes without a signature.
    pub(crate) fn is_null(&self) -> bool {
        self.key == Handle::NULL
    }

    /// Whether the scheme does not tell who signed (Part 1, C.4.3: ECDAA).
    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.scheme, Scheme::Ecdaa(..))
    }
}

impl Object {
    /// A signing key: with sign, and no symmetric cipher, for which that attribute means encryption.
    pub(crate) fn can_sign(&self) -> bool {
        self.has(ObjectAttributes::SIGN) && self.public.object_type() != ObjectType::SymCipher
    }

    /// The scheme to sign with, from the key's and the one asked for: the key's decides if it has one, and then a
    /// different one, or the same with another hash, is refused. None also if the scheme is not for keys of this type.
    pub(crate) fn select_scheme(&self, wanted: Scheme) -> Option<Scheme> {
        let own = self.own_scheme();
        let scheme = match (own, wanted) {
            (Scheme::Null, wanted) => wanted,
            // A split scheme needs the count that only the command can give.
            (Scheme::Ecdaa(..), Scheme::Null) => return None,
            (own, Scheme::Null) => own,
            (own, wanted) if own.id() == wanted.id() && own.hash() == wanted.hash() => wanted,
            _ => return None,
        };
        signs_with(self.public.object_type(), scheme).then_some(scheme)
    }

    /// The key's own scheme for what comes with a context (1.85), of which this takes nothing but a count.
    ///
    /// - `SCHEME`: none of its own, or one that is not for digests
    /// - `SIZE`: the scheme takes a count, and the context is not one
    /// - `VALUE`: there is a context, and the scheme has no use for it
    pub(crate) fn scheme_with(&self, context: &[u8]) -> Result<Scheme, Fmt1> {
        match self.own_scheme() {
            Scheme::Ecdaa(hash, _) => {
                let count = context.try_into().map_err(|_| Fmt1::SIZE)?;
                Ok(Scheme::Ecdaa(hash, u16::from_be_bytes(count)))
            }
            own if own.hash().is_none() || !signs_with(self.public.object_type(), own) => Err(Fmt1::SCHEME),
            _ if !context.is_empty() => Err(Fmt1::VALUE),
            own => Ok(own),
        }
    }
}

/// Whether keys of this type sign with this scheme. Never with Null.
fn signs_with(key: ObjectType, scheme: Scheme) -> bool {
    match key {
        ObjectType::Rsa => matches!(scheme, Scheme::Rsassa(_) | Scheme::Rsapss(_)),
        ObjectType::Ecc => {
            matches!(scheme, Scheme::Ecdsa(_) | Scheme::Ecdaa(..) | Scheme::Sm2(_) | Scheme::Ecschnorr(_))
        }
        ObjectType::KeyedHash => matches!(scheme, Scheme::Hmac(_)),
        ObjectType::MlDsa => scheme == Scheme::MlDsa,
        ObjectType::HashMlDsa => scheme == Scheme::HashMlDsa,
        ObjectType::SymCipher | ObjectType::MlKem => false,
    }
}

impl Tpm {
    /// The key of a command that signs, with the scheme it will use. TPM_RH_NULL is a signer without a key, of whose
    /// scheme only the hash counts. Pure ML-DSA has no hash for digests; that of the key's Name is taken (1.85, Errata
    /// 1, 2.6).
    ///
    /// - `KEY` at the key: no signing key
    /// - `SCHEME` at the scheme: neither key nor command has one, they differ, or it does not suit the key
    pub(crate) fn signer(&self, key: Handle, wanted: Scheme, at_key: At, at_scheme: At) -> Result<Signer, Rc> {
        if key == Handle::NULL {
            return Ok(Signer { key, scheme: Scheme::Null, hash: wanted.hash() });
        }
        let object = self.object(key).filter(|o| o.can_sign()).ok_or(Fmt1::KEY.at(at_key))?;
        let scheme = object.select_scheme(wanted).ok_or(Fmt1::SCHEME.at(at_scheme))?;
        let hash = match &object.public.parms {
            Parms::MlDsa(_) => object.public.name_alg,
            Parms::HashMlDsa(p) => Some(p.hash),
            _ => scheme.hash(),
        };
        Ok(Signer { key, scheme, hash })
    }

    /// Signs a digest.
    ///
    /// - `BINDING`: the private part is not loaded, or does not fit the public one
    /// - `VALUE`: the digest is not one of the scheme's hash, or too long for the key; for ECDAA, no open commitment
    ///   has this count
    /// - `SCHEME`: the scheme cannot be used with this key
    pub(crate) fn sign(&mut self, signer: &Signer, digest: &[u8]) -> Result<Signature, Rc> {
        let hash = signer.scheme.hash().ok_or(Fmt1::SCHEME.plain())?;
        let object = self.object(signer.key).ok_or(Rc::reference_h(0))?;
        let secret = object.sensitive.as_ref().map(|s| &s.composite).ok_or(Fmt1::BINDING.plain())?;
        match (&object.public.parms, &object.public.unique, secret) {
            (Parms::Rsa(p), Unique::Rsa(n), SensitiveComposite::Rsa(prime)) => {
                let public = RsaPublic::new(n.as_slice(), p.exponent);
                let key = public.and_then(|public| RsaPrivate::new(&public, prime.as_slice()));
                let is_own = is_own(object);
                self.sign_rsa(key.map_err(|_| Fmt1::BINDING.plain())?, is_own, signer.scheme, digest)
            }
            (Parms::Ecc(p), _, SensitiveComposite::Ecc(d)) => {
                let (curve, d) = (p.curve, d.duplicate());
                if let Scheme::Ecdaa(_, count) = signer.scheme {
                    let r = self.reset.commit.reopen(curve, object.name.as_slice(), count);
                    let r = r.ok_or(Fmt1::VALUE.plain())?;
                    return self.sign_ecdaa(curve, [d.as_slice(), r.as_slice()], count, hash, digest);
                }
                self.sign_ecc(curve, d.as_slice(), signer.scheme, hash, digest)
            }
            (Parms::KeyedHash(_), _, SensitiveComposite::Bits(key)) => {
                Ok(Signature::Hmac(Ha { alg: hash, digest: hmac(hash, key.as_slice(), &[digest]) }))
            }
            _ => Err(Fmt1::SCHEME.plain()),
        }
    }

    fn sign_rsa(&mut self, key: RsaPrivate, is_own: bool, scheme: Scheme, digest: &[u8]) -> Result<Signature, Rc> {
        let padding = match scheme {
            Scheme::Rsassa(hash) => SignScheme::Rsassa(hash),
            Scheme::Rsapss(hash) => SignScheme::Rsapss(hash),
            _ => return Err(Fmt1::SCHEME.plain()),
        };
        let mut out = [0; MAX_RSA_KEY_BYTES];
        let signed = key.sign(&mut self.drbg, padding, digest, &mut out);
        let len = signed.map_err(|e| private_failed(is_own, e, not_signed(e)))?;
        let signature = Buffer::from_slice(out.get(..len).unwrap_or_default()).map_err(|_| Fault::Capacity)?;
        Ok(match padding {
            SignScheme::Rsassa(hash) => Signature::Rsassa(hash, signature),
            SignScheme::Rsapss(hash) => Signature::Rsapss(hash, signature),
        })
    }

    fn sign_ecc(
        &mut self,
        curve: ecc::Curve,
        d: &[u8],
        scheme: Scheme,
        hash: HashAlg,
        digest: &[u8],
    ) -> Result<Signature, Rc> {
        let signature = match scheme {
            Scheme::Ecdsa(_) => curve.ecdsa_sign(d, digest, &mut self.drbg),
            Scheme::Ecschnorr(_) => curve.ecschnorr_sign(d, hash, digest, &mut self.drbg),
            Scheme::Sm2(_) => curve.sm2_sign(d, digest, &mut self.drbg),
            _ => return Err(Fmt1::SCHEME.plain()),
        };
        let signature = signature.map_err(not_signed)?;
        ecc_signature(scheme.id(), hash, &signature)
    }

    /// ECDAA with the r of an open commitment, which is closed when it has been used (Part 1, C.4.2).
    fn sign_ecdaa(
        &mut self,
        curve: ecc::Curve,
        [d, r]: [&[u8]; 2],
        count: u16,
        hash: HashAlg,
        digest: &[u8],
    ) -> Result<Signature, Rc> {
        let signature = curve.ecdaa_sign(d, r, hash, digest, &mut self.drbg).map_err(not_signed)?;
        self.reset.change().commit.close(count);
        ecc_signature(AlgId::ECDAA, hash, &signature)
    }

    /// Signs μ with an ML-DSA or Hash-ML-DSA key (1.85).
    ///
    /// - `BINDING`: the private part is not loaded
    /// - `KEY`: no such key
    pub(crate) fn sign_ml_dsa(&mut self, key: Handle, mu: &[u8; mldsa::MU]) -> Result<Signature, Rc> {
        let object = self.object(key).ok_or(Rc::reference_h(0))?;
        let secret = object.sensitive.as_ref().map(|s| &s.composite).ok_or(Fmt1::BINDING.plain())?;
        let (set, hash, seed) = match (&object.public.parms, secret) {
            (Parms::MlDsa(p), SensitiveComposite::MlDsa(seed)) => (p.set, None, seed.duplicate()),
            (Parms::HashMlDsa(p), SensitiveComposite::HashMlDsa(seed)) => (p.set, Some(p.hash), seed.duplicate()),
            _ => return Err(Fmt1::KEY.plain()),
        };
        let mut out = [0; mldsa::MAX_SIGNATURE];
        let out = out.get_mut(..set.signature_size()).ok_or(Fault::Capacity)?;
        set.sign(seed.as_slice(), mu, &mut self.drbg, out).map_err(not_signed)?;
        let signature = Buffer::from_slice(out).map_err(|_| Fault::Capacity)?;
        Ok(match hash {
            None => Signature::MlDsa(signature),
            Some(hash) => Signature::HashMlDsa(hash, signature),
        })
    }
}

fn not_signed(e: Error) -> Rc {
    let code = if e == Error::Length { Fmt1::VALUE } else { Fmt1::BINDING };
    crypto_failed(e, code.plain())
}

fn ecc_signature(scheme: AlgId, hash: HashAlg, signature: &ecc::Signature) -> Result<Signature, Rc> {
    let number = |n: &ecc::Number| EccParameter::from_slice(n.as_slice()).map_err(|_| Fault::Capacity);
    Ok(Signature::Ecc { scheme, hash, r: number(&signature.r)?, s: number(&signature.s)? })
}

/// Whether a signature of a digest is the key's. Which scheme the key has does not matter, but for an HMAC key.
///
/// - `SCHEME`: not a scheme of such keys, or one that cannot be verified
/// - `HANDLE`: an HMAC key without its private part
/// - `SIGNATURE`: it is not genuine
pub(crate) fn verify(key: &Object, digest: &[u8], signature: &Signature) -> Result<(), Fmt1> {
    match (&key.public.parms, &key.public.unique) {
        (Parms::Rsa(p), Unique::Rsa(n)) => verify_rsa(n.as_slice(), p.exponent, digest, signature),
        (Parms::Ecc(p), Unique::Ecc(q)) => {
            let public = Point::new(p.curve, q.x.as_slice(), q.y.as_slice());
            verify_ecc(p.curve, public, digest, signature)
        }
        (Parms::KeyedHash(p), _) => verify_hmac(key, p.0, digest, signature),
        _ => Err(Fmt1::SCHEME),
    }
}

fn verify_rsa(modulus: &[u8], exponent: u32, digest: &[u8], signature: &Signature) -> Result<(), Fmt1> {
    let (scheme, octets) = match signature {
        Signature::Rsassa(hash, octets) => (SignScheme::Rsassa(*hash), octets),
        Signature::Rsapss(hash, octets) => (SignScheme::Rsapss(*hash), octets),
        _ => return Err(Fmt1::SCHEME),
    };
    RsaPublic::new(modulus, exponent)
        .and_then(|key| key.verify(scheme, digest, octets.as_slice()))
        .map_err(|_| Fmt1::SIGNATURE)
}

fn verify_ecc(
    curve: ecc::Curve,
    public: Result<Point, Error>,
    digest: &[u8],
    signature: &Signature,
) -> Result<(), Fmt1> {
    let Signature::Ecc { scheme: scheme @ (AlgId::ECDSA | AlgId::ECSCHNORR | AlgId::SM2), hash, r, s } = signature
    else {
        // Also ECDAA: that is for those who know its group's public key.
        return Err(Fmt1::SCHEME);
    };
    let (Ok(public), Ok(signature)) = (public, ecc::Signature::new(curve, r.as_slice(), s.as_slice())) else {
        return Err(Fmt1::SIGNATURE);
    };
    let verdict = match *scheme {
        AlgId::ECDSA => curve.ecdsa_verify(&public, digest, &signature),
        AlgId::ECSCHNORR => curve.ecschnorr_verify(&public, *hash, digest, &signature),
        _ => curve.sm2_verify(&public, digest, &signature),
    };
    verdict.map_err(|_| Fmt1::SIGNATURE)
}

/// An HMAC key with a scheme vouches for that one only: a weaker hash cannot be smuggled in.
fn verify_hmac(key: &Object, own: Scheme, digest: &[u8], signature: &Signature) -> Result<(), Fmt1> {
    let sensitive = key.sensitive.as_ref().ok_or(Fmt1::HANDLE)?;
    let Signature::Hmac(ha) = signature else { return Err(Fmt1::SCHEME) };
    let suits = own == Scheme::Null || own == Scheme::Hmac(ha.alg);
    if suits && hmac::verify(ha.alg, sensitive.composite.as_slice(), &[digest], ha.digest.as_slice()) {
        Ok(())
    } else {
        Err(Fmt1::SIGNATURE)
    }
}

impl Object {
    /// μ of a message in parts, with an empty context, for an ML-DSA or Hash-ML-DSA key (1.85).
    pub(crate) fn mu(&self, message: &[&[u8]]) -> Option<[u8; mldsa::MU]> {
        match (&self.public.parms, &self.public.unique) {
            (Parms::MlDsa(_), Unique::MlDsa(public)) => {
                let mut mu = Mu::pure(public.as_slice(), &[]).ok()?;
                message.iter().for_each(|part| mu.update(part));
                Some(mu.finish())
            }
            (Parms::HashMlDsa(p), Unique::HashMlDsa(public)) => {
                let digest = message.iter().fold(Hasher::new(p.hash), |hasher, part| hasher.chain(part)).finish();
                Mu::pre_hashed(public.as_slice(), &[], p.hash, digest.as_slice()).ok()
            }
            _ => None,
        }
    }
}

/// Whether a signature of μ is that of an ML-DSA or Hash-ML-DSA key (1.85).
///
/// - `SCHEME`: not the algorithm, or not the hash, of the key
/// - `SIGNATURE`: it is not genuine
pub(crate) fn verify_ml_dsa(key: &Object, mu: &[u8; mldsa::MU], signature: &Signature) -> Result<(), Fmt1> {
    let (set, public, octets) = match (&key.public.parms, &key.public.unique, signature) {
        (Parms::MlDsa(p), Unique::MlDsa(public), Signature::MlDsa(octets)) => (p.set, public, octets),
        (Parms::HashMlDsa(p), Unique::HashMlDsa(public), Signature::HashMlDsa(hash, octets)) if *hash == p.hash => {
            (p.set, public, octets)
        }
        _ => return Err(Fmt1::SCHEME),
    };
    set.verify(public.as_slice(), mu, octets.as_slice()).map_err(|_| Fmt1::SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::Digest;
    use crate::crypto::sym::{Mode, SymAlg};
    use crate::wire::{
        EccParms, EccPoint, EccScheme, KeyedHashScheme, Name, Public, RsaKeyBits, RsaParms, RsaScheme, SymDefObject,
    };

    const SCHEMES: [Scheme; 9] = [
        Scheme::Null,
        Scheme::Rsassa(HashAlg::Sha256),
        Scheme::Rsapss(HashAlg::Sha256),
        Scheme::Ecdsa(HashAlg::Sha256),
        Scheme::Ecdaa(HashAlg::Sha256, 1),
        Scheme::Sm2(HashAlg::Sha256),
        Scheme::Ecschnorr(HashAlg::Sha256),
        Scheme::Hmac(HashAlg::Sha256),
        Scheme::Rsassa(HashAlg::Sha384),
    ];

    fn object(parms: Parms, unique: Unique) -> Object {
        let public = Public {
            name_alg: Some(HashAlg::Sha256),
            attributes: ObjectAttributes::SIGN,
            auth_policy: Digest::EMPTY,
            parms,
            unique,
        };
        Object {
            public,
            sensitive: None,
            name: Name::new(),
            qualified_name: Name::new(),
            hierarchy: Handle::NULL,
            external: true,
            primary: false,
            st_clear: false,
        }
    }

    fn rsa(scheme: Scheme) -> Object {
        let parms = RsaParms { symmetric: None, scheme: RsaScheme(scheme), key_bits: RsaKeyBits(2048), exponent: 0 };
        object(Parms::Rsa(parms), Unique::Rsa(Buffer::new()))
    }

    fn ecc(scheme: Scheme) -> Object {
        let parms = EccParms { symmetric: None, scheme: EccScheme(scheme), curve: Curve::NistP256, kdf: None };
        object(Parms::Ecc(parms), Unique::Ecc(EccPoint::default()))
    }

    fn keyed_hash(scheme: Scheme) -> Object {
        object(Parms::KeyedHash(KeyedHashScheme(scheme)), Unique::KeyedHash(Digest::EMPTY))
    }

    fn cipher() -> Object {
        let aes = SymDefObject { alg: SymAlg::Aes, key_bits: 128, mode: Some(Mode::Cfb) };
        object(Parms::SymCipher(aes), Unique::SymCipher(Digest::EMPTY))
    }

    fn admitted(key: &Object) -> impl Iterator<Item = usize> + '_ {
        SCHEMES.iter().enumerate().filter(|(_, s)| key.select_scheme(**s).is_some()).map(|(i, _)| i)
    }

    /// CVE-2025-2884 (TCGVRT0009) and CVE-2026-6726 (TCGVRT0010): a keyed hash must not sign as if it were an RSA key.
    #[test]
    fn cve_2025_2884_without_a_scheme_of_its_own_a_key_takes_only_those_of_its_type() {
        assert!(admitted(&rsa(Scheme::Null)).eq([1, 2, 8]));
        assert!(admitted(&ecc(Scheme::Null)).eq([3, 4, 5, 6]));
        assert!(admitted(&keyed_hash(Scheme::Null)).eq([7]));
        assert!(admitted(&cipher()).eq([0usize; 0]));
    }

    #[test]
    fn tn_f_4953_the_scheme_of_the_key_decides() {
        for own in [1, 2, 8] {
            assert!(admitted(&rsa(SCHEMES[own])).eq([0, own]), "the same or none");
        }
        for own in [3, 5, 6] {
            assert!(admitted(&ecc(SCHEMES[own])).eq([0, own]));
        }
        assert!(admitted(&ecc(SCHEMES[4])).eq([4]), "ECDAA needs the count");
        assert!(admitted(&keyed_hash(SCHEMES[7])).eq([0, 7]));
        assert_eq!(rsa(SCHEMES[1]).select_scheme(Scheme::Null), Some(SCHEMES[1]));
        let count_of_the_command = Scheme::Ecdaa(HashAlg::Sha256, 9);
        assert_eq!(ecc(SCHEMES[4]).select_scheme(count_of_the_command), Some(count_of_the_command));
    }

    #[test]
    fn schemes_that_do_not_sign_are_not_selected() {
        assert!(admitted(&rsa(Scheme::Oaep(HashAlg::Sha256))).eq([0usize; 0]));
        assert!(admitted(&rsa(Scheme::Rsaes)).eq([0usize; 0]));
        assert!(admitted(&ecc(Scheme::Ecdh(HashAlg::Sha256))).eq([0usize; 0]));
        assert!(admitted(&keyed_hash(Scheme::Xor(HashAlg::Sha256, None))).eq([0usize; 0]));
    }

    #[test]
    fn a_cipher_with_the_sign_attribute_does_not_sign() {
        assert!(!cipher().can_sign());
        assert!(rsa(Scheme::Null).can_sign());
        assert_eq!(verify(&cipher(), &[0; 32], &Signature::Null), Err(Fmt1::SCHEME));
    }
}
