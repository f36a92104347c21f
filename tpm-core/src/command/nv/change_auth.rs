//! TPM2_NV_ChangeAuth (Part 3, 31.15).

use crate::command::area::{Admin, Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, RhNvIndex};

pub(crate) struct NvChangeAuth;

handles! { pub(crate) struct Handles { nv_index: Admin<RhNvIndex> } }
params! { pub(crate) struct Params { new_auth: Auth } }

impl Command for NvChangeAuth {
    const CODE: u32 = 0x13b;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `new_auth`: longer than nameAlg's digests
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let handle = h.nv_index.handle();
        let index = tpm.persistent.nv.get(handle).ok_or(Rc::NV_UNINITIALIZED)?;
        let mut auth = p.new_auth;
        auth.trim_trailing_zeros();
        if auth.len() > index.public.name_alg.digest_size() {
            return Err(Fmt1::SIZE.at(Params::new_auth));
        }
        tpm.persistent.change().nv.set_auth(handle, auth);
        Ok(Empty)
    }
}
