//! A TPM that must say yes.

use client::cc;
use client::command::{SESSIONS, body, command_code, handle_of, response_code, with_passwords};
use peer::Peer;

/// A TPM under measurement, with what is loaded for the case at hand.
pub(crate) struct Tpm<'a> {
    peer: &'a mut dyn Peer,
    response: Vec<u8>,
    loaded: Vec<u32>,
}

impl<'a> Tpm<'a> {
    /// A new TPM after TPM2_Startup(CLEAR).
    pub(crate) fn new(peer: &'a mut dyn Peer) -> Self {
        peer.manufacture();
        let mut tpm = Self { peer, response: Vec::new(), loaded: Vec::new() };
        tpm.ok(&command(cc::STARTUP, &[], &[], &[&[0, 0]]));
        tpm
    }

    /// What lasts is saved with every command, or not.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.peer.keep(kept);
    }

    /// Executes a command; the whole response.
    pub(crate) fn execute(&mut self, request: &[u8]) -> &[u8] {
        self.peer.execute(request, 0, &mut self.response);
        &self.response
    }

    /// Executes a command that must succeed; its handle and parameters.
    pub(crate) fn ok(&mut self, request: &[u8]) -> Vec<u8> {
        self.execute(request);
        let rc = response_code(&self.response);
        assert_eq!(rc, 0, "response code {rc:#x} to {request:02x?}");
        body(command_code(request), &self.response, request.starts_with(&SESSIONS.to_be_bytes()))
    }

    /// Executes a command that loads an object or starts a session, which is flushed when the case is over; its handle.
    pub(crate) fn load(&mut self, request: &[u8]) -> u32 {
        let handle = handle_of(&self.ok(request));
        self.loaded.push(handle);
        handle
    }

    /// Flushes what [`Tpm::load`] loaded.
    pub(crate) fn flush_all(&mut self) {
        for handle in core::mem::take(&mut self.loaded) {
            self.flush(handle);
        }
    }

    /// TPM2_FlushContext.
    pub(crate) fn flush(&mut self, handle: u32) {
        self.ok(&command(cc::FLUSH_CONTEXT, &[handle], &[], &[]));
    }
}

/// A command with handles, passwords for the first of them, and parameters in parts.
pub(crate) fn command(code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[&[u8]]) -> Vec<u8> {
    with_passwords(code, handles, passwords, &parameters.concat())
}
