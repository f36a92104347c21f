//! The engine as COCONUT-SVSM's vTPM protocol has it: [`shape::VtpmInterface`] over [`tpm_core`], with `core` and
//! `alloc` alone, and without `unsafe`.
//!
//! A [`QuoinTpm`] is made in a `static`, behind the kernel's lock. The endorsement key is derived from the seed, so it
//! is there before the guest's TPM2_Startup, and after TPM2_ChangeEPS it is the new one.

pub mod shape;

use crate::secret::Wiped;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};
use shape::{
    SvsmReqError, SvsmResultCode, TcgTpmSimulatorInterface, TpmPlatformCommand, VtpmInterface, VtpmProtocolInterface,
};
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::rc::Rc;
use tpm_core::{
    Clock, EkTemplate, Entropy, EntropyFailure, Fault, Generation, Hooks, Locality, MAX_EK_PUBLIC, MAX_STATE_SIZE,
    StateForm, Tpm,
};

/// Octets of the longest command in the guest's page, in which 9 come before it; responses are no longer.
pub const BUFFER: usize = 4096 - 9;

/// What a kernel has for its vTPM.
pub trait Platform {
    /// Random octets; whether there are any.
    fn random(&mut self, out: &mut [u8]) -> bool;
    /// Milliseconds since its start.
    fn now_ms(&mut self) -> u64;
    /// What was kept last.
    fn load(&mut self) -> Option<Vec<u8>>;
    /// Keeps what survives the loss of power; whether that is done.
    fn keep(&mut self, state: &[u8]) -> bool;
}

struct Random<'a, P>(&'a mut P);

impl<P: Platform> Entropy for Random<'_, P> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        if self.0.random(out) { Ok(()) } else { Err(EntropyFailure) }
    }
}

/// The time at which a call was made.
struct Now(u64);

impl Clock for Now {
    fn now_ms(&mut self) -> u64 {
        self.0
    }
}

/// What a call has.
struct Inner<P> {
    tpm: Tpm,
    platform: P,
    kept: Option<Generation>,
}

/// A vTPM.
pub struct QuoinTpm<P> {
    /// Commands come with `&self`.
    inner: RefCell<Inner<P>>,
    powered_on: bool,
}

impl<P> QuoinTpm<P> {
    /// One that is still to be made, by [`VtpmInterface::init`].
    #[must_use]
    pub const fn new(platform: P) -> Self {
        Self { inner: RefCell::new(Inner { tpm: Tpm::blank(), platform, kept: None }), powered_on: false }
    }

    fn inner(&self) -> Result<RefMut<'_, Inner<P>>, SvsmReqError> {
        self.inner.try_borrow_mut().map_err(|_| refused(SvsmResultCode::BUSY))
    }

    fn powered(&self) -> Result<RefMut<'_, Inner<P>>, SvsmReqError> {
        if self.powered_on { self.inner() } else { Err(refused(SvsmResultCode::INVALID_REQUEST)) }
    }
}

const fn refused(code: SvsmResultCode) -> SvsmReqError {
    SvsmReqError::RequestError(code)
}

impl<P: Platform> Inner<P> {
    fn with_hooks<T>(&mut self, call: impl FnOnce(&mut Tpm, &mut Hooks<'_>) -> T) -> T {
        let mut clock = Now(self.platform.now_ms());
        let mut entropy = Random(&mut self.platform);
        call(&mut self.tpm, &mut Hooks { entropy: &mut entropy, clock: &mut clock })
    }

    /// The TPM that was kept, or a new one. One that was kept and cannot be read is an error: a new TPM would do away
    /// with the guest's keys.
    fn make(&mut self) -> bool {
        let made = match self.platform.load() {
            Some(state) => {
                let state = Wiped(state);
                self.with_hooks(|tpm, hooks| tpm.import(&state, hooks)).is_ok()
            }
            None => self.with_hooks(Tpm::manufacture).is_ok(),
        };
        self.tpm.set_buffer_size(BUFFER);
        made && self.is_kept()
    }

    /// Keeps the state if it is another than the one before. What a TPM in failure mode has done is not kept.
    fn is_kept(&mut self) -> bool {
        let generation = self.tpm.generation();
        if self.tpm.is_in_failure_mode() || self.kept == Some(generation) {
            return true;
        }
        let mut state = Wiped::room(MAX_STATE_SIZE);
        let exported = self.tpm.export(StateForm::PoweredOff, &mut state).ok().and_then(|length| state.get(..length));
        let kept = exported.is_some_and(|state| self.platform.keep(state));
        if kept {
            self.kept = Some(generation);
        }
        kept
    }

    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        let length = self.with_hooks(|tpm, hooks| tpm.execute(hooks, locality, command, response));
        if self.is_kept() {
            return length;
        }
        self.tpm.enter_failure_mode();
        let failure = Rc::failure(Fault::Platform).response();
        response.fill(0);
        response.iter_mut().zip(failure).for_each(|(to, octet)| *to = octet);
        failure.len()
    }
}

impl<P: Platform> VtpmProtocolInterface for QuoinTpm<P> {
    fn get_supported_commands(&self) -> &[TpmPlatformCommand] {
        &[TpmPlatformCommand::SendCommand]
    }
}

impl<P: Platform> TcgTpmSimulatorInterface for QuoinTpm<P> {
    /// - `INVALID_REQUEST`: there is no power
    /// - `INVALID_PARAMETER`: the command is longer than the guest's page has room for; there is no such locality
    /// - `BUSY`: a command is being executed
    fn send_tpm_command(&self, command: &[u8], locality: u8) -> Result<Vec<u8>, SvsmReqError> {
        let mut inner = self.powered()?;
        let locality = Locality::new(locality).filter(|_| command.len() <= BUFFER);
        let locality = locality.ok_or(refused(SvsmResultCode::INVALID_PARAMETER))?;
        let mut response = vec![0; MAX_RESPONSE_SIZE];
        let length = inner.execute(locality, command, &mut response);
        response.truncate(length);
        Ok(response)
    }

    fn signal_poweron(&mut self, only_reset: bool) -> Result<(), SvsmReqError> {
        if self.powered_on != only_reset {
            let answer = if only_reset { Err(refused(SvsmResultCode::INVALID_REQUEST)) } else { Ok(()) };
            return answer;
        }
        self.inner()?.with_hooks(Tpm::init);
        self.powered_on = true;
        Ok(())
    }

    /// It always is.
    fn signal_nvon(&self) -> Result<(), SvsmReqError> {
        self.powered().map(drop)
    }
}

impl<P: Platform> VtpmInterface for QuoinTpm<P> {
    fn is_powered_on(&self) -> bool {
        self.powered_on
    }

    fn init(&mut self) -> Result<(), SvsmReqError> {
        if !self.inner()?.make() {
            return Err(refused(SvsmResultCode::INCOMPLETE));
        }
        self.signal_poweron(false)
    }

    fn get_ekpub(&mut self) -> Result<Vec<u8>, SvsmReqError> {
        let mut public = vec![0; MAX_EK_PUBLIC];
        let made = self.inner()?.tpm.endorsement_key(EkTemplate::Rsa2048, &mut public);
        public.truncate(made.map_err(|_| refused(SvsmResultCode::INVALID_REQUEST))?);
        Ok(public)
    }
}

/// For a device of ours.
impl<P: Platform> tpm_crb::Engine for QuoinTpm<P> {
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        self.inner.get_mut().execute(locality, command, response)
    }

    /// A command is over before anything else reaches this engine.
    fn cancel(&mut self) {}

    fn hash_start(&mut self) {
        self.inner.get_mut().tpm.hash_start();
    }

    fn hash_data(&mut self, data: &[u8]) {
        self.inner.get_mut().tpm.hash_data(data);
    }

    fn hash_end(&mut self) -> bool {
        let inner = self.inner.get_mut();
        inner.tpm.hash_end() && inner.is_kept()
    }
}
