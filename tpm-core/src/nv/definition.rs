//! Which public areas an NV Index may be defined with (Part 2, 13.4; Part 3, 31.3).

use crate::command::find;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::Fmt1;
use crate::wire::{NvAttributes as A, NvPublic, NvType};

/// TPM_CC_NV_UndefineSpaceSpecial
const UNDEFINE_SPACE_SPECIAL: u32 = 0x11f;

/// - `ATTRIBUTES`: a type that does not exist or is not supported (PIN), or attributes that do not go together
/// - `SIZE`: dataSize does not fit the type, or TPMA_NV_WRITEALL and more than one TPM2_NV_Write can bring
pub(crate) fn check(public: &NvPublic) -> Result<(), Fmt1> {
    let nv_type = public.attributes.nv_type().ok_or(Fmt1::ATTRIBUTES)?;
    let size = usize::from(public.data_size);
    let fits = match nv_type {
        NvType::Ordinary => true,
        NvType::Extend => size == public.name_alg.digest_size(),
        NvType::Counter | NvType::Bits => size == 8,
        NvType::PinFail | NvType::PinPass => return Err(Fmt1::ATTRIBUTES),
    };
    if !fits {
        return Err(Fmt1::SIZE);
    }
    if !is_consistent(public.attributes, nv_type) {
        return Err(Fmt1::ATTRIBUTES);
    }
    if size > NV_BUFFER_MAX && public.attributes.has(A::WRITEALL) { Err(Fmt1::SIZE) } else { Ok(()) }
}

fn is_consistent(a: A, nv_type: NvType) -> bool {
    let fresh = !a.any(A::WRITTEN.with(A::WRITELOCKED).with(A::READLOCKED));
    let readable = a.any(A::OWNERREAD.with(A::PPREAD).with(A::AUTHREAD).with(A::POLICYREAD));
    let writable = a.any(A::OWNERWRITE.with(A::PPWRITE).with(A::AUTHWRITE).with(A::POLICYWRITE));
    // A counter never goes back, and a lock for ever does not go with contents until the next start.
    let forgets = a.has(A::CLEAR_STCLEAR) && (nv_type == NvType::Counter || a.has(A::WRITEDEFINE));
    let deletable = !a.has(A::POLICY_DELETE) || (a.has(A::PLATFORMCREATE) && find(UNDEFINE_SPACE_SPECIAL).is_some());
    fresh && readable && writable && !forgets && deletable
}

/// Whether TPMA_NV_PLATFORMCREATE tells that the platform, or else the owner, defines the index.
pub(crate) const fn is_creator(public: &NvPublic, by_platform: bool) -> bool {
    public.attributes.has(A::PLATFORMCREATE) == by_platform
}
