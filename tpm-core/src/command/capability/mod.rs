//! Part 3, 30: Capability Commands.

mod algorithms;
pub(crate) mod get_capability;
mod properties;
