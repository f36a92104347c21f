//! TPM2_ClearControl (Part 3, 24.7).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, RhClear};

pub(crate) struct ClearControl;

handles! { pub(crate) struct Handles { auth: User<RhClear> } }
params! { pub(crate) struct Params { disable: bool } }

impl Command for ClearControl {
    const CODE: u32 = 0x127;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `AUTH_FAIL`: lockoutAuth cannot enable what it may only disable
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        if h.auth.handle() == Handle::LOCKOUT && !p.disable {
            return Err(Fmt1::AUTH_FAIL.plain());
        }
        tpm.persistent.change().disable_clear = p.disable;
        Ok(Empty)
    }
}
