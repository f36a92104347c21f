//! What the platform gives to the engine.

use sha2::{Digest, Sha256};
use std::time::Instant;
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks};

/// The operating system's random numbers, or those of a seed: the same ones each time, which are no secret.
enum Source {
    System,
    Seed { seed: [u8; 32], count: u64 },
}

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) -> core::result::Result<(), EntropyFailure> {
        match self {
            Self::System => getrandom::fill(out).map_err(|_| EntropyFailure),
            Self::Seed { seed, count } => {
                for chunk in out.chunks_mut(32) {
                    let block = Sha256::new().chain_update(*seed).chain_update(count.to_be_bytes()).finalize();
                    chunk.copy_from_slice(&block[..chunk.len()]);
                    *count += 1;
                }
                Ok(())
            }
        }
    }
}

/// Time since the server started; with a seed a millisecond for each look at it, so that a run can be repeated.
enum Time {
    System(Instant),
    Steps(u64),
}

impl Clock for Time {
    fn now_ms(&mut self) -> u64 {
        match self {
            Self::System(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Steps(now) => {
                *now += 1;
                *now
            }
        }
    }
}

/// Both.
pub(crate) struct Platform {
    entropy: Source,
    clock: Time,
}

impl Platform {
    /// Of the operating system, or of a seed.
    pub(crate) fn new(seed: Option<&str>) -> Self {
        match seed {
            Some(seed) => {
                Self { entropy: Source::Seed { seed: Sha256::digest(seed).into(), count: 0 }, clock: Time::Steps(0) }
            }
            None => Self { entropy: Source::System, clock: Time::System(Instant::now()) },
        }
    }

    /// For one call.
    pub(crate) fn hooks(&mut self) -> Hooks<'_> {
        Hooks { entropy: &mut self.entropy, clock: &mut self.clock }
    }
}
