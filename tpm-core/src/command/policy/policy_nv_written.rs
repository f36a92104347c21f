//! TPM2_PolicyNvWritten (Part 3, 23.20).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, Marshal, ShPolicy};

pub(crate) struct PolicyNvWritten;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { written_set: bool } }

impl Command for PolicyNvWritten {
    const CODE: u32 = 0x18f;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `VALUE` at `written_set`: the session already demands the opposite
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            if session.policy.nv_written.is_some_and(|written| written != p.written_set) {
                return Err(Fmt1::VALUE.at(Params::written_set));
            }
            session.policy.nv_written = Some(p.written_set);
        }
        session.policy.extend(session.hash, Self::CODE, |w| p.written_set.marshal(w));
        Ok(Empty)
    }
}
