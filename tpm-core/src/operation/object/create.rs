//! New objects: secrets from a source, public area from secrets (Part 1, 24; Part 3, 12.1).

use core::sync::atomic::AtomicBool;

use crate::crypto::drbg::Drbg;
use crate::crypto::ecc::{Curve, Point, Scalar};
use crate::crypto::hash::{Digest, HashAlg, Hasher, MAX_DIGEST};
use crate::crypto::hmac::Hmac;
use crate::crypto::kdf;
use crate::crypto::mldsa::{self, MlDsa};
use crate::crypto::mlkem::{self, MlKem};
use crate::crypto::primary::{Derivation, Purpose, VERSION};
use crate::crypto::rsa::{self, RsaPrivate};
use crate::crypto::{Error, Rng};
use crate::data::object::{self, Object};
use crate::data::platform::Locality;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    AlgId, Auth, Buffer, CreationData, EccParameter, EccPoint, Handle, KeyedHashScheme, MAX_RSA_KEY_BYTES,
    MAX_SYM_DATA, Marshal, ObjectAttributes as A, ObjectType, Parms, PcrSelection, Public, Scheme, Sensitive,
    SensitiveComposite, SymDefObject, Ticket, Unique, Writer, handle_name, st,
};

/// Where the secrets of a new object come from.
pub(crate) trait KeySource {
    /// An RSA key.
    fn rsa(&mut self, bits: u16, exponent: u32) -> Result<RsaPrivate, Error>;
    /// An ECC key.
    fn ecc(&mut self, curve: Curve) -> Result<(Scalar, Point), Error>;
    /// A symmetric key, a keyed-hash secret or a seedValue.
    fn bytes(&mut self, purpose: Purpose, out: &mut [u8]) -> Result<(), Error>;
}

/// Ordinary Objects: everything is random. The search for a key ends when the command is canceled.
pub(crate) struct Fresh<'a>(pub(crate) &'a mut Drbg, pub(crate) &'a AtomicBool);

impl KeySource for Fresh<'_> {
    fn rsa(&mut self, bits: u16, exponent: u32) -> Result<RsaPrivate, Error> {
        let mut seed = Secret::<48>::zeroed(48)?;
        self.0.fill(seed.as_mut_slice())?;
        let mut witnesses = Drbg::new(seed.as_slice(), &[], b"witnesses")?;
        RsaPrivate::generate_unless(bits, exponent, self.0, &mut witnesses, self.1)
    }

    fn ecc(&mut self, curve: Curve) -> Result<(Scalar, Point), Error> {
        curve.generate(self.0)
    }

    fn bytes(&mut self, _purpose: Purpose, out: &mut [u8]) -> Result<(), Error> {
        self.0.fill(out)
    }
}

/// Primary Objects: a frozen function of seed and template ([`crate::crypto::primary`]).
///
/// The template digest is that of nameAlg over the TPMT_PUBLIC of the template, its unique field included, and
/// sensitive.data as a TPM2B. In the endorsement hierarchy the seedValue's digest also covers shProof, so that
/// TPM2_Clear makes children of its storage keys unusable.
pub(crate) struct Primary<'a> {
    seed: &'a [u8],
    key: Digest,
    seed_value: Digest,
    canceled: &'a AtomicBool,
}

impl<'a> Primary<'a> {
    /// The source for a template in a hierarchy, whose search for a key ends when `canceled` is set; FAILURE without
    /// nameAlg, which the checks of the template refuse before.
    pub(crate) fn new(
        tpm: &'a Tpm,
        hierarchy: Handle,
        template: &Public,
        data: &[u8],
        canceled: &'a AtomicBool,
    ) -> Result<Self, Rc> {
        let alg = template.name_alg.ok_or(Fault::NoNameAlg)?;
        let mut bytes = [0; Public::MAX];
        let mut w = Writer::new(&mut bytes);
        template.marshal(&mut w);
        let size = u16::try_from(data.len()).map_err(|_| Fault::Capacity)?.to_be_bytes();
        let key = Hasher::new(alg).chain(w.written(0)).chain(&size).chain(data).finish();
        let seed_value = if hierarchy == Handle::ENDORSEMENT {
            Hasher::new(alg).chain(key.as_slice()).chain(tpm.proof(Handle::OWNER).as_slice()).finish()
        } else {
            key
        };
        Ok(Self { seed: tpm.seed(hierarchy).as_slice(), key, seed_value, canceled })
    }

    fn derivation(&self, purpose: Purpose) -> Result<Derivation<'_>, Error> {
        let digest = if purpose == Purpose::SeedValue { &self.seed_value } else { &self.key };
        Derivation::new(VERSION, self.seed, digest.as_slice())
    }
}

impl KeySource for Primary<'_> {
    fn rsa(&mut self, bits: u16, exponent: u32) -> Result<RsaPrivate, Error> {
        self.derivation(Purpose::Sensitive)?.rsa_unless(bits, exponent, self.canceled)
    }

    fn ecc(&mut self, curve: Curve) -> Result<(Scalar, Point), Error> {
        self.derivation(Purpose::Sensitive)?.ecc(curve)
    }

    fn bytes(&mut self, purpose: Purpose, out: &mut [u8]) -> Result<(), Error> {
        self.derivation(purpose)?.bytes(purpose, out)
    }
}

/// Derived Objects (Part 1, 25): octets one after the other of KDFa(hash, secret of the parent, label, context, 8192
/// bits).
pub(crate) struct Derived {
    stream: Secret<1024>,
    used: usize,
}

impl Derived {
    /// The source for a label and a context under a derivation parent's secret.
    pub(crate) fn new(hash: HashAlg, secret: &[u8], label: &[u8], context: &[u8]) -> Result<Self, Rc> {
        let mut stream = Secret::zeroed(1024).map_err(|_| Fault::Capacity)?;
        kdf::kdfa(hash, secret, label, context, &[], stream.as_mut_slice());
        Ok(Self { stream, used: 0 })
    }
}

impl Rng for Derived {
    /// `Error::Reseed` when the stream is used up: no key needs as much.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let from =
            self.stream.as_slice().get(self.used..).and_then(|rest| rest.get(..out.len())).ok_or(Error::Reseed)?;
        out.copy_from_slice(from);
        self.used = self.used.saturating_add(out.len());
        Ok(())
    }
}

impl KeySource for Derived {
    /// `Error::Key`: RSA keys cannot be derived (Part 3, 12.9.1).
    fn rsa(&mut self, _bits: u16, _exponent: u32) -> Result<RsaPrivate, Error> {
        Err(Error::Key)
    }

    fn ecc(&mut self, curve: Curve) -> Result<(Scalar, Point), Error> {
        curve.generate(self)
    }

    fn bytes(&mut self, _purpose: Purpose, out: &mut [u8]) -> Result<(), Error> {
        self.fill(out)
    }
}

/// Public and sensitive area from a template and data of the caller (empty: the source gives the secret).
///
/// - `RANGE`: an RSA exponent that cannot be one
/// - `TYPE`: a type that the source cannot give
/// - `SIZE`: data that are longer than the symmetric key
/// - `KEY_SIZE`: data that are shorter than it: such a key could not be loaded
/// - `SIZE`: data that are longer than the block of the scheme's hash
/// - `CANCELED`: the platform has canceled the command while an RSA key was searched for
pub(crate) fn create(
    source: &mut dyn KeySource,
    template: &Public,
    auth: Auth,
    data: &[u8],
) -> Result<(Public, Sensitive), Rc> {
    let alg = template.name_alg.ok_or(Fault::NoNameAlg)?;
    let data = if template.attributes.has(A::SENSITIVE_DATA_ORIGIN) { &[] } else { data };
    let (composite, unique) = match &template.parms {
        Parms::Rsa(p) => create_rsa(source, p.key_bits.0, p.exponent)?,
        Parms::Ecc(p) => create_ecc(source, p.curve)?,
        Parms::SymCipher(p) => (create_cipher_key(source, p, data)?, None),
        Parms::KeyedHash(p) => (create_keyed_hash(source, *p, template, data)?, None),
        Parms::MlKem(p) => create_ml_kem(source, p.set)?,
        Parms::MlDsa(p) => {
            let (seed, public) = create_ml_dsa(source, p.set)?;
            (SensitiveComposite::MlDsa(seed), Some(Unique::MlDsa(public)))
        }
        Parms::HashMlDsa(p) => {
            let (seed, public) = create_ml_dsa(source, p.set)?;
            (SensitiveComposite::HashMlDsa(seed), Some(Unique::HashMlDsa(public)))
        }
    };
    let mut seed = Secret::new();
    if unique.is_none() || template.attributes.has(A::RESTRICTED.with(A::DECRYPT)) {
        seed = Secret::zeroed(alg.digest_size()).map_err(|_| Fault::Capacity)?;
        source.bytes(Purpose::SeedValue, seed.as_mut_slice()).map_err(|_| Fault::KeyGeneration)?;
    }
    let sensitive = Sensitive { auth, seed, composite };
    let unique = unique.unwrap_or_else(|| symmetric_unique(alg, template, &sensitive));
    Ok((Public { unique, ..template.clone() }, sensitive))
}

type Secrets = (SensitiveComposite, Option<Unique>);

fn create_rsa(source: &mut dyn KeySource, bits: u16, exponent: u32) -> Result<Secrets, Rc> {
    if !rsa::is_exponent(exponent) {
        return Err(Fmt1::RANGE.plain());
    }
    let key = source.rsa(bits, exponent).map_err(creation_error)?;
    let mut modulus = [0; MAX_RSA_KEY_BYTES];
    let modulus = key.public().modulus(&mut modulus).map_err(|_| Fault::Capacity)?;
    let unique = Unique::Rsa(Buffer::from_slice(modulus).map_err(|_| Fault::Capacity)?);
    Ok((SensitiveComposite::Rsa(key.prime()), Some(unique)))
}

fn create_ecc(source: &mut dyn KeySource, curve: Curve) -> Result<Secrets, Rc> {
    let (d, public) = source.ecc(curve).map_err(creation_error)?;
    let d = Secret::from_slice(d.as_slice()).map_err(|_| Fault::Capacity)?;
    Ok((SensitiveComposite::Ecc(d), Some(Unique::Ecc(point_of(&public)))))
}

fn create_ml_kem(source: &mut dyn KeySource, set: MlKem) -> Result<Secrets, Rc> {
    let mut seed = Secret::zeroed(mlkem::SEED).map_err(|_| Fault::Capacity)?;
    source.bytes(Purpose::Sensitive, seed.as_mut_slice()).map_err(|_| Fault::KeyGeneration)?;
    let unique = ml_kem_public(set, seed.as_slice()).map_err(|_| Fault::KeyGeneration)?;
    Ok((SensitiveComposite::MlKem(seed), Some(Unique::MlKem(unique))))
}

type MlDsaSecrets = (Secret<{ mldsa::SEED }>, Buffer<{ mldsa::MAX_PUBLIC }>);

fn create_ml_dsa(source: &mut dyn KeySource, set: MlDsa) -> Result<MlDsaSecrets, Rc> {
    let mut seed = Secret::zeroed(mldsa::SEED).map_err(|_| Fault::Capacity)?;
    source.bytes(Purpose::Sensitive, seed.as_mut_slice()).map_err(|_| Fault::KeyGeneration)?;
    let unique = ml_dsa_public(set, seed.as_slice()).map_err(|_| Fault::KeyGeneration)?;
    Ok((seed, unique))
}

/// The public key of an ML-KEM seed.
pub(crate) fn ml_kem_public(set: MlKem, seed: &[u8]) -> Result<Buffer<{ mlkem::MAX_PUBLIC }>, Error> {
    let mut public = [0; mlkem::MAX_PUBLIC];
    let public = public.get_mut(..set.public_size()).ok_or(Error::Length)?;
    set.public(seed, public)?;
    Buffer::from_slice(public).map_err(|_| Error::Length)
}

/// The public key of an ML-DSA seed.
pub(crate) fn ml_dsa_public(set: MlDsa, seed: &[u8]) -> Result<Buffer<{ mldsa::MAX_PUBLIC }>, Error> {
    let mut public = [0; mldsa::MAX_PUBLIC];
    let public = public.get_mut(..set.public_size()).ok_or(Error::Length)?;
    set.public(seed, public)?;
    Buffer::from_slice(public).map_err(|_| Error::Length)
}

/// TPMS_ECC_POINT, its coordinates padded to the curve's size.
pub(crate) fn point_of(point: &Point) -> EccPoint {
    let parameter = |n: &[u8]| EccParameter::from_slice(n).unwrap_or_default();
    EccPoint { x: parameter(point.x().as_slice()), y: parameter(point.y().as_slice()) }
}

fn creation_error(error: Error) -> Rc {
    match error {
        Error::Key => Fmt1::TYPE.plain(),
        Error::Canceled => Rc::CANCELED,
        _ => Fault::KeyGeneration.into(),
    }
}

fn create_cipher_key(source: &mut dyn KeySource, cipher: &SymDefObject, data: &[u8]) -> Result<SensitiveComposite, Rc> {
    let mut key = Secret::zeroed(cipher.key_size()).map_err(|_| Fault::Capacity)?;
    if data.is_empty() {
        source.bytes(Purpose::Sensitive, key.as_mut_slice()).map_err(|_| Fault::KeyGeneration)?;
    } else if data.len() > cipher.key_size() {
        return Err(Fmt1::SIZE.plain());
    } else if data.len() < cipher.key_size() {
        return Err(Fmt1::KEY_SIZE.plain());
    } else {
        key.set(data).map_err(|_| Fault::Capacity)?;
    }
    Ok(SensitiveComposite::Sym(key))
}

fn create_keyed_hash(
    source: &mut dyn KeySource,
    scheme: KeyedHashScheme,
    template: &Public,
    data: &[u8],
) -> Result<SensitiveComposite, Rc> {
    if data.len() > max_keyed_hash(scheme) {
        return Err(Fmt1::SIZE.plain());
    }
    let hash = scheme.0.hash().or(template.name_alg).ok_or(Fault::NoNameAlg)?;
    let mut key = Secret::from_slice(data).map_err(|_| Fault::Capacity)?;
    if data.is_empty() {
        key = Secret::zeroed(hash.digest_size()).map_err(|_| Fault::Capacity)?;
        source.bytes(Purpose::Sensitive, key.as_mut_slice()).map_err(|_| Fault::KeyGeneration)?;
    }
    Ok(SensitiveComposite::Bits(key))
}

/// The longest secret of a keyed-hash object: a block of its scheme's hash, or MAX_SYM_DATA.
pub(crate) fn max_keyed_hash(scheme: KeyedHashScheme) -> usize {
    if scheme.0 == Scheme::Null { MAX_SYM_DATA } else { scheme.0.hash().map_or(MAX_SYM_DATA, HashAlg::block_size) }
}

/// unique of a symmetric object (Part 1, 24.5.3): H(seedValue ‖ sensitive), or for a parent HMAC(seedValue, sensitive).
pub(crate) fn symmetric_unique(alg: HashAlg, public: &Public, sensitive: &Sensitive) -> Unique {
    let (seed, secret) = (sensitive.seed.as_slice(), sensitive.composite.as_slice());
    let is_parent = public.attributes.has(A::RESTRICTED.with(A::DECRYPT));
    let digest = if is_parent {
        Hmac::new(alg, seed).chain(secret).finish()
    } else {
        Hasher::new(alg).chain(seed).chain(secret).finish()
    };
    if public.object_type() == ObjectType::SymCipher { Unique::SymCipher(digest) } else { Unique::KeyedHash(digest) }
}

/// userAuth of a new object: trailing zeros do not count, and it is at most as long as nameAlg's digests.
pub(crate) fn object_auth(auth: &[u8], alg: Option<HashAlg>) -> Option<Auth> {
    let mut auth = Auth::from_slice(auth).ok()?;
    auth.trim_trailing_zeros();
    (auth.len() <= alg.map_or(MAX_DIGEST, HashAlg::digest_size)).then_some(auth)
}

/// creationData, its hash, and the ticket that ties it to the object.
pub(crate) struct Creation {
    /// creationData
    pub(crate) data: CreationData,
    /// creationHash
    pub(crate) hash: Digest,
    /// creationTicket
    pub(crate) ticket: Ticket,
}

/// What surrounds the creation of an object: the environment, as TPMS_CREATION_DATA has it.
pub(crate) struct Environment<'a> {
    /// parent object or hierarchy
    pub(crate) parent: Handle,
    /// outsideInfo
    pub(crate) outside_info: &'a [u8],
    /// creationPCR
    pub(crate) pcr: &'a PcrSelection,
    /// the locality of the command
    pub(crate) locality: Locality,
}

impl Tpm {
    /// creationData of an object with this Name and nameAlg (Part 2, 15.1).
    pub(crate) fn creation(&self, environment: &Environment<'_>, object: &Object) -> Result<Creation, Rc> {
        let alg = object.public.name_alg.ok_or(Fault::NoNameAlg)?;
        let pcrs = &self.ram.pcrs;
        let (pcr_select, pcr_digest) = (pcrs.allocated_of(environment.pcr.clone()), pcrs.digest(alg, environment.pcr));
        let parent = self.object(environment.parent);
        let parent_alg = parent.and_then(|p| p.public.name_alg);
        let data = CreationData {
            pcr_select,
            pcr_digest,
            locality: environment.locality.attribute(),
            parent_name_alg: parent_alg.map_or(AlgId::NULL, |alg| AlgId(alg.id())),
            parent_name: parent.map_or_else(|| handle_name(environment.parent), |p| p.name.clone()),
            parent_qualified_name: self.qualified_name_of(environment.parent),
            outside_info: Buffer::from_slice(environment.outside_info).map_err(|_| Fault::Capacity)?,
        };
        let hash = creation_hash(alg, &data);
        let ticket = self.ticket(st::CREATION, object.hierarchy, &[object.name.as_slice(), hash.as_slice()]);
        Ok(Creation { data, hash, ticket })
    }

    /// A new object under a parent or in a hierarchy.
    pub(crate) fn new_object(&self, parent: Handle, public: Public, sensitive: Option<Sensitive>) -> Object {
        let name = object::name_of(&public);
        let above = self.object(parent);
        let qualified_name =
            object::qualified_name_of(self.qualified_name_of(parent).as_slice(), public.name_alg, &name);
        let st_clear = public.attributes.has(A::ST_CLEAR) || above.is_some_and(|p| p.st_clear);
        Object {
            public,
            sensitive,
            name,
            qualified_name,
            hierarchy: above.map_or(parent, |p| p.hierarchy),
            external: false,
            primary: above.is_none() && parent != Handle::NULL,
            st_clear,
        }
    }
}

/// creationHash: nameAlg's digest of TPMS_CREATION_DATA.
fn creation_hash(alg: HashAlg, data: &CreationData) -> Digest {
    let mut bytes = [0; 512];
    let mut w = Writer::new(&mut bytes);
    data.marshal(&mut w);
    Hasher::new(alg).chain(w.written(0)).finish()
}
