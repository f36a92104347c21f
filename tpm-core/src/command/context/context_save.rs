//! TPM2_ContextSave (Part 3, 28.2).

use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::Slot;
use crate::data::tpm::Tpm;
use crate::operation::context::{Label, contents};
use crate::rc::Rc;
use crate::wire::{Context, DhContext, Handle, HandleType, Marshal};

pub(crate) struct ContextSave;

handles! { pub(crate) struct Handles { save: DhContext } }
params! { pub(crate) struct Params {} }

impl Command for ContextSave {
    const CODE: u32 = 0x162;
    const VOIDS_SHUTDOWN: bool = true;
    const SESSIONS: bool = false;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Context;

    /// - `CONTEXT_GAP`: the oldest saved session must be loaded or flushed first
    /// - `TOO_MANY_CONTEXTS`: no more contexts can be told apart, which cannot be provoked: there are 2^64
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Context, Rc> {
        let handle = h.save.handle();
        if handle.is_session() { save_session(tpm, handle) } else { save_object(tpm, handle) }
    }
}

fn save_session(tpm: &mut Tpm, handle: Handle) -> Result<Context, Rc> {
    let session = tpm.ram.sessions.get(handle).ok_or(Rc::reference_h(0))?;
    let contents = contents(|w| session.marshal(w))?;
    let sequence = tpm.ram.sessions.next_counter()?;
    let context = tpm.seal_context(&Label { sequence, saved_handle: handle, hierarchy: Handle::NULL }, contents)?;
    tpm.ram.sessions.save(handle)?;
    Ok(context)
}

fn save_object(tpm: &mut Tpm, handle: Handle) -> Result<Context, Rc> {
    let sequence = tpm.reset.object_context_id.checked_add(1).ok_or(Rc::TOO_MANY_CONTEXTS)?;
    let (saved_handle, hierarchy, contents) = match tpm.ram.slot(handle).ok_or(Rc::reference_h(0))? {
        Slot::Object(object) => {
            let saved_handle = if object.st_clear { Handle::SAVED_ST_CLEAR } else { Handle::SAVED_OBJECT };
            (saved_handle, object.hierarchy, contents(|w| object.marshal(w))?)
        }
        Slot::Sequence(s) => (Handle::SAVED_SEQUENCE, Handle::NULL, contents(|w| s.marshal(w))?),
    };
    tpm.reset.change().object_context_id = sequence;
    tpm.seal_context(&Label { sequence, saved_handle, hierarchy }, contents)
}
