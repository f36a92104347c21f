//! Part 3, 16: Random Number Generator.

pub(crate) mod get_random;
pub(crate) mod stir_random;
