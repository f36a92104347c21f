//! TPM2_PolicyCommandCode (Part 3, 23.11).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, Marshal, ShPolicy};

pub(crate) struct PolicyCommandCode;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { code: u32 } }

impl Command for PolicyCommandCode {
    const CODE: u32 = 0x16c;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `VALUE` at `code`: the session is already limited to another command
    /// - `POLICY_CC` at `code`: there is no such command
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            if session.policy.command_code.is_some_and(|code| code != p.code) {
                return Err(Fmt1::VALUE.at(Params::code));
            }
            if !call.has_command(p.code) {
                return Err(Fmt1::POLICY_CC.at(Params::code));
            }
            session.policy.command_code = Some(p.code);
        }
        session.policy.extend(session.hash, Self::CODE, |w| p.code.marshal(w));
        Ok(Empty)
    }
}
