//! TPM2_GetTime (Part 3, 18.7).

use super::Answer;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::attest::firmware_version;
use crate::rc::Rc;
use crate::wire::{Attested, Data, DhObject, Nullable, RhEndorsement, SigScheme};

pub(crate) struct GetTime;

handles! { #[expect(dead_code, reason = "one handle only authorizes")] pub(crate) struct Handles { privacy_admin_handle: User<RhEndorsement>, sign_handle: User<Nullable<DhObject>> } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme } }

impl Command for GetTime {
    const CODE: u32 = 0x14c;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `VALUE`: the key is too small for the scheme's digest
    ///
    /// The privacy administrator agrees, so time and firmware version stand in the clear here, no matter who signs.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let now = Attested::Time {
            time: tpm.ram.time_ms,
            clock_info: tpm.clock_info(),
            firmware_version: firmware_version(),
        };
        Answer::of(tpm.attest(&signer, p.qualifying_data, now)?)
    }
}
