//! TPM2_NV_ReadPublic2 (Part 3, 31.18).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{HandleType, Name, NvPublic2, RhNvIndex, Sized2b};

pub(crate) struct NvReadPublic2;

handles! { pub(crate) struct Handles { nv_index: RhNvIndex } }
params! { pub(crate) struct Params {} }
reply! { pub(crate) struct Answer { nv_public: Sized2b<NvPublic2>, nv_name: Name } }

impl Command for NvReadPublic2 {
    const CODE: u32 = 0x19e;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// No codes of its own.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Answer, Rc> {
        let index = tpm.nv_index(h.nv_index.handle()).ok_or(Rc::NV_UNINITIALIZED)?;
        Ok(Answer { nv_public: Sized2b(NvPublic2::of(index.public)), nv_name: index.name() })
    }
}
