//! What all connections share: the TPM, its power, the locality of those who name none.

use super::{Backend, Record, StateBlob, Stop};
use anyhow::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who speaks at the platform port cannot always be told from the words; then it is who spoke last at the command port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// The TCG simulator's (`mssim`).
    #[value(name = "mssim")]
    Simulator,
    /// swtpm's.
    Swtpm,
}

/// Whether the TPM has power.
pub(super) struct Power;

impl Power {
    /// `TPM_RC_FAILURE`: what a plain command gets from a TPM without power.
    pub(super) const OFF_RESPONSE: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1];
}

/// The shared part.
pub(crate) struct Machine {
    inner: Mutex<Inner>,
    stop: Stop,
}

struct Inner {
    backend: Box<dyn Backend>,
    trace: Option<Box<dyn Record>>,
    powered: bool,
    locality: u8,
    dialect: Dialect,
    fixed: bool,
    buffer_size: u32,
    /// Bytes and command code of the longest command and of the longest response since they were last asked for.
    longest: [(u32, u32); 2],
    /// Connections at the command port.
    clients: u32,
    /// State that was brought and waits for power.
    brought: Vec<(StateBlob, Vec<u8>)>,
}

impl Machine {
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        trace: Option<Box<dyn Record>>,
        dialect: Option<Dialect>,
        stop: Stop,
    ) -> Self {
        let inner = Inner {
            backend,
            trace,
            powered: true,
            locality: 0,
            dialect: dialect.unwrap_or(Dialect::Simulator),
            fixed: dialect.is_some(),
            buffer_size: super::command::MAX_COMMAND,
            longest: [(0, 0); 2],
            clients: 0,
            brought: Vec::new(),
        };
        Self { inner: Mutex::new(inner), stop }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in one connection's command is no reason for others to fail.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        self.stop.set();
    }

    #[cfg(test)]
    pub(super) fn stops(&self) -> &Stop {
        &self.stop
    }

    /// Executes a command at a locality, or at that which was set; nothing without power.
    pub(super) fn execute(&self, locality: Option<u8>, command: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut inner = self.inner();
        if !inner.powered {
            return Ok(None);
        }
        let locality = locality.unwrap_or(inner.locality);
        let response = inner.backend.execute(locality, command)?;
        let code = command.get(6..10).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes);
        for (longest, bytes) in inner.longest.iter_mut().zip([command, &response]) {
            *longest = (*longest).max((u32::try_from(bytes.len())?, code));
        }
        if let Some(trace) = &mut inner.trace {
            trace.record(locality, command, &response)?;
        }
        Ok(Some(response))
    }

    /// Who spoke at the command port.
    pub(super) fn heard(&self, dialect: Dialect) {
        let mut inner = self.inner();
        if !inner.fixed {
            inner.dialect = dialect;
        }
    }

    /// Whose words a platform message is taken for that both have.
    pub(super) fn dialect(&self) -> Dialect {
        self.inner().dialect
    }

    /// Whether the dialect is known without listening.
    pub(super) fn is_dialect_fixed(&self) -> bool {
        self.inner().fixed
    }

    pub(super) fn is_powered(&self) -> bool {
        self.inner().powered
    }

    /// `_TPM_Init` at power on; nothing if the power is on.
    pub(super) fn power_on(&self) -> bool {
        let powered = self.is_powered();
        powered || self.init()
    }

    /// The platform ends in order: to be said before the power goes. Without power there is nothing to end.
    pub(super) fn shut_down(&self) {
        let mut inner = self.inner();
        if inner.powered {
            inner.backend.shut_down();
        }
    }

    pub(super) fn power_off(&self) {
        self.inner().powered = false;
    }

    /// Power off and on again. The locality of a client that went does not stay.
    pub(super) fn init(&self) -> bool {
        let mut inner = self.inner();
        inner.locality = 0;
        for (blob, bytes) in core::mem::take(&mut inner.brought) {
            if let Err(error) = inner.backend.set_state(blob, &bytes) {
                eprintln!("the state that was brought is refused: {error:#}");
                return false;
            }
        }
        inner.powered = inner.backend.reset();
        inner.powered
    }

    /// False for one that does not exist.
    pub(super) fn set_locality(&self, locality: u8) -> bool {
        let exists = locality <= 4;
        if exists {
            self.inner().locality = locality;
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

    /// Keeps state until power comes.
    pub(super) fn bring(&self, blob: StateBlob, bytes: Vec<u8>) {
        self.inner().brought.push((blob, bytes));
    }

    pub(super) fn has_state(&self) -> bool {
        self.inner().backend.has_state()
    }

    pub(super) fn buffer_size(&self) -> u32 {
        self.inner().buffer_size
    }

    pub(super) fn set_buffer_size(&self, size: u32) {
        self.inner().buffer_size = size;
    }

    /// A client has come to the command port, or gone.
    pub(super) fn count_client(&self, come: bool) {
        let mut inner = self.inner();
        inner.clients = if come { inner.clients.saturating_add(1) } else { inner.clients.saturating_sub(1) };
    }

    /// Whether someone is at the command port.
    pub(super) fn has_client(&self) -> bool {
        self.inner().clients > 0
    }

    /// The longest command and response, size and command code each, which then start anew.
    pub(super) fn take_longest(&self) -> [(u32, u32); 2] {
        core::mem::take(&mut self.inner().longest)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Backend, Dialect, Machine, StateBlob, Stop};
    use anyhow::Result;
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    /// What a backend was asked to do.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Seen {
        Execute(u8, Vec<u8>),
        Reset,
        HashStart,
        HashData(Vec<u8>),
        HashEnd,
        PhysicalPresence(bool),
        Fail,
        SetState(StateBlob, Vec<u8>),
    }

    /// What was seen so far, and how often the platform has ended in order.
    #[derive(Clone, Default)]
    pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>, Arc<AtomicU32>);

    impl Log {
        fn push(&self, seen: Seen) -> bool {
            self.0.lock().unwrap().push(seen);
            true
        }

        pub(crate) fn take_shut_downs(&self) -> u32 {
            self.1.swap(0, Ordering::SeqCst)
        }

        pub(crate) fn take(&self) -> Vec<Seen> {
            core::mem::take(&mut self.0.lock().unwrap())
        }
    }

    struct Recorder(Log);

    impl Backend for Recorder {
        fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
            self.0.push(Seen::Execute(locality, command.to_vec()));
            Ok(b"ok".to_vec())
        }

        fn reset(&mut self) -> bool {
            self.0.push(Seen::Reset)
        }

        fn shut_down(&mut self) {
            self.0.1.fetch_add(1, Ordering::SeqCst);
        }

        fn hash_start(&mut self) -> bool {
            self.0.push(Seen::HashStart)
        }

        fn hash_data(&mut self, data: &[u8]) -> bool {
            self.0.push(Seen::HashData(data.to_vec()))
        }

        fn hash_end(&mut self) -> bool {
            self.0.push(Seen::HashEnd)
        }

        fn set_physical_presence(&mut self, asserted: bool) -> bool {
            self.0.push(Seen::PhysicalPresence(asserted))
        }

        fn fail(&mut self) -> bool {
            self.0.push(Seen::Fail)
        }

        fn act_signaled(&mut self, act: u32) -> bool {
            act == 0x4000_0110
        }

        fn established(&mut self) -> bool {
            true
        }

        fn has_state(&self) -> bool {
            true
        }

        fn state(&mut self, blob: StateBlob) -> Result<Vec<u8>> {
            Ok(format!("state {blob:?}").into_bytes())
        }

        fn set_state(&mut self, blob: StateBlob, bytes: &[u8]) -> Result<()> {
            anyhow::ensure!(bytes != b"bad", "a bad state");
            self.0.push(Seen::SetState(blob, bytes.to_vec()));
            Ok(())
        }
    }

    /// A backend that records what it is asked.
    pub(crate) fn recorder(log: &Log) -> Box<dyn Backend> {
        Box::new(Recorder(log.clone()))
    }

    /// A machine whose backend records what it is asked, and the record.
    pub(crate) fn machine() -> (Machine, Log) {
        machine_of(None)
    }

    /// The same, where the dialect is told.
    pub(crate) fn machine_of(dialect: Option<Dialect>) -> (Machine, Log) {
        let log = Log::default();
        (Machine::new(Box::new(Recorder(log.clone())), None, dialect, Stop::default()), log)
    }
}
