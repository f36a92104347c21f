//! What the fuzz targets do with an input. Each panics where the engine is wrong; what the target `verify` does is in
//! the verifier itself (`quoin_verify::fuzz`).
//!
//! | module | is |
//! |---|---|
//! | [`engine`] | commands in a row, with losses of power between them |
//! | [`import`] | a state that was tampered with |
//! | [`unmarshal`] | parameters and structures |
//! | [`machine`] | a TPM on a platform that is the same in every run |
//! | [`response`] | what every response must be |

pub mod engine;
pub mod import;
pub mod machine;
pub mod response;
pub mod unmarshal;
