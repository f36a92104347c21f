//! Command audit (Part 1, 30.2; Part 3, 21): what an audited command adds to the digest.

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::data::tpm::Tpm;

impl Tpm {
    /// Records an audited command that was successful. `hash` says with which algorithm the hashes were made: if it was
    /// another at the start of the command, then that changed, and the log is empty again.
    pub(crate) fn audit_command(&mut self, hash: HashAlg, cp_hash: &Digest, rp_hash: &Digest) {
        if hash != self.persistent.audit.alg {
            return;
        }
        let old = self.reset.audit_digest.unwrap_or_else(|| {
            let audit = &mut self.persistent.change().audit;
            audit.counter = audit.counter.saturating_add(1);
            Digest::zero(hash)
        });
        let new = Hasher::new(hash).chain(old.as_slice()).chain(cp_hash.as_slice()).chain(rp_hash.as_slice()).finish();
        self.reset.change().audit_digest = Some(new);
    }
}
