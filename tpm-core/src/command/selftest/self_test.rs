//! TPM2_SelfTest (Part 3, 10.2).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;

pub(crate) struct SelfTest;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { full_test: bool } }

impl Command for SelfTest {
    const CODE: u32 = 0x143;
    const UNTESTED: bool = true;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `FAILURE`: a test failed
    ///
    /// Never `TESTING` or `CANCELED`: the tests are done when the response comes.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        tpm.self_test(p.full_test)?;
        Ok(Empty)
    }
}
