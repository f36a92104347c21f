//! Part 3, 15: Symmetric Primitives.

mod cipher;
pub(crate) mod encrypt_decrypt;
pub(crate) mod encrypt_decrypt_2;
pub(crate) mod hash;
pub(crate) mod mac;
