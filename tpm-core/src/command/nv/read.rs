//! TPM2_NV_Read (Part 3, 31.13).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse};
use crate::data::tpm::Tpm;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, RhNvAuth, RhNvIndex, Tpm2b};

pub(crate) struct NvRead;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params { size: u16, offset: u16 } }

impl Command for NvRead {
    const CODE: u32 = 0x14e;
    const INDEX: IndexUse = IndexUse::Reads;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Tpm2b<'t, NV_BUFFER_MAX>;

    /// - `NV_LOCKED`: the index is read-locked
    /// - `NV_AUTHORIZATION`: this entity may not read it
    /// - `NV_UNINITIALIZED`: it has not been written
    /// - `VALUE` at `size`: more than one answer can hold
    /// - `VALUE` at `offset`: beyond the index
    /// - `NV_UNAVAILABLE`: what the platform provides is not there now
    /// - `NV_RANGE`: the end lies beyond the index
    fn run<'t>(tpm: &'t mut Tpm, call: &'t Call<'_>, h: Handles, p: Params) -> Result<Self::Reply<'t>, Rc> {
        let handle = h.nv_index.handle();
        let public = tpm.check_nv_read(h.auth_handle.handle(), handle)?;
        if usize::from(p.size) > NV_BUFFER_MAX {
            return Err(Fmt1::VALUE.at(Params::size));
        }
        if p.offset > public.data_size {
            return Err(Fmt1::VALUE.at(Params::offset));
        }
        let start = usize::from(p.offset);
        let contents = call.nv_contents(tpm, handle)?;
        contents.get(start..start + usize::from(p.size)).map(Tpm2b).ok_or(Rc::NV_RANGE)
    }
}
