//! TPM2_PolicyCounterTimer (Part 3, 23.10).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::policy::{Comparison, Operand, Operation};
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, HandleType, Marshal, ShPolicy, Writer};

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

    /// Unless the session is a trial:
    /// - `VALUE` at `offset`: beyond TPMS_TIME_INFO
    /// - `RANGE`: operand A would end beyond it
    /// - `POLICY`: the comparison does not hold
    ///
    /// A limit of Time (UNSIGNED_LT of all of it) is one of the session, in seconds from its start:
    /// - `VALUE` at `operand_b`: more than 2^31 − 1 seconds
    /// - `EXPIRED`: they have passed, or the session began before the last _TPM_Init
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let comparison = Comparison { operand_b: p.operand_b, offset: p.offset, operation: p.operation };
        if !tpm.policy_session(h.session.handle())?.is_trial() {
            check(tpm, h.session.handle(), &comparison)?;
        }
        let session = tpm.policy_session(h.session.handle())?;
        let args = comparison.args(session.hash, &[]);
        session.policy.extend(session.hash, Self::CODE, |w| w.put(args.as_slice()));
        Ok(Empty)
    }
}

fn check(tpm: &mut Tpm, session: Handle, comparison: &Comparison) -> Result<(), Rc> {
    let room = TIME_INFO_SIZE.checked_sub(comparison.offset.into()).ok_or(Fmt1::VALUE.at(Params::offset))?;
    if room < comparison.operand_b.len() {
        return Err(Fmt1::RANGE.plain());
    }
    if let Some(seconds) = limit_of_time(comparison) {
        return limit_session(tpm, session, seconds);
    }
    if comparison.holds(&time_info(tpm)) { Ok(()) } else { Err(Rc::POLICY) }
}

/// operandB, if it is a limit of Time (Part 3, 23.10.1).
fn limit_of_time(comparison: &Comparison) -> Option<u64> {
    let of_time = comparison.offset == 0 && comparison.operation == Operation::UnsignedLt;
    comparison.operand_b.as_slice().try_into().ok().filter(|_| of_time).map(u64::from_be_bytes)
}

/// Lets the session expire so many seconds after its start.
fn limit_session(tpm: &mut Tpm, session: Handle, seconds: u64) -> Result<(), Rc> {
    let policy = tpm.policy_session(session)?.policy;
    let seconds = i32::try_from(seconds).map_err(|_| Fmt1::VALUE.at(Params::operand_b))?.unsigned_abs();
    let limit = policy.start_ms.saturating_add(u64::from(seconds).saturating_mul(1000));
    if policy.is_over(Some(limit), tpm.ram.now()) {
        return Err(Fmt1::EXPIRED.plain());
    }
    tpm.policy_session(session)?.policy.limit_to(Some(limit));
    Ok(())
}

/// TPMS_TIME_INFO (Part 2, 10.11.6) as it is now, nothing obfuscated.
fn time_info(tpm: &Tpm) -> [u8; TIME_INFO_SIZE] {
    let mut bytes = [0; TIME_INFO_SIZE];
    let mut w = Writer::new(&mut bytes);
    tpm.ram.time_ms.marshal(&mut w);
    tpm.clock_info().marshal(&mut w);
    bytes
}
