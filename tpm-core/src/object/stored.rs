//! An object as the TPM keeps it for itself: in a saved context and in its state.

use super::{Object, name_of};
use crate::rc::Fmt1;
use crate::wire::{Handle, Marshal, OptionalSensitive, Public, Reader, Unmarshal, Writer};

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
