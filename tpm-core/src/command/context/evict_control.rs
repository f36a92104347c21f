//! TPM2_EvictControl (Part 3, 28.5).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, DhPersistent, Handle, HandleKind, HandleType, RhProvision};

pub(crate) struct EvictControl;

handles! { pub(crate) struct Handles { auth: User<RhProvision>, object: DhObject } }
params! { pub(crate) struct Params { persistent_handle: DhPersistent } }

impl Command for EvictControl {
    const CODE: u32 = 0x120;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `ATTRIBUTES` at `object`: of the NULL hierarchy, or stClear
    /// - `HANDLE` at `object`: persistent under another handle
    /// - `HIERARCHY` at `object`: the platform can make persistent only its own, the owner neither make nor delete the
    ///   platform's
    /// - `RANGE` at `persistent_handle`: not in the range of the hierarchy that authorizes
    /// - `NV_DEFINED`: the handle is in use
    /// - `NV_SPACE`: no room
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let (handle, to) = (h.object.handle(), p.persistent_handle.handle());
        let object = tpm.object(handle).ok_or(Fmt1::ATTRIBUTES.at(Handles::object))?;
        if object.hierarchy == Handle::NULL || object.st_clear {
            return Err(Fmt1::ATTRIBUTES.at(Handles::object));
        }
        let persistent = handle.kind() == HandleKind::Persistent;
        if persistent && handle != to {
            return Err(Fmt1::HANDLE.at(Handles::object));
        }
        check_owner(h.auth.handle(), object, persistent, to)?;
        if persistent {
            tpm.persistent.change().objects.remove(handle);
            return Ok(Empty);
        }
        let object = object.duplicate();
        if tpm.persistent.objects.get(to).is_some() {
            return Err(Rc::NV_DEFINED);
        }
        if tpm.persistent.objects.room() == 0 {
            return Err(Rc::NV_SPACE);
        }
        tpm.persistent.change().objects.insert(to, object).map(|()| Empty)
    }
}

fn check_owner(auth: Handle, object: &Object, persistent: bool, to: Handle) -> Result<(), Rc> {
    let of_platform = object.hierarchy == Handle::PLATFORM;
    let by_platform = auth == Handle::PLATFORM;
    let wrong = if by_platform { !persistent && !of_platform } else { of_platform };
    if wrong {
        return Err(Fmt1::HIERARCHY.at(Handles::object));
    }
    let platform_range = to >= Handle::PLATFORM_PERSISTENT;
    if !persistent && platform_range != by_platform { Err(Fmt1::RANGE.at(Params::persistent_handle)) } else { Ok(()) }
}
