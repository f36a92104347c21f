//! TPMS_CONTEXT (Part 2, 14.5).

use super::{Buffer, Handle, HandleType, Marshal, Reader, RhHierarchy, Unmarshal, Writer};
use crate::profile::MAX_CONTEXT_SIZE;
use crate::rc::Fmt1;

/// TPMS_CONTEXT
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// sequence
    pub sequence: u64,
    /// savedHandle
    pub saved_handle: Handle,
    /// hierarchy
    pub hierarchy: Handle,
    /// contextBlob
    pub blob: Buffer<MAX_CONTEXT_SIZE>,
}

impl Unmarshal<'_> for Context {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(Self {
            sequence: r.get()?,
            saved_handle: r.get::<super::DhSaved>().map(HandleType::handle)?,
            hierarchy: r.get::<RhHierarchy>().map(HandleType::handle)?,
            blob: r.get()?,
        })
    }
}

impl Marshal for Context {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.sequence.marshal(w);
        self.saved_handle.marshal(w);
        self.hierarchy.marshal(w);
        self.blob.marshal(w);
    }
}
