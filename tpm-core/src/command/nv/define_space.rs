//! TPM2_NV_DefineSpace (Part 3, 31.3).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::operation::nv::DefinitionAt;
use crate::rc::Rc;
use crate::wire::{Auth, NvPublic, RhProvision, Sized2b};

pub(crate) struct NvDefineSpace;

handles! { pub(crate) struct Handles { auth_handle: User<RhProvision> } }
params! { pub(crate) struct Params { auth: Auth, public_info: Sized2b<NvPublic> } }

impl Command for NvDefineSpace {
    const CODE: u32 = 0x12a;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// What [`Tpm::define_nv`] says.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        const AT: DefinitionAt =
            DefinitionAt { auth_handle: Handles::auth_handle, auth: Params::auth, public_info: Params::public_info };
        tpm.define_nv(h.auth_handle.handle(), p.auth, p.public_info.0, &AT).map(|()| Empty)
    }
}
