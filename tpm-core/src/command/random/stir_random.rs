//! TPM2_StirRandom (Part 3, 16.2).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::Tpm2b;

pub(crate) struct StirRandom;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params<'a> { in_data: Tpm2b<'a, 128> } }

impl Command for StirRandom {
    const CODE: u32 = 0x146;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// No codes of its own.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        tpm.drbg.stir(p.in_data.0);
        Ok(Empty)
    }
}
