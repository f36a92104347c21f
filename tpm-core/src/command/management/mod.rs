//! Part 3, 26: Miscellaneous Management Functions.

pub(crate) mod pp_commands;
pub(crate) mod set_algorithm_set;
