//! TPM2_NV_ReadLock (Part 3, 31.14).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, NvAttributes, RhNvAuth, RhNvIndex};

pub(crate) struct NvReadLock;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params {} }

impl Command for NvReadLock {
    const CODE: u32 = 0x14f;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::PassingIndex;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `NV_AUTHORIZATION`: this entity may not read the index
    /// - `ATTRIBUTES` at `nv_index`: no TPMA_NV_READ_STCLEAR
    ///
    /// An index that is locked stays so, without an error; one that has not been written can be locked.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        match tpm.check_nv_read(h.auth_handle.handle(), handle) {
            Err(Rc::NV_LOCKED) => return Ok(Empty),
            Err(Rc::NV_UNINITIALIZED) | Ok(_) => {}
            Err(rc) => return Err(rc),
        }
        if !tpm.nv_attributes(handle)?.has(NvAttributes::READ_STCLEAR) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        tpm.persistent.change().nv.set_attributes(handle, NvAttributes::READLOCKED);
        Ok(Empty)
    }
}
