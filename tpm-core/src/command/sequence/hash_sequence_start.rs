//! TPM2_HashSequenceStart (Part 3, 17.4).

use crate::command::area::{Empty, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::HashAlg;
use crate::data::object::{Sequence, Work};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::Auth;

pub(crate) struct HashSequenceStart;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { auth: Auth, hash_alg: Option<HashAlg> } }

impl Command for HashSequenceStart {
    const CODE: u32 = 0x186;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Empty>;

    /// - `OBJECT_MEMORY`: no free slot
    ///
    /// TPM_ALG_NULL starts an event sequence.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<WithHandle<Empty>, Rc> {
        let work = p.hash_alg.map_or_else(Work::event, Work::hash);
        let handle = tpm.ram.load_sequence(Sequence::new(p.auth, work))?;
        Ok(WithHandle(handle, Empty))
    }
}
