//! TPM2_NV_WriteLock (Part 3, 31.11).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, NvAttributes, RhNvAuth, RhNvIndex};

pub(crate) struct NvWriteLock;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params {} }

impl Command for NvWriteLock {
    const CODE: u32 = 0x138;
    const INDEX: IndexUse = IndexUse::Writes;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::PassingIndex;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `NV_AUTHORIZATION`: this entity may not write the index
    /// - `ATTRIBUTES` at `nv_index`: neither TPMA_NV_WRITEDEFINE nor TPMA_NV_WRITE_STCLEAR
    ///
    /// An index that is locked stays so, without an error.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        match tpm.check_nv_write(h.auth_handle.handle(), handle) {
            Err(Rc::NV_LOCKED) => return Ok(Empty),
            other => other?,
        };
        if !tpm.nv_attributes(handle)?.any(NvAttributes::WRITEDEFINE.with(NvAttributes::WRITE_STCLEAR)) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        tpm.persistent.change().nv.set_attributes(handle, NvAttributes::WRITELOCKED);
        Ok(Empty)
    }
}
