//! TPM2_NV_SetBits (Part 3, 31.10).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, NvType, RhNvAuth, RhNvIndex};

pub(crate) struct NvSetBits;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params { bits: u64 } }

impl Command for NvSetBits {
    const CODE: u32 = 0x135;
    const INDEX: IndexUse = IndexUse::Writes;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::PassingIndex;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `NV_LOCKED`: the index is write-locked
    /// - `NV_AUTHORIZATION`: this entity may not write it
    /// - `ATTRIBUTES` at `nv_index`: no bit field
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        let public = tpm.check_nv_write(h.auth_handle.handle(), handle)?;
        if public.attributes.nv_type() != Some(NvType::Bits) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        tpm.update_nv(handle, |nv| nv.set_bits(handle, p.bits));
        Ok(Empty)
    }
}
