//! TPM2_NV_Write (Part 3, 31.7).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse, ReadOnly};
use crate::data::tpm::Tpm;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, NvAttributes, NvType, RhNvAuth, RhNvIndex, Tpm2b};

pub(crate) struct NvWrite;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params<'a> { data: Tpm2b<'a, NV_BUFFER_MAX>, offset: u16 } }

impl Command for NvWrite {
    const CODE: u32 = 0x137;
    const INDEX: IndexUse = IndexUse::Writes;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::PassingIndex;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// - `NV_LOCKED`: the index is write-locked
    /// - `NV_AUTHORIZATION`: this entity may not write it
    /// - `ATTRIBUTES`, without a position: a counter, bit field or extend index
    /// - `VALUE` at `offset`: beyond the index
    /// - `NV_RANGE`: data beyond the index, or TPMA_NV_WRITEALL and not all of it
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        let public = tpm.check_nv_write(h.auth_handle.handle(), handle)?;
        if matches!(public.attributes.nv_type(), Some(NvType::Counter | NvType::Bits | NvType::Extend)) {
            return Err(Fmt1::ATTRIBUTES.plain());
        }
        let room = public.data_size.checked_sub(p.offset).ok_or(Fmt1::VALUE.at(Params::offset))?;
        let partial = p.data.0.len() < usize::from(public.data_size);
        if p.data.0.len() > usize::from(room) || partial && public.attributes.has(NvAttributes::WRITEALL) {
            return Err(Rc::NV_RANGE);
        }
        tpm.write_nv(handle, p.offset.into(), p.data.0);
        Ok(Empty)
    }
}
