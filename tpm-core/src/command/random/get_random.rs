//! TPM2_GetRandom (Part 3, 16.1).

use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, MAX_DIGEST};
use crate::data::tpm::Tpm;
use crate::rc::Rc;

pub(crate) struct GetRandom;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { bytes_requested: u16 } }

impl Command for GetRandom {
    const CODE: u32 = 0x17b;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Digest;

    /// No codes of its own: at most the size of the largest digest is returned, however much is asked for.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Digest, Rc> {
        Ok(tpm.random_digest(usize::from(p.bytes_requested).min(MAX_DIGEST))?)
    }
}
