//! Algorithms of the profile, hashes and symmetric definitions (Part 2, 11.1).

use super::{AlgId, Marshal, Reader, Unmarshal, Writer};
use crate::profile::PROFILE;
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg, MAX_DIGEST};
use tpm_crypto::sym::{Mode, SymAlg};

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
