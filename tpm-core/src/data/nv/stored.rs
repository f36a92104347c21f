//! NV Indices in the state of the TPM.

use super::NvMemory;
use crate::bounded::copy;
use crate::rc::Fmt1;
use crate::wire::{Auth, Marshal, NvPublic, Reader, Restore, Writer};

/// The greatest count, how many indices there are, and public area, authValue and contents of each, ascending.
impl Marshal for NvMemory {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.greatest_count.marshal(w);
        u32::try_from(self.indices.len()).unwrap_or(u32::MAX).marshal(w);
        for index in &self.indices {
            index.public.marshal(w);
            index.auth.marshal(w);
            w.put(self.contents(index));
        }
    }
}

/// Into a value without indices.
impl Restore for NvMemory {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        self.greatest_count = r.get()?;
        let mut last = None;
        for _ in 0..r.get::<u32>()? {
            let public: NvPublic = r.get()?;
            let auth: Auth = r.get()?;
            if last.is_some_and(|last| last >= public.index) {
                return Err(Fmt1::HANDLE);
            }
            last = Some(public.index);
            let contents = r.take(public.data_size.into())?;
            self.define(public, auth).map_err(|_| Fmt1::SIZE)?;
            copy(self.data_mut(public.index), contents);
        }
        Ok(())
    }
}
