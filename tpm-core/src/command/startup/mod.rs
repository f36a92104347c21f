//! Part 3, 9: Start-up.

pub(crate) mod shutdown;
pub(crate) mod startup;
