//! NV structures (Part 2, 13).

use super::{Handle, HandleType, Marshal, NvAttributes, Reader, RhNvIndex, Unmarshal, Writer};
use crate::profile::MAX_NV_INDEX_SIZE;
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg};

/// TPM_NT (13.3): the type of an NV Index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NvType {
    /// TPM_NT_ORDINARY
    Ordinary,
    /// TPM_NT_COUNTER
    Counter,
    /// TPM_NT_BITS
    Bits,
    /// TPM_NT_EXTEND
    Extend,
    /// TPM_NT_PIN_FAIL
    PinFail,
    /// TPM_NT_PIN_PASS
    PinPass,
}

impl NvAttributes {
    /// The type, if it is one of TPM_NT.
    pub fn nv_type(self) -> Option<NvType> {
        Some(match self.0 >> 4 & 0xf {
            0 => NvType::Ordinary,
            1 => NvType::Counter,
            2 => NvType::Bits,
            4 => NvType::Extend,
            8 => NvType::PinFail,
            9 => NvType::PinPass,
            _ => return None,
        })
    }
}

/// TPMS_NV_PUBLIC (13.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvPublic {
    /// nvIndex
    pub index: Handle,
    /// nameAlg
    pub name_alg: HashAlg,
    /// attributes
    pub attributes: NvAttributes,
    /// authPolicy
    pub auth_policy: Digest,
    /// dataSize in octets
    pub data_size: u16,
}

impl NvPublic {
    /// Whether dataSize fits the type, which exists.
    pub fn size_suits(&self) -> bool {
        let size = usize::from(self.data_size);
        match self.attributes.nv_type() {
            Some(NvType::Ordinary) => size <= MAX_NV_INDEX_SIZE,
            Some(NvType::Extend) => size == self.name_alg.digest_size(),
            Some(NvType::Counter | NvType::Bits | NvType::PinFail | NvType::PinPass) => size == 8,
            None => false,
        }
    }
}

impl Unmarshal<'_> for NvPublic {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let index = r.get::<RhNvIndex>()?.handle();
        let public =
            Self { index, name_alg: r.get()?, attributes: r.get()?, auth_policy: r.get()?, data_size: r.get()? };
        if usize::from(public.data_size) > MAX_NV_INDEX_SIZE { Err(Fmt1::SIZE) } else { Ok(public) }
    }
}

impl Marshal for NvPublic {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.index.marshal(w);
        self.name_alg.marshal(w);
        self.attributes.marshal(w);
        self.auth_policy.marshal(w);
        self.data_size.marshal(w);
    }
}

/// TPM_HT (7.2) of an NV Index, of one that is outside of the TPM, and of a permanent one.
const HT_NV_INDEX: u8 = 0x01;
const HT_EXTERNAL_NV: u8 = 0x11;
const HT_PERMANENT_NV: u8 = 0x12;

/// TPMT_NV_PUBLIC_2 (13.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvPublic2 {
    handle_type: u8,
    /// TPMS_NV_PUBLIC; None for types that are not implemented
    pub public: Option<NvPublic>,
}

impl NvPublic2 {
    /// The public area of an index in the TPM.
    pub const fn of(public: NvPublic) -> Self {
        Self { handle_type: HT_NV_INDEX, public: Some(public) }
    }
}

impl Unmarshal<'_> for NvPublic2 {
    /// SELECTOR for a handle type that is not one of an index.
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let handle_type = r.get()?;
        let public = match handle_type {
            HT_NV_INDEX => Some(r.get()?),
            HT_PERMANENT_NV => r.get::<NvPublic>().map(|_| None)?,
            HT_EXTERNAL_NV => r.get::<NvPublicExpAttr>().map(|_| None)?,
            _ => return Err(Fmt1::SELECTOR),
        };
        Ok(Self { handle_type, public })
    }
}

impl Marshal for NvPublic2 {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.handle_type.marshal(w);
        if let Some(public) = &self.public {
            public.marshal(w);
        }
    }
}

/// TPMS_NV_PUBLIC_EXP_ATTR (13.8), which is only checked.
struct NvPublicExpAttr;

impl Unmarshal<'_> for NvPublicExpAttr {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        const RESERVED: u64 = 0xffff_fff8_01f0_0300;
        let index: Handle = r.get()?;
        if index.0 >> 24 != u32::from(HT_EXTERNAL_NV) {
            return Err(Fmt1::VALUE);
        }
        r.get::<HashAlg>()?;
        if r.get::<u64>()? & RESERVED != 0 {
            return Err(Fmt1::RESERVED_BITS);
        }
        r.get::<Digest>()?;
        if usize::from(r.get::<u16>()?) > MAX_NV_INDEX_SIZE { Err(Fmt1::SIZE) } else { Ok(Self) }
    }
}
