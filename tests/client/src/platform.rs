//! A platform that is the same in every run.

use sha2::{Digest, Sha256};
use tpm_core::{Clock, Entropy, EntropyFailure, MAX_STATE_SIZE, StateForm, Tpm};

/// Entropy from a counter: the same in every run.
#[derive(Clone, Default, Debug)]
pub struct CountedEntropy {
    /// blocks that have been given
    pub count: u64,
    /// The source fails from now on.
    pub dry: bool,
}

impl Entropy for CountedEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        if self.dry {
            return Err(EntropyFailure);
        }
        for chunk in out.chunks_mut(32) {
            self.count += 1;
            let block = Sha256::digest(self.count.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

/// A clock that its owner moves, in milliseconds.
#[derive(Clone, Default, Debug)]
pub struct ManualClock(pub u64);

impl Clock for ManualClock {
    fn now_ms(&mut self) -> u64 {
        self.0
    }
}

/// The state of a TPM.
///
/// # Panics
/// If the TPM does not give it.
#[must_use]
pub fn export(tpm: &Tpm, form: StateForm) -> Vec<u8> {
    let mut state = vec![0; MAX_STATE_SIZE];
    let length = tpm.export(form, &mut state).expect("room for the state");
    state.truncate(length);
    state
}
