//! TPM2_Load (Part 3, 12.2).

use crate::command::area::{User, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter};
use crate::data::object::name_of;
use crate::data::tpm::Tpm;
use crate::operation::object::load::{Blame, check};
use crate::operation::object::protect::unprotect;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Name, Named, Private, Sized2b};

pub(crate) struct Load;

handles! { pub(crate) struct Handles { parent: User<DhObject> } }
params! { pub(crate) struct Params { private: Private, public: Sized2b<Named> } }

impl Command for Load {
    const CODE: u32 = 0x157;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Public;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Name>;

    /// - `OBJECT_MEMORY`: no slot
    /// - `SIZE` at `private`: empty
    /// - `TYPE` at `parent`: no storage key
    /// - `SIZE`, `INSUFFICIENT`, `INTEGRITY` at `private`: what [`unprotect`] says
    /// - what [`check`] says
    /// - `ECC_POINT` cannot be provoked: with a sensitive area, a public key that is no point is not that of the secret
    /// - `SENSITIVE` cannot be provoked without the parent's seed: the HMAC is right for what a TPM has protected
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<WithHandle<Name>, Rc> {
        tpm.ram.room_for_object()?;
        if p.private.is_empty() {
            return Err(Fmt1::SIZE.at(Params::private));
        }
        let handle = h.parent.handle();
        let parent = tpm.object(handle).filter(|p| p.is_parent()).ok_or(Fmt1::TYPE.at(Handles::parent))?;
        let public = p.public.0.0;
        let sensitive =
            unprotect(parent, &name_of(&public), p.private.as_slice()).map_err(|e| e.at(Params::private))?;
        let blame = Blame { public: Params::public, sensitive: Params::private };
        check(Some(parent), &public, Some(&sensitive), &blame)?;
        let object = tpm.new_object(handle, public, Some(sensitive));
        let name = object.name.clone();
        Ok(WithHandle(tpm.ram.load_object(object)?, name))
    }
}
