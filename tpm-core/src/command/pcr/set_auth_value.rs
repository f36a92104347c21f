//! TPM2_PCR_SetAuthValue (Part 3, 22.7).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::pcr;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, DhPcr};

pub(crate) struct PcrSetAuthValue;

handles! { pub(crate) struct Handles { pcr_handle: User<DhPcr> } }
params! { pub(crate) struct Params { auth: Auth } }

impl Command for PcrSetAuthValue {
    const CODE: u32 = 0x183;
    const VOIDS_SHUTDOWN: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE`, without a position: the PCR cannot have an authValue
    ///
    /// The authValue is that of the whole group, until TPM Reset, TPM Restart or TPM2_Clear.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        if !pcr::in_auth_group(h.pcr_handle.handle()) {
            return Err(Fmt1::VALUE.plain());
        }
        let mut auth = p.auth;
        auth.trim_trailing_zeros();
        tpm.clear.change().pcr_auth = auth;
        Ok(Empty)
    }
}
