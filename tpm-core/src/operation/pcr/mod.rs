//! What is done with PCR.

mod change;
mod event;
