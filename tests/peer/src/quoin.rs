//! Our TPM on a platform that is the same in every run.

use crate::Peer;
use client::platform::{CountedEntropy, ManualClock};
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::store::{Disk, MAX_RECORD_SIZE, Store};
use tpm_core::{Hooks, Locality, Tpm};

/// Commands in a millisecond of its clock.
const COMMANDS_A_MS: u64 = 16;

/// Where the state is written: memory, as libtpms' is here.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Disk for Memory {
    type Error = core::convert::Infallible;
    const SLOTS: usize = 1;

    fn read(&mut self, _: usize, out: &mut [u8]) -> Result<usize, Self::Error> {
        out[..self.0.len()].copy_from_slice(&self.0);
        Ok(self.0.len())
    }

    fn write(&mut self, _: usize, record: &[u8]) -> Result<(), Self::Error> {
        self.0.clear();
        self.0.extend_from_slice(record);
        Ok(())
    }
}

/// A store of its own for each TPM, and its buffer.
struct Kept {
    store: Store<Memory>,
    buffer: Vec<u8>,
}

impl Kept {
    fn new() -> Self {
        let mut buffer = vec![0; MAX_RECORD_SIZE];
        let (store, _) = Store::open(Memory::default(), &mut buffer).expect("an empty disk");
        Self { store, buffer }
    }
}

/// Our engine.
pub struct Quoin {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
    /// commands so far
    count: u64,
    checked: bool,
    kept: Option<Kept>,
    response: [u8; MAX_RESPONSE_SIZE],
}

impl Quoin {
    /// A manufactured TPM. If `checked`, its consistency is checked after every command.
    ///
    /// # Panics
    /// Later, by a command after which the state is not consistent.
    #[must_use]
    pub fn new(checked: bool) -> Self {
        let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
        let tpm = manufacture(&mut entropy, &mut clock);
        Self { tpm, entropy, clock, count: 0, checked, kept: None, response: [0; MAX_RESPONSE_SIZE] }
    }
}

fn manufacture(entropy: &mut CountedEntropy, clock: &mut ManualClock) -> Box<Tpm> {
    let mut tpm = Box::new(Tpm::blank());
    tpm.manufacture(&mut Hooks { entropy, clock }).expect("there is entropy");
    tpm
}

impl Peer for Quoin {
    fn manufacture(&mut self) {
        self.count = 0;
        (self.entropy, self.clock) = (CountedEntropy::default(), ManualClock(0));
        self.tpm = manufacture(&mut self.entropy, &mut self.clock);
        self.keep(self.kept.is_some());
    }

    fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) {
        self.count += 1;
        self.clock.0 = self.count / COMMANDS_A_MS;
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let locality = Locality::new(locality).expect("a locality");
        let length = self.tpm.execute(hooks, locality, request, &mut self.response);
        if let Some(kept) = &mut self.kept {
            kept.store.save(&self.tpm, &mut kept.buffer).expect("memory takes the state");
        }
        response.clear();
        response.extend_from_slice(&self.response[..length]);
        if self.checked {
            self.tpm.check().expect("the state is consistent");
        }
    }

    fn keep(&mut self, kept: bool) {
        self.kept = kept.then(Kept::new);
    }

    fn power_cycle(&mut self) {
        self.tpm.init(&mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock });
    }

    fn set_physical_presence(&mut self, asserted: bool) {
        self.tpm.set_physical_presence(asserted);
    }

    fn hash(&mut self, parts: &[&[u8]]) {
        self.tpm.hash_start();
        parts.iter().for_each(|part| self.tpm.hash_data(part));
        self.tpm.hash_end();
    }
}
