//! TPM2_Unseal (Part 3, 12.7).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, MAX_SYM_DATA, ObjectAttributes as A, ObjectType, Tpm2b};

pub(crate) struct Unseal;

handles! { pub(crate) struct Handles { item: User<DhObject> } }
params! { pub(crate) struct Params {} }

impl Command for Unseal {
    const CODE: u32 = 0x15e;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Tpm2b<'t, MAX_SYM_DATA>;

    /// - `TYPE` at `item`: no keyed-hash object
    /// - `ATTRIBUTES` at `item`: a key, not data
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Self::Reply<'t>, Rc> {
        let object = tpm.object(h.item.handle()).filter(|o| o.public.object_type() == ObjectType::KeyedHash);
        let object = object.ok_or(Fmt1::TYPE.at(Handles::item))?;
        if object.public.attributes.any(A::DECRYPT.with(A::SIGN).with(A::RESTRICTED)) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::item));
        }
        let sensitive = object.sensitive.as_ref().ok_or(Fault::NoSensitive)?;
        Ok(Tpm2b(sensitive.composite.as_slice()))
    }
}
