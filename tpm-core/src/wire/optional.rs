//! Optional values in what only the TPM itself reads (contexts, state): a TPMI_YES_NO before the value.

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::crypto::hash::Digest;
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
optional!(bool, u8, u32, u64, Digest, crate::session::Binding, crate::policy::BoundHash);
