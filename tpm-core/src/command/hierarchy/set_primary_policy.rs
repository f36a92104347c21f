//! TPM2_SetPrimaryPolicy (Part 3, 24.3).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::crypto::hash::{Digest, HashAlg};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, RhHierarchyPolicy};

pub(crate) struct SetPrimaryPolicy;

handles! { pub(crate) struct Handles { auth_handle: User<RhHierarchyPolicy> } }
params! { pub(crate) struct Params { auth_policy: Digest, hash_alg: Option<HashAlg> } }

impl Command for SetPrimaryPolicy {
    const CODE: u32 = 0x12e;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `auth_policy`: not of the size of hashAlg's digests, which for TPM_ALG_NULL is zero
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        if p.auth_policy.len() != p.hash_alg.map_or(0, HashAlg::digest_size) {
            return Err(Fmt1::SIZE.at(Params::auth_policy));
        }
        let hierarchy = h.auth_handle.handle();
        let policy = tpm.hierarchy_policy_mut(hierarchy).ok_or(Fault::Handle)?;
        *policy = p.hash_alg.map(|alg| (alg, p.auth_policy));
        if hierarchy == Handle::PLATFORM || hierarchy.act_position().is_some() {
            tpm.void_shutdown();
        }
        Ok(Empty)
    }
}
