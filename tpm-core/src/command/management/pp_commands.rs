//! TPM2_PP_Commands (Part 3, 26.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{CommandCodes, RhPlatform};

pub(crate) struct PpCommands;

handles! { pub(crate) struct Handles { auth: User<RhPlatform> } }
params! { pub(crate) struct Params { set_list: CommandCodes, clear_list: CommandCodes } }

impl Command for PpCommands {
    const CODE: u32 = 0x12d;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Always;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own.
    ///
    /// A command that is on both lists is cleared; one that is not implemented, or never needs physical presence, is
    /// passed over.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        let lists = tpm.persistent.change();
        p.set_list.0.iter().for_each(|code| lists.list_presence(*code, true));
        p.clear_list.0.iter().for_each(|code| lists.list_presence(*code, false));
        Ok(Empty)
    }
}
