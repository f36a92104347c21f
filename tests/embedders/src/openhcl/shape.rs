//! What OpenHCL declares: signatures alone, in our words.
//!
//! - [`TpmEngine`], [`TpmEngineError`]: microsoft/openvmm, vm/devices/tpm/tpm_lib/src/lib.rs, as of autumn 2026 (before
//!   that the trait had no `max_nv_index_size`)
//! - [`PlatformCallbacks`], [`DynResult`], [`InitKind`]: microsoft/ms-tpm-20-ref-rs, as vm/devices/tpm/tpm_device and
//!   tpm_utils of openvmm use them
//! - the engine's own calls, which `tpm_device` makes beside the trait, are those of
//!   [`QuoinPlatform`](super::QuoinPlatform)

use alloc::borrow::Cow;
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// What the device executes commands with.
pub trait TpmEngine: Send {
    /// Executes a command. `command` may be longer than it: its header has the size. An error is of the transport:
    /// those of the TPM are responses.
    ///
    /// # Errors
    /// There is no response.
    fn execute_command(&mut self, command: &mut [u8], response: &mut [u8]) -> Result<(), TpmEngineError>;

    /// Octets of the largest NV Index.
    fn max_nv_index_size(&self) -> u16;
}

/// Why there is no response.
#[derive(Debug)]
pub struct TpmEngineError {
    inner: Box<dyn Error + Send + Sync>,
}

impl TpmEngineError {
    /// Of an engine's own error.
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        Self { inner: Box::new(error) }
    }
}

impl fmt::Display for TpmEngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Error for TpmEngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.inner)
    }
}

/// The result of a callback.
pub type DynResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the device gives its engine.
pub trait PlatformCallbacks {
    /// Keeps what survives the loss of power.
    ///
    /// # Errors
    /// It is not kept.
    fn commit_nv_state(&mut self, state: &[u8]) -> DynResult<()>;
    /// Random octets; how many there are.
    ///
    /// # Errors
    /// There are none.
    fn get_crypt_random(&mut self, buf: &mut [u8]) -> DynResult<usize>;
    /// Time that never goes back.
    fn monotonic_timer(&mut self) -> Duration;
    /// What tells this TPM from others.
    fn get_unique_value(&self) -> &'static [u8];
}

/// What an engine begins with.
pub enum InitKind<'a> {
    /// A new TPM.
    ColdInit,
    /// A new TPM, for whose blob there is so much room.
    ColdInitWithSize(usize),
    /// The TPM of a blob.
    ColdInitWithPersistentState {
        /// the blob
        nvmem_blob: Cow<'a, [u8]>,
    },
}
