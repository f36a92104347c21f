//! An object as the TPM keeps it for itself: in a saved context and in its state.

use super::{Object, PersistentObjects, Slot, Slots, name_of};
use crate::rc::Fmt1;
use crate::wire::{Handle, HandleKind, Marshal, OptionalSensitive, Public, Reader, Restore, Unmarshal, Writer};

const EXTERNAL: u8 = 1;
const PRIMARY: u8 = 2;
const ST_CLEAR: u8 = 4;

impl Marshal for Object {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.public.marshal(w);
        w.sized(|w| {
            if let Some(sensitive) = &self.sensitive {
                sensitive.marshal(w);
            }
        });
        self.qualified_name.marshal(w);
        self.hierarchy.marshal(w);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        (flag(self.external, EXTERNAL) | flag(self.primary, PRIMARY) | flag(self.st_clear, ST_CLEAR)).marshal(w);
    }
}

impl Unmarshal<'_> for Object {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let public: Public = r.get()?;
        let sensitive = r.get::<OptionalSensitive>()?.0;
        if sensitive.as_ref().is_some_and(|s| s.composite.object_type() != public.object_type()) {
            return Err(Fmt1::TYPE);
        }
        let qualified_name = r.get()?;
        let hierarchy: Handle = r.get()?;
        let flags: u8 = r.get()?;
        if flags & !(EXTERNAL | PRIMARY | ST_CLEAR) != 0 {
            return Err(Fmt1::RESERVED_BITS);
        }
        Ok(Self {
            name: name_of(&public),
            public,
            sensitive,
            qualified_name,
            hierarchy,
            external: flags & EXTERNAL != 0,
            primary: flags & PRIMARY != 0,
            st_clear: flags & ST_CLEAR != 0,
        })
    }
}

/// A count, and each object behind its handle, ascending.
impl Marshal for PersistentObjects {
    fn marshal(&self, w: &mut Writer<'_>) {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).marshal(w);
        for (handle, object) in &self.0 {
            handle.marshal(w);
            object.marshal(w);
        }
    }
}

impl Restore for PersistentObjects {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        let mut last = None;
        for _ in 0..r.get::<u32>()? {
            let handle: Handle = r.get()?;
            if handle.kind() != HandleKind::Persistent || last.is_some_and(|last| last >= handle.0) {
                return Err(Fmt1::HANDLE);
            }
            last = Some(handle.0);
            self.insert(handle, r.get()?).map_err(|_| Fmt1::SIZE)?;
        }
        Ok(())
    }
}

/// What occupies each slot: 0 nothing, 1 an object, 2 a sequence.
impl Marshal for Slots {
    fn marshal(&self, w: &mut Writer<'_>) {
        for slot in &self.0 {
            match slot {
                None => w.put(&[0]),
                Some(Slot::Object(object)) => {
                    w.put(&[1]);
                    object.marshal(w);
                }
                Some(Slot::Sequence(sequence)) => {
                    w.put(&[2]);
                    sequence.marshal(w);
                }
            }
        }
    }
}

impl Restore for Slots {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        for slot in &mut self.0 {
            *slot = match r.get::<u8>()? {
                0 => None,
                1 => Some(Slot::Object(r.get()?)),
                2 => Some(Slot::Sequence(r.get()?)),
                _ => return Err(Fmt1::SELECTOR),
            };
        }
        Ok(())
    }
}
