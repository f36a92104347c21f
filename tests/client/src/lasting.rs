//! A platform that keeps a TPM's state looks at its generation alone: what lasts must not change without it. This is
//! looked at after every command of every test.

use tpm_core::{Generation, MAX_STATE_SIZE, Tpm};

/// What lasted after the command before.
pub struct Lasting {
    before: Option<(Generation, [u8; 32])>,
    room: Vec<u8>,
}

impl Default for Lasting {
    fn default() -> Self {
        Self::new()
    }
}

impl Lasting {
    /// Nothing has been looked at.
    #[must_use]
    pub fn new() -> Self {
        Self { before: None, room: vec![0; MAX_STATE_SIZE] }
    }

    /// Whatever commands and the platform have done since the last time.
    ///
    /// # Panics
    /// If what lasts is another, and the generation is not.
    pub fn look(&mut self, tpm: &Tpm) {
        let (generation, lasting) = (tpm.generation(), tpm.lasting_digest(&mut self.room).expect("room for the state"));
        if let Some((known, before)) = self.before.replace((generation, lasting)) {
            assert!(known != generation || before == lasting, "what lasts has changed, and its generation has not");
        }
    }
}
