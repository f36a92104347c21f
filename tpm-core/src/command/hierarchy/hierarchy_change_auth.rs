//! TPM2_HierarchyChangeAuth (Part 3, 24.8).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, Handle, INTERNAL_HASH, RhHierarchyAuth};

pub(crate) struct HierarchyChangeAuth;

handles! { pub(crate) struct Handles { auth_handle: User<RhHierarchyAuth> } }
params! { pub(crate) struct Params { new_auth: Auth } }

impl Command for HierarchyChangeAuth {
    const CODE: u32 = 0x129;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `new_auth`: longer than the digests of the hash of context integrity
    ///
    /// The response's HMAC goes by the new authValue.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let mut auth = p.new_auth;
        auth.trim_trailing_zeros();
        if auth.len() > INTERNAL_HASH.digest_size() {
            return Err(Fmt1::SIZE.at(Params::new_auth));
        }
        let hierarchy = h.auth_handle.handle();
        *tpm.hierarchy_auth_mut(hierarchy).ok_or(Fault::Handle)? = auth;
        if hierarchy == Handle::PLATFORM {
            tpm.void_shutdown();
        }
        Ok(Empty)
    }
}
