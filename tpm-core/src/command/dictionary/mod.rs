//! Part 3, 25: Dictionary Attack Functions.

pub(crate) mod dictionary_attack_lock_reset;
pub(crate) mod dictionary_attack_parameters;
