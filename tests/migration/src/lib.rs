//! Mock chips and lying hosts for the crate `migration`.
//!
//! | module | is |
//! |---|---|
//! | [`authority`] | AMD's place: a root, certificates for chips, in an encoder of its own |
//! | [`chip`] | a secure processor, and a boot on it that gives reports |
//! | [`scene`] | a source, a destination, and what goes between them |
//! | [`bits`] | messages of which a bit is another |
//! | [`disks`], [`simulation`] | two machines with disks, and a host by a seed (`cargo xtask simulate migration`) |
//! | [`tpm`] | a TPM of the engine's that moves |
//! | [`belongings`] | what a caller has in a TPM, and finds again |
//!
//! It shares no code with the crate beyond what is public of messages, and signs by the engine's cryptography, which
//! has vectors of its own; certificates by other programs are judged in tests/certificates.rs.

pub mod authority;
pub mod belongings;
pub mod bits;
pub mod chip;
pub mod disks;
pub mod scene;
pub mod simulation;
pub mod tpm;

use tpm_crypto::Rng;
use tpm_crypto::drbg::Drbg;

/// Random octets that a seed gives.
pub struct Seeded(Drbg);

impl Seeded {
    /// Those of a seed.
    ///
    /// # Panics
    /// Never: the seed is long enough.
    pub fn new(seed: &str) -> Self {
        let mut entropy = seed.as_bytes().to_vec();
        entropy.resize(entropy.len().max(32), 0);
        Self(Drbg::new(&entropy, b"moves", b"").expect("32 octets"))
    }
}

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), tpm_crypto::Error> {
        self.0.fill(out)
    }
}

/// So many random octets.
pub fn octets<const N: usize>(rng: &mut dyn Rng) -> [u8; N] {
    let mut out = [0; N];
    rng.fill(&mut out).expect("a DRBG that was seeded");
    out
}
