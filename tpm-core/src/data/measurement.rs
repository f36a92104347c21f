//! An event that is measured: its digests in the making.

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::wire::PCR_BANKS;

/// Digests in the making of one event, one for each bank of PCR.
pub(crate) struct Measurement(pub(crate) [Hasher; PCR_BANKS.len()]);

impl Measurement {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(PCR_BANKS.map(Hasher::new))
    }

    /// More octets of the event.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.0.iter_mut().for_each(|hasher| hasher.update(data));
    }

    pub(crate) fn finish(self) -> impl Iterator<Item = (HashAlg, Digest)> {
        self.0.into_iter().map(|hasher| (hasher.alg(), hasher.finish()))
    }
}

impl Default for Measurement {
    fn default() -> Self {
        Self::new()
    }
}
