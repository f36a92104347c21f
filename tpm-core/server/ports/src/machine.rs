//! What all connections share: the TPM, its power, the locality of those who name none.

use crate::backend::{Backend, BufferSizes, StateBlob};
use crate::dialect::Dialect;
use crate::settings::{Ends, Record, Stop};
use crate::turns::{Client, Turn, Turns};
use anyhow::Result;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The shared part.
pub(crate) struct Machine {
    turns: Turns,
    tpm: Mutex<Inner>,
    /// What is known while a command runs. Taken after the TPM where both are.
    state: Mutex<State>,
    canceled: Arc<AtomicBool>,
    has_state: bool,
    can_power_off: bool,
    /// Who resets, measures and migrates.
    platform: Client,
    stop: Stop,
    ends: Ends,
}

struct Inner {
    backend: Box<dyn Backend>,
    trace: Option<Box<dyn Record>>,
    /// Bytes and command code of the longest command and of the longest response since they were last asked for.
    longest: [(u32, u32); 2],
    /// State that a client has set, until power is switched on.
    pending_state: Vec<(StateBlob, Vec<u8>)>,
}

struct State {
    powered: bool,
    locality: u8,
    /// The dialect last spoken at the command port, or the only one that is allowed.
    dialect: Dialect,
    fixed: bool,
    sizes: BufferSizes,
    /// The newest client of the command port, as long as it has said nothing.
    silent_client: Option<Client>,
    /// A command is being executed.
    running: bool,
    /// The simulator's platform cancels what runs.
    cancels: bool,
}

/// The TPM, for as long as a turn lasts.
struct Taken<'a> {
    inner: MutexGuard<'a, Inner>,
    _turn: Turn<'a>,
}

impl Deref for Taken<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Machine {
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        trace: Option<Box<dyn Record>>,
        dialect: Option<Dialect>,
        stop: Stop,
    ) -> Self {
        let turns = Turns::default();
        let state = State {
            powered: true,
            locality: 0,
            dialect: dialect.unwrap_or(Dialect::Swtpm),
            fixed: dialect.is_some(),
            sizes: backend.buffer_sizes(),
            silent_client: None,
            running: false,
            cancels: false,
        };
        Self {
            platform: turns.enter(),
            turns,
            canceled: backend.cancel_flag(),
            has_state: backend.has_state(),
            can_power_off: backend.can_power_off(),
            tpm: Mutex::new(Inner { backend, trace, longest: [(0, 0); 2], pending_state: Vec::new() }),
            state: Mutex::new(state),
            stop,
            ends: Ends::default(),
        }
    }

    /// The same; what else ends the server.
    pub(crate) fn ending(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// What stands behind, which nobody shares any more.
    pub(crate) fn into_backend(self) -> Box<dyn Backend> {
        self.tpm.into_inner().unwrap_or_else(PoisonError::into_inner).backend
    }

    fn take(&self, client: Client) -> Taken<'_> {
        let turn = self.turns.take(client);
        // A panic in one connection's command is no reason for others to fail.
        Taken { inner: self.tpm.lock().unwrap_or_else(PoisonError::into_inner), _turn: turn }
    }

    fn inner(&self) -> Taken<'_> {
        self.take(self.platform)
    }

    fn state_now(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.stop.set();
    }

    /// CMD_SHUTDOWN was answered.
    pub(super) fn is_shut_down(&self) {
        if self.ends.at_shutdown {
            self.stop();
        }
    }

    /// The virtual machine's connection has ended.
    pub(super) fn gone(&self) {
        if self.ends.with_machine {
            self.stop();
        }
    }

    #[cfg(test)]
    pub(super) fn stops(&self) -> &Stop {
        &self.stop
    }

    /// A new client that gives commands; with `either` perhaps one of the simulator's.
    pub(super) fn enter(&self, either: bool) -> Client {
        let client = self.turns.enter();
        if either {
            self.state_now().silent_client = Some(client);
        }
        client
    }

    /// The client is gone.
    pub(super) fn leave(&self, client: Client) {
        self.turns.leave(client);
        self.has_spoken(client);
    }

    fn has_spoken(&self, client: Client) {
        let mut state = self.state_now();
        if state.silent_client == Some(client) {
            state.silent_client = None;
        }
    }

    /// What a client of the command port speaks.
    pub(super) fn heard(&self, client: Client, dialect: Dialect) {
        self.has_spoken(client);
        let mut state = self.state_now();
        if !state.fixed {
            state.dialect = dialect;
        }
    }

    /// Whose words a platform message is taken for that both have. A client of the simulator opens its connection to
    /// the command port first, and says nothing there until the platform has answered; otherwise it is who spoke last
    /// at the command port, at first swtpm's.
    pub(super) fn dialect(&self) -> Dialect {
        let state = self.state_now();
        if !state.fixed && state.silent_client.is_some() { Dialect::Simulator } else { state.dialect }
    }

    /// The dialect that was settled from the start.
    pub(super) fn settled(&self) -> Option<Dialect> {
        let state = self.state_now();
        state.fixed.then_some(state.dialect)
    }

    /// Executes a command at a locality, or at that which was set; nothing without power.
    pub(super) fn execute(&self, client: Client, locality: Option<u8>, command: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut inner = self.take(client);
        let locality = {
            let mut state = self.state_now();
            if !state.powered {
                return Ok(None);
            }
            state.running = true;
            self.canceled.store(state.cancels, Ordering::SeqCst);
            locality.unwrap_or(state.locality)
        };
        let response = inner.backend.execute(locality, command);
        self.state_now().running = false;
        let response = response?;
        let word = |bytes: &[u8]| bytes.get(6..10).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes);
        let code = word(command);
        log::debug!("command {code:#x} at locality {locality}: {:#x}", word(&response));
        for (longest, bytes) in inner.longest.iter_mut().zip([command, &response]) {
            *longest = (*longest).max((u32::try_from(bytes.len())?, code));
        }
        inner.record(locality, command, &response);
        Ok(Some(response))
    }

    /// Cancels the command that is executed now, if there is one.
    pub(super) fn cancel(&self) {
        let state = self.state_now();
        if state.running {
            self.canceled.store(true, Ordering::SeqCst);
        }
    }

    /// Cancels whatever is executed from now on, or no longer does.
    pub(super) fn set_cancels(&self, cancels: bool) {
        let mut state = self.state_now();
        state.cancels = cancels;
        self.canceled.store(cancels, Ordering::SeqCst);
    }

    /// Waits for the end of what runs, canceled if it can be; the TPM does nothing after it.
    pub(super) fn end(&self) {
        self.set_cancels(true);
        self.shut_down();
        let _between_commands = self.inner();
        self.state_now().powered = false;
    }

    pub(super) fn is_powered(&self) -> bool {
        self.state_now().powered
    }

    /// `_TPM_Init` at power on; nothing if the power is on.
    pub(super) fn power_on(&self) -> bool {
        let powered = self.is_powered();
        powered || self.init()
    }

    /// The platform ends in order: to be said before the power goes. Without power there is nothing to end.
    pub(super) fn shut_down(&self) {
        let mut inner = self.inner();
        if self.is_powered() {
            inner.backend.shut_down();
        }
    }

    /// False where there is no switch.
    pub(super) fn power_off(&self) -> bool {
        if self.can_power_off {
            let _between_commands = self.inner();
            self.state_now().powered = false;
        }
        self.can_power_off
    }

    /// Power off and on again. The locality of a client that went does not stay. What is refused changes nothing.
    pub(super) fn init(&self) -> bool {
        let mut inner = self.inner();
        for (blob, bytes) in core::mem::take(&mut inner.pending_state) {
            if let Err(error) = inner.backend.set_state(blob, &bytes) {
                log::warn!("the state that a client has set is refused: {error:#}");
                return false;
            }
        }
        let done = inner.backend.reset();
        if done {
            let mut state = self.state_now();
            (state.powered, state.locality) = (true, 0);
        }
        done
    }

    /// False for one that does not exist.
    pub(super) fn set_locality(&self, locality: u8) -> bool {
        let exists = locality <= 4;
        if exists {
            self.state_now().locality = locality;
        }
        exists
    }

    pub(super) fn hash_start(&self) -> bool {
        self.inner().backend.hash_start()
    }

    pub(super) fn hash_data(&self, data: &[u8]) -> bool {
        self.inner().backend.hash_data(data)
    }

    pub(super) fn hash_end(&self) -> bool {
        self.inner().backend.hash_end()
    }

    pub(super) fn set_physical_presence(&self, asserted: bool) -> bool {
        self.inner().backend.set_physical_presence(asserted)
    }

    pub(super) fn fail(&self) -> bool {
        self.inner().backend.fail()
    }

    pub(super) fn act_signaled(&self, act: u32) -> bool {
        self.inner().backend.act_signaled(act)
    }

    pub(super) fn established(&self) -> bool {
        self.inner().backend.established()
    }

    pub(super) fn reset_established(&self) -> bool {
        self.inner().backend.reset_established()
    }

    pub(super) fn state(&self, blob: StateBlob) -> Result<Vec<u8>> {
        self.inner().backend.state(blob)
    }

    /// Keeps state until power is switched on.
    pub(super) fn keep_state(&self, blob: StateBlob, bytes: Vec<u8>) {
        self.inner().pending_state.push((blob, bytes));
    }

    pub(super) const fn has_state(&self) -> bool {
        self.has_state
    }

    /// Octets of the longest command and response.
    pub(super) fn sizes(&self) -> BufferSizes {
        self.state_now().sizes
    }

    /// Sets that to what is possible and nearest.
    pub(super) fn set_buffer_size(&self, wanted: u32) {
        let mut inner = self.inner();
        let sizes = inner.backend.buffer_sizes();
        inner.backend.set_buffer_size(wanted.clamp(sizes.least, sizes.most));
        self.state_now().sizes = inner.backend.buffer_sizes();
    }

    /// The longest command and response, size and command code each, which then start anew.
    pub(super) fn take_longest(&self) -> [(u32, u32); 2] {
        core::mem::take(&mut self.inner().longest)
    }
}

impl Inner {
    /// What cannot be recorded was executed all the same, and is answered.
    fn record(&mut self, locality: u8, command: &[u8], response: &[u8]) {
        if let Some(trace) = &mut self.trace
            && let Err(error) = trace.record(locality, command, response)
        {
            log::warn!("the trace ends here, the TPM goes on: {error:#}");
            self.trace = None;
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
