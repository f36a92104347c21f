//! NV structures (Part 2, 13).

use super::{Handle, HandleType, Marshal, NvAttributes, Reader, RhNvIndex, Unmarshal, Writer};
use crate::crypto::hash::{Digest, HashAlg};
use crate::rc::Fmt1;

/// TPM_NT (13.3): the type of an NV Index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NvType {
    Ordinary,
    Counter,
    Bits,
    Extend,
    PinFail,
    PinPass,
}

impl NvAttributes {
    /// The type, if it is one of TPM_NT.
    pub(crate) fn nv_type(self) -> Option<NvType> {
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
pub(crate) struct NvPublic {
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

impl Unmarshal<'_> for NvPublic {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let index = r.get::<RhNvIndex>()?.handle();
        let public =
            Self { index, name_alg: r.get()?, attributes: r.get()?, auth_policy: r.get()?, data_size: r.get()? };
        if usize::from(public.data_size) > crate::profile::MAX_NV_INDEX_SIZE { Err(Fmt1::SIZE) } else { Ok(public) }
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
