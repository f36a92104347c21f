//! TPM2_Hash (Part 3, 15.4).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, HashAlg, digest};
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::Rc;
use crate::wire::{GENERATED_VALUE, Handle, HandleType, RhHierarchy, Ticket, TkHashcheck, Tpm2b, st};

pub(crate) struct Hash;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params<'a> { data: Tpm2b<'a, MAX_DIGEST_BUFFER>, hash_alg: HashAlg, hierarchy: RhHierarchy } }
reply! { pub(crate) struct Answer { out_hash: Digest, validation: TkHashcheck } }

impl Command for Hash {
    const CODE: u32 = 0x17d;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// No codes of its own. The ticket is the NULL Ticket for TPM_RH_NULL, and for what could be a structure made by
    /// the TPM: data that begins with TPM_GENERATED_VALUE.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let out_hash = digest(p.hash_alg, &[p.data.0]);
        let hierarchy = p.hierarchy.handle();
        let safe = hierarchy != Handle::NULL && !p.data.0.starts_with(&GENERATED_VALUE.to_be_bytes());
        let validation =
            if safe { tpm.hash_check(hierarchy, p.hash_alg, &out_hash) } else { Ticket::null(st::HASHCHECK) };
        Ok(Answer { out_hash, validation: TkHashcheck(validation) })
    }
}
