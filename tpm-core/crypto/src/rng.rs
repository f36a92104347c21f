//! Where random bytes come from.

use crate::Error;

/// A source of random bytes: the TPM's DRBG, or a derivation.
pub trait Rng {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// `Error::Reseed` if the source has to be reseeded before it may go on; `out` is then all zero.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error>;
}

impl<R: Rng + ?Sized> Rng for &mut R {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        (**self).fill(out)
    }
}
