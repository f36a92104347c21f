//! TPM2_NV_DefineSpace2 (Part 3, 31.17).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::operation::nv::DefinitionAt;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, NvPublic2, RhProvision, Sized2b};

pub(crate) struct NvDefineSpace2;

handles! { pub(crate) struct Handles { auth_handle: User<RhProvision> } }
params! { pub(crate) struct Params { auth: Auth, public_info: Sized2b<NvPublic2> } }

impl Command for NvDefineSpace2 {
    const CODE: u32 = 0x19d;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `HANDLE` at `public_info`: an index outside of the TPM or a permanent one, which are not implemented
    /// - what [`Tpm::define_nv`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        const AT: DefinitionAt =
            DefinitionAt { auth_handle: Handles::auth_handle, auth: Params::auth, public_info: Params::public_info };
        let public = p.public_info.0.public.ok_or(Fmt1::HANDLE.at(Params::public_info))?;
        tpm.define_nv(h.auth_handle.handle(), p.auth, public, &AT).map(|()| Empty)
    }
}
