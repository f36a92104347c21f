//! RSA with moduli of 1024, 2048, 3072 and 4096 bits (Part 1, Annex B).
//!
//! | module | is |
//! |---|---|
//! | `key` | the keys and the raw operations |
//! | `exponent` | public exponents |
//! | `block` | products of blocks of limbs |
//! | `monty` | Montgomery arithmetic, the same code for every size |
//! | [`padding`] | RSASSA and RSAES of PKCS #1, and PSS and OAEP |
//! | `prime` | the prime search |

mod block;
mod exponent;
mod key;
mod monty;
pub mod padding;
mod prime;

pub use exponent::{DEFAULT_EXPONENT, is_exponent};
pub use key::{MAX_BYTES, MAX_PRIME_BYTES, RsaPrivate, RsaPublic, has_key_bits};
