//! Part 3, 15: Symmetric Primitives.

pub(crate) mod hash;
pub(crate) mod hmac;
