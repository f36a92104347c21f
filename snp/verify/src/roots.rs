//! AMD's own authorities, as the crate `sev` brings them.

use crate::chip::Generation;
use sev::certs::snp::{Certificate, builtin};
use std::sync::LazyLock;

/// The authorities of a generation, DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// Whose they are.
    pub generation: Generation,
    /// The root key.
    pub ark: Vec<u8>,
    /// The key that signs VCEKs.
    pub ask: Vec<u8>,
}

/// Those of all generations.
pub static AMD: LazyLock<Vec<Authorities>> = LazyLock::new(|| {
    let der = |certificate: std::io::Result<Certificate>| certificate.and_then(|certificate| certificate.to_der()).ok();
    let of = |generation, ark, ask| Some(Authorities { generation, ark: der(ark)?, ask: der(ask)? });
    let all = [
        of(Generation::Milan, builtin::milan::ark(), builtin::milan::ask()),
        of(Generation::Genoa, builtin::genoa::ark(), builtin::genoa::ask()),
        of(Generation::Turin, builtin::turin::ark(), builtin::turin::ask()),
    ];
    all.into_iter().flatten().collect()
});

#[cfg(test)]
mod tests {
    use super::AMD;
    use crate::chip::Generation;

    #[test]
    fn each_generation_has_its_own() {
        assert_eq!(AMD.iter().map(|amd| amd.generation).collect::<Vec<_>>(), Generation::ALL);
        assert!(AMD[0].ark != AMD[1].ark && AMD[1].ask != AMD[2].ask);
    }
}
