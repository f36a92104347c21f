//! TPM2_FlushContext (Part 3, 28.4).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhContext, HandleType};

pub(crate) struct FlushContext;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { flush_handle: DhContext } }

impl Command for FlushContext {
    const CODE: u32 = 0x165;
    const SESSIONS: bool = false;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `HANDLE` at `flush_handle`: neither loaded nor, if a session, saved
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        let handle = p.flush_handle.handle();
        let flushed = if handle.is_session() {
            // The upper octet of a session's handle is ignored (Part 3, 28.4.1).
            if tpm.ram.exclusive_audit.is_some_and(|exclusive| exclusive.index() == handle.index()) {
                tpm.ram.exclusive_audit = None;
            }
            tpm.ram.sessions.flush(handle)
        } else {
            tpm.ram.flush_object(handle)
        };
        if flushed { Ok(Empty) } else { Err(Fmt1::HANDLE.at(Params::flush_handle)) }
    }
}
