//! What the device needs: a TPM, and the guest's memory where buffers lie there.

use core::sync::atomic::{AtomicBool, Ordering};
use tpm_core::rc::Rc;
use tpm_core::{Fault, Hooks, Locality, Tpm};

/// A TPM, as the device sees it. [`TpmEngine`] is one.
pub trait Engine {
    /// Executes a command, and writes its response: its length is returned. `response` has
    /// [`MAX_RESPONSE_SIZE`](tpm_core::profile::MAX_RESPONSE_SIZE) octets.
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize;
    /// The command that is being executed is to end early, or, just before [`Engine::execute`], the one that comes.
    /// Nothing is to be remembered beyond its end.
    fn cancel(&mut self);
    /// _TPM_Hash_Start; it may come while a command is executed elsewhere, and counts after that, as the two below.
    fn hash_start(&mut self);
    /// _TPM_Hash_Data
    fn hash_data(&mut self, data: &[u8]);
    /// _TPM_Hash_End; whether an event has ended.
    fn hash_end(&mut self) -> bool;
}

/// The guest's memory cannot be read or written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryFault;

/// The guest's memory. Each buffer is copied once, so that nobody can change what was looked at.
pub trait Memory {
    /// Copies from the guest.
    ///
    /// # Errors
    /// The guest has no such memory.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault>;
    /// Copies to the guest.
    ///
    /// # Errors
    /// The guest has no such memory.
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault>;
}

/// For devices whose buffers are in their page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn read(&mut self, _: u64, _: &mut [u8]) -> Result<(), MemoryFault> {
        Err(MemoryFault)
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), MemoryFault> {
        Err(MemoryFault)
    }
}

/// Quoin's engine, for the time of a call of the device.
pub struct TpmEngine<'a, 'h, K> {
    tpm: &'a mut Tpm,
    hooks: &'a mut Hooks<'h>,
    canceled: &'a AtomicBool,
    keep: K,
}

impl<'a, 'h, K: FnMut(&Tpm) -> bool> TpmEngine<'a, 'h, K> {
    /// `keep` is called after each command and D-RTM event of a TPM that has not failed, before anybody sees the
    /// response: it saves the state if it has changed ([`Tpm::generation`]), and says whether that is done. A TPM that
    /// cannot be kept is in failure mode until its reset. `canceled` may be known to other threads: what is set there
    /// ends a search for an RSA key.
    pub fn new(tpm: &'a mut Tpm, hooks: &'a mut Hooks<'h>, canceled: &'a AtomicBool, keep: K) -> Self {
        Self { tpm, hooks, canceled, keep }
    }

    fn is_kept(&mut self) -> bool {
        if self.tpm.is_in_failure_mode() || (self.keep)(self.tpm) {
            return true;
        }
        self.tpm.enter_failure_mode();
        false
    }
}

impl<K: FnMut(&Tpm) -> bool> Engine for TpmEngine<'_, '_, K> {
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        let length = self.tpm.execute_unless(self.hooks, locality, command, response, self.canceled);
        self.canceled.store(false, Ordering::Relaxed);
        if self.is_kept() {
            return length;
        }
        let failure = Rc::failure(Fault::Platform).response();
        response.fill(0);
        response.iter_mut().zip(failure).for_each(|(to, octet)| *to = octet);
        failure.len()
    }

    fn cancel(&mut self) {
        self.canceled.store(true, Ordering::Relaxed);
    }

    fn hash_start(&mut self) {
        self.tpm.hash_start();
    }

    fn hash_data(&mut self, data: &[u8]) {
        self.tpm.hash_data(data);
    }

    fn hash_end(&mut self) -> bool {
        self.tpm.hash_end() && self.is_kept()
    }
}
