//! Optional values in what only the TPM itself reads (contexts, state): a TPMI_YES_NO before the value.

use super::{Handle, Marshal, Reader, Unmarshal, Writer};
use crate::crypto::hash::{Digest, HashAlg};
use crate::rc::Fmt1;

macro_rules! optional { ($($t:ty),* $(,)?) => { $(
    impl Marshal for Option<$t> {
        fn marshal(&self, w: &mut Writer<'_>) {
            self.is_some().marshal(w);
            if let Some(value) = self {
                value.marshal(w);
            }
        }
    }
    impl Unmarshal<'_> for Option<$t> {
        fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
            if r.get()? { r.get().map(Some) } else { Ok(None) }
        }
    }
)* } }
optional!(
    bool,
    u8,
    u16,
    u32,
    u64,
    Digest,
    Handle,
    (HashAlg, Digest),
    crate::session::Binding,
    crate::policy::BoundHash
);

/// An authPolicy with its algorithm.
impl Marshal for (HashAlg, Digest) {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
        self.1.marshal(w);
    }
}

impl Unmarshal<'_> for (HashAlg, Digest) {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let (alg, digest): (HashAlg, Digest) = (r.get()?, r.get()?);
        if digest.len() == alg.digest_size() { Ok((alg, digest)) } else { Err(Fmt1::SIZE) }
    }
}
