//! Algorithm identifiers (Part 2, 6.3), hashes and symmetric definitions (Part 2, 11.1).

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::profile::PROFILE;
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg, MAX_DIGEST};
use tpm_crypto::sym::{Mode, SymAlg};

/// TPM_ALG_ID: an identifier that need not be implemented.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AlgId(pub u16);

macro_rules! ids { ($($(#[$m:meta])* $name:ident = $v:literal),* $(,)?) => { impl AlgId {
    $($(#[$m])* pub const $name: Self = Self($v);)*
    /// Every identifier that has a name here, ascending.
    pub const NAMED: &'static [Self] = &[$(Self::$name),*];
} } }
ids! {
    /// TPM_ALG_RSA
    RSA = 0x0001,
    /// TPM_ALG_SHA1
    SHA1 = 0x0004,
    /// TPM_ALG_HMAC
    HMAC = 0x0005,
    /// TPM_ALG_AES
    AES = 0x0006,
    /// TPM_ALG_MGF1
    MGF1 = 0x0007,
    /// TPM_ALG_KEYEDHASH
    KEYEDHASH = 0x0008,
    /// TPM_ALG_XOR
    XOR = 0x000a,
    /// TPM_ALG_SHA256
    SHA256 = 0x000b,
    /// TPM_ALG_SHA384
    SHA384 = 0x000c,
    /// TPM_ALG_SHA512
    SHA512 = 0x000d,
    /// TPM_ALG_NULL
    NULL = 0x0010,
    /// TPM_ALG_SM3_256
    SM3 = 0x0012,
    /// TPM_ALG_SM4
    SM4 = 0x0013,
    /// TPM_ALG_RSASSA
    RSASSA = 0x0014,
    /// TPM_ALG_RSAES
    RSAES = 0x0015,
    /// TPM_ALG_RSAPSS
    RSAPSS = 0x0016,
    /// TPM_ALG_OAEP
    OAEP = 0x0017,
    /// TPM_ALG_ECDSA
    ECDSA = 0x0018,
    /// TPM_ALG_ECDH
    ECDH = 0x0019,
    /// TPM_ALG_ECDAA
    ECDAA = 0x001a,
    /// TPM_ALG_SM2
    SM2 = 0x001b,
    /// TPM_ALG_ECSCHNORR
    ECSCHNORR = 0x001c,
    /// TPM_ALG_ECMQV
    ECMQV = 0x001d,
    /// TPM_ALG_HKDF (1.85)
    HKDF = 0x001f,
    /// TPM_ALG_KDF1_SP800_56A
    KDF1_SP800_56A = 0x0020,
    /// TPM_ALG_KDF2
    KDF2 = 0x0021,
    /// TPM_ALG_KDF1_SP800_108
    KDF1_SP800_108 = 0x0022,
    /// TPM_ALG_ECC
    ECC = 0x0023,
    /// TPM_ALG_SYMCIPHER
    SYMCIPHER = 0x0025,
    /// TPM_ALG_CAMELLIA
    CAMELLIA = 0x0026,
    /// TPM_ALG_SHA3_256
    SHA3_256 = 0x0027,
    /// TPM_ALG_SHA3_384
    SHA3_384 = 0x0028,
    /// TPM_ALG_SHA3_512
    SHA3_512 = 0x0029,
    /// TPM_ALG_CMAC
    CMAC = 0x003f,
    /// TPM_ALG_CTR
    CTR = 0x0040,
    /// TPM_ALG_OFB
    OFB = 0x0041,
    /// TPM_ALG_CBC
    CBC = 0x0042,
    /// TPM_ALG_CFB
    CFB = 0x0043,
    /// TPM_ALG_ECB
    ECB = 0x0044,
    /// TPM_ALG_MLKEM
    MLKEM = 0x00a0,
    /// TPM_ALG_MLDSA
    MLDSA = 0x00a1,
    /// TPM_ALG_HASH_MLDSA
    HASH_MLDSA = 0x00a2,
}

impl AlgId {
    /// Every algorithm of the profile, ascending.
    pub fn offered() -> impl Iterator<Item = Self> {
        PROFILE.algorithms.iter().copied()
    }
}

impl AlgId {
    /// The identifier, if the profile has the algorithm.
    pub fn on(self) -> Option<u16> {
        let has = if self.0 < 64 { LOW >> self.0 & 1 == 1 } else { PROFILE.has(self.0) };
        has.then_some(self.0)
    }
}

/// The algorithms of the profile that have an identifier below 64, a bit each: hashes are looked for in every selection
/// of PCR.
const LOW: u64 = {
    let (mut low, mut rest) = (0, PROFILE.algorithms);
    while let [id, behind @ ..] = rest {
        if id.0 < 64 {
            low |= 1 << id.0;
        }
        rest = behind;
    }
    low
};

impl Unmarshal<'_> for AlgId {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        r.get().map(Self)
    }
}

impl Marshal for AlgId {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

/// TPMI_ALG_HASH without TPM_ALG_NULL (9.27).
impl Unmarshal<'_> for HashAlg {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        r.get::<Option<Self>>()?.ok_or(Fmt1::HASH)
    }
}

impl Marshal for HashAlg {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.id().marshal(w);
    }
}

/// TPMI_ALG_HASH+ : None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<HashAlg> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id == AlgId::NULL { Ok(None) } else { id.on().and_then(HashAlg::from_id).map(Some).ok_or(Fmt1::HASH) }
    }
}

impl Marshal for Option<HashAlg> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.map_or(AlgId::NULL.0, HashAlg::id).marshal(w);
    }
}

/// TPM2B_DIGEST.
impl Unmarshal<'_> for Digest {
    const SIZED: bool = true;
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let size: u16 = r.get()?;
        if usize::from(size) > MAX_DIGEST {
            return Err(Fmt1::SIZE);
        }
        Digest::from_slice(r.take(size.into())?).ok_or(Fmt1::SIZE)
    }
}

impl Marshal for Digest {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized(|w| w.put(self.as_slice()));
    }
}

/// TPMT_HA without TPM_ALG_NULL (10.3.2): a hash identifier and a digest of just its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ha {
    /// hashAlg
    pub alg: HashAlg,
    /// digest
    pub digest: Digest,
}

impl Unmarshal<'_> for Ha {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let alg: HashAlg = r.get()?;
        let digest = Digest::from_slice(r.take(alg.digest_size())?).ok_or(Fmt1::SIZE)?;
        Ok(Self { alg, digest })
    }
}

impl Marshal for Ha {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.alg.marshal(w);
        w.put(self.digest.as_slice());
    }
}

/// TPMI_ALG_CIPHER_MODE+ (9.30): None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<Mode> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let SymMode(mode) = r.get()?;
        if mode.is_none_or(Mode::encrypts) { Ok(mode) } else { Err(Fmt1::MODE) }
    }
}

/// TPMI_ALG_SYM_MODE+ (9.31), which includes TPM_ALG_CMAC; None is TPM_ALG_NULL.
struct SymMode(Option<Mode>);

impl Unmarshal<'_> for SymMode {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id == AlgId::NULL {
            return Ok(Self(None));
        }
        id.on().and_then(Mode::from_id).map(|mode| Self(Some(mode))).ok_or(Fmt1::MODE)
    }
}

impl Marshal for Option<Mode> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.map_or(AlgId::NULL.0, Mode::id).marshal(w);
    }
}

/// TPMT_SYM_DEF_OBJECT (11.1.7) other than TPM_ALG_NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SymDefObject {
    /// algorithm
    pub alg: SymAlg,
    /// keyBits
    pub key_bits: u16,
    /// mode; None is TPM_ALG_NULL
    pub mode: Option<Mode>,
}

impl SymDefObject {
    /// Octets of the key.
    pub fn key_size(&self) -> usize {
        usize::from(self.key_bits / 8)
    }

    fn after_id(id: AlgId, r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let alg = id.on().and_then(SymAlg::from_id).ok_or(Fmt1::SYMMETRIC)?;
        let key_bits = r.get()?;
        if !alg.has_key_bits(key_bits) {
            return Err(Fmt1::VALUE);
        }
        let SymMode(mode) = r.get()?;
        Ok(Self { alg, key_bits, mode })
    }
}

/// TPMT_SYM_DEF_OBJECT+ : None is TPM_ALG_NULL.
impl Unmarshal<'_> for Option<SymDefObject> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id == AlgId::NULL {
            return Ok(None);
        }
        SymDefObject::after_id(id, r).map(Some)
    }
}

/// TPMT_SYM_DEF_OBJECT without TPM_ALG_NULL, as a symmetric-cipher object has it.
impl Unmarshal<'_> for SymDefObject {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        r.get::<Option<Self>>()?.ok_or(Fmt1::SYMMETRIC)
    }
}

impl Marshal for SymDefObject {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.alg.id().marshal(w);
        self.key_bits.marshal(w);
        self.mode.marshal(w);
    }
}

impl Marshal for Option<SymDefObject> {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Some(s) => s.marshal(w),
            None => AlgId::NULL.marshal(w),
        }
    }
}

/// TPMT_SYM_DEF (11.1.6), for sessions: a cipher in CFB mode, XOR obfuscation, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymDef {
    /// TPM_ALG_NULL
    Null,
    /// TPM_ALG_XOR with this hash
    Xor(HashAlg),
    /// a block cipher
    Block(SymDefObject),
}

impl Unmarshal<'_> for SymDef {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get()? {
            AlgId::NULL => Ok(Self::Null),
            AlgId::XOR => r.get().map(Self::Xor),
            id => SymDefObject::after_id(id, r).map(Self::Block),
        }
    }
}

impl Marshal for SymDef {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Self::Null => AlgId::NULL.marshal(w),
            Self::Xor(hash) => {
                AlgId::XOR.marshal(w);
                hash.marshal(w);
            }
            Self::Block(b) => b.marshal(w),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AlgId, PROFILE};

    #[test]
    fn an_algorithm_is_on_if_the_profile_has_it() {
        for id in 0..=u16::MAX {
            assert_eq!(AlgId(id).on(), PROFILE.has(id).then_some(id), "{id:#x}");
        }
    }
}
