//! TPM2_ContextLoad (Part 3, 28.3).

use crate::command::area::{Empty, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::Object;
use crate::data::session::Session;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Context, Handle, Reader};

pub(crate) struct ContextLoad;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { context: Context } }

impl Command for ContextLoad {
    const CODE: u32 = 0x161;
    const SESSIONS: bool = false;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Empty>;

    /// - `SIZE`, `INSUFFICIENT`, `INTEGRITY` at `context`: what [`Tpm::open_context`] says
    /// - `HIERARCHY` at `context`: that of an object is disabled
    /// - `HANDLE` at `context`: a session that is not saved, or was saved again later; no kind of object
    /// - `OBJECT_MEMORY`, `SESSION_MEMORY`: no slot
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<WithHandle<Empty>, Rc> {
        let context = &p.context;
        let contents = tpm.open_context(context).map_err(|e| e.at(Params::context))?;
        let mut r = Reader::new(contents.as_slice());
        let handle = if context.saved_handle.is_session() {
            let session = read(&mut r)?;
            load_session(tpm, context, session)
        } else {
            if !tpm.hierarchy_enabled(context.hierarchy) {
                return Err(Fmt1::HIERARCHY.at(Params::context));
            }
            match context.saved_handle {
                Handle::SAVED_SEQUENCE => tpm.ram.load_sequence(read(&mut r)?),
                Handle::SAVED_OBJECT | Handle::SAVED_ST_CLEAR => tpm.ram.load_object(read::<Object>(&mut r)?),
                _ => Err(Fmt1::HANDLE.at(Params::context)),
            }
        };
        handle.map(|handle| WithHandle(handle, Empty))
    }
}

/// `INTEGRITY` at `context`: cannot be with an HMAC that is right.
fn read<'a, T: crate::wire::Unmarshal<'a>>(r: &mut Reader<'a>) -> Result<T, Rc> {
    let value = r.get().map_err(|_| Fmt1::INTEGRITY.at(Params::context))?;
    if r.is_empty() { Ok(value) } else { Err(Fmt1::INTEGRITY.at(Params::context)) }
}

fn load_session(tpm: &mut Tpm, context: &Context, session: Session) -> Result<Handle, Rc> {
    if !tpm.ram.sessions.is_saved(context.saved_handle, context.sequence) {
        return Err(Fmt1::HANDLE.at(Params::context));
    }
    let handle = tpm.ram.sessions.restore(context.saved_handle, session)?;
    tpm.void_shutdown();
    Ok(handle)
}
