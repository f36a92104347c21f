//! What HMACs and audit cover of a command and of its response.

use crate::command::call::Call;
use crate::crypto::hash::{Digest, HashAlg, Hasher, digest};
use crate::data::tpm::Tpm;

/// cpHash (Part 1, 15.7): H(commandCode ‖ Names ‖ parameters).
pub(super) fn cp_hash(tpm: &Tpm, alg: HashAlg, call: &Call<'_>, parameters: &[u8]) -> Digest {
    let mut hasher = Hasher::new(alg);
    hasher.update(&call.code.to_be_bytes());
    for h in &call.handles {
        hasher.update(tpm.name_of(*h).as_slice());
    }
    hasher.update(parameters);
    hasher.finish()
}

/// rpHash (Part 1, 15.8): H(responseCode ‖ commandCode ‖ parameters).
pub(super) fn rp_hash(hash: HashAlg, call: &Call<'_>, parameters: &[u8]) -> Digest {
    digest(hash, &[&0u32.to_be_bytes(), &call.code.to_be_bytes(), parameters])
}
