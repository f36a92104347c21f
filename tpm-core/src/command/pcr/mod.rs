//! Part 3, 22: Integrity Collection (PCR).

pub(crate) mod allocate;
pub(crate) mod event;
pub(crate) mod extend;
pub(crate) mod read;
pub(crate) mod reset;
pub(crate) mod set_auth_policy;
pub(crate) mod set_auth_value;
