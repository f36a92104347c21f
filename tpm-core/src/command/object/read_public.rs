//! TPM2_ReadPublic (Part 3, 12.4).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{DhObject, HandleType, Name, Public, Sized2b};

pub(crate) struct ReadPublic;

handles! { pub(crate) struct Handles { object: DhObject } }
params! { pub(crate) struct Params {} }
reply! { pub(crate) struct Answer<'t> { public: Sized2b<&'t Public>, name: &'t Name, qualified_name: &'t Name } }

impl Command for ReadPublic {
    const CODE: u32 = 0x173;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer<'t>;

    /// - `SEQUENCE`: a sequence object
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Answer<'t>, Rc> {
        let object = tpm.object(h.object.handle()).ok_or(Rc::SEQUENCE)?;
        Ok(Answer { public: Sized2b(&object.public), name: &object.name, qualified_name: &object.qualified_name })
    }
}
