//! Entropy and time as in the tests of tpm-core (tests/harness): what is recorded there goes the same way here.

use sha2::{Digest, Sha256};
use tpm_core::{Clock, Entropy, EntropyFailure, Generation, Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};

/// A counter, hashed.
struct Counted(u64);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = Sha256::digest(self.0.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

/// Time that an input moves.
struct Manual(u64);

impl Clock for Manual {
    fn now_ms(&mut self) -> u64 {
        self.0
    }
}

/// A TPM and its platform.
pub struct Machine {
    /// The TPM.
    pub tpm: Box<Tpm>,
    entropy: Counted,
    clock: Manual,
    /// what lasted when it was checked last
    lasted: Option<(Generation, [u8; 32])>,
    room: Vec<u8>,
}

impl Machine {
    /// A new TPM before TPM2_Startup.
    #[must_use]
    pub fn manufacture() -> Self {
        let (mut entropy, mut clock) = (Counted(0), Manual(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).expect("entropy");
        Self::of(tpm, entropy, clock)
    }

    /// The TPM of a state, if it is one.
    #[must_use]
    pub fn import(state: &[u8]) -> Option<Self> {
        let (mut entropy, mut clock) = (Counted(0), Manual(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.import(state, &mut Hooks { entropy: &mut entropy, clock: &mut clock }).ok()?;
        Some(Self::of(tpm, entropy, clock))
    }

    fn of(tpm: Box<Tpm>, entropy: Counted, clock: Manual) -> Self {
        Self { tpm, entropy, clock, lasted: None, room: vec![0; MAX_STATE_SIZE] }
    }

    /// Executes a command and checks the TPM.
    pub fn execute(&mut self, locality: Locality, request: &[u8]) -> Vec<u8> {
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let length = self.tpm.execute(&mut hooks, locality, request, &mut response);
        self.check();
        response.truncate(length);
        response
    }

    /// `_TPM_Init`.
    pub fn init(&mut self) {
        self.tpm.init(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
        self.check();
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64) {
        self.clock.0 = self.clock.0.saturating_add(ms);
        self.tpm.advance_time(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
        self.check();
    }

    /// The invariants; and what lasts has changed only if the generation says so.
    pub fn check(&mut self) {
        self.tpm.check().expect("consistent");
        let now = (self.tpm.generation(), self.tpm.lasting_digest(&mut self.room).expect("room for the state"));
        if let Some((generation, lasted)) = self.lasted.replace(now) {
            assert!(generation != now.0 || lasted == now.1, "what lasts has changed, and its generation has not");
        }
    }

    /// The state.
    #[must_use]
    pub fn export(&self, form: StateForm) -> Vec<u8> {
        let mut state = vec![0; MAX_STATE_SIZE];
        let length = self.tpm.export(form, &mut state).expect("room for the state");
        state.truncate(length);
        state
    }
}
