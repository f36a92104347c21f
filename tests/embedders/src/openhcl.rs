//! The engine as OpenHCL's TPM device has it: [`shape::TpmEngine`], and the five calls that the device makes beside it.
//!
//! What the device calls the NV blob is a state of the form [`StateForm::PoweredOff`] behind its length, and zeros up
//! to the size that [`InitKind::ColdInitWithSize`] has: the device tells blobs of older kinds by their size, so each
//! has all of it. What it saves for servicing is a state of the form [`StateForm::Whole`]: sessions, loaded objects,
//! sequences and PCR are in it.

pub mod shape;

use crate::secret::Wiped;
use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::error;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use shape::{InitKind, PlatformCallbacks, TpmEngine, TpmEngineError};
use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_NV_INDEX_SIZE, MIN_BUFFER_SIZE};
use tpm_core::rc::Rc;
use tpm_core::{
    Clock, Entropy, EntropyFailure, Failure, Fault, Generation, Hooks, Locality, MAX_STATE_SIZE, StateError, StateForm,
    Tpm,
};

/// Octets of the device's buffers: a page each.
pub const PAGE: usize = 4096;
const _: () = assert!(PAGE >= MIN_BUFFER_SIZE && PAGE <= MAX_COMMAND_SIZE);

/// Octets of the length in front of a state.
const LENGTH: usize = 4;

/// The room that any blob fits into.
pub const NV_MEMORY_SIZE: usize = LENGTH + MAX_STATE_SIZE;

/// What cannot be done. The engine is as it was.
#[derive(Debug)]
pub enum Error {
    /// The command is shorter than its header says, or has none.
    RequestSize,
    /// The response has less room than a page.
    ResponseSize,
    /// The blob has not the size that blobs have here.
    BlobSize {
        /// of the blob
        blob: usize,
        /// of others
        wanted: usize,
    },
    /// A blob or a saved state holds no state.
    State(StateError),
    /// There is no entropy for a new TPM.
    Entropy(Failure),
    /// The callback did not keep the blob, or there is no room for it.
    Commit(Box<dyn error::Error + Send + Sync>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestSize => f.write_str("the command is shorter than its header says"),
            Self::ResponseSize => f.write_str("the response has less room than a page"),
            Self::BlobSize { blob, wanted } => write!(f, "a blob of {blob} octets, where they have {wanted}"),
            Self::State(error) => write!(f, "no state: {error}"),
            Self::Entropy(error) => write!(f, "no new TPM: {error}"),
            Self::Commit(error) => write!(f, "the blob is not kept: {error}"),
        }
    }
}

impl error::Error for Error {}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// Random octets of the device.
struct Random<'a>(&'a mut (dyn PlatformCallbacks + Send));

impl Entropy for Random<'_> {
    fn fill(&mut self, mut out: &mut [u8]) -> Result<(), EntropyFailure> {
        while !out.is_empty() {
            let got = self.0.get_crypt_random(out).map_err(|_| EntropyFailure)?;
            out = out.get_mut(got..).filter(|_| got > 0).ok_or(EntropyFailure)?;
        }
        Ok(())
    }
}

/// The time at which a call was made.
struct Now(u64);

impl Clock for Now {
    fn now_ms(&mut self) -> u64 {
        self.0
    }
}

/// A TPM. There may be as many in a process as there is memory.
pub struct QuoinPlatform {
    tpm: Box<Tpm>,
    callbacks: Box<dyn PlatformCallbacks + Send>,
    nv_size: usize,
    kept: Option<Generation>,
    canceled: Arc<AtomicBool>,
}

impl QuoinPlatform {
    /// A TPM as after _TPM_Init, and its blob kept: TPM2_Startup is to come. `get_unique_value` is not asked for: what
    /// tells TPMs apart is made of random octets.
    ///
    /// # Errors
    /// `Entropy`; with a blob `BlobSize`, `State`; `Commit`.
    pub fn initialize(callbacks: Box<dyn PlatformCallbacks + Send>, init_kind: InitKind<'_>) -> Result<Self, Error> {
        let (nv_size, blob) = match init_kind {
            InitKind::ColdInit => (NV_MEMORY_SIZE, None),
            InitKind::ColdInitWithSize(size) => (size, None),
            InitKind::ColdInitWithPersistentState { nvmem_blob } => (nvmem_blob.len(), Some(nvmem_blob)),
        };
        let canceled = Arc::new(AtomicBool::new(false));
        let mut engine = Self { tpm: Box::new(Tpm::blank()), callbacks, nv_size, kept: None, canceled };
        match blob {
            Some(blob) => engine.reset(Some(&blob))?,
            None => {
                engine.with_hooks(Tpm::manufacture).map_err(Error::Entropy)?;
                engine.tpm.set_buffer_size(PAGE);
            }
        }
        engine.commit()?;
        Ok(engine)
    }

    /// The platform loses its power and has it again. With a blob, the TPM is the blob's from now on.
    ///
    /// # Errors
    /// `BlobSize`, `State`
    pub fn reset(&mut self, nvram: Option<&[u8]>) -> Result<(), Error> {
        if let Some(blob) = nvram {
            let wrong = Error::BlobSize { blob: blob.len(), wanted: self.nv_size };
            if blob.len() != self.nv_size {
                return Err(wrong);
            }
            let (length, states) = blob.split_first_chunk::<LENGTH>().ok_or(wrong)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            self.become_that_of(states.get(..length).ok_or(StateError::Length)?)?;
        }
        self.with_hooks(Tpm::init);
        Ok(())
    }

    /// Whether a search for an RSA key ends early, from now on until the flag is cleared: the one that goes on, and
    /// those to come.
    pub fn set_cancel_flag(&mut self, enabled: bool) {
        self.canceled.store(enabled, Ordering::Relaxed);
    }

    /// The same flag, for another thread while a command is executed: the device's own call cannot reach it then.
    #[must_use]
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        self.canceled.clone()
    }

    /// All that the TPM is, between two commands. All secrets are in it.
    #[must_use]
    pub fn save_state(&self) -> Vec<u8> {
        let mut state = Wiped::room(MAX_STATE_SIZE);
        let length = self.tpm.export(StateForm::Whole, &mut state).unwrap_or(0);
        state.get(..length).unwrap_or_default().to_vec()
    }

    /// The TPM goes on as the one that was saved, in the middle of what its guest does.
    ///
    /// # Errors
    /// `State`
    pub fn restore_state(&mut self, state: Vec<u8>) -> Result<(), Error> {
        self.become_that_of(&Wiped(state))
    }

    /// Executes a command in locality 0; the octets of its response.
    ///
    /// # Errors
    /// `RequestSize`, `ResponseSize`: nothing was executed.
    pub fn execute_command(&mut self, request: &mut [u8], response: &mut [u8]) -> Result<usize, Error> {
        let size = request.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
        let size = size.and_then(|size| usize::try_from(size).ok()).ok_or(Error::RequestSize)?;
        let command = request.get(..size).ok_or(Error::RequestSize)?;
        if response.len() < PAGE {
            return Err(Error::ResponseSize);
        }
        Ok(self.execute_at(Locality::ZERO, command, response))
    }

    /// Before anybody sees a response, what it says is kept. A TPM that cannot be kept fails, until its reset.
    fn execute_at(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        let canceled = self.canceled.clone();
        let length = self.with_hooks(|tpm, hooks| tpm.execute_unless(hooks, locality, command, response, &canceled));
        if self.commit().is_ok() {
            return length;
        }
        self.tpm.enter_failure_mode();
        let failure = Rc::failure(Fault::Platform).response();
        response.fill(0);
        response.iter_mut().zip(failure).for_each(|(to, octet)| *to = octet);
        failure.len()
    }

    /// A TPM of a state is made beside the present one, which stays if that fails.
    fn become_that_of(&mut self, state: &[u8]) -> Result<(), Error> {
        let mut tpm = Box::new(Tpm::blank());
        self.with_hooks(|_, hooks| tpm.import(state, hooks))?;
        tpm.set_buffer_size(PAGE);
        self.tpm = tpm;
        self.kept = None;
        Ok(())
    }

    fn with_hooks<T>(&mut self, call: impl FnOnce(&mut Tpm, &mut Hooks<'_>) -> T) -> T {
        let mut clock = Now(u64::try_from(self.callbacks.monotonic_timer().as_millis()).unwrap_or(u64::MAX));
        let mut entropy = Random(&mut *self.callbacks);
        call(&mut self.tpm, &mut Hooks { entropy: &mut entropy, clock: &mut clock })
    }

    /// Has the blob kept if it is another than the one before. What a TPM in failure mode has done is not kept.
    fn commit(&mut self) -> Result<(), Error> {
        let generation = self.tpm.generation();
        if self.tpm.is_in_failure_mode() || self.kept == Some(generation) {
            return Ok(());
        }
        let mut blob = Wiped::room(self.nv_size);
        let (length, room) = blob.split_first_chunk_mut().ok_or_else(|| no_room(LENGTH))?;
        let octets = self.tpm.export(StateForm::PoweredOff, room).map_err(|error| Error::Commit(error.into()))?;
        *length = u32::try_from(octets).map_err(|_| no_room(octets))?.to_be_bytes();
        self.callbacks.commit_nv_state(&blob).map_err(Error::Commit)?;
        self.kept = Some(generation);
        Ok(())
    }
}

fn no_room(octets: usize) -> Error {
    Error::Commit(StateError::Room(octets).into())
}

impl TpmEngine for QuoinPlatform {
    fn execute_command(&mut self, command: &mut [u8], response: &mut [u8]) -> Result<(), TpmEngineError> {
        Self::execute_command(self, command, response).map(drop).map_err(TpmEngineError::from_error)
    }

    fn max_nv_index_size(&self) -> u16 {
        u16::try_from(MAX_NV_INDEX_SIZE).unwrap_or(u16::MAX)
    }
}

/// For a device of ours, whose commands have localities.
impl tpm_crb::Engine for QuoinPlatform {
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        let length = self.execute_at(locality, command, response);
        self.set_cancel_flag(false);
        length
    }

    fn cancel(&mut self) {
        self.set_cancel_flag(true);
    }

    fn hash_start(&mut self) {
        self.tpm.hash_start();
    }

    fn hash_data(&mut self, data: &[u8]) {
        self.tpm.hash_data(data);
    }

    fn hash_end(&mut self) -> bool {
        self.tpm.hash_end() && self.commit().is_ok()
    }
}

/// A blob as [`InitKind`] has it.
impl<'a> From<&'a [u8]> for InitKind<'a> {
    fn from(blob: &'a [u8]) -> Self {
        Self::ColdInitWithPersistentState { nvmem_blob: Cow::Borrowed(blob) }
    }
}
