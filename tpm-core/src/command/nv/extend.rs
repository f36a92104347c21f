//! TPM2_NV_Extend (Part 3, 31.9).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse, ReadOnly};
use crate::data::tpm::Tpm;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, NvType, RhNvAuth, RhNvIndex, Tpm2b};

pub(crate) struct NvExtend;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params<'a> { data: Tpm2b<'a, NV_BUFFER_MAX> } }

impl Command for NvExtend {
    const CODE: u32 = 0x136;
    const INDEX: IndexUse = IndexUse::Writes;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::PassingIndex;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// - `NV_LOCKED`: the index is write-locked
    /// - `NV_AUTHORIZATION`: this entity may not write it
    /// - `ATTRIBUTES` at `nv_index`: no extend index
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        let public = tpm.check_nv_write(h.auth_handle.handle(), handle)?;
        if public.attributes.nv_type() != Some(NvType::Extend) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        tpm.update_nv(handle, |nv| nv.extend(handle, p.data.0));
        Ok(Empty)
    }
}
