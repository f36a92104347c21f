//! TPM2_ACT_SetTimeout (Part 3, 33.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::RhAct;

pub(crate) struct ActSetTimeout;

handles! { pub(crate) struct Handles { act_handle: User<RhAct> } }
params! { pub(crate) struct Params { start_timeout_s: u32 } }

impl Command for ActSetTimeout {
    const CODE: u32 = 0x198;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `start_timeout_s`: FFFFFFFF₁₆, which ends a signal, and the timer does not signal
    ///
    /// Never `RETRY`: the timer is set when the response comes.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let now_ms = tpm.ram.time_ms;
        let position = h.act_handle.handle().act_position().ok_or(Fault::Handle)?;
        let act = tpm.ram.acts.get_mut(position).ok_or(Fault::Handle)?;
        if p.start_timeout_s == u32::MAX && !act.is_signaled() {
            return Err(Fmt1::VALUE.at(Params::start_timeout_s));
        }
        act.set(p.start_timeout_s, now_ms);
        tpm.void_shutdown();
        Ok(Empty)
    }
}
