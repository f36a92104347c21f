//! How to serve, and until when.

use crate::dialect::Dialect;
use anyhow::{Context, Result};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Whether the server shall end; cloned, it can be set from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that these signals set.
    pub fn on(signals: &[i32]) -> Result<Self> {
        let stop = Self::default();
        for &signal in signals {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// Ends the server.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What takes note of all that is said.
pub trait Record: Send + fmt::Debug {
    /// Records a command and its response.
    fn record(&mut self, locality: u8, command: &[u8], response: &[u8]) -> Result<()>;
}

/// What ends a server that has one virtual machine's TPM, besides [`Stop`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// swtpm's CMD_SHUTDOWN, which otherwise switches the TPM off and no more.
    pub at_shutdown: bool,
    /// The end of a connection that has handed over a data channel: of a virtual machine that is gone.
    pub with_machine: bool,
}

/// How to serve.
#[derive(Default)]
pub struct Settings {
    /// Records what is said.
    pub trace: Option<Box<dyn Record>>,
    /// Whose protocol the platform port speaks, where that shall not be found out.
    pub dialect: Option<Dialect>,
    /// Looked at often: why the server has to end, if it has.
    pub watch: Option<Box<dyn FnMut() -> Result<()>>>,
    /// What else ends the server.
    pub ends: Ends,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("trace", &self.trace).field("dialect", &self.dialect).finish_non_exhaustive()
    }
}
