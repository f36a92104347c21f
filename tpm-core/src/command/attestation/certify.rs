//! TPM2_Certify (Part 3, 18.2).

use super::{Answer, whole_object};
use crate::command::area::{Admin, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Attested, Data, DhObject, Name, Nullable, SigScheme};

pub(crate) struct Certify;

handles! { pub(crate) struct Handles { object_handle: Admin<DhObject>, sign_handle: User<Nullable<DhObject>> } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme } }

impl Command for Certify {
    const CODE: u32 = 0x148;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `SEQUENCE`, `HANDLE` at `object_handle`: what [`whole_object`] says
    /// - `VALUE`: the key is too small for the scheme's digest
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let object = whole_object(tpm, h.object_handle.handle(), Handles::object_handle)?;
        let qualified_name = if signer.is_anonymous() { Name::new() } else { object.qualified_name.clone() };
        let certified = Attested::Certify { name: object.name.clone(), qualified_name };
        Answer::of(tpm.attest(&signer, p.qualifying_data, certified)?)
    }
}
