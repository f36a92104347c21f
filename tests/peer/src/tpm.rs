//! A TPM that must say yes.

use crate::Peer;
use client::cc;
use client::command::{SESSIONS, body, command_code, handle_of, response_code, with_passwords};
use client::session::Transport;

/// A TPM that is asked for what it must do, with what is loaded for the case at hand.
pub struct Tpm<'a> {
    peer: &'a mut dyn Peer,
    response: Vec<u8>,
    loaded: Vec<u32>,
}

impl<'a> Tpm<'a> {
    /// A new TPM after TPM2_Startup(CLEAR).
    ///
    /// # Panics
    /// If it does not start.
    pub fn new(peer: &'a mut dyn Peer) -> Self {
        peer.manufacture();
        let mut tpm = Self::running(peer);
        tpm.ok(&command(cc::STARTUP, &[], &[], &[&[0, 0]]));
        tpm
    }

    /// A TPM as it is.
    pub fn running(peer: &'a mut dyn Peer) -> Self {
        Self { peer, response: Vec::new(), loaded: Vec::new() }
    }

    /// What lasts is saved with every command, or not.
    pub fn keep(&mut self, kept: bool) {
        self.peer.keep(kept);
    }

    /// Executes a command; the whole response.
    pub fn execute(&mut self, request: &[u8]) -> &[u8] {
        self.peer.execute(request, 0, &mut self.response);
        &self.response
    }

    /// Executes a command that must succeed; its handle and parameters.
    ///
    /// # Panics
    /// If it does not.
    pub fn ok(&mut self, request: &[u8]) -> Vec<u8> {
        self.execute(request);
        let (rc, code) = (response_code(&self.response), command_code(request));
        let name = cc::ALL.iter().find(|(known, _)| *known == code).map_or("?", |(_, name)| name);
        assert_eq!(rc, 0, "response code {rc:#x} to {name}, {request:02x?}");
        body(code, &self.response, request.starts_with(&SESSIONS.to_be_bytes()))
    }

    /// Executes a command that loads an object or starts a session, which is flushed when the case is over; its handle.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn load(&mut self, request: &[u8]) -> u32 {
        let handle = handle_of(&self.ok(request));
        self.loaded.push(handle);
        handle
    }

    /// Flushes what [`Tpm::load`] loaded.
    ///
    /// # Panics
    /// If it is not there any more.
    pub fn flush_all(&mut self) {
        for handle in core::mem::take(&mut self.loaded) {
            self.flush(handle);
        }
    }

    /// TPM2_FlushContext.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn flush(&mut self, handle: u32) {
        self.ok(&command(cc::FLUSH_CONTEXT, &[handle], &[], &[]));
    }
}

impl Transport for Tpm<'_> {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        self.execute(request).to_vec()
    }
}

/// A command with handles, passwords for the first of them, and parameters in parts.
#[must_use]
pub fn command(code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[&[u8]]) -> Vec<u8> {
    with_passwords(code, handles, passwords, &parameters.concat())
}
