//! Algorithms of the profile, hashes and symmetric definitions (Part 2, 11.1).

use super::{AlgId, Marshal, Reader, Unmarshal, Writer};
use crate::profile::{self, PROFILE};
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg, MAX_DIGEST};
use tpm_crypto::sym::{Mode, SymAlg};

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

/// [`profile::INTERNAL_HASH`]
pub const INTERNAL_HASH: HashAlg = known(profile::INTERNAL_HASH);

/// [`profile::PCR_BANKS`]
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
pub const PCR_BANKS: [HashAlg; profile::PCR_BANKS.len()] = {
    let (mut banks, mut i) = ([INTERNAL_HASH; profile::PCR_BANKS.len()], 0);
    while i < banks.len() {
        banks[i] = known(profile::PCR_BANKS[i]);
        i += 1;
    }
    banks
};

#[expect(clippy::panic, reason = "at compile time: what would panic does not compile")]
const fn known(id: AlgId) -> HashAlg {
    match HashAlg::from_id(id.0) {
        Some(hash) => hash,
        None => panic!("the profile names a hash that there is not"),
    }
}

/// The hashes of the profile.
pub fn hashes() -> impl Iterator<Item = HashAlg> {
    HashAlg::ALL.iter().copied().filter(|hash| PROFILE.has(hash.id()))
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
    use tpm_codes::{EccCurve, MlDsaSet, MlKemSet};
    use tpm_crypto::{ecc::Curve, mldsa::MlDsa, mlkem::MlKem};

    #[test]
    fn what_the_identifiers_name_is_what_the_cryptography_has() {
        assert!(Curve::ALL.iter().map(|curve| EccCurve(curve.id())).eq(EccCurve::NAMED.iter().copied()));
        assert!(MlKem::ALL.iter().map(|set| MlKemSet(set.id())).eq(MlKemSet::NAMED.iter().copied()));
        assert!(MlDsa::ALL.iter().map(|set| MlDsaSet(set.id())).eq(MlDsaSet::NAMED.iter().copied()));
    }
}
