//! TPM2_ChangePPS (Part 3, 24.4).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::RhPlatform;

pub(crate) struct ChangePps;

handles! { pub(crate) struct Handles { auth_handle: User<RhPlatform> } }
params! { pub(crate) struct Params {} }

impl Command for ChangePps {
    const CODE: u32 = 0x125;
    const NV: bool = true;
    const EXTENSIVE: bool = true;
    const VOIDS_SHUTDOWN: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `FAILURE`: no new seed, which cannot be provoked: before every command the DRBG is given fresh entropy if that
    ///   is due
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, _p: Params) -> Result<Empty, Rc> {
        tpm.change_platform_seed()?;
        Ok(Empty)
    }
}
