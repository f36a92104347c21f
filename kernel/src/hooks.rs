//! What tpm-core needs from the platform, and the TPM as the service that a guest calls.

use alloc::boxed::Box;

use snp::svsm::vtpm::COMMAND_MAX;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::rc::Fmt1;
use tpm_core::{Clock, Entropy, Failure, Hooks, Locality};

use crate::svsm;

/// A TPM with its platform.
pub struct Platform<E, C> {
    tpm: Box<tpm_core::Tpm>,
    entropy: E,
    clock: C,
}

impl<E: Entropy, C: Clock> Platform<E, C> {
    /// Makes a TPM with new seeds, as after _TPM_Init: its first user begins with TPM2_Startup.
    pub fn manufacture(mut entropy: E, mut clock: C) -> Result<Self, Failure> {
        let mut hooks = Hooks { entropy: &mut entropy, clock: &mut clock };
        let mut tpm = Box::new(tpm_core::Tpm::blank());
        tpm.manufacture(&mut hooks)?;
        tpm.set_buffer_size(COMMAND_MAX);
        Ok(Self { tpm, entropy, clock })
    }

    /// Runs `work` with the TPM and its hooks.
    pub fn with<R>(&mut self, work: impl FnOnce(&mut tpm_core::Tpm, &mut Hooks<'_>) -> R) -> R {
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        work(&mut self.tpm, &mut hooks)
    }

    /// Milliseconds since the start.
    pub fn now_ms(&mut self) -> u64 {
        self.clock.now_ms()
    }
}

impl<E: Entropy, C: Clock> svsm::Tpm for Platform<E, C> {
    /// The engine knows how much the SVSM mailbox holds, and refuses by itself what is longer (ML-DSA-65 and -87). A
    /// response that the caller's buffer cannot hold would become TPM_RC_SIZE.
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        const TOO_LONG: [u8; 10] = Fmt1::SIZE.plain().response();
        let mut answer = [0; MAX_RESPONSE_SIZE];
        let len = self.with(|tpm, hooks| tpm.execute(hooks, Locality::ZERO, command, &mut answer));
        let answer = answer.get(..len).filter(|answer| answer.len() <= response.len()).unwrap_or(&TOO_LONG);
        response.iter_mut().zip(answer).for_each(|(to, from)| *to = *from);
        answer.len()
    }
}
