//! The command that is being executed, as its action sees it.

use super::area::{Handles, ReplyArea};
use crate::data::platform::{Locality, Provided};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Handle, SessionAttributes, Writer};
use core::sync::atomic::AtomicBool;
use heapless::Vec;

/// The command that is being executed, as its action sees it.
pub(crate) struct Call<'a> {
    /// commandCode
    pub(crate) code: u32,
    /// TPMA_CC of every command that there is, by code
    pub(crate) commands: &'static [u32],
    /// locality
    pub(crate) locality: Locality,
    /// the handle area
    pub(crate) handles: Handles,
    /// the authorization area, in order
    pub(crate) sessions: SessionUses<'a>,
    /// the platform no longer wants the command
    pub(crate) canceled: &'a AtomicBool,
    /// contents of the indices that the platform provides
    pub(crate) provided: &'a dyn Provided,
    /// octets that the transport has for the response parameters
    pub(crate) room: usize,
}

impl Call<'_> {
    /// Whether there is a command with this code.
    pub(crate) fn has_command(&self, code: u32) -> bool {
        self.commands.iter().any(|attributes| code_of(*attributes) == code)
    }

    /// Contents of an NV Index that is defined: in NV memory, or with the platform.
    ///
    /// - `NV_UNAVAILABLE`: the platform has not now what it provides
    pub(crate) fn nv_contents<'t>(&'t self, tpm: &'t Tpm, index: Handle) -> Result<&'t [u8], Rc> {
        let nv = &tpm.persistent.nv;
        match nv.provided_size(index) {
            None => Ok(nv.data(index)),
            Some(size) => self.provided.contents(index.0).filter(|all| all.len() == size).ok_or(Rc::NV_UNAVAILABLE),
        }
    }

    /// What a command asks that changes something and has a long reply, before it changes anything; of others the
    /// pipeline asks it.
    ///
    /// - `COMMAND_SIZE`: the response would be longer than the transport's buffer
    pub(crate) fn room_for(&self, reply: &impl ReplyArea) -> Result<(), Rc> {
        let mut count = Writer::new(&mut []);
        reply.marshal(&mut count);
        if count.len() <= self.room { Ok(()) } else { Err(Rc::COMMAND_SIZE) }
    }
}

/// The code in TPMA_CC: commandIndex and the vendor's bit (Part 2, 8.9).
pub(crate) const fn code_of(attributes: u32) -> u32 {
    attributes & 0x2000_ffff
}

/// Sessions a command can have (TPM_PT_... MAX_SESSION_NUM).
pub(crate) const MAX_SESSIONS: usize = 3;

/// TPMS_AUTH_COMMAND (Part 2, 10.13.2), and what it authorizes. A password stays where it came.
pub(crate) struct SessionUse<'a> {
    /// sessionHandle
    pub(crate) handle: Handle,
    /// nonceCaller
    pub(crate) nonce_caller: &'a [u8],
    /// sessionAttributes
    pub(crate) attributes: SessionAttributes,
    /// hmac, or the password
    pub(crate) hmac: &'a [u8],
    /// the handle that this session authorizes
    pub(crate) authorizes: Option<Handle>,
    /// the session is bound to that entity, as it was before the action
    pub(crate) bound: bool,
}

/// The sessions of a command, in order.
pub(crate) type SessionUses<'a> = Vec<SessionUse<'a>, MAX_SESSIONS>;

impl SessionUse<'_> {
    /// Whether a password authorization.
    pub(crate) fn is_password(&self) -> bool {
        self.handle == Handle::PW
    }
}
