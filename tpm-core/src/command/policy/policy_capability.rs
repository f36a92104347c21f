//! TPM2_PolicyCapability (Part 3, 23.23).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::capability::get_capability::{self, element};
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::policy::{Comparison, Operand, Operation};
use crate::rc::{Fmt1, Rc};
use crate::wire::{Cap, HandleType, Marshal, ShPolicy, Writer};

pub(crate) struct PolicyCapability;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { operand_b: Operand, offset: u16, operation: Operation, capability: Cap, property: u32 } }

impl Command for PolicyCapability {
    const CODE: u32 = 0x19b;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `capability`: no such group
    ///
    /// Unless the session is a trial:
    /// - `VALUE` at `capability`: TPM_CAP_PCRS or TPM_CAP_VENDOR_PROPERTY
    /// - `HANDLE`, `VALUE` at `property`: not of that group, as TPM2_GetCapability says it
    /// - `POLICY`: there is no such property, and operation is not TPM_EO_NEQ
    /// - `VALUE` at `offset`: beyond the property
    /// - `SIZE` at `operand_b`: the property ends before operand A does
    /// - `POLICY`: the comparison does not hold
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let comparison = Comparison { operand_b: p.operand_b, offset: p.offset, operation: p.operation };
        if !tpm.policy_session(h.session.handle())?.is_trial() {
            compare(tpm, call, p.capability, p.property, &comparison)?;
        }
        let session = tpm.policy_session(h.session.handle())?;
        let mut which = [0; 8];
        let mut w = Writer::new(&mut which);
        p.capability.marshal(&mut w);
        p.property.marshal(&mut w);
        let args = comparison.args(session.hash, &which);
        session.policy.extend(session.hash, Self::CODE, |w| w.put(args.as_slice()));
        Ok(Empty)
    }
}

fn compare(tpm: &Tpm, call: &Call, capability: Cap, property: u32, comparison: &Comparison) -> Result<(), Rc> {
    if !capability.has_properties() {
        return Err(Fmt1::VALUE.at(Params::capability));
    }
    let Some(data) = element(tpm, call, capability, property).map_err(here)? else {
        return if comparison.operation == Operation::Neq { Ok(()) } else { Err(Rc::POLICY) };
    };
    let room = data.len().checked_sub(comparison.offset.into()).ok_or(Fmt1::VALUE.at(Params::offset))?;
    if room < comparison.operand_b.len() {
        return Err(Fmt1::SIZE.at(Params::operand_b));
    }
    if comparison.holds(data.as_slice()) { Ok(()) } else { Err(Rc::POLICY) }
}

/// A code of TPM2_GetCapability with the position that `property` has here.
fn here(rc: Rc) -> Rc {
    let there = get_capability::Params::property;
    [Fmt1::VALUE, Fmt1::HANDLE]
        .into_iter()
        .find(|code| code.at(there) == rc)
        .map_or(rc, |code| code.at(Params::property))
}
