//! TPM2_NV_DefineSpace (Part 3, 31.3).

use crate::command::Command;
use crate::command::area::{Empty, User, handles, params};
use crate::nv::definition;
use crate::pipeline::Call;
use crate::rc::{Fmt1, Rc};
use crate::tpm::Tpm;
use crate::wire::{Auth, Handle, NvPublic, RhProvision, Sized2b};

pub(crate) struct NvDefineSpace;

handles! { pub(crate) struct Handles { auth_handle: User<RhProvision> } }
params! { pub(crate) struct Params { auth: Auth, public_info: Sized2b<NvPublic> } }

impl Command for NvDefineSpace {
    const CODE: u32 = 0x12a;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `public_info`: authPolicy is neither empty nor of the size of nameAlg's digests
    /// - `SIZE` at `auth`: longer than nameAlg's digests
    /// - `HIERARCHY` at `auth_handle`: the platform, and phEnableNV is CLEAR
    /// - `ATTRIBUTES`, `SIZE` at `public_info`: what [`definition::check`] says
    /// - `ATTRIBUTES` at `auth_handle`: TPMA_NV_PLATFORMCREATE does not tell who defines the index
    /// - `NV_DEFINED`: the index exists
    /// - `NV_SPACE`: no room
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let public = p.public_info.0;
        let digest_size = public.name_alg.digest_size();
        if !public.auth_policy.is_empty() && public.auth_policy.len() != digest_size {
            return Err(Fmt1::SIZE.at(Params::public_info));
        }
        let mut auth = p.auth;
        auth.trim_trailing_zeros();
        if auth.len() > digest_size {
            return Err(Fmt1::SIZE.at(Params::auth));
        }
        let by_platform = h.auth_handle.handle() == Handle::PLATFORM;
        if by_platform && !tpm.clear.platform_nv_enabled {
            return Err(Fmt1::HIERARCHY.at(Handles::auth_handle));
        }
        definition::check(&public).map_err(|e| e.at(Params::public_info))?;
        if !definition::is_creator(&public, by_platform) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::auth_handle));
        }
        tpm.persistent.nv.define(public, auth).map(|()| Empty)
    }
}
