//! A TPM on the platform of tpm-core's tests: what is recorded there goes the same way here.

use client::lasting::Lasting;
use client::platform::{CountedEntropy, ManualClock, export};
use tpm_core::{Hooks, Locality, StateForm, Tpm};

/// A TPM and its platform.
pub struct Machine {
    /// The TPM.
    pub tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
    lasting: Lasting,
}

impl Machine {
    /// A new TPM before TPM2_Startup.
    #[must_use]
    pub fn manufacture() -> Self {
        let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).expect("entropy");
        Self::of(tpm, entropy, clock)
    }

    /// The TPM of a state, if it is one.
    #[must_use]
    pub fn import(state: &[u8]) -> Option<Self> {
        let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.import(state, &mut Hooks { entropy: &mut entropy, clock: &mut clock }).ok()?;
        Some(Self::of(tpm, entropy, clock))
    }

    fn of(tpm: Box<Tpm>, entropy: CountedEntropy, clock: ManualClock) -> Self {
        Self { tpm, entropy, clock, lasting: Lasting::new() }
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
        self.lasting.look(&self.tpm);
    }

    /// The state.
    #[must_use]
    pub fn export(&self, form: StateForm) -> Vec<u8> {
        export(&self.tpm, form)
    }
}
