//! TPM2_SignSequenceStart (1.85: Part 3, 17.5).

use super::{Positions, message};
use crate::command::area::{Empty, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::message::Context;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, DhObject, HandleType};

pub(crate) struct SignSequenceStart;

handles! { pub(crate) struct Handles { key_handle: DhObject } }
params! { pub(crate) struct Params { auth: Auth, context: Context } }

impl Command for SignSequenceStart {
    const CODE: u32 = 0x1aa;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Empty>;

    /// - `ATTRIBUTES` at the key: a restricted HMAC key, as
    ///   [`Object::signs_messages`](crate::data::object::Object::signs_messages) has it
    /// - what [`message`] says
    /// - `OBJECT_MEMORY`: no free slot
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<WithHandle<Empty>, Rc> {
        const AT: Positions = Positions { key: Handles::key_handle, auth: Params::auth, context: Params::context };
        let key = tpm.object(h.key_handle.handle());
        if key.is_some_and(|key| key.can_sign() && !key.signs_messages()) {
            return Err(Fmt1::ATTRIBUTES.at(AT.key));
        }
        let sequence = message(true, key, p.auth, p.context, &AT)?;
        Ok(WithHandle(tpm.ram.load_sequence(sequence)?, Empty))
    }
}
