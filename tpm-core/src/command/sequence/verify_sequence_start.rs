//! TPM2_VerifySequenceStart (1.85: Part 3, 17.6).

use super::{Positions, message};
use crate::command::area::{Empty, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::message::Context;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, DhObject, HandleType, MAX_ECC_KEY_BYTES, Tpm2b};

pub(crate) struct VerifySequenceStart;

handles! { pub(crate) struct Handles { key_handle: DhObject } }
params! {
    pub(crate) struct Params<'a> {
        auth: Auth,
        hint: Tpm2b<'a, MAX_ECC_KEY_BYTES>,
        context: Context,
    }
}

impl Command for VerifySequenceStart {
    const CODE: u32 = 0x1a9;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = WithHandle<Empty>;

    /// - what [`message`] says
    /// - `VALUE` at `hint`: not empty; only EdDSA has use for one
    /// - `OBJECT_MEMORY`: no free slot
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<WithHandle<Empty>, Rc> {
        const AT: Positions = Positions { key: Handles::key_handle, auth: Params::auth, context: Params::context };
        let sequence = message(false, tpm.object(h.key_handle.handle()), p.auth, p.context, &AT)?;
        if !p.hint.0.is_empty() {
            return Err(Fmt1::VALUE.at(Params::hint));
        }
        Ok(WithHandle(tpm.ram.load_sequence(sequence)?, Empty))
    }
}
