//! A TPM each of whose calls is measured.

use crate::paint::painted;
use client::codes;
use client::command::{body, command, command_code, handle_of, password, response_code, take_2b, tpm2b};
use client::platform::{CountedEntropy, ManualClock};
use client::session::Transport;
use client::template::{Template, creation};
use std::collections::BTreeMap;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::{Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm, cc};

/// Octets of the stack on which calls are made: more than the limits, so that a call that exceeds one is told.
const ROOM: usize = 2 << 20;

/// A TPM, and how deep its calls went.
pub struct Caller {
    /// the TPM
    pub tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
    step: String,
    /// octets of each kind of call, the most, and in which step that was
    pub deepest: BTreeMap<&'static str, (usize, String)>,
}

impl Caller {
    /// A place for a TPM.
    #[must_use]
    pub fn new() -> Self {
        let (tpm, used) = painted(ROOM, || Box::new(Tpm::blank()));
        let mut caller = Self {
            tpm,
            entropy: CountedEntropy::default(),
            clock: ManualClock(0),
            step: String::new(),
            deepest: BTreeMap::new(),
        };
        caller.note("a blank TPM in a Box", used);
        caller
    }

    /// What follows is part of this.
    pub fn step(&mut self, words: &str) {
        words.clone_into(&mut self.step);
    }

    fn note(&mut self, call: &'static str, used: usize) {
        let deepest = self.deepest.entry(call).or_default();
        if used > deepest.0 {
            *deepest = (used, self.step.clone());
        }
    }

    /// A call of the platform's.
    pub fn platform<T: Send>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut Tpm, &mut Hooks<'_>) -> T + Send,
    ) -> T {
        let Self { tpm, entropy, clock, .. } = self;
        let (result, used) = painted(ROOM, || call(tpm, &mut Hooks { entropy, clock }));
        self.note(name, used);
        result
    }

    /// The state, of this form.
    pub fn export(&mut self, form: StateForm) -> Vec<u8> {
        let mut state = vec![0; MAX_STATE_SIZE];
        let length = self.platform("export", |tpm, _| tpm.export(form, &mut state)).expect("room for the state");
        state.truncate(length);
        state
    }

    /// A command with empty passwords that succeeds.
    pub fn run(&mut self, code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Vec<u8> {
        let area = password(b"").repeat(passwords);
        let response = self.transmit(&command(code, handles, &area, parameters));
        assert_eq!(response_code(&response), 0, "{code:#x} in {}: {:#x}", self.step, response_code(&response));
        body(code, &response, passwords > 0)
    }

    /// TPM2_CreatePrimary in the owner's hierarchy.
    pub fn primary(&mut self, template: &Template) -> u32 {
        handle_of(&self.run(cc::CREATE_PRIMARY, &[codes::OWNER], 1, &creation(b"", b"", template)))
    }

    /// TPM2_Create and TPM2_Load.
    pub fn child(&mut self, parent: u32, template: &Template) -> u32 {
        let made = self.run(cc::CREATE, &[parent], 1, &creation(b"", b"", template));
        let rest = &mut &made[..];
        let (private, public) = (take_2b(rest), take_2b(rest));
        handle_of(&self.run(cc::LOAD, &[parent], 1, &[tpm2b(private), tpm2b(public)].concat()))
    }

    /// TPM2_FlushContext.
    pub fn flush(&mut self, handle: u32) {
        self.run(cc::FLUSH_CONTEXT, &[], 0, &handle.to_be_bytes());
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for Caller {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        let mut response = vec![0; MAX_RESPONSE_SIZE];
        let code = command_code(request);
        let name = cc::ALL.iter().find(|(number, _)| *number == code).map_or("another", |(_, name)| name);
        let out = &mut response[..];
        let length = self.platform(name, |tpm, hooks| tpm.execute(hooks, Locality::ZERO, request, out));
        response.truncate(length);
        response
    }
}
