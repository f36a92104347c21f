//! Part 3, 30: Capability Commands.

pub(crate) mod algorithms;
pub(crate) mod get_capability;
mod properties;
pub(crate) mod set_capability;
pub(crate) mod test_parms;
