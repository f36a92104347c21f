//! TPM2_ReadClock (Part 3, 29.1).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::ClockInfo;

pub(crate) struct ReadClock;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params {} }
reply! {
    /// currentTime: TPMS_TIME_INFO (Part 2, 10.11.6)
    pub(crate) struct Answer { time: u64, clock_info: ClockInfo }
}

impl Command for ReadClock {
    const CODE: u32 = 0x181;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// No codes of its own. The values are plain: only attestations hide resetCount and restartCount.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Answer, Rc> {
        Ok(Answer { time: tpm.ram.time_ms, clock_info: tpm.clock_info() })
    }
}
