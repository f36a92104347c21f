//! What happens around every command (Part 3, 5): header, handles, sessions, authorization, decryption, action,
//! response.

mod admit;
mod authorize;
mod digest;
mod entry;
mod header;
mod parameter;
mod respond;
mod selftest;
mod sessions;

use core::sync::atomic::AtomicBool;

use crate::command;
use crate::command::area::MAX_HANDLES;
use crate::command::call::{Call, SessionUses};
use crate::command::interface::{CommandInfo, Reply};
use crate::data::platform::{Hooks, Locality, Provided};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::profile::MAX_COMMAND_SIZE;
use crate::rc::Rc;
use crate::wire::{Reader, Writer};
use header::Header;

/// What a command comes with, from the platform.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// from where it comes
    pub(crate) locality: Locality,
    /// the platform no longer wants it
    pub(crate) canceled: &'a AtomicBool,
    /// contents of the indices that the platform provides
    pub(crate) provided: &'a dyn Provided,
}

/// Executes a command; always writes a well-formed response and returns its length.
pub(crate) fn execute(
    tpm: &mut Tpm,
    hooks: &mut Hooks<'_>,
    circumstances: Circumstances<'_>,
    request: &[u8],
    response: &mut [u8],
) -> usize {
    tpm.ram.hash_sequence = None;
    tpm.advance_time(hooks);
    let ready = tpm.reseed_if_due(hooks).map_err(Rc::from);
    let outcome = ready.and_then(|()| process(tpm, circumstances, request, response));
    outcome.unwrap_or_else(|rc| respond::error(told(tpm, rc), response))
}

/// What is told of a command that ends with this code. Here, and nowhere else, a fault of the TPM becomes failure mode:
/// the first one stays until _TPM_Init. Whatever is wrong with a command, in failure mode that is not told.
fn told(tpm: &mut Tpm, rc: Rc) -> Rc {
    tpm.ram.fault = tpm.ram.fault.or(rc.fault());
    tpm.ram.fault.map_or(rc, Rc::from)
}

fn process(tpm: &mut Tpm, circumstances: Circumstances<'_>, request: &[u8], response: &mut [u8]) -> Result<usize, Rc> {
    let Circumstances { locality, canceled, provided } = circumstances;
    let header = Header::parse(request, tpm.ram.buffer_size)?;
    let info = command::find(header.code).ok_or(Rc::COMMAND_CODE)?;
    tpm.admit(info, header.sessions)?;
    tpm.test_before(info)?;
    let mut body = Reader::new(header.body);
    let handles = info.handles(&mut body)?;
    for (index, h) in (0..MAX_HANDLES).zip(&handles) {
        tpm.check_loaded(*h, index)?;
    }
    tpm.admit_handles(info, &handles)?;
    let mut call = Call {
        code: header.code,
        commands: &command::ATTRIBUTES,
        locality,
        handles,
        sessions: SessionUses::new(),
        canceled,
        provided,
        room: 0,
    };
    sessions::parse(tpm, info, &header, &mut body, &mut call)?;
    call.room = respond::room(tpm, info, &call);
    authorize::note_bindings(tpm, &mut call);
    authorize::authorize(tpm, info, &call, body.rest())?;
    let mut plain;
    let parameters = match parameter::decrypting(&call) {
        None => body.rest(),
        Some(session) => {
            plain = [0; MAX_COMMAND_SIZE];
            parameter::decrypt(tpm, session, body.rest(), &mut plain)?
        }
    };
    tpm.test_keys_before(info, &call, parameters)?;
    act(tpm, info, &call, body.rest(), parameters, response)
}

/// The action and its response. `parameters` are the plain ones, `received` those over which cpHash is made.
fn act(
    tpm: &mut Tpm,
    info: &CommandInfo,
    call: &Call<'_>,
    received: &[u8],
    parameters: &[u8],
    response: &mut [u8],
) -> Result<usize, Rc> {
    let cp_hashes = respond::audit_cp_hashes(tpm, call, received);
    let start = respond::parameters_start(info, call);
    let (head, tail) = response.split_at_mut_checked(start).ok_or(Fault::Response)?;
    let mut reply = Reply { handle: None, parameters: Writer::new(tail) };
    info.run(tpm, call, parameters, &mut reply)?;
    let len = reply.parameters.len();
    // First what the transport has no room for: the buffer of the response may be as short as the transport's.
    if len > call.room {
        return Err(Rc::COMMAND_SIZE);
    }
    if !reply.parameters.fits() {
        return Err(Fault::Response.into());
    }
    if info.voids_shutdown {
        tpm.void_shutdown();
    }
    if info.clock {
        tpm.note_clock_use();
    }
    let handle = reply.handle;
    respond::success(tpm, info, call, cp_hashes, handle, (head, tail), len)
}
