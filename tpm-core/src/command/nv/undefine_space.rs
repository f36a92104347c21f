//! TPM2_NV_UndefineSpace (Part 3, 31.4).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, HandleType, NvAttributes, RhNvIndex, RhProvision};

pub(crate) struct NvUndefineSpace;

handles! { pub(crate) struct Handles { auth_handle: User<RhProvision>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params {} }

impl Command for NvUndefineSpace {
    const CODE: u32 = 0x122;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `ATTRIBUTES` at `nv_index`: TPMA_NV_POLICY_DELETE, only TPM2_NV_UndefineSpaceSpecial deletes it
    /// - `NV_AUTHORIZATION`: the owner cannot delete an index of the platform
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        let attributes = tpm.nv_attributes(handle)?;
        if attributes.has(NvAttributes::POLICY_DELETE) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        if h.auth_handle.handle() == Handle::OWNER && attributes.has(NvAttributes::PLATFORMCREATE) {
            return Err(Rc::NV_AUTHORIZATION);
        }
        tpm.persistent.change().nv.undefine(handle);
        Ok(Empty)
    }
}
