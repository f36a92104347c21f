//! The TPM's random number generator: HMAC_DRBG with SHA-256 (SP 800-90A Rev. 1, 10.1.2), security strength 256 bits.
//!
//! HMAC_DRBG and not CTR_DRBG: it needs no derivation function and no cipher whose software form has tables, it has a
//! security proof that covers additional input, and its state is two values of 32 bytes. The TPM needs few random bytes
//! at a time, so speed does not decide.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::sha256::{self, Scratch, State, hmac, hmac_of_digest, scratch};
use super::{Error, Rng};
use crate::bounded;

const SIZE: usize = 32;
/// Requests between reseeds (SP 800-90A, table 2).
const RESEED_INTERVAL: u64 = 1 << 48;
/// Bytes per request (SP 800-90A, table 2: 2^19 bits).
pub const MAX_REQUEST: usize = 1 << 16;
/// The least entropy input: a seed of this many bytes of full entropy has the security strength.
pub const MIN_ENTROPY: usize = 32;

/// HMAC_DRBG. Its state is wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct Drbg {
    /// The two hash computations of HMAC with the key K, which have taken in its pads: half of the work.
    keyed: [State; 2],
    value: [u8; SIZE],
    /// Requests since the last seed, plus one (`reseed_counter`).
    counter: u64,
}

impl Drbg {
    /// One that is not instantiated: a reseed is due before it generates anything.
    pub const fn blank() -> Self {
        Self { keyed: [[0; 8]; 2], value: [0; SIZE], counter: u64::MAX }
    }

    /// Instantiates from entropy (at least 256 bits of it in at least 32 bytes), a nonce and a personalization string.
    ///
    /// # Errors
    /// `Error::Length` if `entropy` is shorter than 32 bytes.
    pub fn new(entropy: &[u8], nonce: &[u8], personalization: &[u8]) -> Result<Self, Error> {
        if entropy.len() < MIN_ENTROPY {
            return Err(Error::Length);
        }
        Ok(Self::from_seed(&[entropy, nonce, personalization]))
    }

    /// Instantiates from seed material of any length: for derivations, whose seed has been checked by the caller.
    pub(super) fn from_seed(seed: &[&[u8]]) -> Self {
        let mut scratch = scratch();
        let mut drbg = Self { keyed: keyed(&[0; SIZE], &mut scratch), value: [1; SIZE], counter: 1 };
        drbg.update(seed, &mut scratch);
        drbg
    }

    /// Reseeds with new entropy (at least 32 bytes) and additional input.
    ///
    /// # Errors
    /// `Error::Length` if `entropy` is shorter than 32 bytes.
    pub fn reseed(&mut self, entropy: &[u8], additional: &[u8]) -> Result<(), Error> {
        if entropy.len() < MIN_ENTROPY {
            return Err(Error::Length);
        }
        self.update(&[entropy, additional], &mut scratch());
        self.counter = 1;
        Ok(())
    }

    /// Stirs `data` into the state without counting on its entropy (TPM2_StirRandom).
    pub fn stir(&mut self, data: &[u8]) {
        self.update(&[data], &mut scratch());
    }

    /// Generates random bytes; `additional` input is mixed in before and after.
    ///
    /// # Errors
    /// `Error::Length` for more than [`MAX_REQUEST`] bytes, `Error::Reseed` if a reseed is due; `out` is then all zero.
    pub fn generate(&mut self, out: &mut [u8], additional: &[u8]) -> Result<(), Error> {
        out.fill(0);
        if out.len() > MAX_REQUEST {
            return Err(Error::Length);
        }
        if self.counter > RESEED_INTERVAL {
            return Err(Error::Reseed);
        }
        let mut scratch = scratch();
        if !additional.is_empty() {
            self.update(&[additional], &mut scratch);
        }
        for chunk in out.chunks_mut(SIZE) {
            self.next_value(&mut scratch);
            bounded::copy(chunk, &self.value);
        }
        self.update(&[additional], &mut scratch);
        self.counter = self.counter.saturating_add(1);
        Ok(())
    }

    /// Requests since the last seed, plus one.
    #[must_use]
    pub const fn reseed_counter(&self) -> u64 {
        self.counter
    }

    /// V = HMAC(K, V)
    fn next_value(&mut self, scratch: &mut Scratch) {
        self.value = hmac_of_digest(&self.keyed, &self.value, scratch);
    }

    /// HMAC_DRBG_Update (10.1.2.2) with the concatenation of `data`.
    fn update(&mut self, data: &[&[u8]], scratch: &mut Scratch) {
        self.update_round(0, data, scratch);
        if data.iter().any(|part| !part.is_empty()) {
            self.update_round(1, data, scratch);
        }
    }

    /// K = HMAC(K, V ‖ round ‖ data), V = HMAC(K, V)
    fn update_round(&mut self, round: u8, data: &[&[u8]], scratch: &mut Scratch) {
        let round = [round];
        let parts = [&self.value[..], &round].into_iter().chain(data.iter().copied());
        let mut key = hmac(&self.keyed, parts, scratch);
        self.keyed = keyed(&key, scratch);
        key.zeroize();
        self.next_value(scratch);
    }
}

/// HMAC, as far as it goes without a message.
fn keyed(key: &[u8; SIZE], scratch: &mut Scratch) -> [State; 2] {
    scratch.fill(0);
    bounded::copy(&mut **scratch, key);
    sha256::keyed(scratch)
}

impl Rng for Drbg {
    /// Any length: a request for each [`MAX_REQUEST`] bytes.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        out.chunks_mut(MAX_REQUEST).try_for_each(|chunk| self.generate(chunk, &[]))
    }
}
