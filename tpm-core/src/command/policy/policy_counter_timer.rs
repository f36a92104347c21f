//! TPM2_PolicyCounterTimer (Part 3, 23.10).

use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::pipeline::Call;
use crate::policy::{Comparison, Operand, Operation};
use crate::rc::{Fmt1, Rc};
use crate::tpm::Tpm;
use crate::wire::{HandleType, Marshal, ShPolicy, Writer};

pub(crate) struct PolicyCounterTimer;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { operand_b: Operand, offset: u16, operation: Operation } }

/// Octets of TPMS_TIME_INFO: time, clock, resetCount, restartCount, safe.
const TIME_INFO_SIZE: usize = 8 + 8 + 4 + 4 + 1;

impl Command for PolicyCounterTimer {
    const CODE: u32 = 0x16d;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `offset`: beyond TPMS_TIME_INFO
    /// - `RANGE`: operand A would end beyond it
    /// - `POLICY`: the comparison does not hold, and the session is not a trial
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let comparison = Comparison { operand_b: p.operand_b, offset: p.offset, operation: p.operation };
        let room = TIME_INFO_SIZE.checked_sub(p.offset.into()).ok_or(Fmt1::VALUE.at(Params::offset))?;
        if room < comparison.operand_b.len() {
            return Err(Fmt1::RANGE.plain());
        }
        let info = time_info(tpm);
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() && !comparison.holds(&info) {
            return Err(Rc::POLICY);
        }
        let args = comparison.args(session.hash, &[]);
        session.policy.extend(session.hash, Self::CODE, |w| w.put(args.as_slice()));
        Ok(Empty)
    }
}

/// TPMS_TIME_INFO (Part 2, 10.11.6) as it is now, nothing obfuscated.
fn time_info(tpm: &Tpm) -> [u8; TIME_INFO_SIZE] {
    let mut bytes = [0; TIME_INFO_SIZE];
    let mut w = Writer::new(&mut bytes);
    tpm.ram.time_ms.marshal(&mut w);
    tpm.clock_info().marshal(&mut w);
    bytes
}
