//! Part 3, 24: Hierarchy Commands.

pub(crate) mod create_primary;
