//! Indices whose contents the platform has: what a certificate says is made when it is read, and takes none of the
//! guest's NV memory. All of them are ordinary, written, and locked for ever, so that no command but
//! TPM2_NV_UndefineSpace changes one. They are no part of the state: the platform provides them anew at each start.

use super::index::NvIndex;
use crate::profile::MAX_PROVIDED_INDICES;
use crate::rc::Rc;
use crate::wire::Handle;
use heapless::Vec;

/// The public areas, in the order of their handles.
pub(super) struct ProvidedIndices(Vec<NvIndex, MAX_PROVIDED_INDICES>);

impl ProvidedIndices {
    /// No index.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The index with this handle.
    pub(super) fn get(&self, h: Handle) -> Option<&NvIndex> {
        self.iter().find(|i| i.public.index == h)
    }

    /// All indices, ascending.
    pub(super) fn iter(&self) -> core::slice::Iter<'_, NvIndex> {
        self.0.iter()
    }

    /// This index in the place of one with its handle, or one more.
    ///
    /// - `NV_SPACE`: no room
    pub(super) fn set(&mut self, index: NvIndex) -> Result<(), Rc> {
        let at = self.0.partition_point(|i| i.public.index < index.public.index);
        match self.0.get_mut(at) {
            Some(old) if old.public.index == index.public.index => *old = index,
            _ => self.0.insert(at, index).map_err(|_| Rc::NV_SPACE)?,
        }
        Ok(())
    }

    /// Deletes the index with this handle.
    pub(super) fn remove(&mut self, h: Handle) {
        self.0.retain(|i| i.public.index != h);
    }

    /// Whether handles ascend.
    pub(super) fn is_ordered(&self) -> bool {
        self.0.windows(2).all(|w| matches!(w, [a, b] if a.public.index < b.public.index))
    }
}
