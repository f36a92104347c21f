//! A platform that keeps a TPM's state looks at its generation alone: what lasts must not change without it. This is
//! looked at after every command of every test.

use tpm_core::{Generation, MAX_STATE_SIZE, Tpm};

/// What lasted after the command before.
pub(crate) struct Lasting {
    before: Option<(Generation, [u8; 32])>,
    room: Vec<u8>,
}

impl Lasting {
    pub(crate) fn new() -> Self {
        Self { before: None, room: vec![0; MAX_STATE_SIZE] }
    }

    /// Whatever commands and the platform have done since the last time.
    pub(crate) fn look(&mut self, tpm: &Tpm) {
        let (generation, lasting) = (tpm.generation(), tpm.lasting_digest(&mut self.room).unwrap());
        if let Some((known, before)) = self.before.replace((generation, lasting)) {
            assert!(known != generation || before == lasting, "what lasts has changed, and its generation has not");
        }
    }
}
