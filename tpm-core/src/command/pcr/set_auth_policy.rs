//! TPM2_PCR_SetAuthPolicy (Part 3, 22.6).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::crypto::hash::{Digest, HashAlg};
use crate::data::pcr;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhPcr, HandleType, RhPlatform};

pub(crate) struct PcrSetAuthPolicy;

handles! { pub(crate) struct Handles { auth_handle: User<RhPlatform> } }
params! { pub(crate) struct Params { auth_policy: Digest, hash_alg: Option<HashAlg>, pcr_num: DhPcr } }

impl Command for PcrSetAuthPolicy {
    const CODE: u32 = 0x12c;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `auth_policy`: not the size of digests of `hash_alg`, which is zero for TPM_ALG_NULL
    /// - `VALUE` at `pcr_num`: the PCR cannot have a policy
    ///
    /// The policy is that of the whole group. TPM_ALG_NULL and the Empty Buffer remove it.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if p.auth_policy.len() != p.hash_alg.map_or(0, HashAlg::digest_size) {
            return Err(Fmt1::SIZE.at(Params::auth_policy));
        }
        if !pcr::in_auth_group(p.pcr_num.handle()) {
            return Err(Fmt1::VALUE.at(Params::pcr_num));
        }
        tpm.persistent.change().pcr_policy = p.hash_alg.map(|alg| (alg, p.auth_policy));
        Ok(Empty)
    }
}
