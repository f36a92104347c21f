//! TPM2_SetCapability (Part 3, 30.4).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Cap, Reader, RhHierarchy, Sized2b, Unmarshal};

pub(crate) struct SetCapability;

/// TPMS_SET_CAPABILITY_DATA: setCapability selects what follows, and nothing can be selected.
pub(crate) enum SetCapabilityData {}

impl Unmarshal<'_> for SetCapabilityData {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let _capability: Cap = r.get()?;
        Err(Fmt1::SELECTOR)
    }
}

handles! { pub(crate) struct Handles { auth_handle: User<RhHierarchy> } }
params! { pub(crate) struct Params { set_capability_data: Sized2b<SetCapabilityData> } }

impl Command for SetCapability {
    const CODE: u32 = 0x19f;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `set_capability_data`: it is empty
    /// - `VALUE` at `set_capability_data`: no such group
    /// - `SELECTOR` at `set_capability_data`: no capability of this TPM can be set
    fn run<'t>(_tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        match p.set_capability_data.0 {}
    }
}
