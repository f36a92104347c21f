//! TPM2_TestParms (Part 3, 30.3).

use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::pipeline::Call;
use crate::rc::Rc;
use crate::tpm::Tpm;
use crate::wire::Parms;

pub(crate) struct TestParms;

handles! { pub(crate) struct Handles {} }
params! {
    /// Read for its errors alone.
    #[expect(dead_code, reason = "unmarshalling is all there is to do")]
    pub(crate) struct Params { parameters: Parms }
}

impl Command for TestParms {
    const CODE: u32 = 0x18a;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// What unmarshalling says at `parameters`: a type, size, curve, scheme or hash that is not supported.
    fn run<'t>(_tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Empty, Rc> {
        Ok(Empty)
    }
}
