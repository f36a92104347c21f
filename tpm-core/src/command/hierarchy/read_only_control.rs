//! TPM2_ReadOnlyControl (Part 3, 24.10).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhPlatform;

pub(crate) struct ReadOnlyControl;

handles! { pub(crate) struct Handles { auth_handle: User<RhPlatform> } }
params! { pub(crate) struct Params { state: bool } }

impl Command for ReadOnlyControl {
    const CODE: u32 = 0x1a0;
    const NV: bool = true;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// No codes of its own.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if tpm.clear.read_only != p.state {
            tpm.clear.change().read_only = p.state;
            tpm.void_shutdown();
        }
        Ok(Empty)
    }
}
