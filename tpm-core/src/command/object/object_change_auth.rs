//! TPM2_ObjectChangeAuth (Part 3, 12.8).

use crate::command::area::{Admin, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::data::object::qualified_name_of;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::create::object_auth;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, DhObject, HandleType, Private, Sensitive};

pub(crate) struct ObjectChangeAuth;

handles! { pub(crate) struct Handles { object: Admin<DhObject>, parent: DhObject } }
params! { pub(crate) struct Params { new_auth: Auth } }

impl Command for ObjectChangeAuth {
    const CODE: u32 = 0x150;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Private;

    /// - `TYPE` at `object`: a sequence object
    /// - `SIZE` at `new_auth`: longer than nameAlg's digests
    /// - `TYPE` at `parent`: not the object's parent, or no storage key
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Private, Rc> {
        let object = tpm.object(h.object.handle()).ok_or(Fmt1::TYPE.at(Handles::object))?;
        let auth = object_auth(p.new_auth.as_slice(), object.public.name_alg).ok_or(Fmt1::SIZE.at(Params::new_auth))?;
        let parent = tpm.object(h.parent.handle()).filter(|p| p.is_parent()).ok_or(Fmt1::TYPE.at(Handles::parent))?;
        let expected = qualified_name_of(parent.qualified_name.as_slice(), object.public.name_alg, &object.name);
        // An object without a Name has no qualified Name either, and is nobody's child.
        if object.name.is_empty() || expected != object.qualified_name {
            return Err(Fmt1::TYPE.at(Handles::parent));
        }
        let old = object.sensitive.as_ref().ok_or(Fault::NoSensitive)?;
        let (public, name) = (object.public.clone(), object.name.clone());
        let sensitive = Sensitive { auth, ..old.duplicate() };
        tpm.protect(h.parent.handle(), &public, &name, &sensitive)
    }
}
