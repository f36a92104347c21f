//! Part 3, 13: Duplication Commands.

pub(crate) mod duplicate;
pub(crate) mod import;
pub(crate) mod rewrap;
