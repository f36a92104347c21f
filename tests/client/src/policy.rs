//! policyDigest (Part 1, 16.7).

use crate::hash::Alg;

/// policyDigest, computed by the caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyDigest {
    /// the policy's hash
    pub alg: Alg,
    /// its value
    pub digest: Vec<u8>,
}

impl PolicyDigest {
    /// A Zero Digest.
    #[must_use]
    pub fn new(alg: Alg) -> Self {
        Self { alg, digest: vec![0; alg.size()] }
    }

    /// H(old ‖ code ‖ parts).
    #[must_use]
    pub fn then(self, code: u32, parts: &[&[u8]]) -> Self {
        let digest = self.alg.hash(&[&self.digest, &code.to_be_bytes(), &parts.concat()]);
        Self { digest, ..self }
    }

    /// H(H(old ‖ code ‖ arg2) ‖ arg3).
    #[must_use]
    pub fn update(self, code: u32, arg2: &[u8], arg3: &[u8]) -> Self {
        let one = self.then(code, &[arg2]);
        Self { digest: one.alg.hash(&[&one.digest, arg3]), ..one }
    }

    /// With a Zero Digest as the old one.
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self::new(self.alg)
    }
}
