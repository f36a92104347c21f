//! TPM2_IncrementalSelfTest (Part 3, 10.3).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::capability::algorithms::is_implemented;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::AlgList;

pub(crate) struct IncrementalSelfTest;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { to_test: AlgList } }
reply! { pub(crate) struct Answer { to_do_list: AlgList } }

impl Command for IncrementalSelfTest {
    const CODE: u32 = 0x142;
    const UNTESTED: bool = true;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `VALUE` at `to_test`: an algorithm that is not implemented
    /// - `FAILURE`: a test failed, which cannot be provoked: the algorithms are right
    ///
    /// The tests are done when the response comes; what has already been tested is not tested again.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Answer, Rc> {
        if !p.to_test.0.iter().all(|alg| is_implemented(*alg)) {
            return Err(Fmt1::VALUE.at(Params::to_test));
        }
        tpm.test_algorithms(|algs| p.to_test.0.iter().any(|alg| algs.contains(&alg.0)))?;
        Ok(Answer { to_do_list: tpm.untested() })
    }
}
