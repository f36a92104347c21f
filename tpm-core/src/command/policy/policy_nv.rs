//! TPM2_PolicyNV (Part 3, 23.9).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse};
use crate::data::tpm::Tpm;
use crate::operation::policy::{Comparison, Operand, Operation};
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, HandleType, RhNvAuth, RhNvIndex, ShPolicy};

pub(crate) struct PolicyNv;

handles! { pub(crate) struct Handles { auth_handle: User<RhNvAuth>, nv_index: RhNvIndex, session: ShPolicy } }
params! { pub(crate) struct Params { operand_b: Operand, offset: u16, operation: Operation } }

impl Command for PolicyNv {
    const CODE: u32 = 0x149;
    const INDEX: IndexUse = IndexUse::Reads;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `NV_LOCKED`, `NV_AUTHORIZATION`, `NV_UNINITIALIZED`: the index cannot be read, or not with this authorization
    /// - `NV_UNAVAILABLE`: what the platform provides is not there now
    /// - `VALUE` at `offset`: beyond the index
    /// - `NV_RANGE`: the index ends before operand A does
    /// - `POLICY`: the comparison does not hold
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let index = h.nv_index.handle();
        let comparison = Comparison { operand_b: p.operand_b, offset: p.offset, operation: p.operation };
        if !tpm.policy_session(h.session.handle())?.is_trial() {
            compare(tpm, call, h.auth_handle.handle(), index, &comparison)?;
        }
        let name = tpm.name_of(index);
        let session = tpm.policy_session(h.session.handle())?;
        let args = comparison.args(session.hash, &[]);
        session.policy.extend(session.hash, Self::CODE, |w| {
            w.put(args.as_slice());
            w.put(name.as_slice());
        });
        Ok(Empty)
    }
}

fn compare(tpm: &Tpm, call: &Call, auth: Handle, index: Handle, comparison: &Comparison) -> Result<(), Rc> {
    let public = tpm.check_nv_read(auth, index)?;
    let room = public.data_size.checked_sub(comparison.offset).ok_or(Fmt1::VALUE.at(Params::offset))?;
    if usize::from(room) < comparison.operand_b.len() {
        return Err(Rc::NV_RANGE);
    }
    if comparison.holds(call.nv_contents(tpm, index)?) { Ok(()) } else { Err(Rc::POLICY) }
}
