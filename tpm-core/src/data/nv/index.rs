//! A defined NV Index (Part 2, 13).

use crate::wire::{Auth, Marshal, Name, NvPublic, Writer, hashed_name};

/// A defined index.
pub(crate) struct NvIndex {
    /// public area
    pub(crate) public: NvPublic,
    /// authValue
    pub(crate) auth: Auth,
    /// where its contents begin, if they are in NV memory
    pub(super) offset: usize,
}

impl NvIndex {
    /// Name: nameAlg ‖ H(TPMS_NV_PUBLIC) (Part 1, 13).
    pub(crate) fn name(&self) -> Name {
        let mut bytes = [0; 96];
        let mut w = Writer::new(&mut bytes);
        self.public.marshal(&mut w);
        hashed_name(self.public.name_alg, w.written(0))
    }
}
