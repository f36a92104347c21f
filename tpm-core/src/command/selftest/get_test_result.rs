//! TPM2_GetTestResult (Part 3, 10.4).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
#[cfg(doc)]
use crate::fault::Fault;
use crate::rc::Rc;
use crate::wire::Buffer;

pub(crate) struct GetTestResult;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params {} }
reply! { pub(crate) struct Answer { out_data: Buffer<2>, test_result: u32 } }

impl Command for GetTestResult {
    const CODE: u32 = 0x17c;
    const IN_FAILURE_MODE: bool = true;
    const UNTESTED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// No codes of its own. testResult is `FAILURE` in failure mode, else success: what has not been tested is tested
    /// before its first use, so nothing ever needs a test. outData is empty but in failure mode, where it is the number
    /// of the [`Fault`] as a UINT16: below 0x100 that of the self-test that failed, in the order of
    /// `crypto::selftest::Test::ALL`, from 1.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Answer, Rc> {
        let Some(fault) = tpm.ram.fault else { return Ok(Answer { out_data: Buffer::new(), test_result: 0 }) };
        let out_data = Buffer::from_slice(&fault.number().to_be_bytes()).unwrap_or_default();
        Ok(Answer { out_data, test_result: Rc::from(fault).get() })
    }
}
