//! TPM2_LoadExternal (Part 3, 12.3).

use crate::command::area::{WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter};
use crate::data::object::Object;
use crate::data::object::name_of;
use crate::data::tpm::Tpm;
use crate::operation::object::load::{Blame, check};
use crate::rc::{Fmt1, Rc};
use crate::wire::{Handle, HandleType, Name, ObjectAttributes as A, OptionalSensitive, Public, RhHierarchy, Sized2b};

pub(crate) struct LoadExternal;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { private: OptionalSensitive, public: Sized2b<Public>, hierarchy: RhHierarchy } }

impl Command for LoadExternal {
    const CODE: u32 = 0x167;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Public;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Name>;

    /// - `OBJECT_MEMORY`: no slot
    /// - `HIERARCHY` at `hierarchy`: it is disabled; or there is a sensitive area, and it is not TPM_RH_NULL
    /// - `ATTRIBUTES` at `public`: a sensitive area with fixedTPM, fixedParent or restricted
    /// - what [`check`] says
    /// - `HASH` cannot be provoked: an object without nameAlg is let be, and there is no parent
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<WithHandle<Name>, Rc> {
        tpm.ram.room_for_object()?;
        let (public, hierarchy) = (p.public.0, p.hierarchy.handle());
        if !tpm.hierarchy_enabled(hierarchy) {
            return Err(Fmt1::HIERARCHY.at(Params::hierarchy));
        }
        let mut sensitive = p.private.0;
        if let Some(sensitive) = &mut sensitive {
            if hierarchy != Handle::NULL {
                return Err(Fmt1::HIERARCHY.at(Params::hierarchy));
            }
            if public.attributes.any(A::FIXED_TPM.with(A::FIXED_PARENT).with(A::RESTRICTED)) {
                return Err(Fmt1::ATTRIBUTES.at(Params::public));
            }
            sensitive.auth.trim_trailing_zeros();
        }
        let blame = Blame { public: Params::public, sensitive: Params::private };
        check(None, &public, sensitive.as_ref(), &blame)?;
        let name = name_of(&public);
        let st_clear = public.attributes.has(A::ST_CLEAR);
        let qualified_name = name.clone();
        let object = Object {
            public,
            sensitive,
            name: name.clone(),
            qualified_name,
            hierarchy,
            external: true,
            primary: false,
            st_clear,
        };
        Ok(WithHandle(tpm.ram.load_object(object)?, name))
    }
}
