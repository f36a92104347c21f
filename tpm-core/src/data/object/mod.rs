//! Objects (Part 1, 23 and 26): what is loaded, what is persistent, names.

mod loaded;
pub(crate) mod message;
pub(crate) mod sequence;
mod stored;

pub(crate) use loaded::{Object, name_of, qualified_name_of};
pub(crate) use sequence::{Mac, Sequence, Work};

use crate::profile;
use crate::rc::Rc;
use crate::wire::Handle;
use heapless::Vec;

/// What occupies a slot for transient objects.
pub(crate) enum Slot {
    /// an object
    Object(Object),
    /// a sequence object
    Sequence(Sequence),
}

/// The slots of transient objects and sequences.
pub(crate) struct Slots(pub(crate) [Option<Slot>; profile::MAX_LOADED_OBJECTS]);

impl Slot {
    /// The object, unless it is a sequence.
    pub(crate) fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Sequence(_) => None,
        }
    }
}

/// Persistent objects, in the order of their handles.
pub(crate) struct PersistentObjects(Vec<(Handle, Object), { profile::MAX_PERSISTENT_OBJECTS }>);

impl PersistentObjects {
    /// No object.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Where the object with this handle is, or would be.
    fn place(&self, h: Handle) -> Result<usize, usize> {
        self.0.binary_search_by_key(&h, |(handle, _)| *handle)
    }

    /// The object with this handle.
    pub(crate) fn get(&self, h: Handle) -> Option<&Object> {
        self.0.get(self.place(h).ok()?).map(|(_, object)| object)
    }

    /// Adds an object whose handle is not in use; the object back if there is no room.
    pub(crate) fn insert(&mut self, h: Handle, object: Object) -> Result<(), Rc> {
        let (Ok(at) | Err(at)) = self.place(h);
        self.0.insert(at.min(self.0.len()), (h, object)).map_err(|_| Rc::NV_SPACE)
    }

    /// Removes the object with this handle.
    pub(crate) fn remove(&mut self, h: Handle) -> Option<Object> {
        let at = self.place(h).ok().filter(|at| *at < self.0.len())?;
        Some(self.0.remove(at).1)
    }

    /// Removes all that do not pass.
    pub(crate) fn retain(&mut self, mut f: impl FnMut(Handle, &Object) -> bool) {
        self.0.retain(|(h, o)| f(*h, o));
    }

    /// Handles, ascending.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.0.iter().map(|(h, _)| *h)
    }

    /// How many more fit.
    pub(crate) fn room(&self) -> usize {
        profile::MAX_PERSISTENT_OBJECTS.saturating_sub(self.0.len())
    }
}
