//! Sensitive areas and credentials outside the TPM: encrypted and authenticated under a seed (Part 1, 19 to 21).

use crate::bounded::copy;
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::crypto::kdf;
use crate::crypto::sym::{BLOCK, Cipher, MAX_KEY, Mode};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    Buffer, IdObject, Marshal, Name, OptionalSensitive, Private, Public, Reader, Sensitive, SymDefObject, Tpm2b, Writer,
};

/// A protected area in the clear, with its inner wrapper: TPM2B_SENSITIVE, or the encryption of digest and
/// TPM2B_SENSITIVE.
type Inner = Secret<{ 2 + 64 + 2 + Sensitive::MAX }>;

/// Under what an outer wrapper is made: a seed, and the algorithms of the storage key that has or gets it.
pub(crate) struct Wrapping<'a> {
    /// nameAlg of the storage key
    pub(crate) hash: HashAlg,
    /// symmetric algorithm of the storage key
    pub(crate) symmetric: SymDefObject,
    /// its seedValue, or a seed that was exchanged with it
    pub(crate) seed: &'a [u8],
    /// Name of the object that is protected
    pub(crate) name: &'a [u8],
}

impl<'a> Wrapping<'a> {
    /// Under the seedValue of a storage key; FAILURE if it is not one, which the command has checked.
    pub(crate) fn of_parent(parent: &'a Object, name: &'a [u8]) -> Result<Self, Rc> {
        let seed = parent.sensitive.as_ref().ok_or(Fault::NoSensitive)?.seed.as_slice();
        Self::under_seed(parent, seed, name)
    }

    /// Under a seed that was exchanged with a storage key.
    pub(crate) fn under_seed(parent: &Object, seed: &'a [u8], name: &'a [u8]) -> Result<Self, Rc> {
        let hash = parent.public.name_alg.ok_or(Fault::NoNameAlg)?;
        Ok(Self { hash, symmetric: parent.public.symmetric().ok_or(Fault::Parent)?, seed, name })
    }

    fn cipher(&self) -> Result<Cipher, Rc> {
        let mut key = Secret::<MAX_KEY>::zeroed(self.symmetric.key_size()).map_err(|_| Fault::Capacity)?;
        kdf::kdfa(self.hash, self.seed, b"STORAGE", self.name, &[], key.as_mut_slice());
        Cipher::new(self.symmetric.alg, key.as_slice()).map_err(|_| Fault::Cipher.into())
    }

    /// outerHMAC: over the octets (IV and encrypted area) and the Name.
    fn hmac(&self, octets: &[u8]) -> Result<Hmac, Rc> {
        let mut key = Secret::<64>::zeroed(self.hash.digest_size()).map_err(|_| Fault::Capacity)?;
        kdf::kdfa(self.hash, self.seed, b"INTEGRITY", &[], &[], key.as_mut_slice());
        Ok(Hmac::new(self.hash, key.as_slice()).chain(octets).chain(self.name))
    }

    /// outerHMAC ‖ encrypted `inner`; with an IV, that as a TPM2B between them.
    fn wrap<const N: usize>(&self, iv: Option<[u8; BLOCK]>, inner: &mut [u8]) -> Result<Buffer<N>, Rc> {
        let mut running = iv.unwrap_or_default();
        self.cipher()?.encrypt(Mode::Cfb, &mut running, inner).map_err(|_| Fault::Cipher)?;
        let body = Buffer::<N>::of(|w| {
            if let Some(iv) = iv {
                Tpm2b::<BLOCK>(&iv).marshal(w);
            }
            w.put(inner);
        });
        let body = body.map_err(|_| Fault::Capacity)?;
        let hmac = self.hmac(body.as_slice())?.finish();
        Buffer::of(|w| {
            hmac.marshal(w);
            w.put(body.as_slice());
        })
        .map_err(|_| Fault::Capacity.into())
    }

    /// The decrypted octets.
    ///
    /// - `SIZE`, `INSUFFICIENT`: no such structure
    /// - `INTEGRITY`: the HMAC is not right
    fn unwrap(&self, wrapped: &[u8], with_iv: bool) -> Result<Inner, Rc> {
        let mut r = Reader::new(wrapped);
        let hmac: Digest = r.get().map_err(Fmt1::plain)?;
        if hmac.len() != self.hash.digest_size() || !self.hmac(r.rest())?.verify(hmac.as_slice()) {
            return Err(Fmt1::INTEGRITY.plain());
        }
        let mut iv = [0; BLOCK];
        if with_iv {
            let given: Tpm2b<'_, BLOCK> = r.get().map_err(Fmt1::plain)?;
            if given.0.len() != self.symmetric.alg.block_size() {
                return Err(Fmt1::SIZE.plain());
            }
            copy(&mut iv, given.0);
        }
        let mut inner = Inner::from_slice(r.rest()).map_err(|_| Fmt1::SIZE.plain())?;
        self.cipher()?.decrypt(Mode::Cfb, &mut iv, inner.as_mut_slice()).map_err(|_| Fault::Cipher)?;
        Ok(inner)
    }
}

/// TPM2B_SENSITIVE, its authValue padded to the size of nameAlg's digests: the size does not tell how long the
/// authValue is.
fn sized_sensitive(sensitive: &Sensitive, name_alg: Option<HashAlg>) -> Result<Inner, Rc> {
    let size = name_alg.map_or(sensitive.auth.len(), HashAlg::digest_size).max(sensitive.auth.len());
    let mut padded = Secret::<64>::zeroed(size).map_err(|_| Fault::Capacity)?;
    padded.as_mut_slice().iter_mut().zip(sensitive.auth.as_slice()).for_each(|(to, from)| *to = *from);
    let mut inner = Inner::zeroed(2 + 64 + 2 + Sensitive::MAX).map_err(|_| Fault::Capacity)?;
    let mut w = Writer::new(inner.as_mut_slice());
    w.sized(|w| {
        sensitive.composite.object_type().marshal(w);
        padded.marshal(w);
        sensitive.seed.marshal(w);
        w.sized(|w| w.put(sensitive.composite.as_slice()));
    });
    let len = w.len();
    inner.truncate(len);
    Ok(inner)
}

/// `SENSITIVE`: not a TPM2B_SENSITIVE.
fn parse_sensitive(octets: &[u8]) -> Result<Sensitive, Rc> {
    let mut r = Reader::new(octets);
    let sensitive: OptionalSensitive = r.get().map_err(|_| Rc::SENSITIVE)?;
    let mut sensitive = sensitive.0.filter(|_| r.is_empty()).ok_or(Rc::SENSITIVE)?;
    sensitive.auth.trim_trailing_zeros();
    Ok(sensitive)
}

/// The inner wrapper of duplication (Part 1, 20.3.2.2).
pub(crate) struct InnerWrapper<'a> {
    /// symmetricAlg
    pub(crate) symmetric: SymDefObject,
    /// encryptionKey
    pub(crate) key: &'a [u8],
    /// nameAlg of the object
    pub(crate) hash: HashAlg,
}

impl InnerWrapper<'_> {
    /// encrypt(H(TPM2B_SENSITIVE ‖ Name) ‖ TPM2B_SENSITIVE)
    fn wrap(&self, plain: &Inner, name: &[u8]) -> Result<Inner, Rc> {
        let digest = Hasher::new(self.hash).chain(plain.as_slice()).chain(name).finish();
        let mut inner = Inner::new();
        let size = u16::try_from(digest.len()).map_err(|_| Fault::Capacity)?.to_be_bytes();
        for part in [&size, digest.as_slice(), plain.as_slice()] {
            inner.extend(part).map_err(|_| Fault::Capacity)?;
        }
        let cipher = Cipher::new(self.symmetric.alg, self.key).map_err(|_| Fault::Cipher)?;
        cipher.encrypt(Mode::Cfb, &mut [0; BLOCK], inner.as_mut_slice()).map_err(|_| Fault::Cipher)?;
        Ok(inner)
    }

    /// - `INTEGRITY`: the digest is not right
    fn unwrap(&self, mut inner: Inner, name: &[u8]) -> Result<Inner, Rc> {
        let cipher = Cipher::new(self.symmetric.alg, self.key).map_err(|_| Fault::Cipher)?;
        cipher.decrypt(Mode::Cfb, &mut [0; BLOCK], inner.as_mut_slice()).map_err(|_| Fault::Cipher)?;
        let mut r = Reader::new(inner.as_slice());
        let digest: Digest = r.get().map_err(|_| Fmt1::INTEGRITY.plain())?;
        let plain = r.rest();
        if digest != Hasher::new(self.hash).chain(plain).chain(name).finish() {
            return Err(Fmt1::INTEGRITY.plain());
        }
        Inner::from_slice(plain).map_err(|_| Fault::Capacity.into())
    }
}

impl Tpm {
    /// TPM2B_PRIVATE of an object under its parent.
    pub(crate) fn protect(
        &mut self,
        parent: crate::wire::Handle,
        public: &Public,
        name: &Name,
        sensitive: &Sensitive,
    ) -> Result<Private, Rc> {
        let mut iv = [0; BLOCK];
        self.random(&mut iv)?;
        let parent = self.object(parent).ok_or(Fault::NoObject)?;
        let mut inner = sized_sensitive(sensitive, public.name_alg)?;
        Wrapping::of_parent(parent, name.as_slice())?.wrap(Some(iv), inner.as_mut_slice())
    }
}

/// The sensitive area in a TPM2B_PRIVATE that [`Tpm::protect`] made.
///
/// - `SIZE`, `INSUFFICIENT`: no such structure
/// - `INTEGRITY`: not made under this parent, or for another Name
/// - `SENSITIVE`: not a TPM2B_SENSITIVE
pub(crate) fn unprotect(parent: &Object, name: &Name, private: &[u8]) -> Result<Sensitive, Rc> {
    parse_sensitive(Wrapping::of_parent(parent, name.as_slice())?.unwrap(private, true)?.as_slice())
}

/// The duplication blob of an object: inner wrapper, then outer wrapper, each if there is one.
pub(crate) fn wrap_duplicate(
    sensitive: &Sensitive,
    name_alg: HashAlg,
    name: &[u8],
    inner: Option<&InnerWrapper<'_>>,
    outer: Option<&Wrapping<'_>>,
) -> Result<Private, Rc> {
    let mut plain = sized_sensitive(sensitive, Some(name_alg))?;
    if let Some(inner) = inner {
        plain = inner.wrap(&plain, name)?;
    }
    rewrap(plain, outer)
}

/// The octets within an outer wrapper, if there is one.
///
/// - `SIZE`, `INSUFFICIENT`: no such structure
/// - `INTEGRITY`: not made with this seed, or for another Name
pub(crate) fn unwrap_outer(blob: &[u8], outer: Option<&Wrapping<'_>>) -> Result<Inner, Rc> {
    match outer {
        Some(outer) => outer.unwrap(blob, false),
        None => Inner::from_slice(blob).map_err(|_| Fmt1::SIZE.plain()),
    }
}

/// Puts an outer wrapper, if there is one, around octets.
pub(crate) fn rewrap(mut octets: Inner, outer: Option<&Wrapping<'_>>) -> Result<Private, Rc> {
    match outer {
        Some(outer) => outer.wrap(None, octets.as_mut_slice()),
        None => Private::from_slice(octets.as_slice()).map_err(|_| Fault::Capacity.into()),
    }
}

/// The sensitive area in a duplication blob.
///
/// - `INTEGRITY`, `SIZE`, `INSUFFICIENT`: as [`unwrap_outer`] and the inner wrapper say
/// - `SIZE`, `INSUFFICIENT`, `VALUE`, `TYPE`: no TPM2B_SENSITIVE
pub(crate) fn unwrap_duplicate(
    blob: &[u8],
    name: &[u8],
    inner: Option<&InnerWrapper<'_>>,
    outer: Option<&Wrapping<'_>>,
) -> Result<Sensitive, Rc> {
    let mut octets = unwrap_outer(blob, outer)?;
    if let Some(inner) = inner {
        octets = inner.unwrap(octets, name)?;
    }
    let mut r = Reader::new(octets.as_slice());
    let size: u16 = r.get().map_err(Fmt1::plain)?;
    if usize::from(size) != r.rest().len() {
        return Err(Fmt1::SIZE.plain());
    }
    let mut sensitive: Sensitive = r.get().map_err(Fmt1::plain)?;
    if !r.is_empty() {
        return Err(Fmt1::SIZE.plain());
    }
    sensitive.auth.trim_trailing_zeros();
    Ok(sensitive)
}

/// TPM2B_ID_OBJECT: a credential for the object with the Name in `wrapping` (Part 1, 21.3).
pub(crate) fn wrap_credential(wrapping: &Wrapping<'_>, credential: &Digest) -> Result<IdObject, Rc> {
    let mut inner = Secret::<66>::zeroed(credential.len().saturating_add(2)).map_err(|_| Fault::Capacity)?;
    credential.marshal(&mut Writer::new(inner.as_mut_slice()));
    wrapping.wrap(None, inner.as_mut_slice())
}

/// The credential.
///
/// - `SIZE`, `INSUFFICIENT`: no such structure
/// - `INTEGRITY`: not made for this Name, or with another seed
pub(crate) fn unwrap_credential(wrapping: &Wrapping<'_>, blob: &[u8]) -> Result<Digest, Rc> {
    let inner = wrapping.unwrap(blob, false)?;
    let mut r = Reader::new(inner.as_slice());
    let credential: Digest = r.get().map_err(Fmt1::plain)?;
    if credential.len() > wrapping.hash.digest_size() || !r.is_empty() {
        Err(Fmt1::SIZE.plain())
    } else {
        Ok(credential)
    }
}
