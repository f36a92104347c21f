//! What the engine needs of whoever embeds it, measured through what it shows to everybody.
//!
//! | module | is |
//! |---|---|
//! | [`paint`] | a thread whose stack is painted, so that it is seen how deep a call has gone |
//! | [`caller`] | a TPM each of whose calls is measured so |
//! | [`steps`] | the calls that go deep |
//! | [`many`] | a thousand TPMs in one process |

pub mod caller;
pub mod many;
pub mod paint;
pub mod steps;
