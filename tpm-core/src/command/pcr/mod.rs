//! Part 3, 22: Integrity Collection (PCR).

pub(crate) mod allocate;
pub(crate) mod event;
pub(crate) mod extend;
pub(crate) mod read;
pub(crate) mod reset;
