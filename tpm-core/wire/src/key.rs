//! Public and sensitive areas of objects (Part 2, 11.2.4, 11.2.5 and 12), and what creation needs.

use super::{
    AlgId, Buffer, EccScheme, KdfAlg, KdfScheme, KeyedHashScheme, List, Marshal, ObjectAttributes, PcrSelection,
    Reader, RsaScheme, SymDefObject, Tpm2b, Unmarshal, Writer, structure,
};
use crate::profile::PROFILE;
use crate::rc::Fmt1;
use tpm_codes::{EccCurve, MlDsaSet, MlKemSet};
use tpm_crypto::dhkem::DhKem;
use tpm_crypto::ecc::{Curve, Point};
use tpm_crypto::hash::{Digest, HashAlg, MAX_DIGEST};
use tpm_crypto::mldsa::{self, MlDsa};
use tpm_crypto::mlkem::{self, MlKem};
use tpm_crypto::secret::Secret;

/// Octets of the largest RSA modulus.
pub const MAX_RSA_KEY_BYTES: usize = 512;
/// Octets of the largest ECC coordinate.
pub const MAX_ECC_KEY_BYTES: usize = 66;
/// Octets of the largest data a sealed object or a keyed-hash key holds (MAX_SYM_DATA).
pub const MAX_SYM_DATA: usize = 128;
/// Octets of the largest symmetric key.
pub const MAX_SYM_KEY_BYTES: usize = 32;

/// An authorization value or an obfuscation value.
pub type Auth = Secret<64>;
/// A coordinate of a point or a private scalar, big-endian.
pub type EccParameter = Buffer<MAX_ECC_KEY_BYTES>;

/// TPMI_ALG_PUBLIC (12.2.2): the type of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectType {
    /// TPM_ALG_RSA
    Rsa,
    /// TPM_ALG_KEYEDHASH
    KeyedHash,
    /// TPM_ALG_ECC
    Ecc,
    /// TPM_ALG_SYMCIPHER
    SymCipher,
    /// TPM_ALG_MLKEM
    MlKem,
    /// TPM_ALG_MLDSA
    MlDsa,
    /// TPM_ALG_HASH_MLDSA
    HashMlDsa,
}

impl ObjectType {
    const ALL: [Self; 7] =
        [Self::Rsa, Self::KeyedHash, Self::Ecc, Self::SymCipher, Self::MlKem, Self::MlDsa, Self::HashMlDsa];

    /// TPM_ALG_ID of the type.
    pub fn id(self) -> AlgId {
        match self {
            Self::Rsa => AlgId::RSA,
            Self::KeyedHash => AlgId::KEYEDHASH,
            Self::Ecc => AlgId::ECC,
            Self::SymCipher => AlgId::SYMCIPHER,
            Self::MlKem => AlgId::MLKEM,
            Self::MlDsa => AlgId::MLDSA,
            Self::HashMlDsa => AlgId::HASH_MLDSA,
        }
    }

    /// Whether an object of this type has a public and a private key.
    pub fn is_asymmetric(self) -> bool {
        !matches!(self, Self::KeyedHash | Self::SymCipher)
    }
}

impl Unmarshal<'_> for ObjectType {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        Self::ALL.into_iter().find(|t| t.id() == id && id.on().is_some()).ok_or(Fmt1::TYPE)
    }
}

impl Marshal for ObjectType {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.id().marshal(w);
    }
}

/// TPM_ECC_CURVE (6.4).
impl Unmarshal<'_> for Curve {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Curve::from_id(r.get()?).filter(|curve| PROFILE.curves.contains(&EccCurve(curve.id()))).ok_or(Fmt1::CURVE)
    }
}

impl Marshal for Curve {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.id().marshal(w);
    }
}

structure! {
    /// TPMS_RSA_PARMS (12.2.3.5)
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct RsaParms {
        /// symmetric
        pub symmetric: Option<SymDefObject>,
        /// scheme
        pub scheme: RsaScheme,
        /// keyBits
        pub key_bits: RsaKeyBits,
        /// exponent; zero stands for 2^16 + 1
        pub exponent: u32,
    }
}

structure! {
    /// TPMS_ECC_PARMS (12.2.3.6)
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct EccParms {
        /// symmetric
        pub symmetric: Option<SymDefObject>,
        /// scheme
        pub scheme: EccScheme,
        /// curveID
        pub curve: Curve,
        /// kdf
        pub kdf: Option<KdfScheme>,
    }
}

impl EccParms {
    /// The KEM that kdf makes of the curve: DHKEM with HKDF, and the hash that goes with the curve.
    pub fn kem(&self) -> Option<DhKem> {
        self.kdf.filter(|kdf| kdf.kdf == KdfAlg::Hkdf).and_then(|kdf| DhKem::new(self.curve, kdf.hash))
    }
}

macro_rules! parameter_sets { ($($(#[$m:meta])* $set:ident, $id:ident in $sets:ident),*) => { $(
    $(#[$m])*
    impl Unmarshal<'_> for $set {
        fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
            $set::from_id(r.get()?).filter(|set| PROFILE.$sets.contains(&$id(set.id()))).ok_or(Fmt1::PARMS)
        }
    }

    impl Marshal for $set {
        fn marshal(&self, w: &mut Writer<'_>) {
            self.id().marshal(w);
        }
    }
)* } }
parameter_sets! {
    /// TPMI_MLKEM_PARMS (1.85)
    MlKem, MlKemSet in ml_kem,
    /// TPMI_MLDSA_PARMS (1.85)
    MlDsa, MlDsaSet in ml_dsa
}

structure! {
    /// TPMS_MLKEM_PARMS (1.85)
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct MlKemParms {
        /// symmetric
        pub symmetric: Option<SymDefObject>,
        /// parameterSet
        pub set: MlKem,
    }
}

structure! {
    /// TPMS_MLDSA_PARMS (1.85)
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct MlDsaParms {
        /// parameterSet
        pub set: MlDsa,
        /// allowExternalMu
        pub allow_external_mu: bool,
    }
}

structure! {
    /// TPMS_HASH_MLDSA_PARMS (1.85)
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct HashMlDsaParms {
        /// parameterSet
        pub set: MlDsa,
        /// hashAlg
        pub hash: HashAlg,
    }
}

/// TPMI_RSA_KEY_BITS (11.2.4.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RsaKeyBits(pub u16);

impl Unmarshal<'_> for RsaKeyBits {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let bits = r.get()?;
        if PROFILE.rsa_key_bits.contains(&bits) { Ok(Self(bits)) } else { Err(Fmt1::VALUE) }
    }
}

impl Marshal for RsaKeyBits {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

/// TPMU_PUBLIC_PARMS (12.2.3.7), which carries its selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parms {
    /// TPMS_RSA_PARMS
    Rsa(RsaParms),
    /// TPMS_KEYEDHASH_PARMS
    KeyedHash(KeyedHashScheme),
    /// TPMS_ECC_PARMS
    Ecc(EccParms),
    /// TPMS_SYMCIPHER_PARMS
    SymCipher(SymDefObject),
    /// TPMS_MLKEM_PARMS
    MlKem(MlKemParms),
    /// TPMS_MLDSA_PARMS
    MlDsa(MlDsaParms),
    /// TPMS_HASH_MLDSA_PARMS
    HashMlDsa(HashMlDsaParms),
}

impl Parms {
    /// The selector.
    pub fn object_type(&self) -> ObjectType {
        match self {
            Self::Rsa(_) => ObjectType::Rsa,
            Self::KeyedHash(_) => ObjectType::KeyedHash,
            Self::Ecc(_) => ObjectType::Ecc,
            Self::SymCipher(_) => ObjectType::SymCipher,
            Self::MlKem(_) => ObjectType::MlKem,
            Self::MlDsa(_) => ObjectType::MlDsa,
            Self::HashMlDsa(_) => ObjectType::HashMlDsa,
        }
    }

    fn unmarshal(selector: ObjectType, r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(match selector {
            ObjectType::Rsa => Self::Rsa(r.get()?),
            ObjectType::KeyedHash => Self::KeyedHash(r.get()?),
            ObjectType::Ecc => Self::Ecc(r.get()?),
            ObjectType::SymCipher => Self::SymCipher(r.get()?),
            ObjectType::MlKem => Self::MlKem(r.get()?),
            ObjectType::MlDsa => Self::MlDsa(r.get()?),
            ObjectType::HashMlDsa => Self::HashMlDsa(r.get()?),
        })
    }

    fn marshal_body(&self, w: &mut Writer<'_>) {
        match self {
            Self::Rsa(p) => p.marshal(w),
            Self::KeyedHash(p) => p.marshal(w),
            Self::Ecc(p) => p.marshal(w),
            Self::SymCipher(p) => p.marshal(w),
            Self::MlKem(p) => p.marshal(w),
            Self::MlDsa(p) => p.marshal(w),
            Self::HashMlDsa(p) => p.marshal(w),
        }
    }
}

/// TPMT_PUBLIC_PARMS (12.2.3.8): selector and parameters.
impl Unmarshal<'_> for Parms {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let selector = r.get()?;
        Parms::unmarshal(selector, r)
    }
}

impl Marshal for Parms {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.object_type().marshal(w);
        self.marshal_body(w);
    }
}

structure! {
    /// TPMS_ECC_POINT (11.2.5.2)
    #[derive(Clone, PartialEq, Eq, Debug, Default)]
    pub struct EccPoint {
        /// X coordinate
        pub x: EccParameter,
        /// Y coordinate
        pub y: EccParameter,
    }
}

impl EccPoint {
    /// The point, if it is on this curve.
    ///
    /// # Errors
    /// As [`Point::new`].
    pub fn on(&self, curve: Curve) -> Result<Point, tpm_crypto::Error> {
        Point::new(curve, self.x.as_slice(), self.y.as_slice())
    }
}

/// TPMU_PUBLIC_ID (12.2.3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unique {
    /// TPM2B_PUBLIC_KEY_RSA
    Rsa(Buffer<MAX_RSA_KEY_BYTES>),
    /// TPM2B_DIGEST
    KeyedHash(Digest),
    /// TPMS_ECC_POINT
    Ecc(EccPoint),
    /// TPM2B_DIGEST
    SymCipher(Digest),
    /// TPM2B_PUBLIC_KEY_MLKEM
    MlKem(Buffer<{ mlkem::MAX_PUBLIC }>),
    /// TPM2B_PUBLIC_KEY_MLDSA
    MlDsa(Buffer<{ mldsa::MAX_PUBLIC }>),
    /// TPM2B_PUBLIC_KEY_MLDSA
    HashMlDsa(Buffer<{ mldsa::MAX_PUBLIC }>),
}

impl Unique {
    fn empty(selector: ObjectType) -> Self {
        match selector {
            ObjectType::Rsa => Self::Rsa(Buffer::new()),
            ObjectType::KeyedHash => Self::KeyedHash(Digest::EMPTY),
            ObjectType::Ecc => Self::Ecc(EccPoint::default()),
            ObjectType::SymCipher => Self::SymCipher(Digest::EMPTY),
            ObjectType::MlKem => Self::MlKem(Buffer::new()),
            ObjectType::MlDsa => Self::MlDsa(Buffer::new()),
            ObjectType::HashMlDsa => Self::HashMlDsa(Buffer::new()),
        }
    }

    fn unmarshal(selector: ObjectType, r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(match selector {
            ObjectType::Rsa => Self::Rsa(r.get()?),
            ObjectType::KeyedHash => Self::KeyedHash(r.get()?),
            ObjectType::Ecc => Self::Ecc(r.get()?),
            ObjectType::SymCipher => Self::SymCipher(r.get()?),
            ObjectType::MlKem => Self::MlKem(r.get()?),
            ObjectType::MlDsa => Self::MlDsa(r.get()?),
            ObjectType::HashMlDsa => Self::HashMlDsa(r.get()?),
        })
    }
}

impl Marshal for Unique {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Self::Rsa(n) => n.marshal(w),
            Self::Ecc(point) => point.marshal(w),
            Self::KeyedHash(d) | Self::SymCipher(d) => d.marshal(w),
            Self::MlKem(key) => key.marshal(w),
            Self::MlDsa(key) | Self::HashMlDsa(key) => key.marshal(w),
        }
    }
}

/// TPMT_PUBLIC (12.2.4). A TPM2B_PUBLIC is `Sized2b<Public>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public {
    /// nameAlg; None is TPM_ALG_NULL
    pub name_alg: Option<HashAlg>,
    /// objectAttributes
    pub attributes: ObjectAttributes,
    /// authPolicy
    pub auth_policy: Digest,
    /// type and parameters
    pub parms: Parms,
    /// unique
    pub unique: Unique,
}

impl Public {
    /// Octets of the largest TPMT_PUBLIC.
    pub const MAX: usize = 2 + 2 + 4 + 2 + MAX_DIGEST + 20 + 2 + mldsa::MAX_PUBLIC;

    /// The type.
    pub fn object_type(&self) -> ObjectType {
        self.parms.object_type()
    }

    /// The symmetric algorithm with which a storage key protects its children.
    pub fn symmetric(&self) -> Option<SymDefObject> {
        match &self.parms {
            Parms::Rsa(p) => p.symmetric,
            Parms::Ecc(p) => p.symmetric,
            Parms::SymCipher(p) => Some(*p),
            Parms::MlKem(p) => p.symmetric,
            Parms::KeyedHash(_) | Parms::MlDsa(_) | Parms::HashMlDsa(_) => None,
        }
    }
}

impl Unmarshal<'_> for Public {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let selector: ObjectType = r.get()?;
        Ok(Self {
            name_alg: r.get()?,
            attributes: r.get()?,
            auth_policy: r.get()?,
            parms: Parms::unmarshal(selector, r)?,
            unique: Unique::unmarshal(selector, r)?,
        })
    }
}

impl Marshal for Public {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.object_type().marshal(w);
        self.name_alg.marshal(w);
        self.attributes.marshal(w);
        self.auth_policy.marshal(w);
        self.parms.marshal_body(w);
        self.unique.marshal(w);
    }
}

/// TPMT_PUBLIC where nameAlg cannot be TPM_ALG_NULL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named(pub Public);

impl Unmarshal<'_> for Named {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let public: Public = r.get()?;
        if public.name_alg.is_some() { Ok(Self(public)) } else { Err(Fmt1::HASH) }
    }
}

/// TPMS_DERIVE (11.1.16): label and context of a Derived Object.
#[derive(Clone, Copy, Default)]
pub struct Derive<'a> {
    /// label
    pub label: Tpm2b<'a, 32>,
    /// context
    pub context: Tpm2b<'a, 32>,
}

impl<'a> Derive<'a> {
    /// From the sensitive data of TPM2_CreateLoaded; SIZE if octets are left over.
    pub fn parse(data: &'a [u8]) -> Result<Self, Fmt1> {
        let mut r = Reader::new(data);
        let derive = r.get()?;
        if r.is_empty() { Ok(derive) } else { Err(Fmt1::SIZE) }
    }
}

impl<'a> Unmarshal<'a> for Derive<'a> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        Ok(Self { label: r.get()?, context: r.get()? })
    }
}

/// TPMT_TEMPLATE (12.2.6) for a Derived Object: unique is label and context.
pub struct DerivedTemplate<'a> {
    /// all but unique, which is empty
    pub public: Public,
    /// label and context
    pub derive: Derive<'a>,
}

impl<'a> Unmarshal<'a> for DerivedTemplate<'a> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        let selector: ObjectType = r.get()?;
        let public = Public {
            name_alg: r.get()?,
            attributes: r.get()?,
            auth_policy: r.get()?,
            parms: Parms::unmarshal(selector, r)?,
            unique: Unique::empty(selector),
        };
        Ok(Self { public, derive: r.get()? })
    }
}

/// TPMU_SENSITIVE_COMPOSITE (12.3.2.3).
pub enum SensitiveComposite {
    /// one prime of the modulus
    Rsa(Secret<{ MAX_RSA_KEY_BYTES / 2 }>),
    /// the private scalar
    Ecc(Secret<MAX_ECC_KEY_BYTES>),
    /// the key of an HMAC, or sealed data
    Bits(Secret<MAX_SYM_DATA>),
    /// the key of a cipher
    Sym(Secret<MAX_SYM_KEY_BYTES>),
    /// the seed d ‖ z
    MlKem(Secret<{ mlkem::SEED }>),
    /// the seed ξ
    MlDsa(Secret<{ mldsa::SEED }>),
    /// the seed ξ
    HashMlDsa(Secret<{ mldsa::SEED }>),
}

impl SensitiveComposite {
    /// The type of the object to which it belongs.
    pub fn object_type(&self) -> ObjectType {
        match self {
            Self::Rsa(_) => ObjectType::Rsa,
            Self::Ecc(_) => ObjectType::Ecc,
            Self::Bits(_) => ObjectType::KeyedHash,
            Self::Sym(_) => ObjectType::SymCipher,
            Self::MlKem(_) => ObjectType::MlKem,
            Self::MlDsa(_) => ObjectType::MlDsa,
            Self::HashMlDsa(_) => ObjectType::HashMlDsa,
        }
    }

    fn duplicate(&self) -> Self {
        match self {
            Self::Rsa(s) => Self::Rsa(s.duplicate()),
            Self::Ecc(s) => Self::Ecc(s.duplicate()),
            Self::Bits(s) => Self::Bits(s.duplicate()),
            Self::Sym(s) => Self::Sym(s.duplicate()),
            Self::MlKem(s) => Self::MlKem(s.duplicate()),
            Self::MlDsa(s) => Self::MlDsa(s.duplicate()),
            Self::HashMlDsa(s) => Self::HashMlDsa(s.duplicate()),
        }
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Rsa(s) => s.as_slice(),
            Self::Ecc(s) => s.as_slice(),
            Self::Bits(s) => s.as_slice(),
            Self::Sym(s) => s.as_slice(),
            Self::MlKem(s) => s.as_slice(),
            Self::MlDsa(s) | Self::HashMlDsa(s) => s.as_slice(),
        }
    }
}

/// TPMT_SENSITIVE (12.3.2.4).
pub struct Sensitive {
    /// authValue
    pub auth: Auth,
    /// seedValue: obfuscation value, or the seed of a storage key
    pub seed: Secret<64>,
    /// sensitive
    pub composite: SensitiveComposite,
}

impl Sensitive {
    /// Octets of the largest TPMT_SENSITIVE.
    pub const MAX: usize = 2 + 2 + 64 + 2 + 64 + 2 + MAX_RSA_KEY_BYTES / 2;

    /// A second copy.
    pub fn duplicate(&self) -> Self {
        Self { auth: self.auth.duplicate(), seed: self.seed.duplicate(), composite: self.composite.duplicate() }
    }
}

impl Unmarshal<'_> for Sensitive {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let selector: ObjectType = r.get()?;
        Ok(Self {
            auth: r.get()?,
            seed: r.get()?,
            composite: match selector {
                ObjectType::Rsa => SensitiveComposite::Rsa(r.get()?),
                ObjectType::Ecc => SensitiveComposite::Ecc(r.get()?),
                ObjectType::KeyedHash => SensitiveComposite::Bits(r.get()?),
                ObjectType::SymCipher => SensitiveComposite::Sym(r.get()?),
                ObjectType::MlKem => SensitiveComposite::MlKem(r.get()?),
                ObjectType::MlDsa => SensitiveComposite::MlDsa(r.get()?),
                ObjectType::HashMlDsa => SensitiveComposite::HashMlDsa(r.get()?),
            },
        })
    }
}

impl Marshal for Sensitive {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.composite.object_type().marshal(w);
        self.auth.marshal(w);
        self.seed.marshal(w);
        w.sized(|w| w.put(self.composite.as_slice()));
    }
}

/// A TPM2B with a secret: read into memory that is wiped.
impl<const N: usize> Unmarshal<'_> for Secret<N> {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Secret::from_slice(r.get::<Tpm2b<'_, N>>()?.0).map_err(|_| Fmt1::SIZE)
    }
}

impl<const N: usize> Marshal for Secret<N> {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized(|w| w.put(self.as_slice()));
    }
}

/// TPM2B_SENSITIVE: unlike other TPM2B of structures it may be empty (12.3.2.5), as TPM2_LoadExternal allows.
pub struct OptionalSensitive(pub Option<Sensitive>);

impl Unmarshal<'_> for OptionalSensitive {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let size: u16 = r.get()?;
        if size == 0 {
            return Ok(Self(None));
        }
        super::structure_of(r, size).map(|sensitive| Self(Some(sensitive)))
    }
}

/// TPMS_SENSITIVE_CREATE (11.1.15), in its TPM2B.
pub struct SensitiveCreate<'a> {
    /// userAuth
    pub user_auth: Tpm2b<'a, 64>,
    /// data
    pub data: Tpm2b<'a, { MAX_SYM_DATA }>,
}

impl<'a> Unmarshal<'a> for SensitiveCreate<'a> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        Ok(Self { user_auth: r.get()?, data: r.get()? })
    }
}

/// TPM2B_PRIVATE (12.3.7) as the TPM makes it: integrity HMAC and encrypted sensitive area.
pub type Private = Buffer<{ 2 + MAX_DIGEST + 2 + 16 + 2 + MAX_DIGEST + 2 + Sensitive::MAX }>;
/// TPM2B_ENCRYPTED_SECRET (11.4.33), with its mlkem arm.
pub type EncryptedSecret = Buffer<{ mlkem::MAX_CIPHERTEXT }>;
/// TPM2B_ENCRYPTED_SECRET, in a command.
pub type EncryptedSecret2b<'a> = Tpm2b<'a, { mlkem::MAX_CIPHERTEXT }>;
/// TPM2B_ID_OBJECT (12.4.3).
pub type IdObject = Buffer<{ 2 + MAX_DIGEST + 2 + MAX_DIGEST }>;
/// TPM2B_NAME (10.5.3).
pub type Name = Buffer<{ 2 + MAX_DIGEST }>;

/// alg ‖ H(parts).
pub fn hashed_name(alg: HashAlg, bytes: &[u8]) -> Name {
    let digest = tpm_crypto::hash::digest(alg, &[bytes]);
    Name::of(|w| {
        alg.marshal(w);
        w.put(digest.as_slice());
    })
    .unwrap_or_default()
}
/// TPM2B_DATA (10.4.3).
pub type Data<'a> = Tpm2b<'a, { 2 + MAX_DIGEST }>;

/// TPMS_CREATION_DATA (15.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreationData {
    /// pcrSelect
    pub pcr_select: PcrSelection,
    /// pcrDigest
    pub pcr_digest: Digest,
    /// locality
    pub locality: u8,
    /// parentNameAlg
    pub parent_name_alg: AlgId,
    /// parentName
    pub parent_name: Name,
    /// parentQualifiedName
    pub parent_qualified_name: Name,
    /// outsideInfo
    pub outside_info: Buffer<{ 2 + MAX_DIGEST }>,
}

impl Marshal for CreationData {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.pcr_select.marshal(w);
        self.pcr_digest.marshal(w);
        self.locality.marshal(w);
        self.parent_name_alg.marshal(w);
        self.parent_name.marshal(w);
        self.parent_qualified_name.marshal(w);
        self.outside_info.marshal(w);
    }
}

/// TPML_HANDLE, TPML_CC and TPML_ALG of a capability reply hold at most this many elements.
pub const MAX_CAP_ELEMENTS: usize = 254;
/// TPML_CC (10.9.1)
pub type CommandCodes = List<u32, MAX_CAP_ELEMENTS>;
/// TPML_ALG (10.9.8), of MAX_ALG_LIST_SIZE
pub type AlgList = List<AlgId, 64>;
