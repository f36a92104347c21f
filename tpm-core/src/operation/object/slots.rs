//! The slots of transient objects and sequences.

use crate::data::object::{Object, Sequence, Slot};
use crate::data::state::Ram;
use crate::rc::Rc;
use crate::wire::{Handle, HandleKind};

impl Ram {
    fn index(h: Handle) -> Option<usize> {
        (h.kind() == HandleKind::Transient).then(|| usize::try_from(h.index()).ok()).flatten()
    }

    /// What a transient handle stands for.
    pub(crate) fn slot(&self, h: Handle) -> Option<&Slot> {
        self.objects.0.get(Self::index(h)?)?.as_ref()
    }

    fn slot_mut(&mut self, h: Handle) -> Option<&mut Slot> {
        self.objects.0.get_mut(Self::index(h)?)?.as_mut()
    }

    /// A transient object that is no sequence.
    pub(crate) fn object(&self, h: Handle) -> Option<&Object> {
        self.slot(h)?.object()
    }

    /// A sequence object.
    pub(crate) fn sequence(&self, h: Handle) -> Option<&Sequence> {
        match self.slot(h)? {
            Slot::Object(_) => None,
            Slot::Sequence(sequence) => Some(sequence),
        }
    }

    /// A sequence object.
    pub(crate) fn sequence_mut(&mut self, h: Handle) -> Option<&mut Sequence> {
        match self.slot_mut(h)? {
            Slot::Object(_) => None,
            Slot::Sequence(sequence) => Some(sequence),
        }
    }

    /// Handles of the transient objects, sequences among them, ascending.
    pub(crate) fn object_handles(&self) -> impl Iterator<Item = Handle> + '_ {
        (Handle::TRANSIENT_FIRST.0..).zip(&self.objects.0).filter(|(_, slot)| slot.is_some()).map(|(h, _)| Handle(h))
    }

    /// Flushes a transient object or sequence; false if there is none.
    pub(crate) fn flush_object(&mut self, h: Handle) -> bool {
        Self::index(h).and_then(|i| self.objects.0.get_mut(i)).is_some_and(|slot| slot.take().is_some())
    }

    /// Flushes those of a command's handles that are complete sequences: after the response, whose HMAC may need their
    /// authValue.
    pub(crate) fn flush_complete_sequences(&mut self, handles: &[Handle]) {
        for h in handles {
            if self.sequence(*h).is_some_and(|sequence| sequence.complete) {
                self.flush_object(*h);
            }
        }
    }

    /// - `OBJECT_MEMORY`: no free slot
    pub(crate) fn room_for_object(&self) -> Result<(), Rc> {
        if self.objects.0.iter().any(Option::is_none) { Ok(()) } else { Err(Rc::OBJECT_MEMORY) }
    }

    /// Loads an object into a free slot.
    ///
    /// - `OBJECT_MEMORY`: no free slot
    pub(crate) fn load_object(&mut self, object: Object) -> Result<Handle, Rc> {
        self.load(Slot::Object(object))
    }

    /// Loads a sequence object into a free slot.
    ///
    /// - `OBJECT_MEMORY`: no free slot
    pub(crate) fn load_sequence(&mut self, sequence: Sequence) -> Result<Handle, Rc> {
        self.load(Slot::Sequence(sequence))
    }

    fn load(&mut self, occupant: Slot) -> Result<Handle, Rc> {
        let slot = self.objects.0.iter().position(Option::is_none).ok_or(Rc::OBJECT_MEMORY)?;
        if let Some(to) = self.objects.0.get_mut(slot) {
            *to = Some(occupant);
        }
        Ok(Handle(Handle::TRANSIENT_FIRST.0 | u32::try_from(slot).unwrap_or(0)))
    }
}
