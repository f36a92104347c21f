//! TPM2_NV_UndefineSpaceSpecial (Part 3, 31.5).

use crate::command::area::{Admin, Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{NvAttributes, RhNvIndex, RhPlatform};

pub(crate) struct NvUndefineSpaceSpecial;

handles! { pub(crate) struct Handles { nv_index: Admin<RhNvIndex>, platform: User<RhPlatform> } }
params! { pub(crate) struct Params {} }

impl Command for NvUndefineSpaceSpecial {
    const CODE: u32 = 0x11f;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `ATTRIBUTES` at `nv_index`: no TPMA_NV_POLICY_DELETE
    ///
    /// The authValue that is deleted is no longer in the response's HMAC.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        if !tpm.nv_attributes(handle)?.has(NvAttributes::POLICY_DELETE) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::nv_index));
        }
        tpm.persistent.change().nv.undefine(handle);
        Ok(Empty)
    }
}
